//! Owns the small steps that routers and endpoints are made of: their sysctls, and questions about links.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{LinkAttribute, State};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};

use super::super::addresses;
use super::super::netlink::{Mode, Netlink};
use super::super::netns::NetNs;
use super::super::steps::step;
use super::super::sysctl::Setting;
use super::{RouterConfig, VXLAN_OVERHEAD_BYTES, messages};
use crate::error::{Error, Result};

/// RFC 8200, 5.
const IPV6_MTU_MIN_BYTES: u32 = 1280;

/// Set before there is any device: devices copy "default" when they appear.
pub(super) fn router_sysctls(has_ipv6: bool) -> Vec<Setting> {
    let mut settings = vec![
        Setting::required("net/ipv4/ip_forward", "1"),
        // The effective value is the larger of "all" and the device's own, and new namespaces copy the host's.
        Setting::required("net/ipv4/conf/all/rp_filter", "0"),
        Setting::required("net/ipv4/conf/default/rp_filter", "0"),
        // A route that hairpins over the VXLAN device for a moment is no reason to tell anybody.
        Setting::required("net/ipv4/conf/all/send_redirects", "0"),
        Setting::required("net/ipv4/conf/default/send_redirects", "0"),
    ];
    if has_ipv6 {
        settings.push(Setting::required("net/ipv6/conf/all/disable_ipv6", "0"));
        settings.extend(device_ipv6_sysctls("default"));
        settings.push(Setting::required("net/ipv6/conf/all/forwarding", "1"));
    } else {
        settings.extend(["all", "default"].map(no_ipv6));
    }
    settings
}

fn no_ipv6(device: &str) -> Setting {
    Setting::if_present(format!("net/ipv6/conf/{device}/disable_ipv6"), "1")
}

/// The overlay's devices have the addresses that they are given, and no others: no link-local ones made from link-layer
/// addresses, none that a router advertises. To be set before the device comes up.
fn device_ipv6_sysctls(device: &str) -> Vec<Setting> {
    let setting = |name, value| Setting::required(format!("net/ipv6/conf/{device}/{name}"), value);
    vec![
        setting("disable_ipv6", "0"),
        setting("addr_gen_mode", "1"),
        setting("accept_ra", "0"),
        setting("router_solicitations", "0"),
    ]
}

/// IPv6 of the network's router, which says what is missing.
pub(super) fn require_ipv6(mtu: u32) -> Result<()> {
    if !Path::new("/proc/sys/net/ipv6/conf").exists() {
        return Err(Error::Unsupported {
            feature: "IPv6, which a network with an IPv6 prefix needs".to_owned(),
            remedy: "start the kernel without ipv6.disable=1, or load the module: modprobe ipv6".to_owned(),
        });
    }
    if mtu < IPV6_MTU_MIN_BYTES {
        let needed = IPV6_MTU_MIN_BYTES + VXLAN_OVERHEAD_BYTES;
        let reason = format!("IPv6 overlays need an MTU of {needed} on its device, which gives them {mtu}");
        return Err(Error::invalid("underlayAddress", reason));
    }
    Ok(())
}

/// Only an endpoint's own address may come out of it: its /32 leads back over this device, which is the strict check.
pub(super) fn outer_device_sysctls(device: &str) -> Vec<Setting> {
    vec![Setting::required(format!("net/ipv4/conf/{device}/rp_filter"), "1")]
}

pub(super) fn endpoint_sysctls() -> Vec<Setting> {
    // Anybody may ping, as container runtimes set it.
    vec![Setting::required("net/ipv4/ping_group_range", "0 2147483647")]
}

/// Without an IPv6 address the overlay device carries IPv4 alone; ::1 on the loopback stays.
pub(crate) fn inner_device_sysctls(device: &str, has_ipv6: bool) -> Vec<Setting> {
    if has_ipv6 { device_ipv6_sysctls(device) } else { vec![no_ipv6(device)] }
}

