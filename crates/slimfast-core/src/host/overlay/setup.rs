//! Owns the small steps that routers and endpoints are made of: their sysctls, and questions about links.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{LinkAttribute, State};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};

use super::super::addresses;
use super::super::netlink::{Mode, Netlink};
use super::super::netns::NetNs;
use super::super::steps::step;
use super::super::sysctl::Setting;
use super::{RouterConfig, messages};
use crate::error::{Error, Result};

/// Set before there is any device: devices copy "default" when they appear.
pub(super) fn router_sysctls() -> Vec<Setting> {
    vec![
        Setting::required("net/ipv4/ip_forward", "1"),
        // The effective value is the larger of "all" and the device's own, and new namespaces copy the host's.
        Setting::required("net/ipv4/conf/all/rp_filter", "0"),
        Setting::required("net/ipv4/conf/default/rp_filter", "0"),
        // A route that hairpins over the VXLAN device for a moment is no reason to tell anybody.
        Setting::required("net/ipv4/conf/all/send_redirects", "0"),
        Setting::required("net/ipv4/conf/default/send_redirects", "0"),
        // The overlay is IPv4; no router solicitations, no link-local neighbours.
        Setting::if_present("net/ipv6/conf/all/disable_ipv6", "1"),
        Setting::if_present("net/ipv6/conf/default/disable_ipv6", "1"),
    ]
}

/// Only an endpoint's own address may come out of it: its /32 leads back over this device, which is the strict check.
pub(super) fn outer_device_sysctls(device: &str) -> Vec<Setting> {
    vec![Setting::required(format!("net/ipv4/conf/{device}/rp_filter"), "1")]
}

pub(super) fn endpoint_sysctls() -> Vec<Setting> {
    // Anybody may ping, as container runtimes set it.
    vec![Setting::required("net/ipv4/ping_group_range", "0 2147483647")]
}

/// The overlay device carries IPv4 alone; ::1 on the loopback stays.
pub(super) fn inner_device_sysctls(device: &str) -> Vec<Setting> {
    vec![Setting::if_present(format!("net/ipv6/conf/{device}/disable_ipv6"), "1")]
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
    const TIMEOUT: Duration = Duration::from_secs(2);
    const POLL: Duration = Duration::from_millis(2);
    const CONTEXT: &str = "waiting for a veth end to come up";
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Message::NewLink(link) = netlink.get(CONTEXT, messages::get_link(index))?
            && link.attributes.contains(&LinkAttribute::OperState(State::Up))
        {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::system("netlink", CONTEXT, io::Error::from_raw_os_error(libc::ETIMEDOUT)));
        }
        thread::sleep(POLL);
    }
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

/// The IPv4 routes to single addresses that go over the device, as (address, gateway).
pub(super) fn routes_over(netlink: &mut Netlink, device: u32) -> Result<Vec<(Ipv4Addr, Ipv4Addr)>> {
    let mut ask = RouteMessage::default();
    ask.header.address_family = AddressFamily::Inet;
    let routes = netlink.dump("listing the router's routes", Message::GetRoute(ask))?;
    let over = routes.into_iter().filter_map(|message| {
        let Message::NewRoute(route) = message else { return None };
        let (mut address, mut gateway, mut is_over) = (None, None, false);
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(to)) => address = Some(*to),
                RouteAttribute::Gateway(RouteAddress::Inet(by)) => gateway = Some(*by),
                RouteAttribute::Oif(index) => is_over = *index == device,
                _ => {}
            }
        }
        if is_over && route.header.destination_prefix_length == 32 { address.zip(gateway) } else { None }
    });
    Ok(over.collect())
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
