//! The wires between this node's namespace and its networks' routers, and the programs that translate at their ends.

use std::net::{IpAddr, Ipv6Addr};

use super::Inner;
use crate::error::{Error, Result};
use crate::host::journal::UplinkRecord;
use crate::host::netns::NetNs;
use crate::host::uplink::{Aliases, Uplink, UplinkConfig};
use crate::owner::{EndpointKey, Prefixes};

impl Inner {
    /// Joins the node to the network's router, which is there.
    pub(super) fn ensure_uplink(&mut self, vni: u32) -> Result<()> {
        if self.uplinks.contains_key(&vni) {
            return Ok(());
        }
        let router = self.routers.get(&vni).ok_or(Error::Closed)?;
        let prefixes = self.prefixes_of(vni)?;
        let taken: Vec<_> = self.uplinks.values().filter_map(Uplink::aliases).collect();
        let aliases = prefixes.v4.map(|(_, prefix_length)| Aliases::choose(prefix_length, &taken)).transpose()?;
        self.host.journal.update_node(|node| {
            node.uplinks.retain(|uplink| uplink.vni != vni);
            node.uplinks.push(UplinkRecord { vni, aliases });
        })?;
        let config = UplinkConfig { vni, aliases, has_ipv6: prefixes.v6.is_some() };
        let uplink = Uplink::open(&self.namespace, router.namespace(), config, router.mtu())?;
        let attached = self.attach_uplink(vni, &uplink, router.namespace());
        self.uplinks.insert(vni, uplink);
        attached.inspect_err(|_| {
            // The error that led here is the one to report.
            let _ = self.close_uplink(vni);
        })
    }

    /// What the state says of the network; what a former agent has left of it, until that has come.
    pub(super) fn prefixes_of(&self, vni: u32) -> Result<Prefixes> {
        let known = self.state.network(vni).map(|network| network.prefixes);
        let known = known.map_or_else(|| self.parts.tables.network(vni), |known| Ok(Some(known)))?;
        known.ok_or_else(|| Error::NotFound { what: format!("network {vni}") })
    }

    /// Also puts the programs at the ends of a wire into the place of a former agent's.
    pub(super) fn attach_uplink(&self, vni: u32, uplink: &Uplink, router: &NetNs) -> Result<()> {
        let prefixes = self.prefixes_of(vni)?;
        let (node_index, router_index) = (uplink.index(), uplink.router_index());
        self.parts.tables.set_router(vni, router.cookie()?, uplink.node_nsid(), router_index, node_index)?;
        // The guard of the node before anything leads there.
        self.parts.loaded.attach_egress("sf_to_node", router, router_index)?;
        self.parts.loaded.attach_egress("sf_from_node", &self.namespace, node_index)?;
        self.parts.tables.set_network(vni, prefixes, uplink.aliases().map(Aliases::first))
    }

    /// Idempotent. Goes on past failures and returns the first.
    pub(super) fn close_uplink(&mut self, vni: u32) -> Result<()> {
        let Some(uplink) = self.uplinks.remove(&vni) else { return Ok(()) };
        let mut outcome = match self.state.network(vni) {
            Some(network) => self.parts.tables.set_network(vni, network.prefixes, None),
            None => Ok(()),
        };
        if let Some(router) = self.routers.get(&vni) {
            let removed =
                router.namespace().cookie().and_then(|it| self.parts.tables.remove_router(it, uplink.index()));
            outcome = outcome.and(removed);
        }
        outcome = outcome.and(uplink.close());
        outcome.and(self.host.journal.update_node(|node| node.uplinks.retain(|uplink| uplink.vni != vni)))
    }

    /// TCP for the endpoint's accelerated listeners and connections goes to the node's namespace.
    pub(super) fn lead_to_node(&self, key: EndpointKey) -> Result<()> {
        let (router, device) = self.wire(key)?;
        self.parts.loaded.attach_egress("sf_to_endpoint", router, device)
    }

    /// What leaves the endpoint's namespace by IPv6 must have its address, if its router takes IPv6. Also puts the program
    /// into the place of a former agent's.
    pub(super) fn guard_source(&self, key: EndpointKey, address: Option<Ipv6Addr>) -> Result<()> {
        if self.prefixes_of(key.vni)?.v6.is_none() {
            return Ok(());
        }
        let (router, device) = self.wire(key)?;
        self.parts.tables.set_wire(router.cookie()?, device, address)?;
        self.parts.loaded.attach_ingress("sf_from_endpoint", router, device)
    }

    /// Undoes [`Self::guard_source`]; the program goes with the device.
    pub(super) fn forget_wire(&self, key: EndpointKey) -> Result<()> {
        match self.wire(key) {
            Ok((router, device)) => self.parts.tables.remove_wire(router.cookie()?, device),
            Err(_) => Ok(()),
        }
    }

    /// The router's namespace, and in it the index of the device that leads to the endpoint.
    fn wire(&self, key: EndpointKey) -> Result<(&NetNs, u32)> {
        let router = self.routers.get(&key.vni).ok_or(Error::Closed)?;
        let missing = || Error::NotFound { what: format!("the device of endpoint {}", key.id) };
        Ok((router.namespace(), router.device_of(key.id).ok_or_else(missing)?))
    }

    /// The node's own processes reach the endpoint under this address; says whether they do.
    pub(super) fn route_from_node(&mut self, vni: u32, address: IpAddr) -> Result<bool> {
        let is_routed = self.uplinks.get_mut(&vni).map_or(Ok(false), |uplink| uplink.route_to(address))?;
        if is_routed {
            self.parts.tables.guard_address(address)?;
        }
        Ok(is_routed)
    }

    /// Undoes [`Self::route_from_node`] where that answered true.
    pub(super) fn withdraw_from_node(&mut self, vni: u32, address: IpAddr) -> Result<()> {
        let removed = self.uplinks.get_mut(&vni).map_or(Ok(()), |uplink| uplink.remove_route_to(address));
        removed.and(self.parts.tables.unguard_address(address))
    }
}
