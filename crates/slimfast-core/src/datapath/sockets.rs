//! Creates host sockets for the supervisors and dispensers, each claimed for its owner.
//!
//! The claim is one setsockopt(2) that a program answers (`bpf/limits.bpf.h`): it writes the record and counts the socket,
//! or refuses. It comes before anybody else can have the descriptor, so no hook ever sees a socket of ours without its
//! record; and since the kernel does it as one, whatever becomes of this process, no socket is counted that is not there.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, RwLock};

use super::records::{bytes_of, sf_claim, sf_claim_option, sf_socket_flags};
use crate::error::{Error, Result};
use crate::owner::{EndpointKey, Family, SocketSource, SocketSources, Tier};
use crate::sys::host_socket::{set_bytes, tcp_socket};

/// Endpoints for which sockets may be created.
type Owners = RwLock<HashSet<EndpointKey>>;

/// Hands each supervisor and dispenser its source of sockets.
#[derive(Debug, Default)]
pub struct HostSockets {
    owners: Arc<Owners>,
}

impl HostSockets {
    /// From now on sockets may be created for the endpoint, once the programs know it.
    pub fn admit(&self, owner: EndpointKey) {
        self.owners.write().unwrap_or_else(PoisonError::into_inner).insert(owner);
    }

    pub fn is_admitted(&self, owner: EndpointKey) -> bool {
        self.owners.read().unwrap_or_else(PoisonError::into_inner).contains(&owner)
    }

    /// From now on every creation for the endpoint fails.
    pub fn dismiss(&self, owner: EndpointKey) {
        self.owners.write().unwrap_or_else(PoisonError::into_inner).remove(&owner);
    }
}

impl SocketSources for HostSockets {
    fn for_endpoint(&self, owner: EndpointKey, tier: Tier) -> Result<Box<dyn SocketSource>> {
        if !self.is_admitted(owner) {
            return Err(not_here(owner));
        }
        let flags = match tier {
            Tier::Notify => 0,
            Tier::Preload => sf_socket_flags::SF_PRELOAD.0,
        };
        let claim = sf_claim { owner: owner.into(), flags };
        Ok(Box::new(EndpointSockets { owner, claim, owners: Arc::clone(&self.owners) }))
    }
}

fn not_here(owner: EndpointKey) -> Error {
    Error::NotFound { what: format!("endpoint {} of network {} on this node", owner.id, owner.vni) }
}

struct EndpointSockets {
    owner: EndpointKey,
    claim: sf_claim,
    owners: Arc<Owners>,
}

impl SocketSource for EndpointSockets {
    fn create(&self, family: Family) -> Result<OwnedFd> {
        if !self.owners.read().unwrap_or_else(PoisonError::into_inner).contains(&self.owner) {
            return Err(not_here(self.owner));
        }
        let socket = tcp_socket(family)?;
        let (level, option) = (sf_claim_option::SF_CLAIM_LEVEL.0, sf_claim_option::SF_CLAIM.0);
        match set_bytes(&socket, level as libc::c_int, option as libc::c_int, bytes_of(&self.claim)) {
            Ok(()) => Ok(socket),
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => Err(not_here(self.owner)),
            Err(error) => Err(Error::system("setsockopt", "claim a socket for its endpoint", error)),
        }
    }
}
