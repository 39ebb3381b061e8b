//! The door through which containers come: a unix socket that speaks the OCI seccomp-agent protocol.
//!
//! A runtime or our launcher connects, hands over the seccomp listener of the processes that it is about to start, and
//! says by its metadata which endpoint they belong to. Admission checks who connects (root only) and what it brings,
//! then starts the supervisor and, for the preload tier, the dispenser, and keeps their handles.
//!
//! Threads: one that accepts; one per connection, short-lived and bounded in number, so that a slow peer delays nobody;
//! those of the supervisors and dispensers. The callback that looks the metadata up and the receiver of the events must
//! not wait for this type. The lock on [`Held`] is never kept while a thread is joined.
#![deny(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::counters::HandoutCounters;
use crate::dispenser::{Dispenser, Filled};
use crate::error::{Error, Result};
use crate::owner::{EndpointKey, SocketSources};
use crate::supervisor::{RefillRequests, Refiller, Supervisor};
use crate::sys::seccomp::{ListenerCopy, SeccompListener};
use crate::sys::unix::{bind_private, is_unix_seqpacket, peer_credentials, wait_readable};
use crate::sys::wake::{Wake, spawn};

mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod guard;
mod state;

/// Connections that are read at the same time. Another waits in the socket's backlog.
const MAX_CONNECTIONS: usize = 32;
/// Pause after accept(2) failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a launcher waits at most for its dispenser to fill up, which takes less than a millisecond.
const FILL_TIMEOUT: Duration = Duration::from_millis(200);

/// Finds the endpoint that a hand-over's metadata names. Called on connection threads.
pub type Lookup = dyn Fn(&str) -> Option<EndpointKey> + Send + Sync;

/// How long it waits at most for the agent's copy of what it has handed over, without which a keeper that is killed takes the sockets of
/// its command with it.
const COPY_TIMEOUT: Duration = Duration::from_secs(1);

/// What the owner of the node wants to know about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdmissionEvent {
    /// A process tree is served from now on.
    Admitted { endpoint: EndpointKey, pid: i64, dispenser: bool },
    /// It may use io_uring, or that is not known. `reason` is for a log.
    Unguarded { endpoint: EndpointKey, reason: String },
    /// A hand-over was refused. Its TCP sockets will fail with ENOSYS. `reason` is for a log.
    Refused { reason: String },
    /// The last process under the endpoint's last listener has ended.
    Idle(EndpointKey),
}

/// The admission socket and everything that was admitted through it.
#[derive(Debug)]
pub struct Admission {
    shared: Arc<Shared>,
    path: PathBuf,
    thread: JoinHandle<()>,
    refiller: Refiller,
}

struct Shared {
    lookup: Box<Lookup>,
    sources: Arc<dyn SocketSources>,
    counters: Arc<HandoutCounters>,
    refills: RefillRequests,
    /// None once admission has stopped, whatever threads still hold this record.
    events: Mutex<Option<Sender<AdmissionEvent>>>,
    wake: Wake,
    held: Mutex<Held>,
    /// Somebody has got a copy, or nobody gets any more.
    copied: Condvar,
    next_number: AtomicU64,
    connections: Mutex<usize>,
    connection_ended: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// The handles of what was admitted, by endpoint and running number.
#[derive(Default)]
struct Held {
    endpoints: HashMap<EndpointKey, Endpoint>,
    /// Agents that get copies.
    followers: usize,
    /// Nothing is admitted any more.
    stopped: bool,
}

#[derive(Default)]
struct Endpoint {
    listeners: HashMap<u64, Served>,
    dispensers: HashMap<u64, Dispenser>,
    /// Of the listeners, those of processes that may use io_uring.
    unguarded: HashSet<u64>,
}

struct Served {
    supervisor: Supervisor,
    pid: i64,
    is_wait_killable: bool,
    is_copied: bool,
}

/// What of a hand-over another keeper has to be told to go on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handed {
    pub endpoint: EndpointKey,
    pub pid: i64,
    pub is_wait_killable: bool,
    pub is_unguarded: bool,
}

/// A hand-over once more, with descriptors of its own: a keeper that is killed takes nothing with it of which there is one.
#[derive(Debug)]
pub struct HandedCopy {
    pub handed: Handed,
    pub listener: ListenerCopy,
    pub dispenser: Option<OwnedFd>,
}

/// What is held for an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holding {
    pub listeners: usize,
    pub dispensers: usize,
    /// Of the listeners, those of processes that may use io_uring, or of which that is not known.
    pub unguarded: usize,
}

impl Endpoint {
    fn holding(&self) -> Holding {
        Holding { listeners: self.listeners.len(), dispensers: self.dispensers.len(), unguarded: self.unguarded.len() }
    }
}

