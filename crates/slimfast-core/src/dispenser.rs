//! The preload tier: one thread per dispenser, which keeps its queue full of ready host sockets.
//!
//! A dispenser is a SOCK_SEQPACKET pair. The container's end is read by the preloaded library; ours carries one
//! AF_INET socket in each message, whose single byte of payload is [`MESSAGE`]. recvmsg(2) in the target installs the
//! lowest free descriptor and honours CLOEXEC; the kernel's queue makes it safe across threads and processes. A
//! reader that finds the queue empty falls through to the notify tier, so nothing here has to be in time.
//!
//! The queue's depth is that of our send buffer. The kernel reports a unix socket as writable once at most a quarter of the
//! buffer is in use, so the thread sleeps until about three quarters of the sockets are taken and then makes that many in
//! one go, [`BATCH`] at a time. Falling through costs a call more than ten sockets do, so the thread runs before others
//! when it is woken, and a queue that ran dry meanwhile gets twice its depth, from [`FIRST_DEPTH`] to [`LARGEST_DEPTH`]:
//! an idle container holds few sockets, and a busy one never runs out ([ADR 21](../../../docs/adr/0021-dispenser-in-batches.md)).
//!
//! Each socket is closed here as soon as it is sent: for as long as we hold it, too, its target's close(2) is not the last
//! one, and neither its peer nor its port hears of it ([ADR 37](../../../docs/adr/0037-sent-sockets-are-closed-at-once.md)).
//!
//! The thread ends when the container's last copy of its end is closed, after detach, or when it is told to stop. What
//! is queued then stays with the container's end; the endpoint's records decide what such a socket can still do.
#![deny(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use slimfast_seccomp::scm;

use crate::counters::HandoutCounters;
use crate::error::{Error, Result};
use crate::owner::{EndpointKey, Family, SocketSource, SocketSources, Tier};
use crate::supervisor::Control;
use crate::sys::unix::{is_unix_seqpacket, set_send_buffer, shutdown_receiving, unread_bytes, wait_writable};
use crate::sys::wake::{raise_priority, spawn};

/// Payload of every message: what the descriptor is. A reader that does not know the byte closes the descriptor.
pub const MESSAGE: u8 = b'4';

/// Sockets in the queue of a container that has not asked for many yet.
const FIRST_DEPTH: i32 = 64;
/// Most sockets in a queue.
const LARGEST_DEPTH: i32 = 512;

/// A queued message of one byte is accounted with the size of its buffer, 768 bytes on 64-bit machines.
const MESSAGE_BYTES: i32 = 768;

/// Sockets that are made before any of them is sent.
const BATCH: usize = 32;

/// Pauses after a socket could not be created or sent: from the first, doubling, to the longest.
const FIRST_BACK_OFF: Duration = Duration::from_millis(5);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(1);

/// Handle of a dispenser's thread. Dropping it leaves the thread alone.
#[derive(Debug)]
pub struct Dispenser {
    control: Arc<Control>,
    queue: Weak<OwnedFd>,
    thread: JoinHandle<()>,
}

/// Tells when a dispenser's queue is full for the first time, or never will be.
#[derive(Debug)]
pub struct Filled(Receiver<()>);

impl Filled {
    /// Returns early if the thread ends.
    pub fn wait(&self, at_most: Duration) {
        // Full, ended and late come to the same: the caller goes on.
        let _ = self.0.recv_timeout(at_most);
    }
}

impl Dispenser {
    /// Starts the thread on the agent's end of a pair. `on_end` is called on it unless it was told to
    /// [`stop`](Self::stop).
    pub fn start(
        queue: OwnedFd,
        endpoint: EndpointKey,
        sources: Arc<dyn SocketSources>,
        counters: Arc<HandoutCounters>,
        on_end: impl FnOnce() + Send + 'static,
    ) -> Result<(Self, Filled)> {
        if !is_unix_seqpacket(queue.as_fd()) {
            return Err(Error::invalid("slimfastDispenserFd", "is not a SOCK_SEQPACKET unix socket"));
        }
        set_depth(&queue, FIRST_DEPTH).map_err(|e| Error::system("setsockopt", "preparing a dispenser", e))?;
        // The container has nothing to tell us, and must not fill our queue with descriptors.
        shutdown_receiving(queue.as_fd()).map_err(|e| Error::system("shutdown", "preparing a dispenser", e))?;
        let control = Control::new()?;
        let (full, filled) = channel();
        let queue = Arc::new(queue);
        let served = Arc::downgrade(&queue);
        let body = {
            let control = Arc::clone(&control);
            move || {
                raise_priority();
                if let Ok(source) = sources.for_endpoint(endpoint, Tier::Preload) {
                    dispense(&queue, source.as_ref(), &control, &counters, full);
                }
                drop(queue);
                if !control.is_stopped() {
                    on_end();
                }
            }
        };
        let thread = spawn(format!("sfd-{}.{}", endpoint.vni, endpoint.id), body)
            .map_err(|e| Error::system("clone", "starting a dispenser thread", e))?;
        Ok((Dispenser { control, queue: served, thread }, Filled(filled)))
    }

