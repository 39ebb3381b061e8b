//! Owns the plain overlay of one network on one node: whatever is not an accelerated TCP connection goes through here.
//!
//! Each network has a *router namespace* of its own on each node. It holds the VXLAN device, whose tunnel socket stays in
//! the node's namespace, and the outer ends of the endpoints' veths. Everything is routed: a /32 or /128 per address of a
//! local endpoint over its veth, one per address of a remote endpoint via its node over VXLAN, and nothing else, so networks
//! with overlapping prefixes cannot meet and no sysctl of the node is touched. No ARP or neighbour discovery either: every
//! link-layer address follows from an IPv4 address (see `messages::mac_of`).
//!
//! Invariant: what the fields say is what the kernel has; an operation that fails leaves both as they were.

pub(crate) mod messages;
mod remotes;
pub(crate) mod setup;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use self::remotes::Remotes;
use super::journal::{Change, Journal};
use super::netlink::{Mode, Netlink};
use super::netns::{self, NetNs};
use super::steps::step;
use super::sysctl;
use super::undo::Undo;
use crate::error::{Error, Result};
use crate::owner::Addresses;
use netlink_packet_route::RouteNetlinkMessage as Message;

/// Where every endpoint sends what is not its own: an address of the router, out of reach of any overlay prefix.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The same of IPv6.
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// What a router says "unreachable" and "packet too big" from, also to endpoints of other nodes: nobody forwards what is from a
/// link-local address. In the block of what stands for the node itself (`super::uplink`).
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0xa9fe, 0x101);
/// Outer Ethernet, IPv4, UDP and VXLAN headers.
pub const VXLAN_OVERHEAD_BYTES: u32 = 50;
/// The overlay's device inside an endpoint's namespace.
pub const ENDPOINT_DEVICE: &str = "eth0";
/// Largest MTU that veth and VXLAN devices take.
const DEVICE_MTU_MAX_BYTES: u32 = 65_485;
const VXLAN_DEVICE: &str = "vxlan0";

/// Of devices that are about to be removed, in a router's namespace, where nobody else makes groups.
const DOOMED_GROUP: u32 = 1;

/// What a router is made from.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    pub node_name: String,
    /// 1 to 2^24 - 1.
    pub vni: u32,
    /// An address of the node's namespace.
    pub underlay: Ipv4Addr,
    /// UDP port, the same on all nodes.
    pub vxlan_port: u16,
    /// Whether endpoints of the network may have IPv6 addresses.
    pub has_ipv6: bool,
}

/// An endpoint to attach on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalEndpoint {
    /// Its id in the network, at least 1.
    pub id: u32,
    pub addresses: Addresses,
    /// Name of the namespace to create for it.
    pub netns: String,
}

/// One network on one node. Dropping it leaves everything in place; see [`Router::destroy`].
#[derive(Debug)]
pub struct Router {
    name: String,
    namespace: NetNs,
    netlink: Netlink,
    journal: Arc<Journal>,
    mtu: u32,
    vxlan_index: u32,
    endpoints: HashMap<u32, Attached>,
    remotes: Remotes,
}

#[derive(Debug)]
struct Attached {
    endpoint: LocalEndpoint,
    /// None for one that a former agent had, and whose device is gone.
    device_index: Option<u32>,
}

/// Name of the router namespace of network `vni` on `node_name`.
pub fn router_name(node_name: &str, vni: u32) -> String {
    format!("sfr-{node_name}-{vni}")
}

