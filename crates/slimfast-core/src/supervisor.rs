//! The notify tier: one thread per seccomp listener, which answers each socket(2) of its targets with a host socket.
//!
//! The thread waits for nobody but its listener: sockets come from a small pool, which another thread refills after it has
//! answered (`refiller.rs`). It decides nothing about where a socket may go (the BPF hooks do), and it
//! never lets a call continue: whatever it can not serve gets an errno that an application expects.
//!
//! It ends when no process is left under the filter, which it reports once, or when it is told to stop. After
//! [`Supervisor::detach`] it stays and answers ENETDOWN, because closing the listener would turn socket(2) into
//! ENOSYS for programs that still run.
#![deny(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::counters::HandoutCounters;
use crate::error::{Error, Result};
use crate::owner::{EndpointKey, SocketSources, Tier};
use crate::sys::cpu::Place;
use crate::sys::seccomp::{Answered, ListenerCopy, Notification, SeccompListener};
use crate::sys::unix::set_nonblocking;
use crate::sys::wake::{Wake, raise_priority, spawn};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod interface;
mod pool;
mod refiller;
mod request;

use interface::Interfaces;
use pool::Pool;
pub use refiller::{RefillRequests, Refiller};
use request::Request;

/// The last process under a listener has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerEnded {
    pub endpoint: EndpointKey,
}

/// Handle of a supervisor's thread. Dropping it leaves the thread alone.
#[derive(Debug)]
pub struct Supervisor {
    control: Arc<Control>,
    listener: Weak<SeccompListener>,
    thread: JoinHandle<()>,
}

/// How a worker thread of an endpoint is told what to do. Shared with the dispenser.
#[derive(Debug)]
pub(crate) struct Control {
    state: AtomicU8,
    wake: Wake,
}

/// After a failure that has no business to happen, so that it can not become a busy loop.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);

const SERVING: u8 = 0;
const DETACHED: u8 = 1;
const STOPPED: u8 = 2;

impl Control {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let wake = Wake::new().map_err(|e| Error::system("eventfd", "starting an endpoint's thread", e))?;
        Ok(Arc::new(Control { state: AtomicU8::new(SERVING), wake }))
    }

    fn raise(&self, to: u8) {
        self.state.fetch_max(to, Ordering::Release);
        self.wake.set();
    }

    pub(crate) fn detach(&self) {
        self.raise(DETACHED);
    }

    pub(crate) fn stop(&self) {
        self.raise(STOPPED);
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.state.load(Ordering::Acquire) == SERVING
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state.load(Ordering::Acquire) == STOPPED
    }

    pub(crate) fn wake(&self) -> &Wake {
        &self.wake
    }
}

impl Supervisor {
    /// Starts the thread. `on_end` is called on it when the last process under the filter has ended, and not after
    /// [`stop`](Self::stop).
    pub fn start(
        listener: SeccompListener,
        endpoint: EndpointKey,
        sources: Arc<dyn SocketSources>,
        counters: Arc<HandoutCounters>,
        refills: RefillRequests,
        on_end: impl FnOnce(ListenerEnded) + Send + 'static,
    ) -> Result<Self> {
        let control = Control::new()?;
        let follows_target = listener.set_sync_wake_up();
        let listener = Arc::new(listener);
        let served = Arc::downgrade(&listener);
        let body = {
            let control = Arc::clone(&control);
            move || {
                raise_priority();
                let pool =
                    sources.for_endpoint(endpoint, Tier::Notify).map(|source| Arc::new(Pool::new(Arc::from(source))));
                let interfaces = Interfaces::default();
                let place = follows_target.then(Place::of_this_thread);
                let mut worker = Worker { listener, control, counters, pool, refills, interfaces, place };
                let ended = worker.run();
                // The listener goes before the report: whoever hears of the end finds nothing of it left.
                drop(worker);
                if ended {
                    on_end(ListenerEnded { endpoint });
                }
            }
        };
        let thread = spawn(format!("sfn-{}.{}", endpoint.vni, endpoint.id), body)
            .map_err(|e| Error::system("clone", "starting a supervisor thread", e))?;
        Ok(Supervisor { control, listener: served, thread })
    }

    /// For whoever is to go on with the listener; `None` if it has ended, or there are no descriptors left.
    pub fn copy(&self) -> Option<ListenerCopy> {
        self.listener.upgrade()?.copy().ok()
    }

    /// The endpoint is gone: from now on every call gets ENETDOWN.
    pub fn detach(&self) {
        self.control.detach();
    }

    /// Ends the thread, which closes the listener: the targets' calls fail with ENOSYS from then on.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Waits for the thread's end.
    pub fn join(self) {
        // A panic has been printed by the thread itself and there is nothing left to undo.
        let _ = self.thread.join();
    }
}

