//! Whether a process that is let in is kept from io_uring, whose sockets seccomp does not see being made. A container whose
//! profile lacks our rules is let in all the same: such sockets are those of its own namespace. But it is reported.

use slimfast_seccomp::filter::verdict::denies_io_uring;

use crate::sys::filters;

/// Why it is to be reported; `None` if it is not. `pid`: as the runtime has sent it.
pub(super) fn complaint(pid: i64) -> Option<String> {
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
            Some(format!("whether process {pid} may use io_uring is not known: its seccomp filters: {error}"))
        }
    }
}
