//! Sockets prepared ahead of the calls that will want them.
//!
//! A family's shelf starts small (AF_INET) or empty (AF_INET6, which few programs use) and doubles each time a call
//! found it empty, so that an idle container holds a handful of sockets and a busy one never waits for a creation.
//! It is refilled only once it is half empty: that way most answers are followed by no work at all, which would
//! compete with the target for the CPU just when the target goes on to connect.

use std::os::fd::OwnedFd;

use super::visible_errno;
use crate::counters::HandoutCounters;
use crate::owner::{Family, SocketSource};

/// Sockets of one family that are prepared for a container that has not asked for many yet.
const FIRST_SIZE: usize = 4;
/// Most sockets of one family that are prepared.
const LARGEST_SIZE: usize = 64;

#[derive(Debug)]
struct Shelf {
    family: Family,
    sockets: Vec<OwnedFd>,
    size: usize,
    /// From half empty until full.
    filling: bool,
}

/// The prepared sockets of one supervisor.
#[derive(Debug)]
pub(super) struct Pool {
    inet: Shelf,
    inet6: Shelf,
}

impl Default for Pool {
    fn default() -> Self {
        let shelf = |family, size| Shelf { family, sockets: Vec::new(), size, filling: size > 0 };
        Pool { inet: shelf(Family::Inet, FIRST_SIZE), inet6: shelf(Family::Inet6, 0) }
    }
}

impl Pool {
    /// A prepared socket, or a new one. The error is the errno for the application.
    pub(super) fn take(
        &mut self,
        family: Family,
        source: &dyn SocketSource,
        counters: &HandoutCounters,
    ) -> Result<OwnedFd, i32> {
        let shelf = match family {
            Family::Inet => &mut self.inet,
            Family::Inet6 => &mut self.inet6,
        };
        if let Some(socket) = shelf.sockets.pop() {
            shelf.filling |= shelf.sockets.len() <= shelf.size / 2;
            return Ok(socket);
        }
        counters.notify_pool_empty.add_one();
        let socket = source.create(family).map_err(|e| visible_errno(&e))?;
        // Only a success makes it worth while to prepare more.
        shelf.size = (shelf.size * 2).clamp(FIRST_SIZE, LARGEST_SIZE);
        shelf.filling = true;
        Ok(socket)
    }

    pub(super) fn wants_refill(&self) -> bool {
        self.inet.filling || self.inet6.filling
    }

    /// Prepares one socket. If that fails, no more are until a call has got one: the machine is short of something.
    pub(super) fn refill_one(&mut self, source: &dyn SocketSource) {
        let shelf = if self.inet.filling { &mut self.inet } else { &mut self.inet6 };
        match source.create(shelf.family) {
            Ok(socket) => {
                shelf.sockets.push(socket);
                shelf.filling = shelf.sockets.len() < shelf.size;
            }
            Err(_) => shelf.filling = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::{Error, Result};

    #[derive(Default)]
    struct Files {
        created: Cell<usize>,
        failing: Cell<bool>,
    }

    impl SocketSource for Files {
        fn create(&self, _family: Family) -> Result<OwnedFd> {
            if self.failing.get() {
                let source = std::io::Error::from_raw_os_error(libc::ENOMEM);
                return Err(Error::system("socket", "test", source));
            }
            self.created.set(self.created.get() + 1);
            Ok(std::fs::File::open("/dev/null").unwrap().into())
        }
    }

    fn fill(pool: &mut Pool, files: &Files) {
        while pool.wants_refill() {
            pool.refill_one(files);
        }
    }

    #[test]
    fn is_refilled_when_half_empty_and_grows_when_it_ran_dry() {
        let (mut pool, files, counters) = (Pool::default(), Files::default(), HandoutCounters::default());
        fill(&mut pool, &files);
        assert_eq!(pool.inet.sockets.len(), FIRST_SIZE);
        pool.take(Family::Inet, &files, &counters).unwrap();
        assert!(!pool.wants_refill());
        pool.take(Family::Inet, &files, &counters).unwrap();
        assert!(pool.wants_refill());
        fill(&mut pool, &files);
        for _ in 0..=FIRST_SIZE {
            pool.take(Family::Inet, &files, &counters).unwrap();
        }
        assert_eq!(counters.notify_pool_empty.get(), 1);
        fill(&mut pool, &files);
        assert_eq!(pool.inet.sockets.len(), 2 * FIRST_SIZE);
        for _ in 0..10 * LARGEST_SIZE {
            pool.take(Family::Inet, &files, &counters).unwrap();
        }
        fill(&mut pool, &files);
        assert_eq!(pool.inet.sockets.len(), LARGEST_SIZE);
    }

    #[test]
    fn inet6_is_prepared_only_once_it_is_used() {
        let (mut pool, files, counters) = (Pool::default(), Files::default(), HandoutCounters::default());
        fill(&mut pool, &files);
        assert_eq!(pool.inet6.sockets.len(), 0);
        pool.take(Family::Inet6, &files, &counters).unwrap();
        fill(&mut pool, &files);
        assert_eq!(pool.inet6.sockets.len(), FIRST_SIZE);
    }

    #[test]
    fn a_failed_creation_stops_refilling_until_one_succeeds() {
        let (mut pool, files, counters) = (Pool::default(), Files::default(), HandoutCounters::default());
        files.failing.set(true);
        pool.refill_one(&files);
        assert!(!pool.wants_refill());
        assert_eq!(pool.take(Family::Inet, &files, &counters).unwrap_err(), libc::ENOMEM);
        assert!(!pool.wants_refill());
        files.failing.set(false);
        pool.take(Family::Inet, &files, &counters).unwrap();
        assert!(pool.wants_refill());
    }
}
