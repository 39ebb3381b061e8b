//! Events on their way to the agent.
//!
//! Bounded: connections beyond a rate are passed over by the programs, and when the agent does not keep up, the newest events are
//! dropped. Both are counted. Pushing never waits for a reader.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::datapath::events::{ConnectionEvent, Told};
use crate::datapath::passed_over::EventClass;
use crate::owner::EndpointKey;

/// Events that wait at most: about 8 MiB.
const CAPACITY: usize = 32_768;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEvent {
    Connection(Box<ConnectionEvent>),
    /// The last process under the endpoint's last seccomp listener has ended.
    Idle(EndpointKey),
    /// A container was let in that may use io_uring, or of which that is not known. For a log.
    Unguarded {
        endpoint: EndpointKey,
        reason: String,
    },
    /// A container was refused. For a log.
    Refused {
        reason: String,
    },
    /// The keeper has ended by itself, and what it held with it: see [`super::Node::replace_keeper`].
    KeeperEnded,
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

#[derive(Default)]
pub struct EventQueue(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    events: VecDeque<NodeEvent>,
    dropped: u64,
    /// Few: errors of refused connections are few.
    passed_over: HashMap<EventClass, u64>,
    waker: Option<Waker>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.passed_over.is_empty()
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

    pub(super) fn push_told(&self, told: Told) {
        self.lock().pushing(|queue| {
            for event in told.events {
                queue.push(NodeEvent::Connection(Box::new(event)));
            }
            for (class, count) in told.passed_over {
                queue.dropped += count;
                *queue.passed_over.entry(class).or_default() += count;
            }
        });
    }

    /// Takes up to `most` events, oldest first.
    pub fn take(&self, most: usize) -> Batch {
        let mut queue = self.lock();
        let count = queue.events.len().min(most);
        let events = queue.events.drain(..count).collect();
        let passed_over = queue.passed_over.drain().collect();
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

    use super::*;
    use crate::datapath::events::EventKind;
    use crate::datapath::listing::Direction;
    use crate::owner::Tier;

    fn idle(id: u32) -> NodeEvent {
        NodeEvent::Idle(EndpointKey { vni: 1, id })
    }

    fn counted(woken: &Arc<AtomicUsize>) -> Waker {
        let count = Arc::clone(woken);
        Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        })
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
        queue.set_waker(counted(&woken));
        let opened =
            EventClass { kind: EventKind::Opened, direction: Direction::Outbound, tier: Tier::Notify, errno: None };
        let closed = EventClass { kind: EventKind::Closed, ..opened };
        queue.push_told(Told { events: Vec::new(), passed_over: vec![(opened, 3)] });
        assert_eq!(woken.load(Ordering::SeqCst), 1, "though there is no event");
        queue.push_told(Told { events: Vec::new(), passed_over: vec![(opened, 4), (closed, 1)] });
        let batch = queue.take(usize::MAX);
        assert_eq!((batch.passed_over.len(), batch.dropped), (2, 8));
        assert!(batch.passed_over.contains(&(opened, 7)) && batch.passed_over.contains(&(closed, 1)));
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert!(queue.take(1).passed_over.is_empty());
        queue.push_told(Told { events: Vec::new(), passed_over: vec![(closed, 2)] });
        assert_eq!(woken.load(Ordering::SeqCst), 2);
        assert_eq!(queue.take(1).dropped, 10);
    }

    #[test]
    fn wakes_once_until_it_was_emptied() {
        let queue = EventQueue::default();
        let woken = Arc::new(AtomicUsize::new(0));
        queue.push_all([idle(1)]);
        queue.set_waker(counted(&woken));
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
