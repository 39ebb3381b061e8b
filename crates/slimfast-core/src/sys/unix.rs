//! Unix sockets: what the standard library lacks for admission and the dispensers, and waiting on a socket beside a wake.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

const LISTEN_BACKLOG: i32 = 128;

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Sets O_NONBLOCK on a fresh socket, which has no other status flag to keep.
pub fn set_nonblocking(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers are passed.
    check(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, libc::O_RDWR | libc::O_NONBLOCK) }).map(|_| ())
}

/// The uid and pid of the process that connected.
pub fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<(u32, i32)> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let value = (&raw mut credentials).cast();
    // SAFETY: the kernel writes at most `length` bytes.
    check(unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, value, &raw mut length)
    })?;
    Ok((credentials.uid, credentials.pid))
}

fn int_option(socket: BorrowedFd<'_>, option: i32) -> io::Result<i32> {
    let mut value = 0i32;
    let mut length = size_of::<i32>() as libc::socklen_t;
    let at = (&raw mut value).cast();
    // SAFETY: the kernel writes at most `length` bytes.
    check(unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, at, &raw mut length) })?;
    Ok(value)
}

/// Whether the descriptor is a unix socket of type SOCK_SEQPACKET.
pub fn is_unix_seqpacket(socket: BorrowedFd<'_>) -> bool {
    matches!(int_option(socket, libc::SO_DOMAIN), Ok(libc::AF_UNIX))
        && matches!(int_option(socket, libc::SO_TYPE), Ok(libc::SOCK_SEQPACKET))
}

/// The kernel doubles the value.
pub fn set_send_buffer(socket: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    let at = (&raw const bytes).cast();
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, at, length) }).map(|_| ())
}

/// What the peer has not received yet, as the kernel accounts for it: more than its payload.
pub fn unread_bytes(socket: BorrowedFd<'_>) -> io::Result<i32> {
    let mut bytes = 0i32;
    // SAFETY: the kernel writes an int.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(bytes)
}

/// The peer can no longer send to us.
pub fn shutdown_receiving(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers are passed.
    check(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RD) }).map(|_| ())
}

/// What [`wait_writable`] found. Nothing, if a signal came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Writable {
    pub writable: bool,
    pub hung_up: bool,
    pub woken: bool,
}

/// Waits until the socket can be written, its peer is gone, or `wake` is readable.
pub fn wait_writable(socket: BorrowedFd<'_>, wake: BorrowedFd<'_>) -> io::Result<Writable> {
    let mut entries = [entry(socket, libc::POLLOUT), entry(wake, libc::POLLIN)];
    if !poll(&mut entries)? {
        return Ok(Writable::default());
    }
    Ok(Writable {
        writable: entries[0].revents & libc::POLLOUT != 0,
        hung_up: entries[0].revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0,
        woken: entries[1].revents != 0,
    })
}

/// Waits until `socket` is readable (true) or `wake` is (false).
pub fn wait_readable(socket: BorrowedFd<'_>, wake: BorrowedFd<'_>) -> io::Result<bool> {
    let mut entries = [entry(socket, libc::POLLIN), entry(wake, libc::POLLIN)];
    while !poll(&mut entries)? {}
    Ok(entries[1].revents == 0)
}

fn entry(fd: BorrowedFd<'_>, events: i16) -> libc::pollfd {
    libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
}

/// False if a signal ended the wait.
fn poll(entries: &mut [libc::pollfd]) -> io::Result<bool> {
    // SAFETY: `entries` is an array of the given length.
    match check(unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, -1) }) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

/// A unix stream listener whose file has mode 0600 from the moment it exists, whatever the umask is.
pub fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let bytes = path.as_os_str().as_bytes();
    // SAFETY: all zeroes is a valid sockaddr_un.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    // The last byte stays 0.
    if bytes.len() >= address.sun_path.len() || bytes.contains(&0) {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    // SAFETY: no pointers are passed.
    let fd = check(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the kernel just gave us this descriptor; nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // bind(2) gives the file the mode of the socket's inode.
    // SAFETY: no pointers are passed.
    check(unsafe { libc::fchmod(socket.as_raw_fd(), 0o600) })?;
    let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: the address outlives the call and has this length.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    // SAFETY: no pointers are passed.
    check(unsafe { libc::listen(socket.as_raw_fd(), LISTEN_BACKLOG) })?;
    Ok(UnixListener::from(socket))
}