impl Router {
    /// Makes the router of one network in its own namespace, with no endpoints and no remotes. [`Error::Conflict`] when a
    /// namespace of that name exists: what an earlier run left is for [`super::recover`] to take away.
    pub fn ensure(node: &NetNs, config: &RouterConfig, journal: &Arc<Journal>) -> Result<Self> {
        if config.vni == 0 || config.vni >= 1 << 24 {
            return Err(Error::invalid("vni", format!("must be 1 to {}: {}", (1 << 24) - 1, config.vni)));
        }
        let name = router_name(&config.node_name, config.vni);
        let mut undo = Undo::new();

        let mut node_netlink = Netlink::open(node)?;
        let mtu = overlay_mtu(setup::underlay_mtu(&mut node_netlink, config.underlay)?)?;
        if config.has_ipv6 {
            setup::require_ipv6(mtu)?;
        }

        step("create the router namespace")?;
        let namespace = create_namespace(&name, journal, &mut undo)?;
        step("set the router's sysctls")?;
        sysctl::set(&namespace, &setup::router_sysctls(config.has_ipv6))?;
        step("open the router's netlink socket")?;
        let mut netlink = Netlink::open(&namespace)?;

        step("create the VXLAN device")?;
        node_netlink
            .request(
                &format!("creating the VXLAN device of network {} on UDP port {}", config.vni, config.vxlan_port),
                messages::new_vxlan(VXLAN_DEVICE, config.vni, config.underlay, config.vxlan_port, mtu, &namespace),
                Mode::Create,
            )
            .map_err(|error| setup::explain_vxlan(error, config))?;
        // A namespace dies some time after its last user; the VNI must be free again at once.
        let doomed = namespace.clone();
        undo.push(move || drop(setup::remove_device(&doomed, VXLAN_DEVICE)));
        step("find the VXLAN device")?;
        let vxlan_index = setup::index_of(&mut netlink, VXLAN_DEVICE)?;

        let requests = [
            ("bring the router's loopback up", messages::link_up(messages::LOOPBACK_INDEX), Mode::Plain),
            // Also the source of what the router itself says, such as "host unreachable".
            ("give the router its address", messages::new_address(messages::LOOPBACK_INDEX, GATEWAY), Mode::Create),
            ("bring the VXLAN device up", messages::link_up(vxlan_index), Mode::Plain),
            ("refuse unknown destinations", Message::NewRoute(messages::unreachable_default(false)), Mode::Create),
        ];
        setup::apply(&mut netlink, requests)?;
        if config.has_ipv6 {
            let refuse = Message::NewRoute(messages::unreachable_default(true));
            let own = messages::new_address(messages::LOOPBACK_INDEX, ROUTER6);
            setup::apply(
                &mut netlink,
                [
                    ("refuse unknown ones of IPv6", refuse, Mode::Create),
                    ("give the router its IPv6 address", own, Mode::Create),
                ],
            )?;
        }

        undo.commit();
        Ok(Router {
            name,
            namespace,
            netlink,
            journal: Arc::clone(journal),
            mtu,
            vxlan_index,
            endpoints: HashMap::new(),
            remotes: Remotes::new(config.has_ipv6),
        })
    }

    /// Takes over the router that a former agent made, with `endpoints` attached. One whose device is gone is attached all the
    /// same, so that it can be detached: [`Router::device_of`] has none then.
    pub fn adopt(config: &RouterConfig, endpoints: &[LocalEndpoint], journal: &Arc<Journal>) -> Result<Self> {
        let name = router_name(&config.node_name, config.vni);
        let namespace = NetNs::open(&name)?;
        let mut netlink = Netlink::open(&namespace)?;
        let vxlan_index = setup::index_of(&mut netlink, VXLAN_DEVICE)?;
        let mtu = setup::mtu_of(&mut netlink, vxlan_index)?;
        let remotes = Remotes::inherit(config.has_ipv6, setup::routes_over(&mut netlink, vxlan_index)?);
        let mut attached = HashMap::new();
        for endpoint in endpoints {
            let device_index = match setup::index_of(&mut netlink, &outer_device(endpoint.id)) {
                Ok(index) => Some(index),
                Err(Error::NotFound { .. }) => None,
                Err(error) => return Err(error),
            };
            attached.insert(endpoint.id, Attached { endpoint: endpoint.clone(), device_index });
        }
        let journal = Arc::clone(journal);
        Ok(Router { name, namespace, netlink, journal, mtu, vxlan_index, endpoints: attached, remotes })
    }

    /// Remote addresses that lead somewhere.
    pub fn remotes(&self) -> impl Iterator<Item = IpAddr> {
        self.remotes.addresses()
    }

    /// The router's own namespace.
    pub fn namespace(&self) -> &NetNs {
        &self.namespace
    }

    /// MTU of the overlay's devices, in bytes.
    pub fn mtu(&self) -> u32 {
        self.mtu
    }