/// Sends the requests one by one; each is a step with its own name.
pub(crate) fn apply(
    netlink: &mut Netlink,
    requests: impl IntoIterator<Item = (&'static str, Message, Mode)>,
) -> Result<()> {
    for (name, message, mode) in requests {
        step(name)?;
        netlink.request(name, message, mode)?;
    }
    Ok(())
}

/// Removes a device by its name, for undoing: its index may never have been learnt, and the router's socket is in use.
pub(crate) fn remove_device(namespace: &NetNs, name: &str) -> Result<()> {
    let mut netlink = Netlink::open(namespace)?;
    let index = index_of(&mut netlink, name)?;
    netlink.request(&format!("removing device {name}"), messages::delete_link(index), Mode::Plain)
}

/// Index of the device called `name` in the socket's namespace.
pub(crate) fn index_of(netlink: &mut Netlink, name: &str) -> Result<u32> {
    match netlink.get(&format!("looking for device {name}"), messages::get_link_named(name)) {
        Ok(Message::NewLink(link)) => Ok(link.header.index),
        Err(error) if error.errno() != Some(libc::ENODEV) => Err(error),
        _ => Err(Error::NotFound { what: format!("network device {name}") }),
    }
}

/// Waits until the device takes packets. A veth end whose other end was brought up just now drops them until the kernel's
/// link watch has run; asking for the device makes that happen at once (Linux 6.8), and before it takes a moment.
pub(crate) fn await_carrier(netlink: &mut Netlink, index: u32) -> Result<()> {
    const CONTEXT: &str = "waiting for a veth end to come up";
    await_answer(netlink, CONTEXT, &messages::get_link(index), |answer| match answer {
        Message::NewLink(link) => link.attributes.contains(&LinkAttribute::OperState(State::Up)),
        _ => false,
    })
}

/// Waits until the namespace takes what is for its own `address`: of an IPv6 one the kernel says that it is there, and has
/// a worker make it so, duplicate address detection or not.
pub(crate) fn await_local(netlink: &mut Netlink, address: IpAddr) -> Result<()> {
    const CONTEXT: &str = "waiting for an address to become local";
    await_answer(netlink, CONTEXT, &messages::get_route(address), |answer| match answer {
        Message::NewRoute(route) => route.header.kind == RouteType::Local,
        _ => false,
    })
}

fn await_answer(
    netlink: &mut Netlink,
    context: &'static str,
    question: &Message,
    is_awaited: impl Fn(&Message) -> bool,
) -> Result<()> {
    const TIMEOUT: Duration = Duration::from_secs(2);
    const POLL: Duration = Duration::from_millis(2);
    let deadline = Instant::now() + TIMEOUT;
    while !is_awaited(&netlink.get(context, question.clone())?) {
        if Instant::now() >= deadline {
            return Err(Error::system("netlink", context, io::Error::from_raw_os_error(libc::ETIMEDOUT)));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// MTU of the device that has the underlay address.
pub(super) fn underlay_mtu(netlink: &mut Netlink, underlay: Ipv4Addr) -> Result<u32> {
    let index = addresses::device_with(netlink, IpAddr::V4(underlay))?.ok_or_else(|| addresses::not_local(underlay))?;
    mtu_of(netlink, index)
}

pub(super) fn mtu_of(netlink: &mut Netlink, index: u32) -> Result<u32> {
    let none = || Error::NotFound { what: format!("an MTU of device {index}") };
    let answer = netlink.get("reading a device's MTU", messages::get_link(index))?;
    let Message::NewLink(link) = answer else { return Err(none()) };
    let mtu = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    mtu.ok_or_else(none)
}

/// The routes to single addresses that go over the device, as (address, underlay address of the node).
pub(super) fn routes_over(netlink: &mut Netlink, device: u32) -> Result<Vec<(IpAddr, Ipv4Addr)>> {
    let mut over = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut ask = RouteMessage::default();
        ask.header.address_family = family;
        let routes = netlink.dump("listing the router's routes", Message::GetRoute(ask))?;
        over.extend(routes.iter().filter_map(|message| route_over(message, device)));
    }
    Ok(over)
}

fn route_over(message: &Message, device: u32) -> Option<(IpAddr, Ipv4Addr)> {
    let Message::NewRoute(route) = message else { return None };
    let (mut address, mut node, mut is_over) = (None, None, false);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(to)) => address = Some(IpAddr::V4(*to)),
            RouteAttribute::Destination(RouteAddress::Inet6(to)) => address = Some(IpAddr::V6(*to)),
            RouteAttribute::Gateway(RouteAddress::Inet(by)) => node = Some(*by),
            RouteAttribute::Gateway(RouteAddress::Inet6(by)) => node = Some(messages::node_of(*by)),
            RouteAttribute::Oif(index) => is_over = *index == device,
            _ => {}
        }
    }
    let address = address.filter(|one| is_over && route.header.destination_prefix_length == messages::bits_of(*one))?;
    Some((address, node?))
}

/// The kernel's reasons for refusing a VXLAN device, in our words.
pub(super) fn explain_vxlan(error: Error, config: &RouterConfig) -> Error {
    match error.errno() {
        Some(libc::EEXIST) => Error::Conflict {
            what: format!("VXLAN network id {} on UDP port {}", config.vni, config.vxlan_port),
            holder: "another VXLAN device of this node (`ip -d link show type vxlan` lists them)".to_owned(),
        },
        Some(libc::EADDRINUSE) => Error::Conflict {
            what: format!("UDP port {}", config.vxlan_port),
            holder: "another program on this node (`ss -ulpn` names it)".to_owned(),
        },
        Some(libc::EOPNOTSUPP) => Error::Unsupported {
            feature: "VXLAN".to_owned(),
            remedy: "load the kernel module: modprobe vxlan".to_owned(),
        },
        _ => error,
    }
}
