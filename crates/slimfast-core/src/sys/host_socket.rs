//! socket(2).

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

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
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    decline_fast_open(&socket)?;
    Ok(socket)
}

/// A Fast Open cookie would take the space of the option that says where the connection goes (bpf/options.bpf.h).
fn decline_fast_open(socket: &OwnedFd) -> Result<()> {
    let on: libc::c_int = 1;
    let length = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes, which is the size of `on`.
    let returned = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN_NO_COOKIE,
            (&raw const on).cast(),
            length,
        )
    };
    if returned < 0 { Err(Error::last_os("setsockopt", "prepare a host socket")) } else { Ok(()) }
}
