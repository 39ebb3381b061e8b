//! Owns binding a TCP socket that will never be used for anything else.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A CLOEXEC TCP socket bound to `address` (an IPv6 wildcard takes IPv4 along), not listening. It shares its port with
/// nobody afterwards. `beside_connections`: sockets that have the port already do not count; needs CAP_NET_ADMIN.
pub fn bind_only(address: SocketAddr, beside_connections: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: plain call.
    let raw = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, libc::IPPROTO_TCP) };
    check(raw)?;
    // SAFETY: `raw` was just returned by socket(2) and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    if address.is_ipv6() {
        // The default is the administrator's (net.ipv6.bindv6only).
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    }
    if beside_connections {
        // A socket under repair may be bound anywhere; afterwards it counts as one without SO_REUSEADDR again.
        set(&socket, libc::IPPROTO_TCP, libc::TCP_REPAIR, 1)?;
    }
    bind(&socket, address)?;
    if beside_connections {
        set(&socket, libc::IPPROTO_TCP, libc::TCP_REPAIR, 0)?;
    }
    Ok(socket)
}

fn bind(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(address) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            bind_name(socket, &name)
        }
        SocketAddr::V6(address) => {
            let name = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            bind_name(socket, &name)
        }
    }
}

/// `T` is one of the kernel's socket address structures.
fn bind_name<T>(socket: &OwnedFd, name: &T) -> io::Result<()> {
    let length = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: `name` is a complete socket address of `length` bytes that outlives the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const *name).cast(), length) })
}

fn set(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes, which is the size of `value`.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) })
}

fn check(returned: libc::c_int) -> io::Result<()> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
