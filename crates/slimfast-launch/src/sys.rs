//! The raw calls: main without the standard library's start-up, setns, the dispenser's pair, execve.

use std::ffi::{CString, OsStr, OsString, c_char, c_int};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use slimfast_seccomp::protocol::DispenserName;

use crate::failure::Failure;

/// Where the dispenser's end goes in the command, if the limit allows: above what programs use and select(2) can hold.
const HIGH_DESCRIPTOR: u64 = 1000;

/// The C library calls this. Rust's own start-up is left out because it changes SIGPIPE.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    use std::os::unix::ffi::OsStringExt;
    let arguments = (1..count.max(1) as usize)
        // SAFETY: the C library passes `count` C strings.
        .map(|index| unsafe { std::ffi::CStr::from_ptr(*arguments.add(index)) })
        .map(|argument| OsString::from_vec(argument.to_bytes().to_vec()))
        .collect();
    crate::run(arguments)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Moves this process into the network namespace. Its mounts stay: /sys goes on to show the old namespace's devices,
/// and the cgroup mounts below it stay in sight.
pub(crate) fn enter_network(path: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let hint = match error.raw_os_error() {
            Some(libc::ENOENT) => ": the endpoint is gone",
            Some(libc::EINVAL) => ": that is not a network namespace",
            Some(libc::EPERM) => ": only root may start commands in an endpoint",
            _ => "",
        };
        Failure::launcher(format!("entering the network namespace {}: {error}{hint}", path.display()))
    };
    let namespace = File::open(path).map_err(failed)?;
    // SAFETY: no pointers are passed.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map_err(failed)?;
    Ok(())
}

/// The two ends of a dispenser: the agent's (CLOEXEC), the command's (at a high descriptor, kept by execve), and the
/// latter's name.
pub(crate) fn dispenser_pair() -> io::Result<(OwnedFd, OwnedFd, DispenserName)> {
    let mut pair = [-1; 2];
    // SAFETY: the kernel fills the two elements.
    check(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, pair.as_mut_ptr()) })?;
    // SAFETY: both were just made for us.
    let [agents_end, low] = pair.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    let commands_end = duplicate_high(&low)?;
    // SAFETY: all zeroes is a valid stat, and the kernel fills it.
    let status = unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        check(libc::fstat(commands_end.as_raw_fd(), &raw mut status))?;
        status
    };
    let name = DispenserName { fd: commands_end.as_raw_fd(), dev: status.st_dev, ino: status.st_ino };
    Ok((agents_end, commands_end, name))
}

/// A copy without CLOEXEC at [`HIGH_DESCRIPTOR`] or above, or as high as the limit on descriptors allows.
fn duplicate_high(fd: &OwnedFd) -> io::Result<OwnedFd> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the record.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    let highest = limit.rlim_cur.saturating_sub(1).min(HIGH_DESCRIPTOR) as c_int;
    let lowest = fd.as_raw_fd();
    // Under a low limit the highest number may be taken: then the next below that is free.
    for from in (lowest..=highest.max(lowest)).rev() {
        // SAFETY: no pointers are passed.
        match check(unsafe { libc::fcntl(lowest, libc::F_DUPFD, from) }) {
            // SAFETY: the descriptor was just made for us.
            Ok(copy) => return Ok(unsafe { OwnedFd::from_raw_fd(copy) }),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::EINVAL)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EMFILE))
}

/// Sets a variable of this process.
pub(crate) fn set_environment(name: &str, value: &OsStr) {
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var(name, value) };
}

/// Becomes the program. Returns only with the reason why not.
pub(crate) fn exec(program: &Path, command: &[OsString]) -> io::Error {
    let to_c = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::from);
    let prepared = to_c(program.as_os_str())
        .and_then(|path| Ok((path, command.iter().map(|a| to_c(a)).collect::<io::Result<Vec<_>>>()?)));
    let (path, arguments) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return error,
    };
    let mut pointers: Vec<*const c_char> = arguments.iter().map(|a| a.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // execvp, not execv: it starts a shell for a script without a first line that names its interpreter. The path has a
    // slash in it, so that nothing is searched again.
    // SAFETY: C strings, and an array of them that a null pointer ends; all of them outlive the call.
    unsafe { libc::execvp(path.as_ptr(), pointers.as_ptr()) };
    io::Error::last_os_error()
}
