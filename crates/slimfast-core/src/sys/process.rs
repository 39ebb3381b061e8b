//! setsid(2), the session's share of the CPUs, and kill(2).

use std::io;

/// The process leaves its session and process group: signals to those do not reach it.
pub fn leave_session() {
    // SAFETY: no pointers are passed. Who leads a session already needs no other.
    unsafe { libc::setsid() };
}

/// Has the session of this process run before others, as a nice value does. Where the kernel shares the CPUs out among sessions
/// (`kernel.sched_autogroup_enabled`, the default of the distributions), a thread's own nice value counts within its session
/// only, and all of a keeper's threads together get no more than any other session.
pub fn raise_session(nice: i32) {
    // Without the privilege, or without such groups, it stays as it is, which only is slower.
    let _ = std::fs::write("/proc/self/autogroup", nice.to_string());
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
