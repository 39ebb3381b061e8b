//! What each endpoint may have of the node, and what it has: the core's side of `bpf/limits.bpf.h`.
//!
//! An endpoint's account is an index of two maps. `limits` is written here; `usages` by the programs, and here only while
//! nobody has a socket of the account. Accounts of detached endpoints are drained: they are given out again, the oldest
//! first, once their last socket is gone. The maps say all of it, so that whoever finds them pinned can go on.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::bpf_error;
use super::loader::Loaded;
use super::records::{bytes_of, read_record, sf_default_limit, sf_limits, sf_usage};
use super::table::put_bytes;
use crate::error::{Error, Result};
use crate::owner::EndpointKey;

const NANOSECONDS: u32 = 1_000_000_000;

/// What one endpoint may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointLimits {
    /// TCP sockets, among them those that are prepared for it and accepted connections.
    pub sockets: u32,
    pub listeners: u32,
    /// connect(2) calls; as many as in one second may come at once.
    pub connects_per_second: u32,
}

impl Default for EndpointLimits {
    fn default() -> Self {
        Self {
            sockets: sf_default_limit::SF_DEFAULT_SOCKETS.0,
            listeners: sf_default_limit::SF_DEFAULT_LISTENERS.0,
            connects_per_second: sf_default_limit::SF_DEFAULT_CONNECTS_PER_S.0,
        }
    }
}

impl EndpointLimits {
    /// [`Error::Invalid`] names the first field that is wrong.
    pub fn check(&self) -> Result<()> {
        let least = |field, value: u32| match value {
            0 => Err(Error::invalid(field, "must be at least 1")),
            _ => Ok(()),
        };
        least("endpointLimits.sockets", self.sockets)?;
        least("endpointLimits.listeners", self.listeners)?;
        least("endpointLimits.connectsPerSecond", self.connects_per_second)?;
        if self.connects_per_second > NANOSECONDS {
            return Err(Error::invalid("endpointLimits.connectsPerSecond", format!("must be at most {NANOSECONDS}")));
        }
        Ok(())
    }

    fn record(&self, owner: EndpointKey) -> sf_limits {
        sf_limits {
            owner: owner.into(),
            is_attached: 1,
            sockets: self.sockets,
            listeners: self.listeners,
            connect_interval_ns: NANOSECONDS / self.connects_per_second,
        }
    }
}

/// What one endpoint has, and what its limits stopped since it was attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndpointUsage {
    pub sockets: u32,
    pub listeners: u32,
    pub refused_sockets: u64,
    pub refused_listeners: u64,
    pub refused_connects: u64,
    pub refused_inbound: u64,
}

impl From<sf_usage> for EndpointUsage {
    fn from(usage: sf_usage) -> Self {
        Self {
            sockets: usage.sockets,
            listeners: usage.listeners,
            refused_sockets: usage.refused_sockets,
            refused_listeners: usage.refused_listeners,
            refused_connects: usage.refused_connects,
            refused_inbound: usage.refused_inbound,
        }
    }
}

/// The accounts of one node.
pub struct Accounts {
    limits: MapHandle,
    usages: MapHandle,
    each: EndpointLimits,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    open: HashMap<EndpointKey, u32>,
    /// Of detached endpoints, the oldest first.
    draining: VecDeque<u32>,
    /// All from here on were never given out.
    fresh: u32,
    /// Of endpoints that a former agent had attached, and this one has not taken over yet.
    inherited: HashSet<EndpointKey>,
}

impl Book {
    /// What a former agent has left in the map.
    fn inherit(limits: &MapHandle) -> Result<Self> {
        let mut book = Self::default();
        for account in 0..limits.max_entries() {
            let bytes = limits
                .lookup(&account.to_ne_bytes(), MapFlags::ANY)
                .map_err(|error| bpf_error("read what endpoints may have", &error))?;
            let Some(record) = bytes.as_deref().and_then(read_record::<sf_limits>) else { continue };
            let owner = EndpointKey::from(record.owner);
            if owner.id == 0 {
                // They are given out in this order.
                break;
            }
            book.fresh = account + 1;
            if record.is_attached == 0 {
                book.draining.push_back(account);
            } else {
                book.open.insert(owner, account);
                book.inherited.insert(owner);
            }
        }
        Ok(book)
    }
}

impl Accounts {
    pub fn new(loaded: &Loaded, each: EndpointLimits) -> Result<Self> {
        let (limits, usages) = (loaded.map("limits")?, loaded.map("usages")?);
        let book = Mutex::new(Book::inherit(&limits)?);
        Ok(Self { limits, usages, each, book })
    }

    /// The account of an endpoint that is about to be attached, or taken over from a former agent. Idempotent.
    pub(super) fn open(&self, owner: EndpointKey) -> Result<u32> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = book.open.get(&owner).copied() {
            if book.inherited.remove(&owner) {
                // The former agent may have had other limits.
                put_bytes(&self.limits, &account.to_ne_bytes(), bytes_of(&self.each.record(owner)))?;
            }
            return Ok(account);
        }
        let account = self.unused(&mut book)?;
        put_bytes(&self.usages, &account.to_ne_bytes(), bytes_of(&sf_usage::default()))?;
        put_bytes(&self.limits, &account.to_ne_bytes(), bytes_of(&self.each.record(owner)))?;
        book.open.insert(owner, account);
        Ok(account)
    }

    /// The endpoint's address is not that of its sockets any more. Idempotent.
    pub(super) fn close(&self, owner: EndpointKey) -> Result<()> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(account) = book.open.remove(&owner) else { return Ok(()) };
        book.inherited.remove(&owner);
        book.draining.push_back(account);
        let closed = sf_limits { is_attached: 0, ..self.each.record(owner) };
        put_bytes(&self.limits, &account.to_ne_bytes(), bytes_of(&closed))
    }

    /// Closes what a former agent had open and this one has not opened since.
    pub(super) fn close_inherited(&self) -> Result<()> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let inherited: Vec<_> = book.inherited.iter().copied().collect();
        drop(book);
        inherited.into_iter().try_for_each(|owner| self.close(owner))
    }

    /// `None` for an endpoint that is not attached.
    pub fn usage(&self, owner: EndpointKey) -> Result<Option<EndpointUsage>> {
        let account = self.book.lock().unwrap_or_else(PoisonError::into_inner).open.get(&owner).copied();
        account.map(|account| self.read(account).map(EndpointUsage::from)).transpose()
    }

    /// What the endpoint may have.
    pub fn limits(&self) -> EndpointLimits {
        self.each
    }

    fn unused(&self, book: &mut Book) -> Result<u32> {
        if book.fresh < self.limits.max_entries() {
            book.fresh += 1;
            return Ok(book.fresh - 1);
        }
        for _ in 0..book.draining.len() {
            let Some(account) = book.draining.pop_front() else { break };
            if self.read(account)?.sockets == 0 {
                return Ok(account);
            }
            book.draining.push_back(account);
        }
        Err(Error::Conflict {
            what: format!("each of {} accounts of endpoints", self.limits.max_entries()),
            holder: "an endpoint that is attached, or by processes of one that was".into(),
        })
    }

    fn read(&self, account: u32) -> Result<sf_usage> {
        let bytes = self
            .usages
            .lookup(&account.to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| bpf_error("read what an endpoint has", &error))?;
        Ok(bytes.as_deref().and_then(read_record).unwrap_or_default())
    }
}
