//! Owns the plain overlay of one network on one node: whatever is not an accelerated TCP connection goes through here.
//!
//! Each network has a *router namespace* of its own on each node. It holds the VXLAN device, whose tunnel socket stays in
//! the node's namespace, and the outer ends of the endpoints' veths. Everything is routed: a /32 per local endpoint over
//! its veth, a /32 per remote endpoint via its node over VXLAN, and nothing else, so networks with overlapping prefixes
//! cannot meet and no sysctl of the node is touched. No ARP either: every link-layer address follows from an IPv4
//! address (see `messages::mac_of`).
//!
//! Invariant: what the fields say is what the kernel has; an operation that fails leaves both as they were.

pub(crate) mod messages;
mod remotes;
pub(crate) mod setup;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use self::remotes::Remotes;
use super::journal::{Change, Journal};
use super::netlink::{Mode, Netlink};
use super::netns::{self, NetNs};
use super::steps::step;
use super::sysctl;
use super::undo::Undo;
use crate::error::{Error, Result};
use netlink_packet_route::RouteNetlinkMessage as Message;

/// Where every endpoint sends what is not its own: an address of the router, out of reach of any overlay prefix.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Outer Ethernet, IPv4, UDP and VXLAN headers.
pub const VXLAN_OVERHEAD_BYTES: u32 = 50;
/// The overlay's device inside an endpoint's namespace.
pub const ENDPOINT_DEVICE: &str = "eth0";
/// Largest MTU that veth and VXLAN devices take.
const DEVICE_MTU_MAX_BYTES: u32 = 65_485;
const VXLAN_DEVICE: &str = "vxlan0";

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
}

