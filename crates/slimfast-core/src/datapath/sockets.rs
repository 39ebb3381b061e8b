//! Creates host sockets with their owner's record, for the supervisors and dispensers.
//!
//! The record is written before anybody else can have the descriptor, so no hook ever sees a socket of ours without it.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, RwLock};

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::be32;
use super::records::{bytes_of, sf_socket, sf_socket_flags};
use crate::error::{Error, Result};
use crate::owner::{EndpointKey, Family, SocketSource, SocketSources, Tier};
use crate::sys::host_socket::tcp_socket;

/// Endpoints for which sockets may be created, with their overlay addresses.
#[derive(Default)]
struct Owners(RwLock<HashMap<EndpointKey, Ipv4Addr>>);

/// Hands each supervisor and dispenser thread its source of sockets.
pub struct HostSockets {
    records: Arc<MapHandle>,
    owners: Arc<Owners>,
}

impl HostSockets {
    /// `records` is the map `sockets`.
    pub fn new(records: MapHandle) -> Self {
        Self { records: Arc::new(records), owners: Arc::default() }
    }

    /// From now on sockets may be created for the endpoint.
    pub fn admit(&self, owner: EndpointKey, address: Ipv4Addr) {
        self.owners.0.write().unwrap_or_else(std::sync::PoisonError::into_inner).insert(owner, address);
    }

    pub fn is_admitted(&self, owner: EndpointKey) -> bool {
        self.owners.address(owner).is_ok()
    }

    /// From now on every creation for the endpoint fails.
    pub fn dismiss(&self, owner: EndpointKey) {
        self.owners.0.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&owner);
    }
}

impl Owners {
    fn address(&self, owner: EndpointKey) -> Result<Ipv4Addr> {
        let owners = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        owners.get(&owner).copied().ok_or_else(|| Error::NotFound {
            what: format!("endpoint {} of network {} on this node", owner.id, owner.vni),
        })
    }
}

impl SocketSources for HostSockets {
    fn for_endpoint(&self, owner: EndpointKey, tier: Tier) -> Result<Box<dyn SocketSource>> {
        let address = self.owners.address(owner)?;
        let flags = match tier {
            Tier::Notify => 0,
            Tier::Preload => sf_socket_flags::SF_PRELOAD.0,
        };
        let record = sf_socket { owner: owner.into(), address: be32(address), flags, ..sf_socket::default() };
        Ok(Box::new(EndpointSockets {
            owner,
            record,
            records: Arc::clone(&self.records),
            owners: Arc::clone(&self.owners),
        }))
    }
}

struct EndpointSockets {
    owner: EndpointKey,
    record: sf_socket,
    records: Arc<MapHandle>,
    owners: Arc<Owners>,
}

impl SocketSource for EndpointSockets {
    fn create(&self, family: Family) -> Result<OwnedFd> {
        self.owners.address(self.owner)?;
        let socket = tcp_socket(family)?;
        self.records
            .update(&socket.as_raw_fd().to_ne_bytes(), bytes_of(&self.record), MapFlags::NO_EXIST)
            .map_err(|error| super::bpf_error("write a socket's record", &error))?;
        Ok(socket)
    }
}
