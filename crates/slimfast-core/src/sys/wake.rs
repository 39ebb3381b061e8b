//! An eventfd that takes a thread out of poll(2), and the thread start that goes with it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::Duration;

/// Wakes one or more threads that poll it.
#[derive(Debug)]
pub struct Wake(OwnedFd);

impl Wake {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor; nobody else knows it.
        Ok(Wake(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Stays readable until [`clear`](Self::clear).
    pub fn set(&self) {
        // An eventfd that is at its maximum is readable, which is all that is wanted.
        // SAFETY: the kernel reads the eight bytes.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const ONE).cast(), 8) };
    }

    pub fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: the kernel writes the eight bytes.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }

    /// Sleeps until `duration` has passed or the wake is set.
    pub fn sleep(&self, duration: Duration) {
        self.is_set_within(duration);
    }

    /// As [`sleep`](Self::sleep); says whether the wake is set.
    pub fn is_set_within(&self, duration: Duration) -> bool {
        let mut entry = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let milliseconds = i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one entry, as announced. An early return does no harm.
        unsafe { libc::poll(&raw mut entry, 1, milliseconds) > 0 }
    }
}

static ONE: u64 = 1;

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Stack of our threads: virtual, of which they touch a few pages. Loading BPF objects is not among what they do.
const STACK_BYTES: usize = 256 * 1024;

/// Starts a thread with a small stack and every signal blocked: the process's signals are for its main thread, and an
/// ioctl that answers a target must not be interrupted. The kernel shows the first 15 bytes of `name`.
pub fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // SAFETY: the sets are plain data that the calls fill and read. A new thread inherits the mask of its creator, so
    // the mask is changed around the start and then put back.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let started = std::thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(body);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        started
    }
}

/// Nice value of a thread, or a session, that others wait for.
pub const URGENT: libc::c_int = -15;

/// Lets the calling thread run soon after it wakes, on a busy machine as well. A supervisor's own reference to a socket
/// goes only when it runs next: until then close(2) of the target does not close it.
pub fn raise_priority() {
    // SAFETY: plain integers; 0 is the calling thread. Without the privilege it stays as it is, which only is slower.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, URGENT) };
}

/// Has the calling thread wait for its turn: it does not interrupt whoever runs where it is woken, whatever its session's share
/// of the CPUs is.
pub fn wait_for_turns() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads the record; 0 is the calling thread. Needs no privilege.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
}