/// An endpoint to attach on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalEndpoint {
    /// Its id in the network, at least 1.
    pub id: u32,
    pub address: Ipv4Addr,
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

        step("create the router namespace")?;
        let namespace = create_namespace(&name, journal, &mut undo)?;
        step("set the router's sysctls")?;
        sysctl::set(&namespace, &setup::router_sysctls())?;
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
            ("refuse unknown destinations", Message::NewRoute(messages::unreachable_default()), Mode::Create),
        ];
        setup::apply(&mut netlink, requests)?;

        undo.commit();
        Ok(Router {
            name,
            namespace,
            netlink,
            journal: Arc::clone(journal),
            mtu,
            vxlan_index,
            endpoints: HashMap::new(),
            remotes: Remotes::default(),
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
        let remotes = Remotes::inherit(setup::routes_over(&mut netlink, vxlan_index)?);
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
    pub fn remotes(&self) -> impl Iterator<Item = Ipv4Addr> {
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
                messages::mac_of(endpoint.address),
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
        sysctl::set(&namespace, &setup::inner_device_sysctls(ENDPOINT_DEVICE))?;

        let endpoint_side = [
            ("bring the endpoint's loopback up", messages::link_up(messages::LOOPBACK_INDEX), Mode::Plain),
            ("give the endpoint its address", messages::new_address(eth0, endpoint.address), Mode::Create),
            ("bring the endpoint's device up", messages::link_up(eth0), Mode::Plain),
            (
                "tell the endpoint its gateway's link-layer address",
                Message::NewNeighbour(messages::neighbour(GATEWAY, GATEWAY, eth0)),
                Mode::Put,
            ),
            (
                "route the endpoint's traffic to the router",
                Message::NewRoute(messages::route_via(None, GATEWAY, eth0)),
                Mode::Create,
            ),
        ];
        setup::apply(&mut inside, endpoint_side)?;
        let outer_side = [
            ("bring the outer device up", messages::link_up(device_index), Mode::Plain),
            (
                "tell the router the endpoint's link-layer address",
                Message::NewNeighbour(messages::neighbour(endpoint.address, endpoint.address, device_index)),
                Mode::Put,
            ),
        ];
        setup::apply(&mut self.netlink, outer_side)?;
        step("wait for both ends")?;
        setup::await_carrier(&mut inside, eth0)?;
        setup::await_carrier(&mut self.netlink, device_index)?;
        // The route comes last: until then a remote endpoint with this address, if any, keeps its own.
        step("route the endpoint's address to it")?;
        self.netlink.request(
            "routing the endpoint's address to it",
            Message::NewRoute(messages::direct_route(endpoint.address, device_index)),
            Mode::Put,
        )?;

        undo.commit();
        let device_index = Some(device_index);
        self.endpoints.insert(endpoint.id, Attached { endpoint: endpoint.clone(), device_index });
        Ok(())
    }

    /// Takes the endpoint off the overlay and its namespace's name away, even while processes still run in it.
    /// [`Error::NotFound`] when it is not attached.
    pub fn detach(&mut self, id: u32) -> Result<()> {
        let attached = self
            .endpoints
            .get(&id)
            .ok_or_else(|| Error::NotFound { what: format!("endpoint {id} in {}", self.name) })?;
        let Attached { endpoint, device_index } = attached;
        // Routes and neighbours go with the device.
        if let Some(index) = *device_index {
            let removed = self.netlink.request(
                &format!("removing the veth pair of endpoint {id}"),
                messages::delete_link(index),
                Mode::Plain,
            );
            tolerate(removed, libc::ENODEV)?;
        }
        let address = endpoint.address;
        delete_namespace(&endpoint.netns, &self.journal)?;
        self.endpoints.remove(&id);
        // A remote endpoint that had to yield gets its route back.
        match self.remotes.request_for(address, self.vxlan_index) {
            Some(message) => self.netlink.request("restoring a remote endpoint's route", message, Mode::Put),
            None => Ok(()),
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
    pub fn set_remote(&mut self, address: Ipv4Addr, node_underlay: Ipv4Addr) -> Result<()> {
        self.set_remotes(&[(address, node_underlay)])
    }

    /// Sends what is for each overlay address to the node with that underlay address. Applying the same again changes
    /// nothing; another node replaces the former one. All or nothing.
    pub fn set_remotes(&mut self, remotes: &[(Ipv4Addr, Ipv4Addr)]) -> Result<()> {
        let wanted: Vec<_> = remotes.iter().map(|(address, node)| (*address, Some(*node))).collect();
        self.change_remotes(&wanted)
    }

    /// See [`Router::remove_remotes`].
    pub fn remove_remote(&mut self, address: Ipv4Addr) -> Result<()> {
        self.remove_remotes(&[address])
    }

    /// These overlay addresses are nowhere from now on. Unknown ones are ignored. All or nothing.
    pub fn remove_remotes(&mut self, addresses: &[Ipv4Addr]) -> Result<()> {
        let wanted: Vec<_> = addresses.iter().map(|address| (*address, None)).collect();
        self.change_remotes(&wanted)
    }

    fn change_remotes(&mut self, wanted: &[(Ipv4Addr, Option<Ipv4Addr>)]) -> Result<()> {
        let local = |address: Ipv4Addr| self.endpoints.values().any(|attached| attached.endpoint.address == address);
        let plan = self.remotes.plan(wanted, self.vxlan_index, local);
        step("apply the remotes")?;
        plan.apply(&mut self.netlink)?;
        self.remotes.commit(plan);
        Ok(())
    }

    /// Detaches what is still attached and takes the router away. Goes on past failures and returns the first.
    pub fn destroy(mut self) -> Result<()> {
        let ids: Vec<u32> = self.attached().collect();
        let mut outcome = Ok(());
        for id in ids {
            outcome = outcome.and(self.detach(id));
        }
        let removed =
            self.netlink.request("removing the VXLAN device", messages::delete_link(self.vxlan_index), Mode::Plain);
        outcome.and(tolerate(removed, libc::ENODEV)).and(delete_namespace(&self.name, &self.journal))
    }

    fn check_free(&self, endpoint: &LocalEndpoint) -> Result<()> {
        if endpoint.id == 0 {
            return Err(Error::invalid("id", "must be at least 1"));
        }
        let address = endpoint.address;
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_link_local() {
            return Err(Error::invalid("address", format!("{address} cannot be an endpoint's address")));
        }
        let holder = self
            .endpoints
            .values()
            .find(|attached| attached.endpoint.id == endpoint.id || attached.endpoint.address == endpoint.address);
        match holder {
            None => Ok(()),
            Some(Attached { endpoint: holder, .. }) => Err(Error::Conflict {
                what: format!("endpoint {} with address {address} in {}", endpoint.id, self.name),
                holder: format!("endpoint {} with address {}", holder.id, holder.address),
            }),
        }
    }
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
