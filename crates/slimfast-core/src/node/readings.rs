//! What can be asked of a node at any time, without waiting for a change that is under way: changes wait for the kernel, which
//! takes as long as it takes, and those who ask (an agent's event loop) have others to answer meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::AttachedState;
use super::attach::Attached;
use crate::datapath::accounts::EndpointLimits;
use crate::datapath::listing::{Connection, Cut, Listener, Listing};
use crate::datapath::tables::Tables;
use crate::error::Result;
use crate::host::netns::NetNs;
use crate::keeper::Keeper;
use crate::owner::EndpointKey;

/// Shared with the node's changes. No lock in here is held while anything waits for the kernel, but for the time that
/// the keeper and the walk of the sockets take.
pub(super) struct Readings {
    tables: Arc<Tables>,
    listing: Mutex<Listing>,
    namespace: NetNs,
    /// A conversation of its own.
    keeper: Mutex<Keeper>,
    attached: Mutex<HashMap<EndpointKey, Attached>>,
}

impl Readings {
    pub fn new(tables: Arc<Tables>, listing: Listing, namespace: NetNs, keeper: Keeper) -> Self {
        let (listing, keeper) = (Mutex::new(listing), Mutex::new(keeper));
        Self { tables, listing, namespace, keeper, attached: Mutex::default() }
    }

    /// What is attached, and what is just being attached or detached. Not to be held while anything else is done.
    pub fn attached(&self) -> MutexGuard<'_, HashMap<EndpointKey, Attached>> {
        lock(&self.attached)
    }

    /// The keeper was replaced.
    pub fn follow(&self, keeper: Keeper) {
        *lock(&self.keeper) = keeper;
    }

    pub fn states(&self) -> Result<Vec<AttachedState>> {
        let held = lock(&self.keeper).endpoints()?;
        let held: HashMap<_, _> = held.into_iter().map(|held| (held.endpoint, held)).collect();
        let state = |(&key, attached): (&EndpointKey, &Attached)| {
            let held = held.get(&key);
            Ok(AttachedState {
                key,
                netns_name: attached.netns_name.clone(),
                note: attached.note.clone(),
                seccomp_listeners: held.map_or(0, |held| held.seccomp_listeners),
                dispensers: held.map_or(0, |held| held.dispensers),
                unguarded: held.map_or(0, |held| held.unguarded),
                usage: self.tables.accounts().usage(key)?.unwrap_or_default(),
            })
        };
        self.attached().iter().map(state).collect()
    }

    pub fn limits(&self) -> EndpointLimits {
        self.tables.accounts().limits()
    }

    pub fn counters(&self) -> Result<Vec<(String, u64)>> {
        let of_programs = self.tables.counters()?.into_iter().map(|(name, value)| (name.to_owned(), value));
        Ok(of_programs.chain(lock(&self.keeper).counters()?).collect())
    }

    /// The iterators walk the sockets of the namespace that they are read in.
    pub fn connections(&self, at_most: usize) -> Result<Vec<Connection>> {
        let listing = lock(&self.listing);
        self.namespace.run(|| listing.connections(at_most))
    }

    pub fn listeners(&self) -> Result<Vec<Listener>> {
        let listing = lock(&self.listing);
        self.namespace.run(|| listing.listeners())
    }

    pub fn cut(&self, which: Cut) -> Result<u32> {
        let listing = lock(&self.listing);
        self.namespace.run(|| listing.cut(which))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they guard is whole at each point where anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
