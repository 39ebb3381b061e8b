//! The cluster's state as the programs read it: one typed method per map entry.
//!
//! Writers are serialised by the node; readers are the programs, at any time. Entries are replaced whole.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::accounts::{Accounts, EndpointLimits};
use super::loader::Loaded;
use super::records::{
    Record, bytes_of, read_record, sf_address_key, sf_address6_key, sf_egress_key, sf_egress6_key, sf_endpoint,
    sf_endpoint_key, sf_network, sf_node, sf_peer, sf_published, sf_router, sf_source6, sf_wire_key,
};
use super::table::Table;
use super::{address6, be32, bpf_error, ipv4, ipv6};
use crate::error::Result;
use crate::owner::{Addresses, EndpointKey, Prefixes};

/// Handles on the maps that only the core writes.
pub struct Tables {
    peers: Table,
    peers6: Table,
    sources6: Table,
    endpoints: Table,
    nodes: Table,
    networks: Table,
    published: Table,
    egress: Table,
    egress6: Table,
    guarded: Arc<Table>,
    guarded6: Arc<Table>,
    routers: Table,
    uplinks: Table,
    wires: Table,
    accounts: Accounts,
    counters: MapHandle,
    counter_names: Vec<String>,
}

impl From<EndpointKey> for sf_endpoint_key {
    fn from(key: EndpointKey) -> Self {
        Self { vni: key.vni, id: key.id }
    }
}

impl From<sf_endpoint_key> for EndpointKey {
    fn from(key: sf_endpoint_key) -> Self {
        Self { vni: key.vni, id: key.id }
    }
}

impl Tables {
    /// `limits`: of each endpoint of the node.
    pub fn new(loaded: &Loaded, limits: EndpointLimits) -> Result<Self> {
        Ok(Self {
            peers: Table::open(loaded, "peers")?,
            peers6: Table::open(loaded, "peers6")?,
            sources6: Table::open(loaded, "sources6")?,
            endpoints: Table::open(loaded, "endpoints")?,
            nodes: Table::open(loaded, "nodes")?,
            networks: Table::open(loaded, "networks")?,
            published: Table::open(loaded, "published")?,
            egress: Table::open(loaded, "egress")?,
            egress6: Table::open(loaded, "egress6")?,
            guarded: Arc::new(Table::open(loaded, "host_addresses")?),
            guarded6: Arc::new(Table::open(loaded, "host_addresses6")?),
            routers: Table::open(loaded, "routers")?,
            uplinks: Table::open(loaded, "uplinks")?,
            wires: Table::open(loaded, "wires")?,
            accounts: Accounts::new(loaded, limits)?,
            counters: loaded.map("counters")?,
            counter_names: loaded.counter_names()?,
        })
    }

    /// An endpoint anywhere: connections to `address` in network `key.vni` go to `node`, and there to one of `front_count`
    /// ports from `front_first`.
    pub fn set_peer(
        &self,
        key: EndpointKey,
        address: impl Into<IpAddr>,
        node: Ipv4Addr,
        (front_first, front_count): (u16, u16),
    ) -> Result<()> {
        let value = sf_peer { id: key.id, node: be32(node), ports: sf_node { front_first, front_count } };
        match address.into() {
            IpAddr::V4(address) => put(&self.peers, &address_key(key.vni, address), &value),
            IpAddr::V6(address) => {
                let source = sf_source6 { address: address6(address), node: be32(node) };
                put(&self.sources6, &sf_endpoint_key::from(key), &source)?;
                put(&self.peers6, &address6_key(key.vni, address), &value)
            }
        }
    }

    pub fn remove_peer(&self, vni: u32, address: impl Into<IpAddr>) -> Result<()> {
        match address.into() {
            IpAddr::V4(address) => self.peers.remove(bytes_of(&address_key(vni, address))),
            IpAddr::V6(address) => self.peers6.remove(bytes_of(&address6_key(vni, address))),
        }
    }

    /// SYNs that say that they are from the endpoint's IPv6 address are not believed any more.
    pub fn forget_source(&self, key: EndpointKey) -> Result<()> {
        self.sources6.remove(bytes_of(&sf_endpoint_key::from(key)))
    }

    /// An endpoint of this node: from now on it may have sockets, and SYNs for it are dispatched.
    pub fn set_endpoint(&self, key: EndpointKey, addresses: impl Into<Addresses>) -> Result<()> {
        let Addresses { v4, v6 } = addresses.into();
        let value = sf_endpoint {
            address: be32(v4.unwrap_or(Ipv4Addr::UNSPECIFIED)),
            account: self.accounts.open(key)?,
            address6: address6(v6.unwrap_or(Ipv6Addr::UNSPECIFIED)),
        };
        put(&self.endpoints, &sf_endpoint_key::from(key), &value)
    }

