//! Owns the entry in `ip_local_reserved_ports`: the kernel must not give our ports to outgoing connections.

use std::fs::File;
use std::sync::Arc;

use super::super::journal::{Change, Journal};
use super::super::netns::NetNs;
use super::super::steps::step;
use super::super::sysctl;
use super::range::{PortRange, difference, format_ranges, parse_ranges, union};
use crate::error::{Error, Result};

const SYSCTL: &str = "net/ipv4/ip_local_reserved_ports";

/// Ports that we added to the namespace's reserved ports. Dropping it leaves them there; see [`Reservation::release`].
#[derive(Debug)]
pub struct Reservation {
    namespace: NetNs,
    journal: Arc<Journal>,
    /// What was not reserved before.
    added: Vec<PortRange>,
    change: Change,
}

impl Reservation {
    /// Adds `range` to what is reserved in the caller's namespace already.
    pub fn acquire(range: PortRange, journal: &Arc<Journal>) -> Result<Self> {
        let namespace = NetNs::current()?;
        let netns_cookie = namespace.cookie()?;
        let _lock = lock()?;
        let reserved = read()?;
        let added = difference(&[range], &reserved);
        let change = Change::ReservedPorts { netns_cookie, ranges: added.clone() };
        step("record the reserved ports")?;
        journal.record(change.clone())?;
        let written = step("reserve the ports")
            .and_then(|()| sysctl::set_here(SYSCTL, &format_ranges(&union(&reserved, &added))));
        if let Err(error) = written {
            // The error that led here is the one to report.
            let _ = journal.forget(&change);
            return Err(error);
        }
        Ok(Reservation { namespace, journal: Arc::clone(journal), added, change })
    }

    /// What a former agent had added to the caller's namespace, as its journal says.
    pub fn adopt(journal: &Arc<Journal>) -> Result<Self> {
        let namespace = NetNs::current()?;
        let own = namespace.cookie()?;
        let change = journal.changes().into_iter().find_map(|change| match &change {
            Change::ReservedPorts { netns_cookie, ranges } if *netns_cookie == own => Some((ranges.clone(), change)),
            _ => None,
        });
        let (added, change) =
            change.ok_or_else(|| Error::NotFound { what: "the front ports in the journal".into() })?;
        Ok(Reservation { namespace, journal: Arc::clone(journal), added, change })
    }

    /// Takes out what [`Reservation::acquire`] put in, and nothing that others have added meanwhile.
    pub fn release(self) -> Result<()> {
        self.namespace.run(|| release_reserved_here(&self.added))?;
        self.journal.forget(&self.change)
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
