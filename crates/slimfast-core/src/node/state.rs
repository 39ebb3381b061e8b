//! The cluster's state as this node needs it: remembered, and written into the BPF maps and the overlay's routers.
//!
//! Each kind goes by its own key, and applying the same twice changes nothing. An endpoint whose node is unknown is
//! remembered and becomes reachable when the node comes.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use super::Inner;
use crate::datapath::listing::Cut;
use crate::error::{Error, Result};
use crate::host::uplink::{Aliases, Uplink};
use crate::owner::{Addresses, EndpointKey, Prefixes};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    pub name: String,
    pub underlay: Ipv4Addr,
    pub front_first: u16,
    pub front_count: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkState {
    pub vni: u32,
    pub prefixes: Prefixes,
    /// Ranges (base, prefix length) outside of the overlay that its endpoints may connect to.
    pub egress: Vec<(IpAddr, u8)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    pub key: EndpointKey,
    pub addresses: Addresses,
    /// Name of its node.
    pub node: String,
    /// Its TCP sockets are its own namespace's, not the node's.
    pub is_plain: bool,
}

/// One increment. Addresses, nodes, networks and endpoints are applied in that order, then what is removed, in the reverse one.
#[derive(Debug, Clone, Default)]
pub struct StateChange {
    /// Of nodes of which nothing else is known: no wider egress range leads to them.
    pub node_addresses: Vec<Ipv4Addr>,
    pub nodes: Vec<NodeState>,
    pub networks: Vec<NetworkState>,
    pub endpoints: Vec<EndpointState>,
    pub removed_endpoints: Vec<EndpointKey>,
    pub removed_networks: Vec<u32>,
    pub removed_nodes: Vec<String>,
    pub removed_node_addresses: Vec<Ipv4Addr>,
}

/// What has been applied.
pub(super) struct State {
    own_name: String,
    nodes: HashMap<String, NodeState>,
    node_addresses: HashSet<Ipv4Addr>,
    networks: HashMap<u32, NetworkState>,
    endpoints: HashMap<EndpointKey, EndpointState>,
    /// Whose entry `peers` has for (VNI, address): a removal that comes after the address's next owner must not take it.
    addresses: HashMap<(u32, IpAddr), EndpointKey>,
}

impl State {
    pub fn new(own_name: String) -> Self {
        Self {
            own_name,
            nodes: HashMap::new(),
            node_addresses: HashSet::new(),
            networks: HashMap::new(),
            endpoints: HashMap::new(),
            addresses: HashMap::new(),
        }
    }

    pub fn endpoint(&self, key: EndpointKey) -> Option<&EndpointState> {
        self.endpoints.get(&key)
    }

    pub fn network(&self, vni: u32) -> Option<&NetworkState> {
        self.networks.get(&vni)
    }

    pub fn is_own(&self, endpoint: &EndpointState) -> bool {
        endpoint.node == self.own_name
    }

    /// (overlay address, underlay address of its node) of the network's endpoints on other nodes.
    pub fn remotes(&self, vni: u32) -> Vec<(IpAddr, Ipv4Addr)> {
        let remote = self.endpoints.values().filter(|endpoint| endpoint.key.vni == vni && !self.is_own(endpoint));
        let places = remote.filter_map(|endpoint| Some((endpoint, self.nodes.get(&endpoint.node)?.underlay)));
        places.flat_map(|(endpoint, node)| self.held_addresses(endpoint).map(move |address| (address, node))).collect()
    }

    /// Those of the endpoint's addresses that have no later owner.
    fn held_addresses(&self, endpoint: &EndpointState) -> impl Iterator<Item = IpAddr> {
        let key = endpoint.key;
        endpoint.addresses.iter().filter(move |address| self.addresses.get(&(key.vni, *address)) == Some(&key))
    }

    fn endpoints_of_node(&self, name: &str) -> Vec<EndpointState> {
        self.endpoints.values().filter(|endpoint| endpoint.node == name).cloned().collect()
    }
}

impl Inner {
    pub(super) fn apply(&mut self, change: StateChange) -> Result<()> {
        for address in change.node_addresses {
            self.parts.tables.set_node(address)?;
            self.state.node_addresses.insert(address);
        }
        for node in change.nodes {
            self.set_node(node)?;
        }
        for network in change.networks {
            self.set_network(network)?;
        }
        self.set_endpoints(change.endpoints)?;
        for key in change.removed_endpoints {
            self.remove_endpoint(key)?;
        }
        for vni in change.removed_networks {
            self.remove_network(vni)?;
        }
        for name in change.removed_nodes {
            self.remove_node(&name)?;
        }
        for address in change.removed_node_addresses {
            self.state.node_addresses.remove(&address);
            self.forget_underlay(address)?;
        }
        Ok(())
    }

    fn set_node(&mut self, node: NodeState) -> Result<()> {
        if self.state.nodes.get(&node.name) == Some(&node) {
            return Ok(());
        }
        if node.front_count == 0 {
            return Err(Error::invalid("frontPortCount", format!("node {} has none", node.name)));
        }
        self.parts.tables.set_node(node.underlay)?;
        let name = node.name.clone();
        let underlay = node.underlay;
        let former = self.state.nodes.insert(name.clone(), node);
        let affected = self.state.endpoints_of_node(&name);
        self.write_endpoints(&affected)?;
        match former {
            Some(former) if former.underlay != underlay => self.forget_underlay(former.underlay),
            _ => Ok(()),
        }
    }

