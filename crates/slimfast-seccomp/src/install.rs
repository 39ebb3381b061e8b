//! Installs the filter on the calling thread and returns its listener.

use std::fmt;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use crate::filter::{self, Instruction};

const SECCOMP_SET_MODE_FILTER: libc::c_ulong = 1;
/// Leaves speculation settings alone: the filter is no sandbox, and the mitigation would slow the program down.
const FLAG_SPEC_ALLOW: libc::c_ulong = 1 << 2;
const FLAG_NEW_LISTENER: libc::c_ulong = 1 << 3;
/// Once the supervisor has taken a notification, only a fatal signal ends the wait (Linux 5.19), so that a signal
/// without SA_RESTART does not make socket(2) return EINTR, and Go's SIGURG storms do not make it start over.
///
/// Kernels before 6.17 that lack the fix "Fix a race with WAIT_KILLABLE_RECV if the tracer replies too fast" lose
/// the reply when a signal comes right after it: the target repeats the call and keeps the first descriptor, unknown
/// to it. Without the flag the same race exists and is wider, so the flag is used wherever it is known.
const FLAG_WAIT_KILLABLE_RECV: libc::c_ulong = 1 << 5;

#[repr(C)]
struct Program {
    length: libc::c_ushort,
    instructions: *const Instruction,
}

#[derive(Debug)]
pub enum InstallError {
    /// A task can have one listener, and somebody installed one before us.
    OtherListener,
    /// The kernel has no seccomp user notification.
    Unsupported(io::Error),
    Other(io::Error),
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InstallError::OtherListener => f.write_str(
                "another seccomp listener already watches this process (a container runtime's or a sandbox's notify \
                 profile), and the kernel allows one only: start the command outside of it, or give that runtime \
                 SlimFast's profile and socket instead",
            ),
            InstallError::Unsupported(source) => {
                write!(
                    f,
                    "the kernel has no seccomp user notification with injected descriptors (Linux 5.14): {source}"
                )
            }
            InstallError::Other(source) => write!(f, "seccomp: {source}"),
        }
    }
}

impl std::error::Error for InstallError {}

/// What [`install`] gives.
#[derive(Debug)]
pub struct Installed {
    /// CLOEXEC.
    pub listener: OwnedFd,
    /// Signals do not interrupt a call once its notification has been taken.
    pub is_wait_killable: bool,
}

/// Installs the filter on the calling thread; its later children inherit it.
///
/// With CAP_SYS_ADMIN no_new_privs stays as it is, so that setuid programs such as ping go on working; without it
/// the kernel demands no_new_privs, and it is set.
pub fn install() -> Result<Installed, InstallError> {
    let mut flags = FLAG_NEW_LISTENER | FLAG_SPEC_ALLOW | FLAG_WAIT_KILLABLE_RECV;
    loop {
        let error = match install_with(flags) {
            Ok(listener) => {
                return Ok(Installed { listener, is_wait_killable: flags & FLAG_WAIT_KILLABLE_RECV != 0 });
            }
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::EINVAL) if flags & FLAG_WAIT_KILLABLE_RECV != 0 => flags &= !FLAG_WAIT_KILLABLE_RECV,
            Some(libc::EACCES) if !no_new_privs() => set_no_new_privs().map_err(InstallError::Other)?,
            Some(libc::EBUSY) => return Err(InstallError::OtherListener),
            Some(libc::EINVAL | libc::ENOSYS) => return Err(InstallError::Unsupported(error)),
            _ => return Err(InstallError::Other(error)),
        }
    }
}

fn install_with(flags: libc::c_ulong) -> io::Result<OwnedFd> {
    let instructions = filter::program(filter::NATIVE);
    let program = Program { length: filter::LENGTH as libc::c_ushort, instructions: instructions.as_ptr() };
    // SAFETY: `program` and the instructions that it points to outlive the call, and are laid out as sock_fprog.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn no_new_privs() -> bool {
    // SAFETY: no pointers are passed.
    unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 }
}

fn set_no_new_privs() -> io::Result<()> {
    // SAFETY: no pointers are passed.
    match unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