    /// No more sockets first, then no more of what they can do.
    pub fn remove_endpoint(&self, key: EndpointKey) -> Result<()> {
        let removed = self.endpoints.remove(bytes_of(&sf_endpoint_key::from(key)));
        removed.and(self.accounts.close(key))
    }

    /// What the endpoints of this node may have, and have.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// SYNs from this underlay address are believed.
    pub fn set_node(&self, address: Ipv4Addr) -> Result<()> {
        self.nodes.put(&be32(address).to_ne_bytes(), &[1])
    }

    pub fn remove_node(&self, address: Ipv4Addr) -> Result<()> {
        self.nodes.remove(&be32(address).to_ne_bytes())
    }

    /// `aliases`: the first address of its block in the node's namespace, while it has a router here.
    pub fn set_network(&self, vni: u32, prefixes: impl Into<Prefixes>, aliases: Option<Ipv4Addr>) -> Result<()> {
        let Prefixes { v4, v6 } = prefixes.into();
        let (prefix, length) = v4.unwrap_or((Ipv4Addr::UNSPECIFIED, 0));
        let (prefix6, length6) = v6.unwrap_or((Ipv6Addr::UNSPECIFIED, 0));
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        let mask6 = u128::MAX.checked_shl(128 - u32::from(length6)).unwrap_or(0);
        let value = sf_network {
            prefix: be32(prefix),
            mask: mask.to_be(),
            prefix6: address6(prefix6),
            mask6: address6(Ipv6Addr::from_bits(mask6)),
            aliases: aliases.map_or(0, be32),
        };
        self.networks.put(&vni.to_ne_bytes(), bytes_of(&value))
    }

    pub fn remove_network(&self, vni: u32) -> Result<()> {
        self.networks.remove(&vni.to_ne_bytes())
    }

    /// A network's router namespace, by its cookie: its uplink has index `router_index` there and `node_index` in the
    /// node's namespace, which is `node_nsid` there.
    pub fn set_router(&self, vni: u32, cookie: u64, node_nsid: u32, router_index: u32, node_index: u32) -> Result<()> {
        let value = sf_router { vni, node_nsid, uplink: router_index };
        self.routers.put(&cookie.to_ne_bytes(), bytes_of(&value))?;
        self.uplinks.put(&node_index.to_ne_bytes(), &vni.to_ne_bytes())
    }

    pub fn remove_router(&self, cookie: u64, node_index: u32) -> Result<()> {
        let removed = self.routers.remove(&cookie.to_ne_bytes());
        removed.and(self.uplinks.remove(&node_index.to_ne_bytes()))
    }

    /// What comes by IPv6 out of the endpoint behind `device`, in the router's namespace with this cookie, must be from
    /// `address`.
    pub fn set_wire(&self, router: u64, device: u32, address: Option<Ipv6Addr>) -> Result<()> {
        let value = address6(address.unwrap_or(Ipv6Addr::UNSPECIFIED));
        put(&self.wires, &sf_wire_key { router, device, pad: 0 }, &value)
    }

    pub fn remove_wire(&self, router: u64, device: u32) -> Result<()> {
        self.wires.remove(bytes_of(&sf_wire_key { router, device, pad: 0 }))
    }

    /// Containers may not connect to the address although the host itself does not have it: it has a route there.
    pub fn guard_address(&self, address: IpAddr) -> Result<()> {
        guard(&self.guarded, &self.guarded6, address)
    }

    pub fn unguard_address(&self, address: IpAddr) -> Result<()> {
        unguard(&self.guarded, &self.guarded6, address)
    }

    /// Endpoints of the network may connect to this range outside of the overlay.
    pub fn allow_egress(&self, vni: u32, (base, length): (impl Into<IpAddr>, u8)) -> Result<()> {
        match base.into() {
            IpAddr::V4(base) => self.egress.put(bytes_of(&egress_key(vni, base, length)), &[length]),
            IpAddr::V6(base) => self.egress6.put(bytes_of(&egress6_key(vni, base, length)), &[length]),
        }
    }

    pub fn withdraw_egress(&self, vni: u32, (base, length): (impl Into<IpAddr>, u8)) -> Result<()> {
        match base.into() {
            IpAddr::V4(base) => self.egress.remove(bytes_of(&egress_key(vni, base, length))),
            IpAddr::V6(base) => self.egress6.remove(bytes_of(&egress6_key(vni, base, length))),
        }
    }

    /// SYNs to `host_port` of the node go to `port` of the endpoint.
    pub fn set_published(&self, host_port: u16, key: EndpointKey, port: u16) -> Result<()> {
        let value = sf_published { endpoint: key.into(), port, pad: 0 };
        self.published.put(&host_port.to_ne_bytes(), bytes_of(&value))
    }

    pub fn remove_published(&self, host_port: u16) -> Result<()> {
        self.published.remove(&host_port.to_ne_bytes())
    }

    /// Whether a former agent has left the network here, and nothing was said of it since.
    pub fn is_inherited_network(&self, vni: u32) -> bool {
        self.networks.is_inherited(&vni.to_ne_bytes())
    }

