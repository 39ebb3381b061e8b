//! seccomp user notification, seen from the supervisor: one type for the listener, plain values for the rest.
//!
//! The descriptor is one that another process made and handed over, so [`SeccompListener::new`] checks what it is.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A seccomp listener: notifications of the processes under one filter.
#[derive(Debug)]
pub struct SeccompListener {
    fd: OwnedFd,
    is_wait_killable: bool,
}

/// One call of a target that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    pub id: u64,
    /// As seen from our pid namespace; 0 if it is not visible there.
    pub pid: u32,
    pub nr: i32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    pub args: [u64; 6],
}

/// Outcome of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    Delivered,
    /// The target was killed, or a signal took it out of the call, before the answer reached it.
    TargetGone,
}

/// What [`SeccompListener::wait`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ready {
    pub notification: bool,
    /// No process is left under the filter.
    pub ended: bool,
    pub woken: bool,
}

// include/uapi/linux/seccomp.h
#[repr(C)]
#[derive(Default)]
struct RawNotification {
    id: u64,
    pid: u32,
    flags: u32,
    nr: i32,
    arch: u32,
    instruction_pointer: u64,
    args: [u64; 6],
}

#[repr(C)]
struct RawResponse {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

#[repr(C)]
struct RawAddFd {
    id: u64,
    flags: u32,
    source: u32,
    target: u32,
    target_flags: u32,
}

const IOC_WRITE: u64 = 1;
const IOC_READ: u64 = 2;
const fn request<T>(direction: u64, number: u64) -> libc::Ioctl {
    (direction << 30 | (size_of::<T>() as u64) << 16 | (b'!' as u64) << 8 | number) as libc::Ioctl
}
const NOTIF_RECV: libc::Ioctl = request::<RawNotification>(IOC_READ | IOC_WRITE, 0);
const NOTIF_SEND: libc::Ioctl = request::<RawResponse>(IOC_READ | IOC_WRITE, 1);
const NOTIF_ID_VALID: libc::Ioctl = request::<u64>(IOC_WRITE, 2);
const NOTIF_ADDFD: libc::Ioctl = request::<RawAddFd>(IOC_WRITE, 3);
const NOTIF_SET_FLAGS: libc::Ioctl = request::<u64>(IOC_WRITE, 4);
const ADDFD_FLAG_SEND: u32 = 1 << 1;
const FD_SYNC_WAKE_UP: u64 = 1;

impl SeccompListener {
    /// Takes a descriptor from another process; gives it back if it is no seccomp listener. `is_wait_killable`: its filter was
    /// installed so that signals do not interrupt a call once its notification has been taken.
    pub fn new(fd: OwnedFd, is_wait_killable: bool) -> Result<Self, OwnedFd> {
        match std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())) {
            Ok(target) if target.as_os_str() == "anon_inode:seccomp notify" => {
                Ok(SeccompListener { fd, is_wait_killable })
            }
            _ => Err(fd),
        }
    }

    /// Lets the kernel run supervisor and target on one CPU in turn, which saves waking another (Linux 6.6). False if
    /// the kernel does not know it.
    pub fn set_sync_wake_up(&self) -> bool {
        // SAFETY: the argument of this ioctl is the value itself.
        unsafe { libc::ioctl(self.fd.as_raw_fd(), NOTIF_SET_FLAGS, FD_SYNC_WAKE_UP) == 0 }
    }

    /// Waits for a notification, the end of the listener, or `wake` to become readable.
    pub fn wait(&self, wake: BorrowedFd<'_>) -> io::Result<Ready> {
        let entry = |fd: BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut entries = [entry(self.fd.as_fd()), entry(wake)];
        // SAFETY: `entries` is an array of the given length.
        if unsafe { libc::poll(entries.as_mut_ptr(), 2, -1) } < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(Ready::default()) } else { Err(error) };
        }
        Ok(Ready {
            notification: entries[0].revents & libc::POLLIN != 0,
            ended: entries[0].revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0,
            woken: entries[1].revents != 0,
        })
    }

    /// Takes the next notification. To be called when [`wait`](Self::wait) saw one, since kernels before 6.11 would
    /// otherwise block for ever once the last process has gone. `None` if the target disappeared in between: wait
    /// again, which also notices the listener's end, so that this can not spin.
    pub fn receive(&self) -> io::Result<Option<Notification>> {
        let mut raw = RawNotification::default();
        // SAFETY: the kernel demands a zeroed record of this size, and fills it.
        if unsafe { libc::ioctl(self.fd.as_raw_fd(), NOTIF_RECV, &raw mut raw) } == 0 {
            let RawNotification { id, pid, nr, arch, args, .. } = raw;
            return Ok(Some(Notification { id, pid, nr, arch, args }));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::EINTR) => Ok(None),
            _ => Err(error),
        }
    }

    /// Whether the target of `id` still waits.
    pub fn is_valid(&self, id: u64) -> bool {
        // SAFETY: the kernel reads one u64.
        unsafe { libc::ioctl(self.fd.as_raw_fd(), NOTIF_ID_VALID, &raw const id) == 0 }
    }

    /// Moves `fd` into the target and lets its call return the number that it has there. On an error (the target's EMFILE,
    /// say) nothing was installed and the target still waits for its answer.
    ///
    /// In two steps where that is safe, between which our own reference goes: what the target then does with the socket, a
    /// close above all, has its effect at once. Where a signal could come between them, and leave the target with a
    /// descriptor that it knows nothing of, in one (docs/adr/0022-descriptors-in-two-steps.md).
    pub fn hand_over(&self, id: u64, fd: OwnedFd, cloexec: bool) -> io::Result<Answered> {
        let one_step = if self.is_wait_killable { 0 } else { ADDFD_FLAG_SEND };
        let raw = RawAddFd {
            id,
            flags: one_step,
            source: fd.as_raw_fd() as u32,
            target: 0,
            target_flags: if cloexec { libc::O_CLOEXEC as u32 } else { 0 },
        };
        loop {
            // SAFETY: the kernel reads one record of this size.
            let number = unsafe { libc::ioctl(self.fd.as_raw_fd(), NOTIF_ADDFD, &raw const raw) };
            if number >= 0 {
                drop(fd);
                return if self.is_wait_killable { self.send(id, number.into(), 0) } else { Ok(Answered::Delivered) };
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // EINPROGRESS: the notification is no longer one that waits for an answer.
                Some(libc::ENOENT | libc::EINPROGRESS | libc::ESRCH) => return Ok(Answered::TargetGone),
                _ => return Err(error),
            }
        }
    }

    /// Lets the target's call fail with `errno`.
    pub fn send_error(&self, id: u64, errno: i32) -> io::Result<Answered> {
        self.send(id, 0, -errno)
    }

    fn send(&self, id: u64, value: i64, error: i32) -> io::Result<Answered> {
        let mut raw = RawResponse { id, value, error, flags: 0 };
        loop {
            // SAFETY: the kernel reads one record of this size.
            if unsafe { libc::ioctl(self.fd.as_raw_fd(), NOTIF_SEND, &raw mut raw) } == 0 {
                return Ok(Answered::Delivered);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ENOENT | libc::EINPROGRESS) => return Ok(Answered::TargetGone),
                _ => return Err(error),
            }
        }
    }
}
