//! socket(2).

use std::os::fd::{FromRawFd, OwnedFd};

use crate::error::{Error, Result};
use crate::owner::Family;

/// A blocking, close-on-exec TCP socket of the calling thread's network namespace.
pub fn tcp_socket(family: Family) -> Result<OwnedFd> {
    let domain = match family {
        Family::Inet => libc::AF_INET,
        Family::Inet6 => libc::AF_INET6,
    };
    // SAFETY: socket(2) takes plain integers.
    let fd = unsafe { libc::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, libc::IPPROTO_TCP) };
    if fd < 0 {
        return Err(Error::last_os("socket", "create a host socket"));
    }
    // SAFETY: a fresh descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
