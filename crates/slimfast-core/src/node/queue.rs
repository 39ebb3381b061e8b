//! Events on their way to the agent.
//!
//! Bounded: when the agent does not keep up, the newest are dropped and counted. Pushing never waits for a reader.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

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
    /// Events dropped since the node was opened.
    pub dropped: u64,
}

type Waker = Box<dyn Fn() + Send>;

#[derive(Default)]
pub struct EventQueue(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    events: VecDeque<NodeEvent>,
    dropped: u64,
    waker: Option<Waker>,
}

impl Queue {
    /// Tells the reader, if there is something to read.
    fn wake(&self) {
        if let Some(waker) = self.waker.as_ref().filter(|_| !self.events.is_empty()) {
            waker();
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

    pub(super) fn push_all(&self, events: impl IntoIterator<Item = NodeEvent>) {
        let mut queue = self.lock();
        let was_empty = queue.events.is_empty();
        for event in events {
            if queue.events.len() < CAPACITY {
                queue.events.push_back(event);
            } else {
                queue.dropped += 1;
            }
        }
        if was_empty {
            queue.wake();
        }
    }

    /// Takes up to `most` events, oldest first.
    pub fn take(&self, most: usize) -> Batch {
        let mut queue = self.lock();
        let count = queue.events.len().min(most);
        let events = queue.events.drain(..count).collect();
        queue.wake();
        Batch { events, dropped: queue.dropped }
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