    fn remove_node(&mut self, name: &str) -> Result<()> {
        // Its endpoints are removed by their own entries, before it.
        match self.state.nodes.remove(name) {
            Some(node) => self.forget_underlay(node.underlay),
            None => Ok(()),
        }
    }

    /// SYNs from the address are not believed any more, unless a node still has it.
    fn forget_underlay(&self, underlay: Ipv4Addr) -> Result<()> {
        let in_use = underlay == self.config.underlay
            || self.state.node_addresses.contains(&underlay)
            || self.state.nodes.values().any(|node| node.underlay == underlay);
        if in_use { Ok(()) } else { self.parts.tables.remove_node(underlay) }
    }

    fn set_network(&mut self, network: NetworkState) -> Result<()> {
        if network.vni == 0 || network.vni >= 1 << 24 {
            return Err(Error::invalid("vni", format!("must be 1 to {}: {}", (1 << 24) - 1, network.vni)));
        }
        let longest = |base: IpAddr| if base.is_ipv4() { 32 } else { 128 };
        if let Some((base, length)) = network.egress.iter().find(|(base, length)| *length > longest(*base)) {
            return Err(Error::invalid("egress", format!("{base}/{length} is longer than an address")));
        }
        let vni = network.vni;
        let aliases = self.uplinks.get(&vni).and_then(Uplink::aliases).map(Aliases::first);
        self.parts.tables.set_network(vni, network.prefixes, aliases)?;
        for range in &network.egress {
            self.parts.tables.allow_egress(vni, *range)?;
        }
        let former = self.state.networks.insert(vni, network).map_or(Vec::new(), |former| former.egress);
        self.withdraw_egress(vni, &former)
    }

    /// Takes away those of `former` that the network does not have now, and resets what went there.
    fn withdraw_egress(&self, vni: u32, former: &[(IpAddr, u8)]) -> Result<()> {
        let present = self.state.network(vni).map_or(&[][..], |network| &network.egress);
        let gone: Vec<_> = former.iter().filter(|range| !present.contains(range)).collect();
        for range in &gone {
            self.parts.tables.withdraw_egress(vni, **range)?;
        }
        if gone.is_empty() { Ok(()) } else { self.cut(Cut::Denied { vni }).map(drop) }
    }

    fn remove_network(&mut self, vni: u32) -> Result<()> {
        if self.routers.contains_key(&vni) {
            return Err(Error::Conflict {
                what: format!("the removal of network {vni}"),
                holder: "an endpoint that is attached on this node".into(),
            });
        }
        let former = self.state.networks.remove(&vni).map_or(Vec::new(), |former| former.egress);
        self.withdraw_egress(vni, &former)?;
        self.parts.policies.remove(vni)?;
        self.parts.tables.remove_network(vni)
    }

    fn set_endpoints(&mut self, endpoints: Vec<EndpointState>) -> Result<()> {
        for endpoint in &endpoints {
            let former = self.state.endpoints.insert(endpoint.key, endpoint.clone());
            if let Some(former) = former.filter(|former| former.addresses != endpoint.addresses) {
                self.withdraw_addresses(&former)?;
            }
            for address in endpoint.addresses.iter() {
                // Ids only grow: of two owners of an address the one with the greater id is the later one.
                let holder = self.state.addresses.entry((endpoint.key.vni, address)).or_insert(endpoint.key);
                *holder = (*holder).max(endpoint.key);
            }
        }
        self.write_endpoints(&endpoints)
    }

    fn remove_endpoint(&mut self, key: EndpointKey) -> Result<()> {
        match self.state.endpoints.remove(&key) {
            Some(endpoint) => self.withdraw_addresses(&endpoint),
            None => Ok(()),
        }
    }

    /// Nothing leads to the endpoint's addresses any more, unless they have their next owners already.
    fn withdraw_addresses(&mut self, endpoint: &EndpointState) -> Result<()> {
        let EndpointState { key, addresses, node, .. } = endpoint;
        if addresses.v6.is_some() {
            self.parts.tables.forget_source(*key)?;
        }
        let held: Vec<IpAddr> = self.state.held_addresses(endpoint).collect();
        for address in &held {
            self.state.addresses.remove(&(key.vni, *address));
            self.parts.tables.remove_peer(key.vni, *address)?;
        }
        match self.routers.get_mut(&key.vni) {
            Some(router) if *node != self.state.own_name => router.remove_remotes(&held),
            _ => Ok(()),
        }
    }

    /// Writes the endpoints into the map of peers and, where they are on other nodes, into their network's router.
    fn write_endpoints(&mut self, endpoints: &[EndpointState]) -> Result<()> {
        let mut remotes: HashMap<u32, Vec<(IpAddr, Ipv4Addr)>> = HashMap::new();
        for endpoint in endpoints {
            let EndpointState { key, node, is_plain, .. } = endpoint;
            let Some(node) = self.state.nodes.get(node) else { continue };
            // No front port leads to a plain endpoint.
            let ports = if *is_plain { (0, 0) } else { (node.front_first, node.front_count) };
            for address in self.state.held_addresses(endpoint) {
                self.parts.tables.set_peer(*key, address, node.underlay, ports)?;
                if !self.state.is_own(endpoint) {
                    remotes.entry(key.vni).or_default().push((address, node.underlay));
                }
            }
        }
        for (vni, remotes) in remotes {
            if let Some(router) = self.routers.get_mut(&vni) {
                router.set_remotes(&remotes)?;
            }
        }
        Ok(())
    }
}
