//! setsid(2) and kill(2).

use std::io;

/// The process leaves its session and process group: signals to those do not reach it.
pub fn leave_session() {
    // SAFETY: no pointers are passed. Who leads a session already needs no other.
    unsafe { libc::setsid() };
}

/// Kills a process; that it has gone already is fine.
pub fn kill(pid: u32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: plain integers.
    if unsafe { libc::kill(pid, libc::SIGKILL) } < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) };
    }
    Ok(())
}
