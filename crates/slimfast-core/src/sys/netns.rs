//! Owns the raw calls on network namespaces: entering, leaving for a new one, the bind mounts that name them, and their
//! cookie. Knows nothing of names or directories; see [`crate::host::netns`].

use std::ffi::{CStr, CString};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `SO_NETNS_COOKIE` of asm-generic/socket.h (Linux 5.14).
const SO_NETNS_COOKIE: libc::c_int = 71;

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

/// A number that the kernel gives to one network namespace until the next boot and never again (unlike its inode).
pub fn cookie_of_current_thread() -> io::Result<u64> {
    // SAFETY: plain call.
    let raw = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    check(raw)?;
    // SAFETY: `raw` was just returned by socket(2) and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    let mut cookie = 0u64;
    let mut length = mem::size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `cookie`.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
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
