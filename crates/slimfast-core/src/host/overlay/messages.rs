//! Owns the netlink requests of the overlay: pure functions from what is wanted to the message that asks for it.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, route};

use super::super::netns::NetNs;

/// The first address of every node's loopback interface has this index in every namespace.
pub(crate) const LOOPBACK_INDEX: u32 = 1;

/// The link-layer address that stands for an IPv4 address on the overlay's own wires. Computed alike on every node, so
/// nobody ever has to ask for it.
pub(crate) fn mac_of(address: Ipv4Addr) -> Vec<u8> {
    let mut mac = vec![0x02, 0x53];
    mac.extend(address.octets());
    mac
}

/// A VXLAN device whose tunnel socket is in the namespace of the netlink socket that asks, and which itself appears in
/// `home` at once: its name cannot clash with the node's devices.
pub(crate) fn new_vxlan(name: &str, vni: u32, local: Ipv4Addr, port: u16, mtu: u32, home: &NetNs) -> Message {
    let tunnel = InfoData::Vxlan(vec![
        InfoVxlan::Id(vni),
        InfoVxlan::Local(local),
        InfoVxlan::Port(port),
        // The controller tells where addresses are; packets from the wire must not.
        InfoVxlan::Learning(false),
    ]);
    Message::NewLink(link(vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Address(mac_of(local)),
        LinkAttribute::NetNsFd(home.as_fd().as_raw_fd()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(tunnel)]),
    ]))
}

/// A veth pair: `outer` where the request is made, `inner` in `inner_home`.
pub(crate) fn new_veth(
    outer: &str,
    outer_mac: Vec<u8>,
    inner: &str,
    inner_mac: Vec<u8>,
    mtu: u32,
    inner_home: &NetNs,
) -> Message {
    let peer = link(vec![
        LinkAttribute::IfName(inner.to_owned()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Address(inner_mac),
        LinkAttribute::NetNsFd(inner_home.as_fd().as_raw_fd()),
    ]);
    Message::NewLink(link(vec![
        LinkAttribute::IfName(outer.to_owned()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Address(outer_mac),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ]))
}

/// Asks for the device with this name.
pub(crate) fn get_link_named(name: &str) -> Message {
    Message::GetLink(link(vec![LinkAttribute::IfName(name.to_owned())]))
}

/// Asks for the device with this index.
pub(crate) fn get_link(index: u32) -> Message {
    let mut message = LinkMessage::default();
    message.header.index = index;
    Message::GetLink(message)
}

pub(crate) fn link_up(index: u32) -> Message {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    Message::SetLink(message)
}

pub(crate) fn delete_link(index: u32) -> Message {
    let mut message = LinkMessage::default();
    message.header.index = index;
    Message::DelLink(message)
}

/// A single address on a device, with no subnet around it. Of universal scope, or the kernel would not speak from it.
pub(crate) fn new_address(index: u32, address: Ipv4Addr) -> Message {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = 32;
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(address.into()), AddressAttribute::Address(address.into())];
    Message::NewAddress(message)
}

/// `address` is on the other side of `device`, directly.
pub(crate) fn direct_route(address: Ipv4Addr, device: u32) -> RouteMessage {
    let mut message = route_to(Some(address));
    message.header.scope = RouteScope::Link;
    message.attributes.push(RouteAttribute::Oif(device));
    message
}

/// `destination` (everything, if `None`) is behind `gateway`, which is on `device` whatever the addresses look like.
pub(crate) fn route_via(destination: Option<Ipv4Addr>, gateway: Ipv4Addr, device: u32) -> RouteMessage {
    let mut message = route_to(destination);
    message.header.flags = RouteFlags::Onlink;
    message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(gateway)));
    message.attributes.push(RouteAttribute::Oif(device));
    message
}

/// What has no route of its own gets "host unreachable", at once.
pub(crate) fn unreachable_default() -> RouteMessage {
    let mut message = route_to(None);
    message.header.kind = RouteType::Unreachable;
    message
}

fn route_to(destination: Option<Ipv4Addr>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = route::RouteType::Unicast;
    if let Some(address) = destination {
        message.header.destination_prefix_length = 32;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(address)));
    }
    message
}

/// `address` on `device` has the link-layer address that [`mac_of`] `owner` gives; never asked for, never expires.
pub(crate) fn neighbour(address: Ipv4Addr, owner: Ipv4Addr, device: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = device;
    message.header.state = NeighbourState::Permanent;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)),
        NeighbourAttribute::LinkLayerAddress(mac_of(owner)),
    ];
    message
}

/// VXLAN frames for `node`'s link-layer address go to `node`'s underlay address.
pub(crate) fn forwarding(node: Ipv4Addr, device: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = device;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes = vec![
        NeighbourAttribute::LinkLayerAddress(mac_of(node)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet(node)),
    ];
    message
}

fn link(attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = attributes;
    message
}