    /// Makes the endpoint's namespace and joins it to the overlay. A remote endpoint with the same address yields to it.
    pub fn attach(&mut self, endpoint: &LocalEndpoint) -> Result<()> {
        self.check_free(endpoint)?;
        let outer = outer_device(endpoint.id);
        let mut undo = Undo::new();

        step("create the endpoint's namespace")?;
        let namespace = create_namespace(&endpoint.netns, &self.journal, &mut undo)?;
        step("set the endpoint's sysctls")?;
        sysctl::set(&namespace, &setup::endpoint_sysctls())?;
        step("open the endpoint's netlink socket")?;
        let mut inside = Netlink::open(&namespace)?;

        step("create the veth pair")?;
        self.netlink.request(
            &format!("creating the veth pair of endpoint {} in {}", endpoint.id, self.name),
            messages::new_veth(
                &outer,
                messages::mac_of(GATEWAY),
                ENDPOINT_DEVICE,
                messages::endpoint_mac(endpoint.addresses),
                self.mtu,
                &namespace,
            ),
            Mode::Create,
        )?;
        let (router, doomed) = (self.namespace.clone(), outer.clone());
        undo.push(move || drop(setup::remove_device(&router, &doomed)));
        step("find the outer device")?;
        let device_index = setup::index_of(&mut self.netlink, &outer)?;
        step("find the inner device")?;
        let eth0 = setup::index_of(&mut inside, ENDPOINT_DEVICE)?;
        step("set the devices' sysctls")?;
        sysctl::set(&self.namespace, &setup::outer_device_sysctls(&outer))?;
        sysctl::set(&namespace, &setup::inner_device_sysctls(ENDPOINT_DEVICE, endpoint.addresses.v6.is_some()))?;

        let devices = [
            ("bring the endpoint's loopback up", messages::link_up(messages::LOOPBACK_INDEX), Mode::Plain),
            ("bring the endpoint's device up", messages::link_up(eth0), Mode::Plain),
        ];
        setup::apply(&mut inside, devices)?;
        step("bring the outer device up")?;
        self.netlink.request("bring the outer device up", messages::link_up(device_index), Mode::Plain)?;
        for address in endpoint.addresses.iter() {
            setup::apply(&mut inside, endpoint_side(address, eth0))?;
            let mac = messages::endpoint_mac(endpoint.addresses);
            setup::apply(&mut self.netlink, outer_side(address, mac, device_index))?;
        }
        step("wait for both ends")?;
        for address in endpoint.addresses.iter() {
            setup::await_local(&mut inside, address)?;
        }
        setup::await_carrier(&mut inside, eth0)?;
        setup::await_carrier(&mut self.netlink, device_index)?;
        // The route comes last: until then a remote endpoint with this address, if any, keeps its own.
        for address in endpoint.addresses.iter() {
            step("route the endpoint's address to it")?;
            self.netlink.request(
                "routing the endpoint's address to it",
                Message::NewRoute(messages::direct_route(address, device_index)),
                Mode::Put,
            )?;
        }

        undo.commit();
        let device_index = Some(device_index);
        self.endpoints.insert(endpoint.id, Attached { endpoint: endpoint.clone(), device_index });
        Ok(())
    }

    /// Takes the endpoint off the overlay and its namespace's name away, even while processes still run in it.
    /// [`Error::NotFound`] when it is not attached.
    pub fn detach(&mut self, id: u32) -> Result<()> {
        if !self.endpoints.contains_key(&id) {
            return Err(Error::NotFound { what: format!("endpoint {id} in {}", self.name) });
        }
        self.detach_all(&[id])
    }