struct Worker {
    listener: Arc<SeccompListener>,
    control: Arc<Control>,
    counters: Arc<HandoutCounters>,
    /// The error is the one of every call.
    pool: Result<Arc<Pool>>,
    refills: RefillRequests,
    interfaces: Interfaces,
    /// On its target's CPU; `None` where notifications do not wake it there.
    place: Option<Place>,
}

impl Worker {
    /// True if the listener ended, false if the thread was told to stop.
    fn run(&mut self) -> bool {
        for notification in self.listener.taken() {
            self.answer(&notification);
        }
        loop {
            if let Ok(pool) = &self.pool {
                self.refills.refill(pool);
            }
            let ready = match self.listener.wait(self.control.wake().as_fd()) {
                Ok(ready) => ready,
                // poll(2) on valid descriptors fails for lack of memory only.
                Err(_) => {
                    self.control.wake().sleep(PAUSE_AFTER_FAILURE);
                    continue;
                }
            };
            if ready.woken {
                self.control.wake().clear();
                if self.control.is_stopped() {
                    return false;
                }
                // Detached: what was prepared is of no use any more.
                self.close_pool();
                continue;
            }
            if ready.notification {
                match self.listener.receive() {
                    Ok(Some(notification)) => self.answer(&notification),
                    Ok(None) => {}
                    // The notification is still there, so poll(2) would report it again at once.
                    Err(_) => self.control.wake().sleep(PAUSE_AFTER_FAILURE),
                }
            } else if ready.ended {
                return true;
            }
        }
    }

    /// Also takes it from the refiller, should that have it.
    fn close_pool(&mut self) {
        if let Ok(pool) = std::mem::replace(&mut self.pool, Err(Error::Closed)) {
            pool.close();
        }
    }

    fn answer(&mut self, notification: &Notification) {
        self.counters.notify_notifications.add_one();
        let (errno, counter) = match Request::of(notification) {
            Request::Refuse(errno) => (errno, &self.counters.notify_refused),
            Request::Interface(call) => {
                match self.interfaces.answer(&self.listener, notification, call, &self.counters) {
                    Ok(()) => return,
                    Err(errno) => (errno, &self.counters.interface_refused),
                }
            }
            Request::Create { .. } if !self.control.is_serving() => (libc::ENETDOWN, &self.counters.notify_detached),
            Request::Create { family, nonblocking, cloexec } => {
                let created = match &self.pool {
                    Ok(pool) => pool.take(family, &self.counters),
                    Err(error) => Err(visible_errno(error)),
                };
                match created {
                    Ok(socket) => match self.hand_over(notification.id, socket, nonblocking, cloexec) {
                        Ok(answered) => return self.count_socket(answered),
                        Err(error) => {
                            let errno = error.raw_os_error().unwrap_or(libc::ENOBUFS);
                            (errno, &self.counters.notify_install_failed)
                        }
                    },
                    Err(libc::ENETDOWN) => (libc::ENETDOWN, &self.counters.notify_detached),
                    Err(errno) => (errno, &self.counters.notify_create_failed),
                }
            }
        };
        match self.listener.send_error(notification.id, errno) {
            Ok(Answered::Delivered) => counter.add_one(),
            Ok(Answered::TargetGone) | Err(_) => self.counters.notify_target_gone.add_one(),
        }
    }

    fn hand_over(&mut self, id: u64, socket: OwnedFd, nonblocking: bool, cloexec: bool) -> io::Result<Answered> {
        if nonblocking {
            set_nonblocking(socket.as_fd())?;
        }
        if let Some(place) = &mut self.place {
            place.stay();
        }
        let answered = self.listener.hand_over(id, socket, cloexec);
        if let Some(place) = &mut self.place {
            place.answered();
        }
        answered
    }

    fn count_socket(&self, answered: Answered) {
        match answered {
            Answered::Delivered => self.counters.notify_handed_out.add_one(),
            Answered::TargetGone => self.counters.notify_target_gone.add_one(),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close_pool();
    }
}

/// What an application sees when creating its socket failed.
fn visible_errno(error: &Error) -> i32 {
    match error {
        Error::NotFound { .. } | Error::Closed => libc::ENETDOWN,
        Error::System { .. } => match error.errno() {
            // The agent's own limit is, for the application, the machine's.
            Some(libc::EMFILE | libc::ENFILE) => libc::ENFILE,
            Some(errno @ (libc::ENOMEM | libc::ENOBUFS | libc::EAFNOSUPPORT)) => errno,
            _ => libc::ENOBUFS,
        },
        Error::Invalid { .. } | Error::Unsupported { .. } | Error::Conflict { .. } => libc::ENOBUFS,
    }
}
