//! Events on their way to the agent.
//!
//! Bounded: connections beyond a rate are passed over ([`super::thinning`]), and when the agent does not keep up, the newest
//! events are dropped. Both are counted. Pushing never waits for a reader.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::thinning::{EventClass, Thinning};
use crate::datapath::events::ConnectionEvent;
use crate::owner::EndpointKey;

/// Events that wait at most: about 8 MiB.
const CAPACITY: usize = 32_768;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEvent {
    Connection(Box<ConnectionEvent>),
    /// The last process under the endpoint's last seccomp listener has ended.
    Idle(EndpointKey),
    /// A container was refused. For a log.
    Refused {
        reason: String,
    },
}

/// What waited in the queue.
#[derive(Debug, Default)]
pub struct Batch {
    pub events: Vec<NodeEvent>,
    /// Events passed over or dropped since the node was opened.
    pub dropped: u64,
    /// Of those, what was passed over since the last batch.
    pub passed_over: Vec<(EventClass, u64)>,
}

type Waker = Box<dyn Fn() + Send>;

pub struct EventQueue(Mutex<Queue>);

struct Queue {
    events: VecDeque<NodeEvent>,
    dropped: u64,
    thinning: Thinning,
    waker: Option<Waker>,
}

impl Default for EventQueue {
    fn default() -> Self {
        let thinning = Thinning::new(Instant::now());
        Self(Mutex::new(Queue { events: VecDeque::new(), dropped: 0, thinning, waker: None }))
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && !self.thinning.has_counts()
    }

    /// Tells the reader, if there is something to read.
    fn wake(&self) {
        if let Some(waker) = self.waker.as_ref().filter(|_| !self.is_empty()) {
            waker();
        }
    }

    fn push(&mut self, event: NodeEvent) {
        if self.events.len() < CAPACITY {
            self.events.push_back(event);
        } else {
            self.dropped += 1;
        }
    }

    /// Wakes the reader if what `push` does makes the queue stop being empty.
    fn pushing(&mut self, push: impl FnOnce(&mut Self)) {
        let was_empty = self.is_empty();
        push(self);
        if was_empty {
            self.wake();
        }
    }
}

impl EventQueue {
    /// Calls `waker`, from any thread, whenever the queue stops being empty; once now if it is not. Replaces an earlier one.
    pub fn set_waker(&self, waker: Waker) {
        let mut queue = self.lock();
        queue.waker = Some(waker);
        queue.wake();
    }

    /// Drops the waker and what it holds.
    pub fn clear_waker(&self) {
        self.lock().waker = None;
    }

    /// All of them, as far as there is room.
    pub(super) fn push_all(&self, events: impl IntoIterator<Item = NodeEvent>) {
        self.lock().pushing(|queue| events.into_iter().for_each(|event| queue.push(event)));
    }

    /// Those that are to be told.
    pub(super) fn push_connections(&self, events: Vec<ConnectionEvent>) {
        self.lock().pushing(|queue| {
            queue.thinning.fill(Instant::now());
            for event in events {
                if queue.thinning.admits(&event) {
                    queue.push(NodeEvent::Connection(Box::new(event)));
                } else {
                    queue.dropped += 1;
                }
            }
        });
    }

    /// Takes up to `most` events, oldest first.
    pub fn take(&self, most: usize) -> Batch {
        let mut queue = self.lock();
        let count = queue.events.len().min(most);
        let events = queue.events.drain(..count).collect();
        let passed_over = queue.thinning.take_counts();
        queue.wake();
        Batch { events, dropped: queue.dropped, passed_over }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::thinning::BURST;
    use super::super::thinning::tests::event;
    use super::*;
    use crate::datapath::events::EventKind;

    fn idle(id: u32) -> NodeEvent {
        NodeEvent::Idle(EndpointKey { vni: 1, id })
    }

    #[test]
    fn drops_and_counts_what_nobody_reads() {
        let queue = EventQueue::default();
        queue.push_all((0..CAPACITY as u32 + 3).map(idle));
        let batch = queue.take(usize::MAX);
        assert_eq!((batch.events.len(), batch.dropped), (CAPACITY, 3));
        assert_eq!(batch.events[0], idle(0));
        assert!(queue.take(1).events.is_empty());
    }

    #[test]
    fn connections_passed_over_are_dropped_ones_and_come_as_counts_even_alone() {
        let queue = EventQueue::default();
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        queue.set_waker(Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        let told = u64::from(BURST) / 2;
        let of = |kind, cookies: std::ops::Range<u64>| cookies.map(|cookie| event(kind, cookie)).collect();
        queue.push_connections(of(EventKind::Opened, 0..3 * told));
        let batch = queue.take(usize::MAX);
        let begun = batch.events.len() as u64;
        assert_eq!(begun, told);
        let counted = |batch: &Batch, kind| {
            let [(class, count)] = batch.passed_over[..] else { panic!("{:?}", batch.passed_over) };
            assert_eq!(class.kind, kind);
            count
        };
        assert_eq!((counted(&batch, EventKind::Opened), batch.dropped), (3 * told - begun, 3 * told - begun));
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        queue.push_connections(of(EventKind::Closed, begun..3 * told));
        assert_eq!(woken.load(Ordering::SeqCst), 2, "though there is no event");
        let batch = queue.take(usize::MAX);
        assert!(batch.events.is_empty());
        assert_eq!((counted(&batch, EventKind::Closed), batch.dropped), (3 * told - begun, 2 * (3 * told - begun)));
        assert!(queue.take(1).passed_over.is_empty());
        assert_eq!(woken.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn wakes_once_until_it_was_emptied() {
        let queue = EventQueue::default();
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        queue.push_all([idle(1)]);
        queue.set_waker(Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        assert_eq!(woken.load(Ordering::SeqCst), 1, "for what was there before");
        queue.push_all([idle(2)]);
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert_eq!(queue.take(1).events, [idle(1)]);
        assert_eq!(woken.load(Ordering::SeqCst), 2, "for the rest");
        assert_eq!(queue.take(9).events, [idle(2)]);
        queue.push_all([]);
        queue.push_all([idle(3)]);
        assert_eq!(woken.load(Ordering::SeqCst), 3);
    }
}