/// A hand-over whose descriptors have been checked.
struct HandOver {
    endpoint: EndpointKey,
    pid: i64,
    is_wait_killable: bool,
    listener: SeccompListener,
    dispenser: Option<OwnedFd>,
}

impl Admission {
    /// Listens at `path`, replacing the socket of an agent that is gone.
    pub fn start(
        path: &Path,
        lookup: Box<Lookup>,
        sources: Arc<dyn SocketSources>,
        events: Sender<AdmissionEvent>,
    ) -> Result<Self> {
        let socket = listen(path)?;
        let wake = Wake::new().map_err(|e| Error::system("eventfd", "starting admission", e))?;
        let refiller = Refiller::start()?;
        let shared = Arc::new(Shared {
            lookup,
            sources,
            counters: Arc::default(),
            refills: refiller.requests(),
            events: Mutex::new(Some(events)),
            wake,
            held: Mutex::default(),
            copied: Condvar::new(),
            next_number: AtomicU64::new(0),
            connections: Mutex::new(0),
            connection_ended: Condvar::new(),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            spawn("sf-admission".into(), move || accept_loop(&shared, &socket))
        }
        .map_err(|e| {
            let _ = std::fs::remove_file(path);
            Error::system("clone", "starting admission", e)
        })?;
        Ok(Admission { shared, path: path.to_owned(), thread, refiller })
    }

    /// The endpoint is gone: its processes get ENETDOWN from socket(2) until they end, its dispensers close.
    pub fn stop_endpoint(&self, endpoint: EndpointKey) {
        if let Some(endpoint) = lock(&self.shared.held).endpoints.get(&endpoint) {
            endpoint.listeners.values().for_each(|served| served.supervisor.detach());
            endpoint.dispensers.values().for_each(Dispenser::detach);
        }
    }

    /// How many listeners and dispensers are held for the endpoint.
    pub fn held(&self, endpoint: EndpointKey) -> (usize, usize) {
        let held = lock(&self.shared.held);
        held.endpoints.get(&endpoint).map_or((0, 0), |e| (e.listeners.len(), e.dispensers.len()))
    }

    /// What is held, by endpoints that have any.
    pub fn all_held(&self) -> HashMap<EndpointKey, Holding> {
        lock(&self.shared.held).endpoints.iter().map(|(&key, endpoint)| (key, endpoint.holding())).collect()
    }

    /// Numbers of the hand-overs whose processes are still there.
    pub fn numbers(&self) -> Vec<u64> {
        lock(&self.shared.held).endpoints.values().flat_map(|endpoint| endpoint.listeners.keys()).copied().collect()
    }

    /// For an agent to keep; `None` if its processes have ended.
    pub fn copy(&self, number: u64) -> Option<HandedCopy> {
        let held = lock(&self.shared.held);
        let find = |(&key, endpoint): (&EndpointKey, &Endpoint)| {
            let Served { supervisor, pid, is_wait_killable, .. } = endpoint.listeners.get(&number)?;
            let is_unguarded = endpoint.unguarded.contains(&number);
            let handed = Handed { endpoint: key, pid: *pid, is_wait_killable: *is_wait_killable, is_unguarded };
            let dispenser = endpoint.dispensers.get(&number).and_then(Dispenser::copy);
            Some(HandedCopy { handed, listener: supervisor.copy()?, dispenser })
        };
        held.endpoints.iter().find_map(find)
    }

    /// The copy of that number has arrived, or is on its way and does not need this process any more.
    pub fn note_copied(&self, number: u64) {
        let mut held = lock(&self.shared.held);
        for endpoint in held.endpoints.values_mut() {
            if let Some(served) = endpoint.listeners.get_mut(&number) {
                served.is_copied = true;
            }
        }
        drop(held);
        self.shared.copied.notify_all();
    }

    /// An agent gets copies of all that is handed over from now on.
    pub fn add_follower(&self) {
        lock(&self.shared.held).followers += 1;
    }

    /// It does not any more.
    pub fn remove_follower(&self) {
        lock(&self.shared.held).followers -= 1;
        self.shared.copied.notify_all();
    }

    /// Goes on with what a keeper that is no more has served, its unanswered calls first. Of an endpoint that is not there any more,
    /// processes get ENETDOWN.
    pub fn resume(&self, copy: HandedCopy) -> Result<()> {
        let HandedCopy { handed, listener, dispenser } = copy;
        let listener = SeccompListener::resume(listener, handed.is_wait_killable)
            .map_err(|error| Error::system("mmap", "going on with a seccomp listener", error))?;
        self.shared.serve(listener, dispenser, handed)?;
        if handed.is_unguarded {
            self.shared.counters.admission_unguarded.add_one();
        }
        Ok(())
    }

    pub fn counters(&self) -> &HandoutCounters {
        &self.shared.counters
    }

    /// Ends everything, waits for it, and drops the sender of events. Processes that still run get ENOSYS from socket(2) for TCP.
    pub fn stop(self) {
        let endpoints = {
            let mut held = lock(&self.shared.held);
            held.stopped = true;
            std::mem::take(&mut held.endpoints)
        };
        self.shared.wake.set();
        self.shared.connection_ended.notify_all();
        self.shared.copied.notify_all();
        // A panic has been printed by the thread itself and there is nothing left to undo.
        let _ = self.thread.join();
        for endpoint in endpoints.values() {
            endpoint.listeners.values().for_each(|served| served.supervisor.stop());
            endpoint.dispensers.values().for_each(Dispenser::stop);
        }
        for endpoint in endpoints.into_values() {
            endpoint.listeners.into_values().for_each(|served| served.supervisor.join());
            endpoint.dispensers.into_values().for_each(Dispenser::join);
        }
        drop(self.refiller);
        lock(&self.shared.events).take();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds `path`. A socket file that nobody listens on any more is replaced.
fn listen(path: &Path) -> Result<UnixListener> {
    let context = || format!("listening for containers at {}", path.display());
    match bind_private(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => {
            let reason = format!("{} is too long for a unix socket (107 bytes)", path.display());
            return Err(Error::invalid("seccompSocket", reason));
        }
        other => return other.map_err(|e| Error::system("bind", context(), e)),
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) => return Err(Error::system("connect", context(), error)),
        Ok(stream) => {
            let holder = match peer_credentials(stream.as_fd()) {
                Ok((_, pid)) => format!("process {pid}"),
                Err(_) => "another process".into(),
            };
            return Err(Error::Conflict { what: format!("the socket {}", path.display()), holder });
        }
    }
    std::fs::remove_file(path).map_err(|e| Error::system("unlink", context(), e))?;
    bind_private(path).map_err(|e| Error::system("bind", context(), e))
}

fn accept_loop(shared: &Arc<Shared>, socket: &UnixListener) {
    while wait_readable(socket.as_fd(), shared.wake.as_fd()).unwrap_or(true) {
        let stream = match socket.accept() {
            Ok((stream, _)) => stream,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::EINTR)) => continue,
            Err(_) => {
                shared.wake.sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        // The file's mode says so already; a socket file whose mode was changed must not open the door.
        if !matches!(peer_credentials(stream.as_fd()), Ok((0, _))) {
            shared.counters.admission_not_root.add_one();
            continue;
        }
        if !shared.begin_connection() {
            return;
        }
        let body = {
            let shared = Arc::clone(shared);
            move || {
                // Counted down by drop, so that a panic can not use the connections up.
                let _slot = Slot(&shared);
                connection::serve(&shared, &stream);
            }
        };
        if spawn("sf-admit".into(), body).is_err() {
            shared.end_connection();
            shared.wake.sleep(ACCEPT_PAUSE);
        }
    }
}

struct Slot<'a>(&'a Shared);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.end_connection();
    }
}

