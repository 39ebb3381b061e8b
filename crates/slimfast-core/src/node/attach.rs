//! Endpoints of this node: attached and detached as a whole.

use std::net::Ipv4Addr;

use super::Inner;
use crate::datapath::listing::Cut;
use crate::error::{Error, Result};
use crate::host::overlay::{LocalEndpoint, Router, RouterConfig};
use crate::host::ports::{PortHold, PortRange};
use crate::owner::EndpointKey;

/// A host port that leads to a port of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedPort {
    pub host_port: u16,
    pub endpoint_port: u16,
}

#[derive(Debug, Clone)]
pub struct AttachRequest {
    pub key: EndpointKey,
    /// As in the applied state.
    pub address: Ipv4Addr,
    /// Name of the network namespace to create for it.
    pub netns_name: String,
    pub published: Vec<PublishedPort>,
}

/// What an attached endpoint holds.
pub(super) struct Attached {
    /// Keep other programs off the host ports.
    published: Vec<(PublishedPort, PortHold)>,
    address: Ipv4Addr,
    /// Whether the node's own processes reach it: the first to have an address of several networks is reached.
    is_routed: bool,
}

impl Inner {
    pub(super) fn attach(&mut self, request: &AttachRequest) -> Result<()> {
        self.check_attachable(request)?;
        self.ensure_router(request.key.vni)?;
        let outcome = self.attach_to_router(request).and_then(|()| {
            self.open_datapath(request).inspect_err(|_| {
                // The error that led here is the one to report.
                let _ = self.detach(request.key);
            })
        });
        outcome.inspect_err(|_| drop(self.drop_unused_router(request.key.vni)))
    }

    fn check_attachable(&self, request: &AttachRequest) -> Result<()> {
        let AttachRequest { key, address, .. } = request;
        let describe = || format!("endpoint {} of network {}", key.id, key.vni);
        let known = self.state.endpoint(*key).ok_or_else(|| Error::NotFound { what: describe() })?;
        if !self.state.is_own(known) {
            return Err(Error::invalid("id", format!("{} is on node {}", describe(), known.node)));
        }
        if known.address != *address {
            return Err(Error::invalid("address", format!("{} has the address {}", describe(), known.address)));
        }
        if self.state.network(key.vni).is_none() {
            return Err(Error::NotFound { what: format!("network {}", key.vni) });
        }
        if self.attached.contains_key(key) {
            return Err(Error::Conflict { what: describe(), holder: "this node: it is attached already".into() });
        }
        match request.published.iter().find(|port| port.host_port == 0 || port.endpoint_port == 0) {
            Some(_) => Err(Error::invalid("publishedPorts", "ports must be 1 to 65535")),
            None => Ok(()),
        }
    }

    fn ensure_router(&mut self, vni: u32) -> Result<()> {
        if self.routers.contains_key(&vni) {
            return Ok(());
        }
        let config = RouterConfig {
            node_name: self.config.node_name.clone(),
            vni,
            underlay: self.config.underlay,
            vxlan_port: self.config.vxlan_port,
        };
        let mut router = Router::ensure(&self.namespace, &config, &self.host.journal)?;
        if let Err(error) = router.set_remotes(&self.state.remotes(vni)) {
            let _ = router.destroy();
            return Err(error);
        }
        self.routers.insert(vni, router);
        self.ensure_uplink(vni).inspect_err(|_| drop(self.drop_unused_router(vni)))
    }

    fn drop_unused_router(&mut self, vni: u32) -> Result<()> {
        match self.routers.get(&vni) {
            Some(router) if router.attached().next().is_none() => {
                let closed = self.close_uplink(vni);
                closed.and(self.routers.remove(&vni).map_or(Ok(()), Router::destroy))
            }
            _ => Ok(()),
        }
    }

    fn attach_to_router(&mut self, request: &AttachRequest) -> Result<()> {
        let AttachRequest { key, address, netns_name, .. } = request;
        let endpoint = LocalEndpoint { id: key.id, address: *address, netns: netns_name.clone() };
        self.routers.get_mut(&key.vni).ok_or(Error::Closed)?.attach(&endpoint)?;
        self.attached.insert(*key, Attached { published: Vec::new(), address: *address, is_routed: false });
        Ok(())
    }

    fn open_datapath(&mut self, request: &AttachRequest) -> Result<()> {
        let AttachRequest { key, address, published, .. } = request;
        self.parts.tables.set_endpoint(*key, *address)?;
        // A plain endpoint's runtime is refused when it brings a seccomp listener.
        if !self.state.endpoint(*key).is_some_and(|endpoint| endpoint.is_plain) {
            self.lead_to_node(key.vni, key.id)?;
            self.parts.sockets.admit(*key);
        }
        let is_routed = self.route_from_node(key.vni, *address)?;
        self.attached.get_mut(key).ok_or(Error::Closed)?.is_routed = is_routed;
        for port in published {
            let hold = PortHold::acquire_in(&self.namespace, PortRange::block(port.host_port, 1)?)?;
            self.parts.tables.set_published(port.host_port, *key, port.endpoint_port)?;
            let attached = self.attached.get_mut(key).ok_or(Error::Closed)?;
            attached.published.push((*port, hold));
        }
        Ok(())
    }

    /// Goes on past failures and returns the first: whatever can be taken away is.
    pub(super) fn detach(&mut self, key: EndpointKey) -> Result<()> {
        let Some(attached) = self.attached.remove(&key) else { return Ok(()) };
        // First no new sockets, then no new connections, then the ones that are there.
        self.parts.sockets.dismiss(key);
        self.parts.admission.stop_endpoint(key);
        let mut outcome = Ok(());
        for (port, hold) in attached.published {
            outcome = outcome.and(self.parts.tables.remove_published(port.host_port));
            drop(hold);
        }
        outcome = outcome.and(self.parts.tables.remove_endpoint(key));
        outcome = outcome.and(self.cut(Cut::Endpoint(key)).map(drop));
        if attached.is_routed {
            outcome = outcome.and(self.withdraw_from_node(key.vni, attached.address));
        }
        let detached = self.routers.get_mut(&key.vni).map_or(Ok(()), |router| router.detach(key.id));
        outcome.and(detached).and(self.drop_unused_router(key.vni))
    }
}
