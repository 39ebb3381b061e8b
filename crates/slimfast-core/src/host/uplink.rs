//! Owns the wire between the node's namespace and one network's router: TCP between accelerated endpoints and plain peers,
//! and between the node's own processes and its endpoints, goes over it.
//!
//! In the node's namespace a network is two blocks of addresses that stand for its own; the BPF programs at both ends
//! translate. Of IPv4 the blocks are chosen for each node ([`Aliases`]), of IPv6 they follow from the VNI ([`Aliases6`]).
//! All that the node's namespace gets is the device, and it goes with the router's namespace: nothing to undo that outlives
//! the device.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteScope, RouteType};
use serde::{Deserialize, Serialize};

use super::netlink::{Mode, Netlink};
use super::netns::NetNs;
use super::overlay::{GATEWAY, GATEWAY6, messages, setup};
use super::sysctl;
use super::undo::Undo;
use crate::datapath::records::sf_alias;
use crate::error::{Error, Result};

/// What containers see of the node itself.
pub const NODE_ALIAS: Ipv4Addr = Ipv4Addr::from_bits(sf_alias::SF_NODE_ALIAS.0);
/// The same by IPv6.
pub const NODE_ALIAS6: Ipv6Addr = alias6([0, sf_alias::SF_NODE_ALIAS.0]);
const PEERS: u32 = sf_alias::SF_ALIAS_PEER.0;
const OWN: u32 = sf_alias::SF_ALIAS_OWN.0;
/// Addresses in each of the two ranges.
const RANGE: u32 = OWN;
/// As in linux/rtnetlink.h.
const RT_TABLE_LOCAL: u8 = 255;
const ROUTER_DEVICE: &str = "uplink";

/// The block that stands for a network: as large as its prefix, among the peers' aliases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Aliases {
    first: Ipv4Addr,
    prefix_length: u8,
}

impl Aliases {
    /// The lowest block for a prefix of this length that none of `taken` overlaps.
    pub fn choose(prefix_length: u8, taken: &[Aliases]) -> Result<Self> {
        let size = 1u32.checked_shl(32 - u32::from(prefix_length)).unwrap_or(0);
        let blocks = RANGE.checked_div(size).unwrap_or(0);
        (0..blocks)
            .map(|block| Aliases { first: Ipv4Addr::from_bits(PEERS + block * size), prefix_length })
            .find(|block| taken.iter().all(|other| !other.overlaps(block)))
            .ok_or_else(|| Error::Conflict {
                what: format!("a block of addresses for a network with a /{prefix_length} prefix"),
                holder: "the networks that have endpoints on this node: together they may have 67,108,864 addresses"
                    .into(),
            })
    }

    /// Stands for the node itself, and for no endpoint.
    pub fn first(self) -> Ipv4Addr {
        self.first
    }

    fn overlaps(self, other: &Aliases) -> bool {
        let shift = 32 - u32::from(self.prefix_length.min(other.prefix_length));
        self.first.to_bits() >> shift == other.first.to_bits() >> shift
    }

    /// The same block of the node's own endpoints.
    fn own(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first.to_bits() | OWN)
    }
}

/// An address of 100::/64, by its last two words.
const fn alias6([kind, id]: [u32; 2]) -> Ipv6Addr {
    let words = [sf_alias::SF_ALIAS6_PREFIX.0, 0, kind, id];
    Ipv6Addr::from_bits((words[0] as u128) << 96 | (words[2] as u128) << 32 | words[3] as u128)
}

/// What stands for a network by IPv6: its VNI, and an id for each of its endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Aliases6 {
    vni: u32,
}

impl Aliases6 {
    const PREFIX_LENGTH: u8 = 96;

    fn first(self) -> Ipv6Addr {
        alias6([PEERS | self.vni, 0])
    }

    /// The same of the node's own endpoints.
    fn own(self) -> Ipv6Addr {
        alias6([PEERS | OWN | self.vni, 0])
    }
}

/// By which families the network is joined to the node: those of which it has a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UplinkConfig {
    pub vni: u32,
    pub aliases: Option<Aliases>,
    pub has_ipv6: bool,
}

/// One network's wire on one node. Dropping it leaves everything in place; see [`Uplink::close`].
#[derive(Debug)]
pub struct Uplink {
    netlink: Netlink,
    index: u32,
    router_index: u32,
    node_nsid: u32,
    aliases: Option<Aliases>,
}

