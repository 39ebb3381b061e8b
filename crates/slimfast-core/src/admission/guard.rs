//! Whether a process that is let in is kept from io_uring, whose sockets seccomp does not see being made. A container whose
//! profile lacks our rules is let in all the same: such sockets are those of its own namespace. But it is reported.

use std::time::{Duration, Instant};

use slimfast_seccomp::filter::verdict::denies_io_uring;

use crate::sys::filters;

/// How long processes that remain of one that has ended may take to end, too, before they are reported.
const REMAINS: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Why it is to be reported; `None` if it is not. `pid`: as the runtime has sent it. `is_held`: whether any process has its
/// filter still. Looks for seconds where it must: a short command may have ended before its filters were read.
pub(super) fn complaint(pid: i64, is_held: impl Fn() -> bool) -> Option<String> {
    let filters = match libc::pid_t::try_from(pid) {
        Ok(pid @ 2..) => filters::of(pid),
        _ => Err(std::io::Error::other(format!("{pid} is no process of a container"))),
    };
    match filters {
        Ok(filters) if denies_io_uring(&filters) => None,
        Ok(_) => Some(format!(
            "process {pid} may use io_uring: its seccomp profile lacks SlimFast's rules, which `slimfast oci-profile` adds"
        )),
        Err(error) => {
            // EPERM: it is a zombie. Nobody who could use io_uring is left, unless it has left some behind.
            let has_ended = matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ECHILD | libc::EPERM));
            if has_ended && !is_held_for(REMAINS, is_held) {
                return None;
            }
            Some(format!("whether process {pid} may use io_uring is not known: its seccomp filters: {error}"))
        }
    }
}

fn is_held_for(duration: Duration, is_held: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while is_held() {
        if started.elapsed() > duration {
            return true;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    false
}
