//! Owns our entries in `ip_local_reserved_ports`: the kernel must not give these ports to outgoing connections.
//!
//! What of it is ours is in the journal at every moment: before the kernel has a new set, both the former and the new one,
//! neither of which has a port that was somebody else's.

use std::fs::File;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::journal::{Change, Journal};
use super::super::netns::NetNs;
use super::super::steps::step;
use super::super::sysctl;
use super::range::{PortRange, difference, format_ranges, parse_ranges, union};
use crate::error::{Error, Result};

const SYSCTL: &str = "net/ipv4/ip_local_reserved_ports";

/// What ports are reserved for. A node has at most one reservation for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// The node's own. All that journals of earlier versions know.
    #[default]
    FrontPorts,
    /// Programs of the host, for which operators keep them free.
    Static,
}

/// Ports that we added to the namespace's reserved ports. Dropping it leaves them there; see [`Reservation::release`].
#[derive(Debug)]
pub struct Reservation {
    namespace: NetNs,
    journal: Arc<Journal>,
    /// In the journal: ports that were not reserved before.
    change: Change,
}

impl Reservation {
    /// Adds `ranges` to what is reserved in the caller's namespace already. Nothing is changed if it fails.
    pub fn acquire(purpose: Purpose, ranges: &[PortRange], journal: &Arc<Journal>) -> Result<Self> {
        let namespace = NetNs::current()?;
        let change = Change::ReservedPorts { netns_cookie: namespace.cookie()?, purpose, ranges: Vec::new() };
        step("record that ports will be reserved")?;
        journal.record(change.clone())?;
        let mut reservation = Reservation { namespace, journal: Arc::clone(journal), change };
        match reservation.replace(ranges) {
            Ok(()) => Ok(reservation),
            Err(error) => {
                // The error that led here is the one to report.
                let _ = reservation.release();
                Err(error)
            }
        }
    }

    /// What a former agent had added to the caller's namespace, as its journal says. `None` if it says nothing of it.
    pub fn adopt(purpose: Purpose, journal: &Arc<Journal>) -> Result<Option<Self>> {
        let namespace = NetNs::current()?;
        let own = namespace.cookie()?;
        let is_ours = |change: &Change| matches!(change, Change::ReservedPorts { netns_cookie, purpose: of, .. } if *netns_cookie == own && *of == purpose);
        let change = journal.changes().into_iter().find(is_ours);
        Ok(change.map(|change| Reservation { namespace, journal: Arc::clone(journal), change }))
    }

    /// Reserves `wanted` from now on, in place of what it has reserved. What others have reserved stays theirs.
    pub fn replace(&mut self, wanted: &[PortRange]) -> Result<()> {
        let _lock = lock()?;
        let reserved = self.namespace.run(read)?;
        let others = difference(&reserved, self.added());
        let added = difference(wanted, &others);
        let next = union(&others, &added);
        step("record the reserved ports")?;
        self.record(union(self.added(), &added))?;
        if next != union(&reserved, &[]) {
            step("reserve the ports")?;
            self.namespace.run(|| sysctl::set_here(SYSCTL, &format_ranges(&next)))?;
        }
        step("record what is not reserved any more")?;
        self.record(added)
    }

    /// Takes out what it has put in, and nothing that others have added meanwhile.
    pub fn release(self) -> Result<()> {
        self.namespace.run(|| release_reserved_here(self.added()))?;
        self.journal.forget(&self.change)
    }

    /// What was not reserved before.
    fn added(&self) -> &[PortRange] {
        match &self.change {
            Change::ReservedPorts { ranges, .. } => ranges,
            _ => &[],
        }
    }

    fn record(&mut self, added: Vec<PortRange>) -> Result<()> {
        let mut change = self.change.clone();
        if let Change::ReservedPorts { ranges, .. } = &mut change {
            *ranges = added;
        }
        if change == self.change {
            return Ok(());
        }
        self.journal.replace(&self.change, change.clone())?;
        self.change = change;
        Ok(())
    }
}

/// Takes `added` out of the reserved ports of the calling thread's namespace.
pub(crate) fn release_reserved_here(added: &[PortRange]) -> Result<()> {
    let _lock = lock()?;
    let reserved = read()?;
    let left = difference(&reserved, added);
    if left == union(&reserved, &[]) { Ok(()) } else { sysctl::set_here(SYSCTL, &format_ranges(&left)) }
}

/// Two agents that read, merge and write at once would lose one's ports. Other programs do not take this lock, and there
/// is none that they would take.
fn lock() -> Result<File> {
    let failed = |syscall, error| Error::system(syscall, "locking ip_local_reserved_ports", error);
    let file = File::open("/proc/sys").map_err(|error| failed("open", error))?;
    file.lock().map_err(|error| failed("flock", error))?;
    Ok(file)
}

fn read() -> Result<Vec<PortRange>> {
    let text = sysctl::get_here(SYSCTL)?;
    parse_ranges(&text).ok_or_else(|| {
        let error = std::io::Error::new(std::io::ErrorKind::InvalidData, format!("unexpected value {text:?}"));
        Error::system("read", format!("reading {SYSCTL}"), error)
    })
}

#[cfg(test)]
mod tests;