impl Uplink {
    /// Joins `router` to `node`. A device of that name is what a run that crashed has left: no other router of the network
    /// can be on the node.
    pub fn open(node: &NetNs, router: &NetNs, config: UplinkConfig, mtu: u32) -> Result<Self> {
        let UplinkConfig { vni, aliases, has_ipv6 } = config;
        let name = device_name(vni);
        let mut netlink = Netlink::open(node)?;
        let mut router_netlink = Netlink::open(router)?;
        if let Ok(left) = setup::index_of(&mut netlink, &name) {
            netlink.request("removing a device that was left over", messages::delete_link(left), Mode::Plain)?;
        }
        let mut undo = Undo::new();
        let (node_mac, router_mac) = (messages::mac_of(NODE_ALIAS), messages::mac_of(GATEWAY));
        netlink.request(
            &format!("joining the node to the router of network {vni}"),
            messages::new_veth(&name, node_mac, ROUTER_DEVICE, router_mac, mtu, router),
            Mode::Create,
        )?;
        let (doomed, doomed_name) = (node.clone(), name.clone());
        undo.push(move || drop(setup::remove_device(&doomed, &doomed_name)));
        let index = setup::index_of(&mut netlink, &name)?;
        let router_index = setup::index_of(&mut router_netlink, ROUTER_DEVICE)?;
        sysctl::set(node, &setup::inner_device_sysctls(&name, has_ipv6))?;
        let up = |index| [("bring the uplink up", messages::link_up(index), Mode::Plain)];
        setup::apply(&mut router_netlink, up(router_index))?;
        setup::apply(&mut netlink, up(index))?;
        if let Some(aliases) = aliases {
            let (peers, own) = (aliases.first().into(), aliases.own().into());
            let blocks = Blocks { peers, own, prefix_length: aliases.prefix_length };
            setup::apply(&mut router_netlink, router_side(NODE_ALIAS.into(), router_index))?;
            setup::apply(&mut netlink, node_side([NODE_ALIAS.into()], GATEWAY.into(), blocks, index))?;
        }
        if has_ipv6 {
            join_by_ipv6(vni, (&mut netlink, index), (&mut router_netlink, router_index))?;
        }
        setup::await_carrier(&mut netlink, index)?;
        setup::await_carrier(&mut router_netlink, router_index)?;
        let node_nsid = peer_nsid(&mut router_netlink, router_index)?;
        undo.commit();
        Ok(Self { netlink, index, router_index, node_nsid, aliases })
    }

    /// Takes over the wire that a former agent made. One of the version before joined the node by IPv4 only.
    pub fn adopt(node: &NetNs, router: &NetNs, config: UplinkConfig) -> Result<Self> {
        let UplinkConfig { vni, aliases, has_ipv6 } = config;
        let mut netlink = Netlink::open(node)?;
        let mut router_netlink = Netlink::open(router)?;
        let index = setup::index_of(&mut netlink, &device_name(vni))?;
        let router_index = setup::index_of(&mut router_netlink, ROUTER_DEVICE)?;
        if has_ipv6 {
            sysctl::set(node, &setup::inner_device_sysctls(&device_name(vni), has_ipv6))?;
            join_by_ipv6(vni, (&mut netlink, index), (&mut router_netlink, router_index))?;
        }
        let node_nsid = peer_nsid(&mut router_netlink, router_index)?;
        Ok(Self { netlink, index, router_index, node_nsid, aliases })
    }

    /// Index of the device in the node's namespace.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Index of its other end in the router's.
    pub fn router_index(&self) -> u32 {
        self.router_index
    }

    /// The id that the node's namespace has in the router's.
    pub fn node_nsid(&self) -> u32 {
        self.node_nsid
    }

    /// None if the network has no IPv4 addresses.
    pub fn aliases(&self) -> Option<Aliases> {
        self.aliases
    }

