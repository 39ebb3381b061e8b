//! Who a socket belongs to, and the seam between those who hand sockets out and the data path that creates them.

use std::os::fd::OwnedFd;

use crate::error::Result;

/// An endpoint, cluster-wide. `id` is never given out twice in a network, so it is also the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointKey {
    /// Virtual network id, 1 to 2^24 - 1.
    pub vni: u32,
    /// At least 1.
    pub id: u32,
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

/// Creates host TCP sockets that belong to one endpoint. Bound to the thread that obtained it.
pub trait SocketSource {
    /// A fresh CLOEXEC, blocking TCP socket of the node's network namespace whose ownership record is already written.
    fn create(&self, family: Family) -> Result<OwnedFd>;
}

/// Gives each supervisor and dispenser thread its [`SocketSource`].
pub trait SocketSources: Send + Sync {
    /// Must be called on the thread that will create the sockets. [`crate::error::Error::NotFound`] once the endpoint is
    /// detached.
    fn for_endpoint(&self, owner: EndpointKey, tier: Tier) -> Result<Box<dyn SocketSource>>;
}
