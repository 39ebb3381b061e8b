//! Owns the netlink requests of the overlay: pure functions from what is wanted to the message that asks for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo};
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
use crate::owner::Addresses;

/// The first address of every node's loopback interface has this index in every namespace.
pub(crate) const LOOPBACK_INDEX: u32 = 1;

/// The link-layer address that stands for an IPv4 address on the overlay's own wires. Computed alike on every node, so
/// nobody ever has to ask for it.
pub(crate) fn mac_of(address: Ipv4Addr) -> Vec<u8> {
    let mut mac = vec![0x02, 0x53];
    mac.extend(address.octets());
    mac
}

/// An endpoint's. Its wire has two ends only, so no more than the gateway's may be in its way.
pub(crate) fn endpoint_mac(addresses: Addresses) -> Vec<u8> {
    let low_bits = |address: Ipv6Addr| Ipv4Addr::from_bits(address.to_bits() as u32);
    mac_of(addresses.v4.or(addresses.v6.map(low_bits)).unwrap_or(Ipv4Addr::UNSPECIFIED))
}

/// The IPv6 address that stands for a node on the VXLAN device: next hops have to be of the route's family.
pub(crate) fn hop_of(node: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(node.to_bits()))
}

/// The inverse of [`hop_of`].
pub(crate) fn node_of(hop: Ipv6Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(hop.to_bits() as u32)
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

/// Makes the device one of a group.
pub(crate) fn link_group(index: u32, group: u32) -> Message {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::Group(group));
    Message::SetLink(message)
}

/// All devices of a group.
pub(crate) fn delete_group(group: u32) -> Message {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(group));
    Message::DelLink(message)
}

pub(crate) fn delete_link(index: u32) -> Message {
    let mut message = LinkMessage::default();
    message.header.index = index;
    Message::DelLink(message)
}

/// A single address on a device, with no subnet around it. Of universal scope, or the kernel would not speak from it.
/// IPv6: nobody else can have it, so it need not wait until nobody has answered (duplicate address detection).
pub(crate) fn new_address(index: u32, address: impl Into<IpAddr>) -> Message {
    let address = address.into();
    let mut message = AddressMessage::default();
    message.header.family = family_of(address);
    message.header.prefix_len = bits_of(address);
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    if address.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    Message::NewAddress(message)
}

/// The same for an IPv6 address from which nothing goes by itself: whatever else the namespace has comes first as a source (RFC 6724, 5,
/// rule 3).
pub(crate) fn new_deprecated_address(index: u32, address: Ipv6Addr) -> Message {
    let mut message = new_address(index, address);
    if let Message::NewAddress(message) = &mut message {
        let mut lifetimes = CacheInfo::default();
        lifetimes.ifa_valid = u32::MAX;
        message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
    }
    message
}

/// Asks how a packet to `address` goes.
pub(crate) fn get_route(address: IpAddr) -> Message {
    let mut message = RouteMessage::default();
    message.header.address_family = family_of(address);
    message.header.destination_prefix_length = bits_of(address);
    message.attributes.push(RouteAttribute::Destination(route_address(address)));
    Message::GetRoute(message)
}

/// `address` is on the other side of `device`, directly.
pub(crate) fn direct_route(address: impl Into<IpAddr>, device: u32) -> RouteMessage {
    let mut message = route_to(address.into());
    message.header.scope = RouteScope::Link;
    message.attributes.push(RouteAttribute::Oif(device));
    message
}

/// `destination` is behind `gateway`, of the same family, which is on `device` whatever the addresses look like.
pub(crate) fn route_via(destination: impl Into<IpAddr>, gateway: impl Into<IpAddr>, device: u32) -> RouteMessage {
    behind(route_to(destination.into()), gateway.into(), device)
}

/// What has no other route is behind `gateway`.
pub(crate) fn default_via(gateway: impl Into<IpAddr>, device: u32) -> RouteMessage {
    let gateway = gateway.into();
    behind(default_route(gateway.is_ipv6()), gateway, device)
}

/// What has no route of its own gets "unreachable", at once.
pub(crate) fn unreachable_default(is_ipv6: bool) -> RouteMessage {
    let mut message = default_route(is_ipv6);
    message.header.kind = RouteType::Unreachable;
    message
}

fn behind(mut message: RouteMessage, gateway: IpAddr, device: u32) -> RouteMessage {
    message.header.flags = RouteFlags::Onlink;
    message.attributes.push(RouteAttribute::Gateway(route_address(gateway)));
    message.attributes.push(RouteAttribute::Oif(device));
    message
}

fn route_to(destination: IpAddr) -> RouteMessage {
    let mut message = default_route(destination.is_ipv6());
    message.header.destination_prefix_length = bits_of(destination);
    message.attributes.push(RouteAttribute::Destination(route_address(destination)));
    message
}

fn default_route(is_ipv6: bool) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = if is_ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = route::RouteType::Unicast;
    message
}

fn family_of(address: IpAddr) -> AddressFamily {
    if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet }
}

pub(crate) fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

pub(crate) fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

/// `address` on `device` has this link-layer address; never asked for, never expires.
pub(crate) fn neighbour(address: impl Into<IpAddr>, mac: Vec<u8>, device: u32) -> NeighbourMessage {
    let address = address.into();
    let mut message = NeighbourMessage::default();
    message.header.family = family_of(address);
    message.header.ifindex = device;
    message.header.state = NeighbourState::Permanent;
    let destination = match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    message.attributes = vec![NeighbourAttribute::Destination(destination), NeighbourAttribute::LinkLayerAddress(mac)];
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