    /// As [`Router::detach`] of each that is attached. Goes on past failures and returns the first.
    pub fn detach_all(&mut self, ids: &[u32]) -> Result<()> {
        let doomed = || ids.iter().filter_map(|id| self.endpoints.get(id).map(|attached| (*id, attached)));
        let devices: Vec<u32> = doomed().filter_map(|(_, attached)| attached.device_index).collect();
        let namespaces: Vec<(u32, String)> = doomed().map(|(id, it)| (id, it.endpoint.netns.clone())).collect();
        // Routes and neighbours go with the device.
        self.remove_devices(&devices)?;
        let mut outcome = Ok(());
        let mut undone = Vec::new();
        let mut addresses = Vec::new();
        for (id, name) in namespaces {
            match netns::delete(&name) {
                Ok(()) | Err(Error::NotFound { .. }) => {
                    undone.push(Change::NetNs { name });
                    let detached = self.endpoints.remove(&id);
                    addresses
                        .extend(detached.into_iter().flat_map(|it| it.endpoint.addresses.iter().collect::<Vec<_>>()));
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome = outcome.and(self.journal.forget_all(&undone));
        // A remote endpoint that had to yield gets its route back.
        for message in addresses.into_iter().filter_map(|address| self.remotes.request_for(address, self.vxlan_index)) {
            outcome = outcome.and(self.netlink.request("restoring a remote endpoint's route", message, Mode::Put));
        }
        outcome
    }

    /// After the end of each device the kernel waits until nothing can refer to it any more (`rcu_barrier`: tens of milliseconds), so
    /// many are made a group, and go together.
    fn remove_devices(&mut self, indices: &[u32]) -> Result<()> {
        const CONTEXT: &str = "removing endpoints' veth pairs";
        if let [index] = indices {
            return tolerate(self.netlink.request(CONTEXT, messages::delete_link(*index), Mode::Plain), libc::ENODEV);
        }
        let grouped: Vec<_> =
            indices.iter().map(|index| (messages::link_group(*index, DOOMED_GROUP), Mode::Plain)).collect();
        for failure in self.netlink.batch(CONTEXT, &grouped)?.into_iter().flatten() {
            tolerate(Err(Error::system("netlink", CONTEXT, failure)), libc::ENODEV)?;
        }
        match indices {
            [] => Ok(()),
            _ => {
                tolerate(self.netlink.request(CONTEXT, messages::delete_group(DOOMED_GROUP), Mode::Plain), libc::ENODEV)
            }
        }
    }

    /// Index, in the router's namespace, of the device that leads to an attached endpoint.
    pub fn device_of(&self, id: u32) -> Option<u32> {
        self.endpoints.get(&id).and_then(|attached| attached.device_index)
    }

    /// Ids of the endpoints attached here.
    pub fn attached(&self) -> impl Iterator<Item = u32> {
        self.endpoints.keys().copied()
    }

    /// See [`Router::set_remotes`].
    pub fn set_remote(&mut self, address: impl Into<IpAddr>, node_underlay: Ipv4Addr) -> Result<()> {
        self.set_remotes(&[(address.into(), node_underlay)])
    }

    /// Sends what is for each overlay address to the node with that underlay address. Applying the same again changes
    /// nothing; another node replaces the former one. All or nothing.
    pub fn set_remotes(&mut self, remotes: &[(impl Into<IpAddr> + Copy, Ipv4Addr)]) -> Result<()> {
        let wanted: Vec<_> = remotes.iter().map(|(address, node)| ((*address).into(), Some(*node))).collect();
        self.change_remotes(&wanted)
    }

    /// See [`Router::remove_remotes`].
    pub fn remove_remote(&mut self, address: impl Into<IpAddr>) -> Result<()> {
        self.remove_remotes(&[address.into()])
    }

    /// These overlay addresses are nowhere from now on. Unknown ones are ignored. All or nothing.
    pub fn remove_remotes(&mut self, addresses: &[impl Into<IpAddr> + Copy]) -> Result<()> {
        let wanted: Vec<_> = addresses.iter().map(|address| ((*address).into(), None)).collect();
        self.change_remotes(&wanted)
    }

    fn change_remotes(&mut self, wanted: &[(IpAddr, Option<Ipv4Addr>)]) -> Result<()> {
        let local = |address: IpAddr| {
            self.endpoints.values().any(|attached| attached.endpoint.addresses.iter().any(|own| own == address))
        };
        let plan = self.remotes.plan(wanted, self.vxlan_index, local);
        step("apply the remotes")?;
        plan.apply(&mut self.netlink)?;
        self.remotes.commit(plan);
        Ok(())
    }

    /// Detaches what is still attached and takes the router away. Goes on past failures and returns the first.
    pub fn destroy(mut self) -> Result<()> {
        let ids: Vec<u32> = self.attached().collect();
        let outcome = self.detach_all(&ids);
        let removed =
            self.netlink.request("removing the VXLAN device", messages::delete_link(self.vxlan_index), Mode::Plain);
        outcome.and(tolerate(removed, libc::ENODEV)).and(delete_namespace(&self.name, &self.journal))
    }

    fn check_free(&self, endpoint: &LocalEndpoint) -> Result<()> {
        if endpoint.id == 0 {
            return Err(Error::invalid("id", "must be at least 1"));
        }
        let addresses = endpoint.addresses;
        if addresses.iter().next().is_none() {
            return Err(Error::invalid("address", "an endpoint needs one"));
        }
        if let Some(address) = addresses.iter().find(|address| !can_be_endpoints(*address)) {
            return Err(Error::invalid("address", format!("{address} cannot be an endpoint's address")));
        }
        let shares = |held: &LocalEndpoint| held.addresses.iter().any(|held| addresses.iter().any(|one| one == held));
        let holder =
            self.endpoints.values().find(|attached| attached.endpoint.id == endpoint.id || shares(&attached.endpoint));
        match holder {
            None => Ok(()),
            Some(Attached { endpoint: holder, .. }) => Err(Error::Conflict {
                what: format!("endpoint {} with {addresses} in {}", endpoint.id, self.name),
                holder: format!("endpoint {} with {}", holder.id, holder.addresses),
            }),
        }
    }
}

fn can_be_endpoints(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.to_ipv4_mapped().is_some(),
    };
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_link_local)
}

type Step = (&'static str, Message, Mode);

/// Inside the endpoint's namespace: its address, and everything else behind the router.
fn endpoint_side(address: IpAddr, device: u32) -> [Step; 3] {
    let gateway: IpAddr = if address.is_ipv6() { GATEWAY6.into() } else { GATEWAY.into() };
    let neighbour = messages::neighbour(gateway, messages::mac_of(GATEWAY), device);
    let route = messages::default_via(gateway, device);
    [
        ("give the endpoint its address", messages::new_address(device, address), Mode::Create),
        ("tell the endpoint its gateway's link-layer address", Message::NewNeighbour(neighbour), Mode::Put),
        ("route the endpoint's traffic to the router", Message::NewRoute(route), Mode::Create),
    ]
}

/// In the router, on the endpoint's outer device.
fn outer_side(address: IpAddr, mac: Vec<u8>, device: u32) -> impl Iterator<Item = Step> {
    let neighbour = Message::NewNeighbour(messages::neighbour(address, mac, device));
    let gateway = address
        .is_ipv6()
        .then(|| ("give the router its address on the wire", messages::new_address(device, GATEWAY6), Mode::Create));
    [("tell the router the endpoint's link-layer address", neighbour, Mode::Put)].into_iter().chain(gateway)
}

/// The outer end of an endpoint's veth, in the router's namespace.
fn outer_device(id: u32) -> String {
    format!("ep{id}")
}

fn overlay_mtu(underlay_mtu: u32) -> Result<u32> {
    // IPv4 asks for 68; below 576 nothing real works.
    const USABLE_MTU_MIN_BYTES: u32 = 576;
    match underlay_mtu.checked_sub(VXLAN_OVERHEAD_BYTES) {
        Some(mtu) if mtu >= USABLE_MTU_MIN_BYTES => Ok(mtu.min(DEVICE_MTU_MAX_BYTES)),
        _ => Err(Error::invalid(
            "underlayAddress",
            format!(
                "its device's MTU is {underlay_mtu}: at least {} are needed",
                USABLE_MTU_MIN_BYTES + VXLAN_OVERHEAD_BYTES
            ),
        )),
    }
}

/// Creates a namespace that is in the journal before it exists. Undoing deletes it and strikes it out again.
fn create_namespace(name: &str, journal: &Arc<Journal>, undo: &mut Undo<'_>) -> Result<NetNs> {
    netns::check_name(name)?;
    if netns::exists(name) {
        // Must not get into the journal: recovery would delete what is not ours.
        return netns::create(name);
    }
    let change = Change::NetNs { name: name.to_owned() };
    journal.record(change.clone())?;
    let (strike, kept) = (Arc::clone(journal), change.clone());
    undo.push(move || drop(strike.forget(&kept)));
    let namespace = netns::create(name)?;
    let doomed = name.to_owned();
    undo.push(move || drop(netns::delete(&doomed)));
    Ok(namespace)
}

fn delete_namespace(name: &str, journal: &Journal) -> Result<()> {
    match netns::delete(name) {
        Ok(()) | Err(Error::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    journal.forget(&Change::NetNs { name: name.to_owned() })
}

fn tolerate(outcome: Result<()>, errno: i32) -> Result<()> {
    match outcome {
        Err(error) if error.errno() == Some(errno) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
