//! seccomp user notification, seen from the supervisor: one type for the listener, plain values for the rest.
//!
//! The descriptor is one that another process made and handed over, so [`SeccompListener::new`] checks what it is.
//!
//! The kernel forgets what it has told once: a target whose notification was taken waits for that answer for ever, or until the
//! last descriptor of its listener is closed. So the kernel writes notifications into a page that whoever serves the listener
//! next can map as well: wherever this process is killed, what it has taken is there ([`SeccompListener::taken`]).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use super::shared_page::{PAGE_BYTES, SharedPage};

/// A seccomp listener: notifications of the processes under one filter.
#[derive(Debug)]
pub struct SeccompListener {
    fd: OwnedFd,
    is_wait_killable: bool,
    /// [`SLOTS`] records, each free or of one notification that was taken.
    page: SharedPage,
    /// What each slot is in use for: an id, [`RESERVED`], or 0.
    in_use: Mutex<[u64; SLOTS]>,
}

/// What another process needs to go on with a listener.
#[derive(Debug)]
pub struct ListenerCopy {
    pub fd: OwnedFd,
    pub page: OwnedFd,
}

/// More than can be answered at a time: one by the thread that takes them, and a few by threads of their own.
const SLOTS: usize = 16;
const RESERVED: u64 = u64::MAX;
const _: () = assert!(SLOTS * size_of::<RawNotification>() <= PAGE_BYTES);

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

impl From<RawNotification> for Notification {
    fn from(RawNotification { id, pid, nr, arch, args, .. }: RawNotification) -> Self {
        Self { id, pid, nr, arch, args }
    }
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

fn is_listener(fd: &OwnedFd) -> bool {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .is_ok_and(|target| target.as_os_str() == "anon_inode:seccomp notify")
}

impl SeccompListener {
    /// Takes a descriptor from another process; gives it back if it is no seccomp listener. `is_wait_killable`: its filter was
    /// installed so that signals do not interrupt a call once its notification has been taken.
    pub fn new(fd: OwnedFd, is_wait_killable: bool) -> Result<Self, OwnedFd> {
        if !is_listener(&fd) {
            return Err(fd);
        }
        match SharedPage::create() {
            Ok(page) => Ok(Self::with_page(fd, is_wait_killable, page)),
            Err(_) => Err(fd),
        }
    }

    fn with_page(fd: OwnedFd, is_wait_killable: bool, page: SharedPage) -> Self {
        SeccompListener { fd, is_wait_killable, page, in_use: Mutex::default() }
    }

    /// The listener that a process has served which is no more.
    pub fn resume(copy: ListenerCopy, is_wait_killable: bool) -> io::Result<Self> {
        let page = SharedPage::map(copy.page)?;
        if !is_listener(&copy.fd) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self::with_page(copy.fd, is_wait_killable, page))
    }

    /// Descriptors for whoever is to go on with it.
    pub fn copy(&self) -> io::Result<ListenerCopy> {
        Ok(ListenerCopy { fd: self.fd.try_clone()?, page: self.page.as_fd().try_clone_to_owned()? })
    }

    /// What the process that served it before has taken and not answered. To be called before anything else is taken.
    pub fn taken(&self) -> Vec<Notification> {
        // SAFETY: the slot is within the page, any bytes are a record, and nobody else writes there.
        let records = (0..SLOTS).map(|slot| unsafe { self.slot(slot).read_volatile() });
        records.filter(|raw| raw.id != 0 && self.is_valid(raw.id)).map(Notification::from).collect()
    }

    fn slot(&self, number: usize) -> *mut RawNotification {
        // SAFETY: the page has room for SLOTS records, and is aligned for them.
        unsafe { self.page.pointer().cast::<RawNotification>().add(number) }
    }

    fn reserve(&self) -> usize {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        // There is always one: see SLOTS.
        let slot = in_use.iter().position(|&id| id == 0).unwrap_or(0);
        in_use[slot] = RESERVED;
        slot
    }

    fn set_use(&self, slot: usize, id: u64) {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)[slot] = id;
    }

    /// The notification has been answered.
    fn release(&self, id: u64) {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in in_use.iter_mut().filter(|slot| **slot == id) {
            *slot = 0;
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
        let slot = self.reserve();
        let raw = self.slot(slot);
        // SAFETY: the slot is within the page, and this thread has reserved it. The kernel demands a zeroed record of this size,
        // and fills it.
        let taken = unsafe {
            raw.write_volatile(RawNotification::default());
            libc::ioctl(self.fd.as_raw_fd(), NOTIF_RECV, raw)
        };
        if taken == 0 {
            // SAFETY: as above.
            let notification = Notification::from(unsafe { raw.read_volatile() });
            self.set_use(slot, notification.id);
            return Ok(Some(notification));
        }
        let error = io::Error::last_os_error();
        self.set_use(slot, 0);
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
                if self.is_wait_killable {
                    return self.send(id, number.into(), 0);
                }
                self.release(id);
                return Ok(Answered::Delivered);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // EINPROGRESS: the notification is no longer one that waits for an answer.
                Some(libc::ENOENT | libc::EINPROGRESS | libc::ESRCH) => {
                    self.release(id);
                    return Ok(Answered::TargetGone);
                }
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
        self.release(id);
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
