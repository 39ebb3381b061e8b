//! A page of memory that outlives the process: whoever has its descriptor can map it as well.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

pub const PAGE_BYTES: usize = 4096;

/// One page, mapped as long as this lives. All bytes are 0 at first.
#[derive(Debug)]
pub struct SharedPage {
    fd: OwnedFd,
    address: NonNull<libc::c_void>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and only raw pointers into it are given out.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

impl SharedPage {
    pub fn create() -> io::Result<Self> {
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"slimfast".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor; nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: no pointers are passed.
        let is_sized = unsafe {
            libc::ftruncate(fd.as_raw_fd(), PAGE_BYTES as libc::off_t) == 0
                && libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) == 0
        };
        if is_sized { Self::map(fd) } else { Err(io::Error::last_os_error()) }
    }

    /// The page that another process has made. One that could become shorter while it is mapped is refused.
    pub fn map(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
        if seals < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: no pointers are passed.
        let length = unsafe { libc::lseek(fd.as_raw_fd(), 0, libc::SEEK_END) };
        if seals & libc::F_SEAL_SHRINK == 0 || length != PAGE_BYTES as libc::off_t {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), PAGE_BYTES, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        match NonNull::new(address) {
            Some(address) if address.as_ptr() != libc::MAP_FAILED => Ok(Self { fd, address }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Its first byte; aligned to the page.
    pub fn pointer(&self) -> *mut u8 {
        self.address.as_ptr().cast()
    }
}

impl AsFd for SharedPage {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and whoever has a pointer into it borrows this.
        unsafe { libc::munmap(self.address.as_ptr(), PAGE_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_writes_another_reads() {
        let page = SharedPage::create().unwrap();
        let other = SharedPage::map(page.as_fd().try_clone_to_owned().unwrap()).unwrap();
        // SAFETY: both are mapped, and nobody else has them.
        unsafe {
            assert_eq!(other.pointer().add(PAGE_BYTES - 1).read_volatile(), 0);
            page.pointer().add(PAGE_BYTES - 1).write_volatile(7);
            assert_eq!(other.pointer().add(PAGE_BYTES - 1).read_volatile(), 7);
        }
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(SharedPage::map(file.into()).is_err());
        // SAFETY: the name is a C string, and the descriptor is new.
        let unsealed = unsafe { OwnedFd::from_raw_fd(libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC)) };
        assert!(SharedPage::map(unsealed).is_err());
    }
}
