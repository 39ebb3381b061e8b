//! Endpoints of this node: attached and detached as a whole.

use std::collections::BTreeMap;

use super::Inner;
use crate::datapath::listing::Cut;
use crate::error::{Error, Result};
use crate::host::journal::{EndpointRecord, EndpointStage, NodeRecord};
use crate::host::overlay::{LocalEndpoint, Router, RouterConfig};
use crate::host::ports::{PortHold, PortRange};
use crate::owner::{Addresses, EndpointKey};

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
    pub addresses: Addresses,
    /// Name of the network namespace to create for it.
    pub netns_name: String,
    pub published: Vec<PublishedPort>,
    /// Kept with the endpoint, for the next agent.
    pub note: String,
}

/// What an attached endpoint holds.
pub(super) struct Attached {
    pub published: Vec<PublishedPort>,
    /// The addresses under which the node's own processes reach it: the first to have one of several networks is reached.
    pub routed: Addresses,
    pub netns_name: String,
    pub note: String,
}

/// What the keeper calls the sockets that keep other programs off a published port.
pub(super) fn hold_label(host_port: u16) -> String {
    format!("published:{host_port}")
}

impl Inner {
    pub(super) fn attach(&mut self, request: &AttachRequest) -> Result<()> {
        self.check_attachable(request)?;
        self.host.journal.update_node(|node| node.endpoints.push(self.record_of(request)))?;
        let outcome =
            self.ensure_router(request.key.vni).and_then(|()| self.attach_to_router(request)).and_then(|()| {
                self.open_datapath(request)
                    .and_then(|()| self.set_stage(request.key, EndpointStage::Attached))
                    .inspect_err(|_| {
                        // The error that led here is the one to report.
                        let _ = self.detach(request.key);
                    })
            });
        outcome.inspect_err(|_| {
            let _ = self.drop_unused_router(request.key.vni);
            let _ = self.host.journal.update_node(|node| forget_endpoint(node, request.key));
        })
    }

    fn record_of(&self, request: &AttachRequest) -> EndpointRecord {
        let AttachRequest { key, addresses, netns_name, published, note } = request;
        EndpointRecord {
            endpoint: *key,
            addresses: *addresses,
            netns_name: netns_name.clone(),
            published: published.iter().map(|port| (port.host_port, port.endpoint_port)).collect(),
            is_plain: self.is_plain(*key),
            is_routed: false,
            is_routed6: false,
            stage: EndpointStage::Attaching,
            note: note.clone(),
        }
    }

    fn is_plain(&self, key: EndpointKey) -> bool {
        self.state.endpoint(key).is_some_and(|endpoint| endpoint.is_plain)
    }

    fn set_stage(&self, key: EndpointKey, stage: EndpointStage) -> Result<()> {
        let routed = self.readings.attached().get(&key).map_or(Addresses::NONE, |attached| attached.routed);
        self.host.journal.update_node(|node| {
            for record in node.endpoints.iter_mut().filter(|record| record.endpoint == key) {
                record.stage = stage;
                record.is_routed = routed.v4.is_some();
                record.is_routed6 = routed.v6.is_some();
            }
        })
    }