    /// The node's own processes reach an endpoint that is attached here. False if another network's endpoint, or anything
    /// else, has the address in the node's namespace: then that one stays.
    pub fn route_to(&mut self, endpoint: IpAddr) -> Result<bool> {
        let route = Message::NewRoute(self.endpoint_route(endpoint));
        match self.netlink.request("routing from the node to an endpoint", route, Mode::Create) {
            Err(error) if error.errno() == Some(libc::EEXIST) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Undoes [`Uplink::route_to`].
    pub fn remove_route_to(&mut self, endpoint: IpAddr) -> Result<()> {
        let route = Message::DelRoute(self.endpoint_route(endpoint));
        match self.netlink.request("removing a route from the node to an endpoint", route, Mode::Plain) {
            Err(error) if error.errno() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
    }

    /// Removes the wire with everything that goes over it.
    pub fn close(mut self) -> Result<()> {
        match self.netlink.request("removing an uplink", messages::delete_link(self.index), Mode::Plain) {
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(()),
            other => other,
        }
    }

    fn endpoint_route(&self, endpoint: IpAddr) -> RouteMessage {
        let (gateway, source): (IpAddr, IpAddr) = match endpoint {
            IpAddr::V4(_) => (GATEWAY.into(), NODE_ALIAS.into()),
            IpAddr::V6(_) => (GATEWAY6.into(), NODE_ALIAS6.into()),
        };
        let mut route = messages::route_via(endpoint, gateway, self.index);
        route.attributes.push(RouteAttribute::PrefSource(messages::route_address(source)));
        route
    }
}

type Step = (&'static str, Message, Mode);

/// The aliases of one family.
#[derive(Debug, Clone, Copy)]
struct Blocks {
    /// The first address of each.
    peers: IpAddr,
    own: IpAddr,
    prefix_length: u8,
}

/// In the router's namespace: where the node is. All of it may be there already.
fn router_side(node: IpAddr, index: u32) -> [Step; 2] {
    let neighbour = messages::neighbour(node, messages::mac_of(NODE_ALIAS), index);
    [
        ("tell the router the node's link-layer address", Message::NewNeighbour(neighbour), Mode::Put),
        ("route to the node", Message::NewRoute(messages::direct_route(node, index)), Mode::Put),
    ]
}

/// In the node's: its own `addresses`, and what stands for the network's.
fn node_side(
    addresses: impl IntoIterator<Item = IpAddr>,
    gateway: IpAddr,
    blocks: Blocks,
    index: u32,
) -> impl Iterator<Item = Step> {
    let neighbour = messages::neighbour(gateway, messages::mac_of(GATEWAY), index);
    let own = |address| {
        let message = match address {
            IpAddr::V4(_) => messages::new_address(index, address),
            IpAddr::V6(address) => messages::new_deprecated_address(index, address),
        };
        ("give the node its address", message, Mode::Put)
    };
    addresses.into_iter().map(own).collect::<Vec<_>>().into_iter().chain([
        ("tell the node the router's link-layer address", Message::NewNeighbour(neighbour), Mode::Put),
        ("take what is for the node's own endpoints", Message::NewRoute(own_route(blocks, index)), Mode::Put),
        ("route to the network's peers", Message::NewRoute(peers_route(blocks, gateway, index)), Mode::Put),
    ])
}

/// Idempotent. The source of what leaves for plain peers has to be an address of the node: of IPv6 the kernel looks whether
/// it is one before it takes the route.
fn join_by_ipv6(
    vni: u32,
    (node, index): (&mut Netlink, u32),
    (router, router_index): (&mut Netlink, u32),
) -> Result<()> {
    let aliases = Aliases6 { vni };
    let (peers, own) = (aliases.first().into(), aliases.own().into());
    let blocks = Blocks { peers, own, prefix_length: Aliases6::PREFIX_LENGTH };
    setup::apply(router, router_side(NODE_ALIAS6.into(), router_index))?;
    setup::apply(node, node_side([NODE_ALIAS6.into(), own], GATEWAY6.into(), blocks, index))?;
    setup::await_local(node, NODE_ALIAS6.into())
}

/// In the node's namespace.
fn device_name(vni: u32) -> String {
    format!("sf-{vni}")
}

/// Whatever of the network's own block comes or goes is the node's own.
fn own_route(blocks: Blocks, index: u32) -> RouteMessage {
    let mut route = messages::direct_route(blocks.own, index);
    route.header.table = RT_TABLE_LOCAL;
    route.header.kind = RouteType::Local;
    route.header.scope = RouteScope::Host;
    route.header.destination_prefix_length = blocks.prefix_length;
    route
}

fn peers_route(blocks: Blocks, gateway: IpAddr, index: u32) -> RouteMessage {
    let mut route = messages::route_via(blocks.peers, gateway, index);
    route.header.destination_prefix_length = blocks.prefix_length;
    route.attributes.push(RouteAttribute::PrefSource(messages::route_address(blocks.own)));
    route
}

/// The kernel gives the other end's namespace an id when it tells of the device.
fn peer_nsid(netlink: &mut Netlink, index: u32) -> Result<u32> {
    let answer = netlink.get("asking for the node's namespace", messages::get_link(index))?;
    let Message::NewLink(link) = answer else {
        return Err(Error::NotFound { what: "the router's uplink".into() });
    };
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::LinkNetNsId(id) => u32::try_from(*id).ok(),
            _ => None,
        })
        .ok_or_else(|| Error::NotFound { what: "the id of the node's namespace in a router's".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap() {
        let mut taken = Vec::new();
        for length in [16, 8, 29, 16, 24, 8, 29, 12] {
            let block = Aliases::choose(length, &taken).expect("there is room");
            let first = block.first().to_bits();
            assert_eq!(first % (1 << (32 - length)), 0, "aligned");
            assert!(first >= PEERS && first - PEERS < RANGE);
            assert_eq!(block.own().to_bits() - first, OWN);
            taken.push(block);
        }
        for (index, one) in taken.iter().enumerate() {
            assert!(taken[index + 1..].iter().all(|other| !one.overlaps(other)), "{one:?}");
        }
    }

    #[test]
    fn of_ipv6_they_follow_from_the_vni() {
        let aliases = Aliases6 { vni: 0xabcdef };
        assert_eq!(aliases.first().to_string(), "100::f0ab:cdef:0:0");
        assert_eq!(aliases.own().to_string(), "100::f4ab:cdef:0:0");
        assert_eq!(NODE_ALIAS6.to_string(), "100::a9fe:102");
    }

    #[test]
    fn says_when_there_is_no_room() {
        let taken: Vec<_> = (0..4).fold(Vec::new(), |mut taken, _| {
            taken.push(Aliases::choose(8, &taken).expect("there is room"));
            taken
        });
        assert!(matches!(Aliases::choose(29, &taken), Err(Error::Conflict { .. })));
    }
}
