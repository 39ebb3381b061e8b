//! Owns the raw calls on network namespaces: entering, leaving for a new one, the bind mounts that name them, and their
//! cookie. Knows nothing of names or directories; see [`crate::host::netns`].

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Moves the calling thread, and no other, into `namespace`.
pub fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain call on a descriptor that lives through it.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })
}

/// Moves the calling thread, and no other, into a network namespace of its own.
pub fn unshare() -> io::Result<()> {
    // SAFETY: plain call; CLONE_NEWNET changes nothing that Rust relies on.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
}

/// Bind-mounts `source` (a file or a directory) on `target`.
pub fn bind_mount(source: &Path, target: &Path, recursive: bool) -> io::Result<()> {
    let flags = libc::MS_BIND | if recursive { libc::MS_REC } else { 0 };
    mount(Some(&c_path(source)?), &c_path(target)?, flags)
}

/// Lets mounts below `target` spread to other mount namespaces. EINVAL when `target` is not a mount point.
pub fn make_shared(target: &Path) -> io::Result<()> {
    mount(None, &c_path(target)?, libc::MS_SHARED | libc::MS_REC)
}

/// Takes the mount on `target` away even if somebody still uses it. EINVAL when `target` is not a mount point.
pub fn unmount(target: &Path) -> io::Result<()> {
    let target = c_path(target)?;
    // SAFETY: `target` is NUL-terminated and outlives the call.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) })
}

/// [`cookie_of`] the namespace that the calling thread is in.
pub fn cookie_of_current_thread() -> io::Result<u64> {
    cookie_of(UnixDatagram::unbound()?.as_fd())
}

/// A number that the kernel gives to one network namespace until the next boot and never again (unlike its inode), of the
/// namespace that `socket` is in. 0 for a host socket of an endpoint, for which the programs hide it.
pub fn cookie_of(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut length = size_of_val(&cookie) as libc::socklen_t;
    let value = (&raw mut cookie).cast();
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `cookie`.
    check(unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, value, &raw mut length)
    })?;
    Ok(cookie)
}

fn mount(source: Option<&CStr>, target: &CStr, flags: libc::c_ulong) -> io::Result<()> {
    let source = source.unwrap_or(c"none");
    // SAFETY: every string is NUL-terminated and outlives the call; no data is passed.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), c"none".as_ptr(), flags, std::ptr::null()) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn check(returned: libc::c_int) -> io::Result<()> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
