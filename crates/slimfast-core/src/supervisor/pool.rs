//! Sockets prepared ahead of the calls that will want them.
//!
//! A family's shelf starts small (AF_INET) or empty (AF_INET6, which few programs use) and doubles each time a call
//! found it empty, or it had to be refilled twice in a short time, so that an idle container holds a handful of sockets
//! and a busy one never waits for a creation. It is refilled once it is half empty, by the [`Refiller`]: a thread that a
//! target waits for does nothing that the target does not need.
//!
//! [`Refiller`]: super::Refiller

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::visible_errno;
use crate::counters::HandoutCounters;
use crate::owner::{Family, SocketSource};

/// Sockets of one family that are prepared for a container that has not asked for many yet.
const FIRST_SIZE: usize = 4;
/// Most sockets of one family that are prepared.
const LARGEST_SIZE: usize = 64;
/// A shelf that is half empty again within this time is too small.
const SHORT_TIME: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Shelf {
    family: Family,
    sockets: Vec<OwnedFd>,
    size: usize,
    /// From half empty until full.
    filling: bool,
    refilled_at: Option<Instant>,
}

impl Shelf {
    fn new(family: Family, size: usize) -> Self {
        Shelf { family, sockets: Vec::new(), size, filling: size > 0, refilled_at: None }
    }

    fn begin_refill(&mut self) {
        let now = Instant::now();
        if self.refilled_at.replace(now).is_some_and(|before| now - before < SHORT_TIME) {
            self.grow();
        }
        self.filling = true;
    }

    fn grow(&mut self) {
        self.size = (self.size * 2).clamp(FIRST_SIZE, LARGEST_SIZE);
    }
}

struct Shelves {
    /// Gone once the endpoint is detached: nothing is made for it any more.
    source: Option<Arc<dyn SocketSource>>,
    inet: Shelf,
    inet6: Shelf,
    /// In the refiller's queue.
    is_queued: bool,
}

impl Shelves {
    fn shelf(&mut self, family: Family) -> &mut Shelf {
        match family {
            Family::Inet => &mut self.inet,
            Family::Inet6 => &mut self.inet6,
        }
    }

    /// The family of which sockets are missing.
    fn wanted(&self) -> Option<Family> {
        [&self.inet, &self.inet6].into_iter().find(|shelf| shelf.filling).map(|shelf| shelf.family)
    }
}

/// The prepared sockets of one supervisor.
pub(super) struct Pool(Mutex<Shelves>);

