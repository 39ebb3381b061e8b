//! Another process, held: its descriptors and its memory, for answering one of its calls in its place.
//!
//! Open first, then ask whether the notification is still valid: only then is it certain that the number was not given
//! to another process in between.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// `PIDFD_THREAD` (Linux 6.9): the thread's own table of descriptors, which it may not share with its process.
const PIDFD_THREAD: libc::c_long = libc::O_EXCL as libc::c_long;
/// The list of interfaces.
pub const SIOCGIFCONF: u32 = 0x8912;

/// A process or thread that stays the same one for as long as this is held.
#[derive(Debug)]
pub struct Target {
    pidfd: OwnedFd,
    memory: File,
}

impl Target {
    /// `pid`: of a thread, as notifications have it.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pidfd = pidfd_open(pid, PIDFD_THREAD).or_else(|_| pidfd_open(process_of(pid)?, 0))?;
        let memory = OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"))?;
        Ok(Target { pidfd, memory })
    }

    /// A copy of one of its descriptors.
    pub fn descriptor(&self, number: i32) -> io::Result<OwnedFd> {
        // SAFETY: plain integers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.pidfd.as_raw_fd(), number, 0) };
        owned(fd)
    }

    pub fn read(&self, address: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.memory.read_exact_at(bytes, address)
    }

    pub fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.write_all_at(bytes, address)
    }
}

fn pidfd_open(pid: u32, flags: libc::c_long) -> io::Result<OwnedFd> {
    // SAFETY: plain integers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) })
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The process that a thread belongs to.
fn process_of(thread: u32) -> io::Result<u32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status"))?;
    let process = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    process.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// An ioctl whose argument is a `struct ifreq`.
pub fn interface_request(socket: BorrowedFd<'_>, command: u32, request: &mut [u8; 40]) -> io::Result<()> {
    // SAFETY: the kernel reads and writes one ifreq of 40 bytes; commands of that kind only come here.
    let returned = unsafe { libc::ioctl(socket.as_raw_fd(), command as libc::Ioctl, request.as_mut_ptr()) };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// SIOCGIFCONF: fills `list` and returns how many bytes of it; without one, how many there would be.
pub fn interface_list(socket: BorrowedFd<'_>, list: Option<&mut [u8]>) -> io::Result<usize> {
    let (length, pointer) = list.map_or((0, std::ptr::null_mut()), |list| (list.len(), list.as_mut_ptr()));
    let mut request = libc::ifconf {
        ifc_len: length as libc::c_int,
        ifc_ifcu: libc::__c_anonymous_ifc_ifcu { ifcu_buf: pointer.cast() },
    };
    // SAFETY: the request points to `length` bytes that outlive the call.
    let returned = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGIFCONF as libc::Ioctl, &raw mut request) };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(request.ifc_len.max(0) as usize) }
}
