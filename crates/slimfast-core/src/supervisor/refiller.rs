//! One thread that refills the pools of all supervisors of a process.
//!
//! A supervisor runs before others, and on its target's CPU: what it made after it had answered would keep the target,
//! which has its socket, from going on to connect. Here it is made by a thread that interrupts nobody, on another CPU if one
//! is idle. A pool that is empty because this thread is late costs its supervisor the creation of a socket, as without it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::pool::Pool;
use crate::error::{Error, Result};
use crate::sys::wake::{spawn, wait_for_turns};

#[derive(Debug, Default)]
struct Work {
    pools: VecDeque<Arc<Pool>>,
    is_stopped: bool,
}

#[derive(Debug, Default)]
struct Queue {
    work: Mutex<Work>,
    changed: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let pool = {
                let mut work = self.lock();
                loop {
                    if work.is_stopped {
                        return;
                    }
                    if let Some(pool) = work.pools.pop_front() {
                        break pool;
                    }
                    work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
                }
            };
            pool.refill();
        }
    }
}

/// Handle of the thread, which ends when the handle is dropped.
#[derive(Debug)]
pub struct Refiller {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

/// By which supervisors have their pools refilled.
#[derive(Debug, Clone)]
pub struct RefillRequests(Arc<Queue>);

impl Refiller {
    pub fn start() -> Result<Self> {
        let queue = Arc::<Queue>::default();
        let thread = {
            let queue = Arc::clone(&queue);
            spawn("sf-refill".into(), move || {
                wait_for_turns();
                queue.run();
            })
        }
        .map_err(|e| Error::system("clone", "starting the thread that prepares sockets", e))?;
        Ok(Refiller { queue, thread: Some(thread) })
    }

    pub fn requests(&self) -> RefillRequests {
        RefillRequests(Arc::clone(&self.queue))
    }
}

impl Drop for Refiller {
    fn drop(&mut self) {
        {
            let mut work = self.queue.lock();
            work.is_stopped = true;
            work.pools.clear();
        }
        self.queue.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic has been printed by the thread itself and there is nothing left to undo.
            let _ = thread.join();
        }
    }
}

impl RefillRequests {
    /// Has the pool refilled if it wants to be. Once the refiller has gone it stays as it is.
    pub(super) fn refill(&self, pool: &Arc<Pool>) {
        if !pool.wants_refill() {
            return;
        }
        let mut work = self.0.lock();
        if !work.is_stopped {
            work.pools.push_back(Arc::clone(pool));
            drop(work);
            self.0.changed.notify_one();
        }
    }
}