impl Pool {
    pub(super) fn new(source: Arc<dyn SocketSource>) -> Self {
        Pool(Mutex::new(Shelves {
            source: Some(source),
            inet: Shelf::new(Family::Inet, FIRST_SIZE),
            inet6: Shelf::new(Family::Inet6, 0),
            is_queued: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A prepared socket, or a new one. The error is the errno for the application.
    pub(super) fn take(&self, family: Family, counters: &HandoutCounters) -> Result<OwnedFd, i32> {
        let source = {
            let mut shelves = self.lock();
            let Some(source) = &shelves.source else { return Err(libc::ENETDOWN) };
            let source = Arc::clone(source);
            let shelf = shelves.shelf(family);
            if let Some(socket) = shelf.sockets.pop() {
                if !shelf.filling && shelf.sockets.len() <= shelf.size / 2 {
                    shelf.begin_refill();
                }
                return Ok(socket);
            }
            source
        };
        counters.notify_pool_empty.add_one();
        let socket = source.create(family).map_err(|e| visible_errno(&e))?;
        // Only a success makes it worth while to prepare more.
        let mut shelves = self.lock();
        let shelf = shelves.shelf(family);
        shelf.grow();
        shelf.filling = true;
        Ok(socket)
    }

    /// True once for each time that there is something for the refiller to do.
    pub(super) fn wants_refill(&self) -> bool {
        let mut shelves = self.lock();
        let wants = shelves.wanted().is_some() && !shelves.is_queued;
        shelves.is_queued |= wants;
        wants
    }

    /// Makes what is missing. If that fails, no more are made until a call has got one: the machine is short of something.
    pub(super) fn refill(&self) {
        loop {
            let (source, family) = {
                let mut shelves = self.lock();
                let (Some(source), Some(family)) = (shelves.source.clone(), shelves.wanted()) else {
                    shelves.is_queued = false;
                    return;
                };
                (source, family)
            };
            let made = source.create(family);
            let mut shelves = self.lock();
            // Closed in the meantime: what was made is dropped.
            let is_open = shelves.source.is_some();
            let shelf = shelves.shelf(family);
            match made {
                Ok(socket) if is_open => {
                    shelf.sockets.push(socket);
                    shelf.filling = shelf.sockets.len() < shelf.size;
                }
                _ => shelf.filling = false,
            }
        }
    }

    /// The endpoint is gone: drops what was prepared.
    pub(super) fn close(&self) {
        let mut shelves = self.lock();
        shelves.source = None;
        for family in [Family::Inet, Family::Inet6] {
            *shelves.shelf(family) = Shelf::new(family, 0);
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shelves = self.lock();
        out.debug_struct("Pool").field("inet", &shelves.inet).field("inet6", &shelves.inet6).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::error::{Error, Result};

    #[derive(Default)]
    struct Files {
        failing: AtomicBool,
    }

    impl SocketSource for Files {
        fn create(&self, _family: Family) -> Result<OwnedFd> {
            if self.failing.load(Ordering::Relaxed) {
                let source = std::io::Error::from_raw_os_error(libc::ENOMEM);
                return Err(Error::system("socket", "test", source));
            }
            Ok(std::fs::File::open("/dev/null").unwrap().into())
        }
    }

    fn pool() -> (Pool, Arc<Files>, HandoutCounters) {
        let files = Arc::new(Files::default());
        (Pool::new(Arc::clone(&files) as Arc<dyn SocketSource>), files, HandoutCounters::default())
    }

    fn prepared(pool: &Pool, family: Family) -> usize {
        pool.lock().shelf(family).sockets.len()
    }

    /// As if a long time had passed since the last refill.
    fn age(pool: &Pool) {
        pool.lock().inet.refilled_at = None;
    }

    #[test]
    fn is_refilled_when_half_empty_and_grows_when_it_ran_dry() {
        let (pool, _, counters) = pool();
        assert!(pool.wants_refill());
        pool.refill();
        assert_eq!(prepared(&pool, Family::Inet), FIRST_SIZE);
        pool.take(Family::Inet, &counters).unwrap();
        assert!(!pool.wants_refill());
        pool.take(Family::Inet, &counters).unwrap();
        assert!(pool.wants_refill());
        assert!(!pool.wants_refill(), "it is in the queue already");
        pool.refill();
        assert_eq!(prepared(&pool, Family::Inet), FIRST_SIZE);
        age(&pool);
        for _ in 0..=FIRST_SIZE {
            pool.take(Family::Inet, &counters).unwrap();
        }
        assert_eq!(counters.notify_pool_empty.get(), 1);
        pool.refill();
        assert_eq!(prepared(&pool, Family::Inet), 2 * FIRST_SIZE);
        for _ in 0..10 * LARGEST_SIZE {
            pool.take(Family::Inet, &counters).unwrap();
        }
        pool.refill();
        assert_eq!(prepared(&pool, Family::Inet), LARGEST_SIZE);
    }

    #[test]
    fn grows_when_it_is_refilled_in_quick_succession() {
        let (pool, _, counters) = pool();
        pool.refill();
        for expected in [FIRST_SIZE, 2 * FIRST_SIZE, 4 * FIRST_SIZE, 8 * FIRST_SIZE] {
            while !pool.wants_refill() {
                pool.take(Family::Inet, &counters).unwrap();
            }
            pool.refill();
            assert_eq!(prepared(&pool, Family::Inet), expected);
        }
        assert_eq!(counters.notify_pool_empty.get(), 0);
    }

    #[test]
    fn inet6_is_prepared_only_once_it_is_used() {
        let (pool, _, counters) = pool();
        pool.refill();
        assert_eq!(prepared(&pool, Family::Inet6), 0);
        pool.take(Family::Inet6, &counters).unwrap();
        pool.refill();
        assert_eq!(prepared(&pool, Family::Inet6), FIRST_SIZE);
    }

    #[test]
    fn a_failed_creation_stops_refilling_until_one_succeeds() {
        let (pool, files, counters) = pool();
        files.failing.store(true, Ordering::Relaxed);
        pool.refill();
        assert!(!pool.wants_refill());
        assert_eq!(pool.take(Family::Inet, &counters).unwrap_err(), libc::ENOMEM);
        assert!(!pool.wants_refill());
        files.failing.store(false, Ordering::Relaxed);
        pool.take(Family::Inet, &counters).unwrap();
        assert!(pool.wants_refill());
    }

    #[test]
    fn nothing_is_made_for_an_endpoint_that_is_gone() {
        let (pool, _, counters) = pool();
        pool.refill();
        pool.close();
        assert_eq!(prepared(&pool, Family::Inet), 0);
        assert!(!pool.wants_refill());
        pool.refill();
        assert_eq!(pool.take(Family::Inet, &counters).unwrap_err(), libc::ENETDOWN);
    }
}