impl Shared {
    /// Waits until there is room for a connection; false once admission has stopped.
    fn begin_connection(&self) -> bool {
        let mut connections = lock(&self.connections);
        loop {
            if lock(&self.held).stopped {
                return false;
            }
            if *connections < MAX_CONNECTIONS {
                *connections += 1;
                return true;
            }
            connections = self.connection_ended.wait(connections).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end_connection(&self) {
        *lock(&self.connections) -= 1;
        self.connection_ended.notify_one();
    }

    fn report(&self, event: AdmissionEvent) {
        if let Some(events) = lock(&self.events).as_ref() {
            // Nobody listens any more while the node is being closed.
            let _ = events.send(event);
        }
    }

    /// Starts to serve. On an error nothing is left of the hand-over.
    fn admit(self: &Arc<Self>, hand_over: HandOver) -> Result<()> {
        let HandOver { endpoint, pid, is_wait_killable, listener, dispenser } = hand_over;
        let handed = Handed { endpoint, pid, is_wait_killable, is_unguarded: false };
        let (number, filled) = self.serve(listener, dispenser, handed)?;
        if let Some(filled) = &filled {
            // So that the first sockets of a short command come from the dispenser already.
            filled.wait(FILL_TIMEOUT);
        }
        self.counters.admission_admitted.add_one();
        self.report(AdmissionEvent::Admitted { endpoint, pid, dispenser: filled.is_some() });
        self.wait_until_copied(endpoint, number);
        // Served already: a process that does not stop to be looked at is not kept waiting, nor what it has started.
        if let Some(reason) = guard::complaint(pid, || self.is_held(endpoint, number)) {
            self.note_unguarded(endpoint, number, reason);
        }
        Ok(())
    }

    /// Starts the threads. The number is that of the hand-over.
    fn serve(
        self: &Arc<Self>,
        listener: SeccompListener,
        dispenser: Option<OwnedFd>,
        handed: Handed,
    ) -> Result<(u64, Option<Filled>)> {
        let Handed { endpoint, pid, is_wait_killable, is_unguarded } = handed;
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        // Kept until both threads are entered: they report their end through the same lock.
        let mut held = lock(&self.held);
        if held.stopped {
            return Err(Error::Closed);
        }
        let started = dispenser.map(|queue| self.start_dispenser(queue, endpoint, number)).transpose()?;
        let (dispenser, filled) = started.unzip();
        let supervisor = {
            let shared = Arc::clone(self);
            let (sources, counters) = (Arc::clone(&self.sources), Arc::clone(&self.counters));
            let refills = self.refills.clone();
            Supervisor::start(listener, endpoint, sources, counters, refills, move |_| {
                shared.listener_ended(endpoint, number)
            })
        };
        let supervisor = supervisor.inspect_err(|_| {
            if let Some(dispenser) = &dispenser {
                dispenser.stop();
            }
        })?;
        let entry = held.endpoints.entry(endpoint).or_default();
        entry.listeners.insert(number, Served { supervisor, pid, is_wait_killable, is_copied: false });
        entry.dispensers.extend(dispenser.map(|d| (number, d)));
        entry.unguarded.extend(is_unguarded.then_some(number));
        Ok((number, filled))
    }

    /// Returns early if there is nobody to get a copy.
    fn wait_until_copied(&self, endpoint: EndpointKey, number: u64) {
        let is_due = |held: &mut Held| {
            let served = held.endpoints.get(&endpoint).and_then(|entry| entry.listeners.get(&number));
            !held.stopped && held.followers > 0 && served.is_some_and(|served| !served.is_copied)
        };
        // Late comes to the same: an agent that is stopped must not keep containers from starting.
        drop(self.copied.wait_timeout_while(lock(&self.held), COPY_TIMEOUT, is_due));
    }

    fn is_held(&self, endpoint: EndpointKey, number: u64) -> bool {
        lock(&self.held).endpoints.get(&endpoint).is_some_and(|entry| entry.listeners.contains_key(&number))
    }

    fn note_unguarded(&self, endpoint: EndpointKey, number: u64, reason: String) {
        // It may have ended meanwhile. It is told all the same: what it did is not known.
        let mut held = lock(&self.held);
        if let Some(entry) = held.endpoints.get_mut(&endpoint).filter(|entry| entry.listeners.contains_key(&number)) {
            entry.unguarded.insert(number);
        }
        drop(held);
        self.counters.admission_unguarded.add_one();
        self.report(AdmissionEvent::Unguarded { endpoint, reason });
    }

    fn start_dispenser(
        self: &Arc<Self>,
        queue: OwnedFd,
        endpoint: EndpointKey,
        number: u64,
    ) -> Result<(Dispenser, Filled)> {
        let shared = Arc::clone(self);
        let (sources, counters) = (Arc::clone(&self.sources), Arc::clone(&self.counters));
        Dispenser::start(queue, endpoint, sources, counters, move || {
            if let Some(entry) = lock(&shared.held).endpoints.get_mut(&endpoint) {
                entry.dispensers.remove(&number);
            }
        })
    }

    fn listener_ended(&self, endpoint: EndpointKey, number: u64) {
        let idle = {
            let mut held = lock(&self.held);
            let Some(entry) = held.endpoints.get_mut(&endpoint) else { return };
            entry.listeners.remove(&number);
            entry.unguarded.remove(&number);
            // The dispenser came with the same processes. A copy of its other end that was smuggled out must not live on.
            if let Some(dispenser) = entry.dispensers.remove(&number) {
                dispenser.stop();
            }
            let idle = entry.listeners.is_empty();
            if idle {
                held.endpoints.remove(&endpoint);
            }
            idle
        };
        if idle {
            self.report(AdmissionEvent::Idle(endpoint));
        }
    }
}

/// Checks what the descriptors are.
fn check_fds(
    endpoint: EndpointKey,
    pid: i64,
    listener: OwnedFd,
    is_wait_killable: bool,
    dispenser: Option<OwnedFd>,
) -> std::result::Result<HandOver, String> {
    let listener = SeccompListener::new(listener, is_wait_killable)
        .map_err(|_| "seccompFd is not a seccomp listener".to_owned())?;
    if dispenser.as_ref().is_some_and(|queue| !is_unix_seqpacket(queue.as_fd())) {
        return Err("slimfastDispenserFd is not a SOCK_SEQPACKET unix socket".into());
    }
    Ok(HandOver { endpoint, pid, is_wait_killable, listener, dispenser })
}

/// A panic in another thread can not leave the maps half changed: nothing that may panic runs under the locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
