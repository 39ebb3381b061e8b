//! Owns the wire between the node's namespace and one network's router: TCP between accelerated endpoints and plain peers,
//! and between the node's own processes and its endpoints, goes over it.
//!
//! In the node's namespace a network is two blocks of addresses that stand for its own ([`Aliases`]); the BPF programs at
//! both ends translate. All that the node's namespace gets is the device, and it goes with the router's namespace: nothing
//! to write into the journal, and nothing to undo that outlives the device.

use std::net::Ipv4Addr;

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteScope, RouteType};

use super::netlink::{Mode, Netlink};
use super::netns::NetNs;
use super::overlay::{GATEWAY, messages, setup};
use super::sysctl::{self, Setting};
use super::undo::Undo;
use crate::datapath::records::sf_alias;
use crate::error::{Error, Result};

/// What containers see of the node itself.
pub const NODE_ALIAS: Ipv4Addr = Ipv4Addr::from_bits(sf_alias::SF_NODE_ALIAS.0);
const PEERS: u32 = sf_alias::SF_ALIAS_PEER.0;
const OWN: u32 = sf_alias::SF_ALIAS_OWN.0;
/// Addresses in each of the two ranges.
const RANGE: u32 = OWN;
/// As in linux/rtnetlink.h.
const RT_TABLE_LOCAL: u8 = 255;
const ROUTER_DEVICE: &str = "uplink";

/// The block that stands for a network: as large as its prefix, among the peers' aliases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aliases {
    first: u32,
    prefix_length: u8,
}

impl Aliases {
    /// The lowest block for a prefix of this length that none of `taken` overlaps.
    pub fn choose(prefix_length: u8, taken: &[Aliases]) -> Result<Self> {
        let size = 1u32.checked_shl(32 - u32::from(prefix_length)).unwrap_or(0);
        let blocks = RANGE.checked_div(size).unwrap_or(0);
        (0..blocks)
            .map(|block| Aliases { first: PEERS + block * size, prefix_length })
            .find(|block| taken.iter().all(|other| !other.overlaps(block)))
            .ok_or_else(|| Error::Conflict {
                what: format!("a block of addresses for a network with a /{prefix_length} prefix"),
                holder: "the networks that have endpoints on this node: together they may have 67,108,864 addresses"
                    .into(),
            })
    }

    /// The block that [`Aliases::first`] and [`Aliases::prefix_length`] came from.
    pub fn from_parts(first: Ipv4Addr, prefix_length: u8) -> Self {
        Aliases { first: first.into(), prefix_length }
    }

    pub fn prefix_length(self) -> u8 {
        self.prefix_length
    }

    /// Stands for the node itself, and for no endpoint.
    pub fn first(self) -> Ipv4Addr {
        Ipv4Addr::from(self.first)
    }

    fn overlaps(self, other: &Aliases) -> bool {
        let shift = 32 - u32::from(self.prefix_length.min(other.prefix_length));
        self.first >> shift == other.first >> shift
    }

    /// The same block of the node's own endpoints.
    fn own(self) -> Ipv4Addr {
        Ipv4Addr::from(self.first | OWN)
    }
}

/// One network's wire on one node. Dropping it leaves everything in place; see [`Uplink::close`].
#[derive(Debug)]
pub struct Uplink {
    netlink: Netlink,
    index: u32,
    router_index: u32,
    node_nsid: u32,
    aliases: Aliases,
}

