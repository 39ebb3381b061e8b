//! Owns extended attributes of files: setting one and asking whether it is there.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Gives `path` the attribute `name`, with a value that does not matter.
pub fn mark(path: &Path, name: &CStr) -> io::Result<()> {
    const VALUE: &[u8] = b"1";
    let path = c_path(path)?;
    // SAFETY: both names are NUL-terminated, the kernel reads as many bytes of the value as it has, and all outlive the
    // call.
    let returned = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), VALUE.as_ptr().cast(), VALUE.len(), 0) };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether `path` is there and has the attribute `name`.
pub fn is_marked(path: &Path, name: &CStr) -> bool {
    let Ok(path) = c_path(path) else { return false };
    // SAFETY: both names are NUL-terminated and outlive the call; with size 0 the kernel writes nothing.
    unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) >= 0 }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
