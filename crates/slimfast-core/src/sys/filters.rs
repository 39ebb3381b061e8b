//! The seccomp filters of another process, as the kernel enforces them: read by ptrace(2), which stops it for a moment.
//!
//! Whatever the process waits for meanwhile is started again by the kernel, or ends with EINTR as after any stop and
//! continuation (signal(7)). If this thread ends while it traces, the kernel lets go of the process.

use std::io;
use std::time::{Duration, Instant};

use slimfast_seccomp::filter::Instruction;

/// Until the process has stopped: on a loaded node it waits for a CPU before. One that sleeps uninterruptibly does not.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Doubled each time, since the process needs a CPU to stop.
const FIRST_STOP_POLL: Duration = Duration::from_micros(50);
const LONGEST_STOP_POLL: Duration = Duration::from_millis(20);
/// A process may have more, but no runtime starts it with as many.
const MAX_FILTERS: usize = 64;
/// BPF_MAXINSNS
const MAX_INSTRUCTIONS: usize = 4096;

// include/uapi/linux/ptrace.h
const PTRACE_SECCOMP_GET_FILTER: libc::c_uint = 0x420c;
const PTRACE_EVENT_STOP: i32 = 128;

/// Latest first. `pid`: of a thread; a process is its first thread. ESRCH if it has ended, or ends meanwhile. Takes some
/// microseconds, and up to [`STOP_TIMEOUT`]: after a time-out the process is let go only as the calling thread ends.
pub fn of(pid: libc::pid_t) -> io::Result<Vec<Vec<Instruction>>> {
    let traced = Traced::seize(pid)?;
    let signal = traced.stop()?;
    let filters = traced.filters();
    traced.release(signal);
    filters
}

struct Traced(libc::pid_t);

impl Traced {
    fn seize(pid: libc::pid_t) -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        done(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0usize, 0usize) })?;
        Ok(Self(pid))
    }

    /// Returns the signal that it was about to be given, or 0.
    fn stop(&self) -> io::Result<i32> {
        // SAFETY: no pointers are passed.
        done(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, self.0, 0usize, 0usize) })?;
        let started = Instant::now();
        let mut pause = FIRST_STOP_POLL;
        loop {
            let mut status = 0;
            // SAFETY: the kernel writes one int.
            let waited = unsafe { libc::waitpid(self.0, &raw mut status, libc::WNOHANG | libc::__WALL) };
            match waited {
                0 if started.elapsed() > STOP_TIMEOUT => return Err(io::ErrorKind::TimedOut.into()),
                0 => {
                    std::thread::sleep(pause);
                    pause = LONGEST_STOP_POLL.min(pause * 2);
                }
                -1 => return Err(io::Error::last_os_error()),
                _ if !libc::WIFSTOPPED(status) => return Err(io::Error::from_raw_os_error(libc::ESRCH)),
                _ if status >> 16 == PTRACE_EVENT_STOP => return Ok(0),
                _ => return Ok(libc::WSTOPSIG(status)),
            }
        }
    }

    fn filters(&self) -> io::Result<Vec<Vec<Instruction>>> {
        let mut filters = Vec::new();
        while filters.len() < MAX_FILTERS {
            match self.filter(filters.len()) {
                Ok(filter) => filters.push(filter),
                // EINVAL: it has none at all.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filters)
    }

    fn filter(&self, index: usize) -> io::Result<Vec<Instruction>> {
        let mut filter = vec![Instruction { code: 0, jump_true: 0, jump_false: 0, k: 0 }; MAX_INSTRUCTIONS];
        // SAFETY: the kernel writes one filter, which has at most as many instructions.
        let length = done(unsafe { libc::ptrace(PTRACE_SECCOMP_GET_FILTER, self.0, index, filter.as_mut_ptr()) })?;
        filter.truncate(length);
        Ok(filter)
    }

    fn release(self, signal: i32) {
        // It may have been killed meanwhile.
        // SAFETY: no pointers are passed.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, 0usize, signal as usize) };
    }
}

fn done(result: libc::c_long) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
