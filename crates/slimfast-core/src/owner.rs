//! Who a socket belongs to, and the seam between those who hand sockets out and the data path that creates them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::error::Result;

/// An endpoint, cluster-wide. `id` is never given out twice in a network, so it is also the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointKey {
    /// Virtual network id, 1 to 2^24 - 1.
    pub vni: u32,
    /// At least 1.
    pub id: u32,
}

impl EndpointKey {
    /// What a runtime sends as metadata with a seccomp listener of the endpoint's.
    pub fn metadata(self) -> String {
        format!("slimfast/{}/{}", self.vni, self.id)
    }

    /// Parses what [`EndpointKey::metadata`] made.
    pub fn from_metadata(metadata: &str) -> Option<Self> {
        let (vni, id) = metadata.strip_prefix("slimfast/")?.split_once('/')?;
        Some(Self { vni: vni.parse().ok()?, id: id.parse().ok()? })
    }
}

/// Overlay addresses of an endpoint: one of each family at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Addresses {
    #[serde(rename = "address")]
    pub v4: Option<Ipv4Addr>,
    #[serde(rename = "address6", default)]
    pub v6: Option<Ipv6Addr>,
}

impl Addresses {
    pub const NONE: Self = Self { v4: None, v6: None };

    /// In the place of one of its family, if any.
    pub fn set(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.v4 = Some(address),
            IpAddr::V6(address) => self.v6 = Some(address),
        }
    }

    pub fn iter(self) -> impl Iterator<Item = IpAddr> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }
}

impl From<Ipv4Addr> for Addresses {
    fn from(address: Ipv4Addr) -> Self {
        Self { v4: Some(address), v6: None }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.v4, self.v6) {
            (Some(v4), Some(v6)) => write!(out, "{v4} and {v6}"),
            (Some(v4), None) => v4.fmt(out),
            (None, Some(v6)) => v6.fmt(out),
            (None, None) => out.write_str("no address"),
        }
    }
}

/// Overlay prefixes (base without host bits, length) of a network: one of each family at most, and one at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixes {
    pub v4: Option<(Ipv4Addr, u8)>,
    pub v6: Option<(Ipv6Addr, u8)>,
}

impl From<(Ipv4Addr, u8)> for Prefixes {
    fn from(prefix: (Ipv4Addr, u8)) -> Self {
        Self { v4: Some(prefix), v6: None }
    }
}

/// Address family of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    Inet,
    Inet6,
}

/// How a socket got into its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    Notify,
    Preload,
}

/// Creates host TCP sockets that belong to one endpoint, on any thread of the process.
pub trait SocketSource: Send + Sync {
    /// A fresh CLOEXEC, blocking TCP socket of the node's network namespace whose ownership record is already written.
    fn create(&self, family: Family) -> Result<OwnedFd>;
}

/// Gives each supervisor and dispenser its [`SocketSource`].
pub trait SocketSources: Send + Sync {
    /// [`crate::error::Error::NotFound`] once the endpoint is detached.
    fn for_endpoint(&self, owner: EndpointKey, tier: Tier) -> Result<Box<dyn SocketSource>>;
}

#[cfg(test)]
mod tests {
    use super::EndpointKey;

    #[test]
    fn metadata_goes_there_and_back() {
        let key = EndpointKey { vni: 7, id: 4_000_000_000 };
        assert_eq!(EndpointKey::from_metadata(&key.metadata()), Some(key));
        for wrong in ["", "slimfast/7", "slimfast/x/1", "slimfast/7/1/2", "7/1", "slimfast/7/-1"] {
            assert_eq!(EndpointKey::from_metadata(wrong), None, "{wrong}");
        }
    }
}