    /// For whoever is to go on with it; `None` if it has ended, or there are no descriptors left.
    pub fn copy(&self) -> Option<OwnedFd> {
        self.queue.upgrade()?.try_clone().ok()
    }

    /// The endpoint is gone: the thread closes its end.
    pub fn detach(&self) {
        self.control.detach();
    }

    /// As [`detach`](Self::detach), without the report.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Waits for the thread's end.
    pub fn join(self) {
        // A panic has been printed by the thread itself and there is nothing left to undo.
        let _ = self.thread.join();
    }
}

/// Outcome of one attempt to put sockets into the queue.
enum Sent {
    /// That many, at least one.
    Some(usize),
    QueueFull,
    /// Nobody can read the queue any more.
    Closed,
    /// Short of memory, or too many descriptors are in flight.
    Later,
}

/// The kernel doubles what is asked of SO_SNDBUF.
fn set_depth(queue: &OwnedFd, sockets: i32) -> io::Result<()> {
    set_send_buffer(queue.as_fd(), sockets * MESSAGE_BYTES / 2)
}

fn dispense(
    queue: &OwnedFd,
    source: &dyn SocketSource,
    control: &Control,
    counters: &HandoutCounters,
    full: Sender<()>,
) {
    let mut not_full_yet = Some(full);
    // Made, and not in the queue yet.
    let mut made = Vec::with_capacity(BATCH);
    let mut depth = FIRST_DEPTH;
    let mut has_waited = false;
    let mut back_off = FIRST_BACK_OFF;
    while control.is_serving() {
        // No more than there is room for: what is made and cannot be sent holds descriptors of ours while the thread sleeps.
        let room = room_in(queue, depth);
        let outcome = match make(&mut made, room, source) {
            Ok(()) if made.is_empty() => Sent::QueueFull,
            Ok(()) => {
                // Before any batch of this refill, not only the first: that one was made before the wait.
                if has_waited && matches!(unread_bytes(queue.as_fd()), Ok(0)) {
                    has_waited = false;
                    counters.preload_ran_dry.add_one();
                    depth = (depth * 2).min(LARGEST_DEPTH);
                    // The kernel cuts it to net.core.wmem_max.
                    let _ = set_depth(queue, depth);
                }
                send(queue, &mut made)
            }
            Err(Error::NotFound { .. } | Error::Closed) => return,
            Err(_) => Sent::Later,
        };
        match outcome {
            Sent::Some(count) => {
                counters.preload_dispensed.add(count as u64);
                back_off = FIRST_BACK_OFF;
            }
            Sent::QueueFull => {
                // Dropped the first time, which is the sign.
                not_full_yet.take();
                match wait_writable(queue.as_fd(), control.wake().as_fd()) {
                    Ok(ready) if ready.hung_up => return,
                    Ok(_) => {}
                    Err(_) => control.wake().sleep(back_off),
                }
                has_waited = true;
            }
            Sent::Closed => return,
            Sent::Later => {
                counters.preload_back_offs.add_one();
                control.wake().sleep(back_off);
                back_off = (back_off * 2).min(LONGEST_BACK_OFF);
            }
        }
    }
}

/// How many sockets a queue of this depth can take now, as far as can be told.
fn room_in(queue: &OwnedFd, depth: i32) -> usize {
    let queued = unread_bytes(queue.as_fd()).map_or(0, |bytes| bytes / MESSAGE_BYTES);
    usize::try_from(depth - queued).unwrap_or(0)
}

/// Fills `made` up to a batch, or to what there is room for. An error only if nothing could be made.
fn make(made: &mut Vec<OwnedFd>, room: usize, source: &dyn SocketSource) -> Result<()> {
    while made.len() < room.min(BATCH) {
        match source.create(Family::Inet) {
            Ok(socket) => made.push(socket),
            Err(error @ (Error::NotFound { .. } | Error::Closed)) => return Err(error),
            Err(error) if made.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(())
}

/// Sends what is made, one after the other, and closes what is sent.
fn send(queue: &OwnedFd, made: &mut Vec<OwnedFd>) -> Sent {
    let mut count = 0;
    while let Some(socket) = made.last() {
        match scm::send(queue.as_fd(), &[MESSAGE], &[socket.as_fd()], libc::MSG_DONTWAIT) {
            Ok(_) => {
                made.pop();
                count += 1;
            }
            Err(error) if count == 0 => return classify(&error),
            Err(_) => break,
        }
    }
    Sent::Some(count)
}

fn classify(error: &io::Error) -> Sent {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => Sent::QueueFull,
        Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN | libc::ECONNREFUSED) => Sent::Closed,
        // ETOOMANYREFS, ENOBUFS, ENOMEM and whatever else a kernel may think of: the reader has the notify tier.
        _ => Sent::Later,
    }
}