    /// Prefixes of a network that is written, whoever wrote it.
    pub fn network(&self, vni: u32) -> Result<Option<Prefixes>> {
        let bytes = self.networks.get(&vni.to_ne_bytes())?;
        let Some(network) = bytes.as_deref().and_then(read_record::<sf_network>) else { return Ok(None) };
        let (length, length6) = (network.mask.count_ones(), ipv6(network.mask6).to_bits().count_ones());
        // No prefix has the length 0.
        let length_of = |bits: u32| u8::try_from(bits).ok().filter(|&length| length > 0);
        Ok(Some(Prefixes {
            v4: length_of(length).map(|length| (ipv4(network.prefix), length)),
            v6: length_of(length6).map(|length| (ipv6(network.prefix6), length)),
        }))
    }

    /// Takes away what a former agent has left about this node's own endpoints and routers and was not written since.
    pub fn drop_inherited_of_node(&self) -> Result<()> {
        for table in [&self.published, &self.endpoints, &self.routers, &self.uplinks, &self.wires] {
            table.drop_inherited()?;
        }
        self.accounts.close_inherited()?;
        self.guarded.drop_inherited()?;
        self.guarded6.drop_inherited().map(drop)
    }

    /// Takes away what a former agent has left about the cluster and was not written since. Says which networks lost egress
    /// ranges.
    pub fn drop_inherited_of_cluster(&self) -> Result<BTreeSet<u32>> {
        for table in [&self.peers, &self.peers6, &self.sources6, &self.nodes, &self.networks] {
            table.drop_inherited()?;
        }
        let egress = self.egress.drop_inherited()?;
        let mut networks: BTreeSet<u32> =
            egress.iter().filter_map(|key| Some(read_record::<sf_egress_key>(key)?.vni)).collect();
        let egress6 = self.egress6.drop_inherited()?;
        networks.extend(egress6.iter().filter_map(|key| Some(read_record::<sf_egress6_key>(key)?.vni)));
        Ok(networks)
    }

    /// Counters of the programs, summed over the CPUs.
    pub fn counters(&self) -> Result<Vec<(&str, u64)>> {
        self.counter_names
            .iter()
            .zip(0u32..)
            .map(|(name, index)| {
                let values = self
                    .counters
                    .lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY)
                    .map_err(|error| bpf_error(format!("read counter {name}"), &error))?;
                let sum = values
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|bytes| bytes.get(..8)?.try_into().ok().map(u64::from_ne_bytes))
                    .sum();
                Ok((name.as_str(), sum))
            })
            .collect()
    }
}

/// Addresses of the host itself, which containers may not connect to.
pub struct HostAddresses {
    table: Arc<Table>,
    table6: Arc<Table>,
    written: BTreeSet<IpAddr>,
}

impl HostAddresses {
    pub fn new(tables: &Tables) -> Self {
        let (table, table6) = (Arc::clone(&tables.guarded), Arc::clone(&tables.guarded6));
        Self { table, table6, written: BTreeSet::new() }
    }

    /// Only `addresses` from now on. New ones first, so that none of both sets is open in between.
    pub fn replace(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<()> {
        for address in addresses {
            guard(&self.table, &self.table6, *address)?;
        }
        for address in self.written.difference(addresses) {
            unguard(&self.table, &self.table6, *address)?;
        }
        self.written.clone_from(addresses);
        Ok(())
    }
}

fn guard(table: &Table, table6: &Table, address: IpAddr) -> Result<()> {
    match address {
        IpAddr::V4(address) => table.put(&be32(address).to_ne_bytes(), &[1]),
        IpAddr::V6(address) => table6.put(bytes_of(&address6(address)), &[1]),
    }
}

fn unguard(table: &Table, table6: &Table, address: IpAddr) -> Result<()> {
    match address {
        IpAddr::V4(address) => table.remove(&be32(address).to_ne_bytes()),
        IpAddr::V6(address) => table6.remove(bytes_of(&address6(address))),
    }
}

fn address_key(vni: u32, address: Ipv4Addr) -> sf_address_key {
    sf_address_key { vni, address: be32(address) }
}

fn address6_key(vni: u32, address: Ipv6Addr) -> sf_address6_key {
    sf_address6_key { vni, address: address6(address) }
}

fn egress_key(vni: u32, base: Ipv4Addr, length: u8) -> sf_egress_key {
    sf_egress_key { prefix_length: 32 + u32::from(length), vni, address: be32(base) }
}

fn egress6_key(vni: u32, base: Ipv6Addr, length: u8) -> sf_egress6_key {
    sf_egress6_key { prefix_length: 32 + u32::from(length), vni, address: address6(base) }
}

fn put<K: Record, V: Record>(table: &Table, key: &K, value: &V) -> Result<()> {
    table.put(bytes_of(key), bytes_of(value))
}
