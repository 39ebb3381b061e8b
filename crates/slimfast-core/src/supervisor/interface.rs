//! ioctl(2) about interfaces: on a host socket it would show the node's, so it is refused; on any other socket of the
//! container it is done in the target's place, on a copy of the descriptor. Letting the call continue after a look at the
//! socket would be no check: another thread of the target could put a host socket under the number in between.
//!
//! Each request has a thread of its own, since the target's memory may be one that makes its reader wait (userfaultfd,
//! FUSE): that holds up nothing but the target, and a few at a time of them at most.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crate::counters::HandoutCounters;
use crate::sys::netns;
use crate::sys::seccomp::{Notification, SeccompListener};
use crate::sys::target::{SIOCGIFCONF, Target, interface_list, interface_request};
use crate::sys::wake::spawn;

/// Requests of one listener that are answered at the same time.
const MAX_AT_ONCE: usize = 8;
/// Longest list of interfaces: 1,600 of them.
const MAX_LIST_BYTES: usize = 64 * 1024;
/// `struct ifconf` on 64-bit machines: length, padding, pointer.
const IFCONF_BYTES: usize = 16;

/// What reads: name, flags, addresses (own, of the other end, broadcast), mask, metric, MTU, hardware address, index,
/// queue length, map. Their argument is a `struct ifreq`.
const READS: [u32; 12] =
    [0x8910, 0x8913, 0x8915, 0x8917, 0x8919, 0x891b, 0x891d, 0x8921, 0x8927, 0x8933, 0x8942, 0x8970];

/// The requests of one listener.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    running: Arc<AtomicUsize>,
}

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InterfaceCall {
    pub descriptor: i32,
    pub command: u32,
    pub argument: u64,
}

impl Interfaces {
    /// Answers on another thread. The error is the errno to answer here instead.
    pub(super) fn answer(
        &self,
        listener: &Arc<SeccompListener>,
        notification: &Notification,
        call: InterfaceCall,
        counters: &Arc<HandoutCounters>,
    ) -> Result<(), i32> {
        if self.running.fetch_add(1, Ordering::Relaxed) >= MAX_AT_ONCE {
            self.running.fetch_sub(1, Ordering::Relaxed);
            return Err(libc::ENOBUFS);
        }
        let running = Running(Arc::clone(&self.running));
        let (listener, counters, notification) = (Arc::downgrade(listener), Arc::clone(counters), *notification);
        let body = move || {
            let _running = running;
            let errno = perform(&listener, &notification, call).err().unwrap_or(0);
            if errno != 0 {
                counters.interface_refused.add_one();
            }
            // The listener may have been closed meanwhile, or the target be gone: there is nobody to tell.
            if let Some(listener) = listener.upgrade() {
                let _ = listener.send_error(notification.id, errno);
            }
        };
        spawn("sf-interface".into(), body).map(drop).map_err(|_| libc::ENOBUFS)
    }
}

/// Counted down by drop, so that a thread that could not be started counts as well.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn perform(listener: &Weak<SeccompListener>, notification: &Notification, call: InterfaceCall) -> Result<(), i32> {
    if call.command != SIOCGIFCONF && !READS.contains(&call.command) {
        return Err(libc::EPERM);
    }
    let target = Target::open(notification.pid).map_err(|_| libc::EPERM)?;
    if !listener.upgrade().is_some_and(|listener| listener.is_valid(notification.id)) {
        return Err(libc::EINTR);
    }
    let socket = target.descriptor(call.descriptor).map_err(|_| libc::EBADF)?;
    // No socket, or a device such as a tunnel: what does not know its namespace is not asked.
    let cookie = netns::cookie_of(socket.as_fd()).map_err(|_| libc::ENOTTY)?;
    // This thread is in the node's namespace.
    if cookie == 0 || cookie == netns::cookie_of_current_thread().map_err(|_| libc::ENOBUFS)? {
        return Err(libc::EPERM);
    }
    if call.command == SIOCGIFCONF { list(&target, &socket, call.argument) } else { one(&target, &socket, call) }
}

fn one(target: &Target, socket: &OwnedFd, call: InterfaceCall) -> Result<(), i32> {
    let mut request = [0; 40];
    target.read(call.argument, &mut request).map_err(|_| libc::EFAULT)?;
    interface_request(socket.as_fd(), call.command, &mut request).map_err(|e| errno(&e))?;
    target.write(call.argument, &request).map_err(|_| libc::EFAULT)
}

fn list(target: &Target, socket: &OwnedFd, argument: u64) -> Result<(), i32> {
    let mut request = [0; IFCONF_BYTES];
    target.read(argument, &mut request).map_err(|_| libc::EFAULT)?;
    let (length, pointer) = request.split_at(8);
    let length = i32::from_ne_bytes(length[..4].try_into().map_err(|_| libc::EFAULT)?);
    let pointer = u64::from_ne_bytes(pointer.try_into().map_err(|_| libc::EFAULT)?);
    let length = usize::try_from(length).map_err(|_| libc::EINVAL)?;
    let used = if pointer == 0 {
        interface_list(socket.as_fd(), None).map_err(|e| errno(&e))?
    } else {
        let mut list = vec![0; length.min(MAX_LIST_BYTES)];
        let used = interface_list(socket.as_fd(), Some(&mut list)).map_err(|e| errno(&e))?.min(list.len());
        target.write(pointer, &list[..used]).map_err(|_| libc::EFAULT)?;
        used
    };
    target.write(argument, &(used as i32).to_ne_bytes()).map_err(|_| libc::EFAULT)
}

fn errno(error: &std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EINVAL)
}
