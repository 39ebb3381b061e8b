//! socket(2).

use std::io;
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
    if family == Family::Inet6 {
        // The default is the administrator's (net.ipv6.bindv6only), and the underlay is IPv4 (bpf/options.bpf.h).
        prepare(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    }
    // Time stamps of packets come without the packets, whose headers show underlay addresses.
    prepare(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, libc::SOF_TIMESTAMPING_OPT_TSONLY as libc::c_int)?;
    Ok(socket)
}

/// setsockopt(2) with a value that is bytes.
pub fn set_bytes(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `length` bytes, which is the size of `value`.
    let returned = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), length) };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn prepare(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> Result<()> {
    set_bytes(socket, level, option, &value.to_ne_bytes())
        .map_err(|source| Error::system("setsockopt", "prepare a host socket", source))
}
