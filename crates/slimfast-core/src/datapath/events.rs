//! Reads the ring of connection events on a thread of its own, and hands them on in batches. Connections beyond a rate come as
//! counts: the programs tell nobody of them.
//!
//! The thread looks [`POLL`] after its last look; the programs wake it earlier only when much is waiting. Batches go into a
//! bounded queue: when its reader is slow, events are dropped and counted, and nothing waits.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libbpf_rs::{MapHandle, RingBufferBuilder};

use super::bpf_error;
use super::listing::Connection;
use super::passed_over::{EventClass, PassedOver};
use super::records::{read_record, sf_connection, sf_event_kind};
use crate::error::{Error, Result};

/// How long an event waits at most before it is read.
const POLL: Duration = Duration::from_millis(20);

/// How long counts of what was passed over wait at most.
const COUNTS: Duration = Duration::from_secs(1);

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    Opened,
    Accepted,
    Closed,
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionEvent {
    pub kind: EventKind,
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    pub connection: Connection,
    /// Of [`EventKind::Refused`]: errno as the application saw it.
    pub errno: Option<i32>,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pub events: Vec<ConnectionEvent>,
    /// Events that were not told one by one, since the last time.
    pub passed_over: Vec<(EventClass, u64)>,
}

/// Takes what was read; called on the reader's thread, never with nothing.
pub type Sink = Box<dyn Fn(Told) + Send>;

/// The reader's thread. Dropping it ends the thread.
pub struct EventReader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EventReader {
    /// `ring` is the map `events`, `passed_over` the map of that name.
    pub fn start(ring: MapHandle, passed_over: MapHandle, sink: Sink) -> Result<Self> {
        let passed_over = PassedOver::new(passed_over)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("sf-events".into())
            .spawn(move || read(&ring, passed_over, &sink, &stopped, &ready))
            .map_err(|source| Error::system("clone", "start the thread that reads events", source))?;
        let reader = Self { stop, thread: Some(thread) };
        started.recv().unwrap_or(Err(Error::Closed))?;
        Ok(reader)
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook; there is nothing to undo.
            let _ = thread.join();
        }
    }
}

fn read(
    ring: &MapHandle,
    mut counts: PassedOver,
    sink: &Sink,
    stop: &AtomicBool,
    ready: &std::sync::mpsc::SyncSender<Result<()>>,
) {
    let batch = RefCell::new(Vec::new());
    let clock = Clock::now();
    let mut builder = RingBufferBuilder::new();
    let built = builder
        .add(ring, |bytes| {
            batch.borrow_mut().extend(read_record(bytes).and_then(|record| decode(&record, &clock)));
            0
        })
        .and(Ok(()))
        .and_then(|()| builder.build());
    let buffer = match built {
        Ok(buffer) => buffer,
        Err(error) => {
            let _ = ready.send(Err(bpf_error("open the ring of events", &error)));
            return;
        }
    };
    let _ = ready.send(Ok(()));
    let mut counted = Instant::now();
    while !stop.load(Ordering::Acquire) {
        // epoll returns early when the programs wake us; a look at the ring is due in either case.
        let _ = buffer.poll(POLL);
        let _ = buffer.consume();
        let mut told = Told { events: std::mem::take(&mut *batch.borrow_mut()), passed_over: Vec::new() };
        if counted.elapsed() >= COUNTS {
            counted = Instant::now();
            // What cannot be read now is read the next time.
            told.passed_over = counts.take().unwrap_or_default();
        }
        if told != Told::default() {
            sink(told);
        }
    }
}

/// Turns the programs' CLOCK_MONOTONIC into wall-clock time, by the difference when it was made.
struct Clock {
    epoch_at_zero_ns: u64,
}

impl Clock {
    fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { epoch_at_zero_ns: (wall.saturating_sub(crate::sys::clock::monotonic())).as_nanos() as u64 }
    }

    fn wall_ns(&self, monotonic_ns: u64) -> u64 {
        self.epoch_at_zero_ns + monotonic_ns
    }
}

fn decode(record: &sf_connection, clock: &Clock) -> Option<ConnectionEvent> {
    let kind = match sf_event_kind(u32::from(record.kind)) {
        sf_event_kind::SF_EVENT_OPENED => EventKind::Opened,
        sf_event_kind::SF_EVENT_ACCEPTED => EventKind::Accepted,
        sf_event_kind::SF_EVENT_CLOSED => EventKind::Closed,
        sf_event_kind::SF_EVENT_REFUSED => EventKind::Refused,
        _ => return None,
    };
    Some(ConnectionEvent {
        kind,
        time_ns: clock.wall_ns(record.time_ns),
        connection: Connection::from_record(record),
        errno: (kind == EventKind::Refused).then_some(record.error as i32),
    })
}