    fn check_attachable(&self, request: &AttachRequest) -> Result<()> {
        let AttachRequest { key, addresses, .. } = request;
        let describe = || format!("endpoint {} of network {}", key.id, key.vni);
        let known = self.state.endpoint(*key).ok_or_else(|| Error::NotFound { what: describe() })?;
        if !self.state.is_own(known) {
            return Err(Error::invalid("id", format!("{} is on node {}", describe(), known.node)));
        }
        if known.addresses != *addresses {
            return Err(Error::invalid("address", format!("{} has {}", describe(), known.addresses)));
        }
        let network = self.state.network(key.vni);
        let network = network.ok_or_else(|| Error::NotFound { what: format!("network {}", key.vni) })?;
        for (family, has_prefix, has_address) in [
            ("address", network.prefixes.v4.is_some(), addresses.v4.is_some()),
            ("address6", network.prefixes.v6.is_some(), addresses.v6.is_some()),
        ] {
            if has_address && !has_prefix {
                let reason = format!("{} has one, and its network has no such prefix", describe());
                return Err(Error::invalid(family, reason));
            }
        }
        if self.readings.attached().contains_key(key) {
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
        let config = self.router_config(vni)?;
        let mut router = Router::ensure(&self.namespace, &config, &self.host.journal)?;
        if let Err(error) = router.set_remotes(&self.state.remotes(vni)) {
            let _ = router.destroy();
            return Err(error);
        }
        self.routers.insert(vni, router);
        self.ensure_uplink(vni).inspect_err(|_| drop(self.drop_unused_router(vni)))
    }

    pub(super) fn router_config(&self, vni: u32) -> Result<RouterConfig> {
        Ok(RouterConfig {
            node_name: self.config.node_name.clone(),
            vni,
            underlay: self.config.underlay,
            vxlan_port: self.config.vxlan_port,
            has_ipv6: self.prefixes_of(vni)?.v6.is_some(),
        })
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
        let AttachRequest { key, addresses, netns_name, note, .. } = request;
        let endpoint = LocalEndpoint { id: key.id, addresses: *addresses, netns: netns_name.clone() };
        self.routers.get_mut(&key.vni).ok_or(Error::Closed)?.attach(&endpoint)?;
        let (netns_name, note) = (netns_name.clone(), note.clone());
        let (published, routed) = (Vec::new(), Addresses::NONE);
        let attached = Attached { published, routed, netns_name, note };
        self.readings.attached().insert(*key, attached);
        Ok(())
    }

    fn open_datapath(&mut self, request: &AttachRequest) -> Result<()> {
        let AttachRequest { key, addresses, published, .. } = request;
        self.guard_source(*key, addresses.v6)?;
        self.parts.tables.set_endpoint(*key, *addresses)?;
        // A plain endpoint's runtime is refused when it brings a seccomp listener.
        if !self.is_plain(*key) {
            self.lead_to_node(*key)?;
            self.parts.keeper.admit(*key)?;
        }
        for address in addresses.iter() {
            if self.route_from_node(key.vni, address)? {
                self.readings.attached().get_mut(key).ok_or(Error::Closed)?.routed.set(address);
            }
        }
        for port in published {
            let hold = PortHold::acquire_in(&self.namespace, PortRange::block(port.host_port, 1)?)?;
            self.readings.attached().get_mut(key).ok_or(Error::Closed)?.published.push(*port);
            self.parts.keeper.hold(&hold_label(port.host_port), hold.sockets())?;
            self.parts.tables.set_published(port.host_port, *key, port.endpoint_port)?;
        }
        Ok(())
    }

    /// See [`Self::detach_all`].
    pub(super) fn detach(&mut self, key: EndpointKey) -> Result<()> {
        self.detach_all(&[key])
    }

    /// Goes on past failures and returns the first: whatever can be taken away is. What takes the kernel or the journal as long for
    /// one as for many is done once for all.
    pub(super) fn detach_all(&mut self, keys: &[EndpointKey]) -> Result<()> {
        let mut doomed: BTreeMap<EndpointKey, Attached> = BTreeMap::new();
        for key in keys {
            // From here on it counts as detached.
            doomed.extend(self.readings.attached().remove(key).map(|attached| (*key, attached)));
        }
        if doomed.is_empty() {
            return Ok(());
        }
        let mut outcome = self.host.journal.update_node(|node| {
            for record in node.endpoints.iter_mut().filter(|record| doomed.contains_key(&record.endpoint)) {
                record.stage = EndpointStage::Detaching;
            }
        });
        for (key, attached) in &doomed {
            outcome = outcome.and(self.close_datapath(*key, attached));
        }
        let mut by_network: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for key in doomed.keys() {
            by_network.entry(key.vni).or_default().push(key.id);
        }
        for (vni, ids) in by_network {
            let detached = self.routers.get_mut(&vni).map_or(Ok(()), |router| router.detach_all(&ids));
            outcome = outcome.and(detached).and(self.drop_unused_router(vni));
        }
        outcome.and(self.host.journal.update_node(|node| {
            node.endpoints.retain(|record| !doomed.contains_key(&record.endpoint));
        }))
    }

    /// First no new sockets, then no new connections, then the ones that are there.
    fn close_datapath(&mut self, key: EndpointKey, attached: &Attached) -> Result<()> {
        let mut outcome = self.parts.keeper.dismiss(key);
        for port in &attached.published {
            outcome = outcome.and(self.parts.tables.remove_published(port.host_port));
            outcome = outcome.and(self.parts.keeper.release(&hold_label(port.host_port)));
        }
        outcome = outcome.and(self.parts.tables.remove_endpoint(key));
        outcome = outcome.and(self.cut(Cut::Endpoint(key)).map(drop));
        for address in attached.routed.iter() {
            outcome = outcome.and(self.withdraw_from_node(key.vni, address));
        }
        outcome.and(self.forget_wire(key))
    }
}

fn forget_endpoint(node: &mut NodeRecord, key: EndpointKey) {
    node.endpoints.retain(|record| record.endpoint != key);
}