impl Uplink {
    /// Joins `router` to `node`. A device of that name is what a run that crashed has left: no other router of the network
    /// can be on the node.
    pub fn open(node: &NetNs, router: &NetNs, vni: u32, aliases: Aliases, mtu: u32) -> Result<Self> {
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
        sysctl::set(node, &device_sysctls(&name))?;
        setup::apply(
            &mut router_netlink,
            [
                ("bring the router's uplink up", messages::link_up(router_index), Mode::Plain),
                (
                    "tell the router the node's link-layer address",
                    Message::NewNeighbour(messages::neighbour(NODE_ALIAS, messages::mac_of(NODE_ALIAS), router_index)),
                    Mode::Put,
                ),
                (
                    "route to the node",
                    Message::NewRoute(messages::route_via(NODE_ALIAS, NODE_ALIAS, router_index)),
                    Mode::Create,
                ),
            ],
        )?;
        setup::apply(
            &mut netlink,
            [
                ("give the node its address", messages::new_address(index, NODE_ALIAS), Mode::Create),
                ("bring the node's uplink up", messages::link_up(index), Mode::Plain),
                (
                    "tell the node the router's link-layer address",
                    Message::NewNeighbour(messages::neighbour(GATEWAY, messages::mac_of(GATEWAY), index)),
                    Mode::Put,
                ),
                (
                    "take what is for the node's own endpoints",
                    Message::NewRoute(own_route(aliases, index)),
                    Mode::Create,
                ),
                ("route to the network's peers", Message::NewRoute(peers_route(aliases, index)), Mode::Create),
            ],
        )?;
        setup::await_carrier(&mut netlink, index)?;
        setup::await_carrier(&mut router_netlink, router_index)?;
        let node_nsid = peer_nsid(&mut router_netlink, router_index)?;
        undo.commit();
        Ok(Self { netlink, index, router_index, node_nsid, aliases })
    }

    /// Takes over the wire that a former agent made.
    pub fn adopt(node: &NetNs, router: &NetNs, vni: u32, aliases: Aliases) -> Result<Self> {
        let mut netlink = Netlink::open(node)?;
        let mut router_netlink = Netlink::open(router)?;
        let index = setup::index_of(&mut netlink, &device_name(vni))?;
        let router_index = setup::index_of(&mut router_netlink, ROUTER_DEVICE)?;
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

    pub fn aliases(&self) -> Aliases {
        self.aliases
    }

    /// The node's own processes reach an endpoint that is attached here. False if another network's endpoint, or anything
    /// else, has the address in the node's namespace: then that one stays.
    pub fn route_to(&mut self, endpoint: Ipv4Addr) -> Result<bool> {
        let route = Message::NewRoute(self.endpoint_route(endpoint));
        match self.netlink.request("routing from the node to an endpoint", route, Mode::Create) {
            Err(error) if error.errno() == Some(libc::EEXIST) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Undoes [`Uplink::route_to`].
    pub fn remove_route_to(&mut self, endpoint: Ipv4Addr) -> Result<()> {
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

    fn endpoint_route(&self, endpoint: Ipv4Addr) -> RouteMessage {
        let mut route = messages::route_via(endpoint, GATEWAY, self.index);
        route.attributes.push(RouteAttribute::PrefSource(RouteAddress::Inet(NODE_ALIAS)));
        route
    }
}

/// In the node's namespace.
fn device_name(vni: u32) -> String {
    format!("sf-{vni}")
}

/// Whatever of the network's own block comes or goes is the node's own.
fn own_route(aliases: Aliases, index: u32) -> RouteMessage {
    let mut route = messages::direct_route(aliases.own(), index);
    route.header.table = RT_TABLE_LOCAL;
    route.header.kind = RouteType::Local;
    route.header.scope = RouteScope::Host;
    route.header.destination_prefix_length = aliases.prefix_length;
    route
}

fn peers_route(aliases: Aliases, index: u32) -> RouteMessage {
    let mut route = messages::route_via(aliases.first(), GATEWAY, index);
    route.header.destination_prefix_length = aliases.prefix_length;
    route.attributes.push(RouteAttribute::PrefSource(RouteAddress::Inet(aliases.own())));
    route
}

/// They go with the device.
fn device_sysctls(device: &str) -> Vec<Setting> {
    vec![Setting::if_present(format!("net/ipv6/conf/{device}/disable_ipv6"), "1")]
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
            assert_eq!(block.first % (1 << (32 - length)), 0, "aligned");
            assert!(block.first >= PEERS && block.first - PEERS < RANGE);
            assert_eq!(u32::from(block.own()) - block.first, OWN);
            taken.push(block);
        }
        for (index, one) in taken.iter().enumerate() {
            assert!(taken[index + 1..].iter().all(|other| !one.overlaps(other)), "{one:?}");
        }
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
