//! What an agent keeps of its keeper's, so that a keeper that is killed takes nothing with it: a copy of each seccomp listener and
//! of each dispenser. While nobody serves them, socket(2) waits for the next keeper.

use std::collections::{HashMap, HashSet};
use std::iter;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::Receiver;

use super::client::{ANSWER_TIMEOUT, Keeper, ask_for, failed, unexpected};
use super::line::Line;
use super::protocol::{Reply, Request};
use super::server::lock;
use crate::admission::HandedCopy;
use crate::error::Result;
use crate::owner::EndpointKey;
use crate::sys::seccomp::ListenerCopy;

/// The copies of one keeper's, by its numbers.
#[derive(Debug)]
pub(super) struct Copies {
    line: Mutex<Line>,
    copies: Mutex<HashMap<u64, HandedCopy>>,
}

impl Copies {
    /// With all that there are now.
    pub fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).map_err(|error| failed("connect", error))?;
        let line = Line::new(stream);
        line.set_timeout(Some(ANSWER_TIMEOUT)).map_err(|error| failed("setsockopt", error))?;
        let copies = Self { line: Mutex::new(line), copies: Mutex::default() };
        copies.follow(None)?;
        Ok(copies)
    }

    /// Gets what is new, and what is said anew of `changed`, and drops what has ended.
    pub fn follow(&self, changed: Option<EndpointKey>) -> Result<()> {
        let mut line = lock(&self.line);
        let numbers = match ask_for(&mut line, &Request::Numbers, &[])? {
            (Reply::Numbers { numbers }, _) => numbers.into_iter().collect::<HashSet<_>>(),
            (other, _) => return Err(unexpected(&other)),
        };
        let mut copies = lock(&self.copies);
        copies.retain(|number, _| numbers.contains(number));
        for number in numbers {
            if copies.get(&number).is_some_and(|copy| Some(copy.handed.endpoint) != changed) {
                continue;
            }
            let (reply, fds) = ask_for(&mut line, &Request::Copy { number }, &[])?;
            let Reply::Copy { handed } = reply else { return Err(unexpected(&reply)) };
            let mut fds = fds.into_iter();
            if let (Some(handed), Some(fd), Some(page)) = (handed, fds.next(), fds.next()) {
                let copy = HandedCopy { handed, listener: ListenerCopy { fd, page }, dispenser: fds.next() };
                copies.insert(number, copy);
            }
        }
        Ok(())
    }

    /// Follows what is told, until nobody tells any more. What was told meanwhile is followed at once: a thousand may end together.
    pub fn follow_all(&self, told: &Receiver<Option<EndpointKey>>) {
        while let Ok(first) = told.recv() {
            let changed: HashSet<Option<EndpointKey>> = iter::once(first).chain(told.try_iter()).collect();
            for endpoint in changed {
                // If it fails, the keeper has ended: what there is has to do.
                let _ = self.follow(endpoint);
            }
        }
    }

    pub fn forget(&self) {
        lock(&self.copies).clear();
    }

    /// Lets another keeper go on with all of them. Endpoints of those with which it does not.
    pub fn hand_to(&self, keeper: &Keeper) -> HashSet<EndpointKey> {
        let copies = lock(&self.copies);
        let failed = copies.values().filter(|copy| {
            let fds: Vec<BorrowedFd<'_>> = [copy.listener.fd.as_fd(), copy.listener.page.as_fd()]
                .into_iter()
                .chain(copy.dispenser.as_ref().map(AsFd::as_fd))
                .collect();
            keeper.resume(copy.handed, &fds).is_err()
        });
        failed.map(|copy| copy.handed.endpoint).collect()
    }
}
