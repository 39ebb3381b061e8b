//! The objects of `ts/types.ts`. Every property is always present; "nothing" is `null`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use napi::bindgen_prelude::{BigInt, Either5};
use napi_derive::napi;
use slimfast_core::datapath::accounts;
use slimfast_core::datapath::events::{ConnectionEvent, EventKind};
use slimfast_core::datapath::listing::{Connection, Direction, Listener};
use slimfast_core::datapath::passed_over::EventClass;
use slimfast_core::datapath::policies::{self, Verdict};
use slimfast_core::error::{Error, Result};
use slimfast_core::host::{netns, ports};
use slimfast_core::node;
use slimfast_core::owner::{Addresses, EndpointKey, Prefixes, Tier};
use slimfast_core::probe;

#[napi(object, use_nullable = true)]
pub struct WantedLimits {
    pub sockets: Option<u32>,
    pub listeners: Option<u32>,
    pub connects_per_second: Option<u32>,
}

#[napi(object)]
pub struct EndpointLimits {
    pub sockets: u32,
    pub listeners: u32,
    pub connects_per_second: u32,
}

#[napi(object)]
pub struct CoreConfig {
    pub node_name: String,
    pub underlay_address: String,
    pub front_port_first: u32,
    pub front_port_count: u32,
    pub cgroup: String,
    pub run_dir: String,
    pub keeper_path: String,
    pub vxlan_port: u32,
    pub endpoint_limits: WantedLimits,
}

#[napi(object)]
pub struct NodeState {
    pub name: String,
    pub underlay_address: String,
    pub front_port_first: u32,
    pub front_port_count: u32,
}

#[napi(object, use_nullable = true)]
pub struct NetworkState {
    pub vni: u32,
    pub prefix: Option<String>,
    pub prefix6: Option<String>,
    pub egress: Vec<String>,
}

#[napi(object, use_nullable = true)]
pub struct EndpointState {
    pub vni: u32,
    pub id: u32,
    pub address: Option<String>,
    pub address6: Option<String>,
    pub node: String,
    pub is_plain: bool,
}

#[napi(object)]
pub struct PortRange {
    pub first: u32,
    pub count: u32,
}

#[napi(object, js_name = "EndpointKey")]
pub struct Key {
    pub vni: u32,
    pub id: u32,
}

#[napi(object)]
pub struct StateChange {
    pub nodes: Vec<NodeState>,
    pub networks: Vec<NetworkState>,
    pub endpoints: Vec<EndpointState>,
    pub removed_endpoints: Vec<Key>,
    pub removed_networks: Vec<u32>,
    pub removed_nodes: Vec<String>,
    pub node_addresses: Vec<String>,
    pub removed_node_addresses: Vec<String>,
}

#[napi(object)]
pub struct EndpointIdentity {
    pub endpoint_id: u32,
    pub identity: u32,
}

#[napi(object)]
pub struct PolicyVerdict {
    pub from: u32,
    pub to: u32,
    pub port_first: u32,
    pub port_last: u32,
    pub is_allowed: bool,
}

#[napi(object)]
pub struct NetworkPolicy {
    pub vni: u32,
    pub is_default_deny: bool,
    pub identities: Vec<EndpointIdentity>,
    pub verdicts: Vec<PolicyVerdict>,
}

#[napi(object)]
pub struct PolicyNote {
    pub vni: u32,
    pub note: String,
}

#[napi(object)]
pub struct PublishedPort {
    pub host_port: u32,
    pub endpoint_port: u32,
}

#[napi(object, use_nullable = true)]
pub struct AttachRequest {
    pub netns_name: String,
    pub vni: u32,
    pub id: u32,
    pub address: Option<String>,
    pub address6: Option<String>,
    pub published_ports: Vec<PublishedPort>,
    pub note: String,
}

#[napi(object)]
pub struct AttachResult {
    pub netns_path: String,
    pub listener_metadata: String,
}

#[napi(object)]
pub struct AttachedState {
    pub vni: u32,
    pub id: u32,
    pub netns_path: String,
    pub listener_metadata: String,
    pub note: String,
    pub seccomp_listeners: u32,
    pub dispensers: u32,
    pub unguarded_listeners: u32,
    pub usage: EndpointUsage,
}

#[napi(object)]
pub struct EndpointUsage {
    pub sockets: u32,
    pub listeners: u32,
    pub refused_sockets: BigInt,
    pub refused_listeners: BigInt,
    pub refused_connects: BigInt,
    pub refused_inbound: BigInt,
}

#[napi(object)]
pub struct AddressPort {
    pub address: String,
    pub port: u32,
}

#[napi(object)]
pub struct ConnectionState {
    pub cookie: BigInt,
    pub vni: u32,
    pub endpoint_id: u32,
    pub direction: String,
    pub tier: String,
    pub state: String,
    pub local: AddressPort,
    pub peer: AddressPort,
    pub underlay_local: AddressPort,
    pub underlay_peer: AddressPort,
    pub bytes_sent: BigInt,
    pub bytes_received: BigInt,
    pub rtt_us: u32,
    pub duration_us: BigInt,
    pub setup_us: u32,
}

#[napi(object)]
pub struct ListenerState {
    pub cookie: BigInt,
    pub vni: u32,
    pub endpoint_id: u32,
    pub local: AddressPort,
    pub v6_only: bool,
}

#[napi(object, use_nullable = true)]
pub struct ConnectionEventState {
    pub kind: String,
    pub time_ns: BigInt,
    pub connection: ConnectionState,
    pub error: Option<String>,
}

#[napi(object)]
pub struct IdleEvent {
    pub kind: String,
    pub vni: u32,
    pub endpoint_id: u32,
}

#[napi(object)]
pub struct AdmissionRefusedEvent {
    pub kind: String,
    pub reason: String,
}

#[napi(object)]
pub struct KeeperEndedEvent {
    pub kind: String,
}

#[napi(object)]
pub struct UnguardedEvent {
    pub kind: String,
    pub vni: u32,
    pub endpoint_id: u32,
    pub reason: String,
}

#[napi(object)]
pub struct EventBatch {
    pub events: Vec<CoreEvent>,
    pub dropped: BigInt,
    pub passed_over: Vec<PassedOver>,
}

#[napi(object, use_nullable = true)]
pub struct PassedOver {
    pub kind: String,
    pub direction: String,
    pub tier: String,
    pub error: Option<String>,
    pub count: f64,
}

pub type CoreEvent = Either5<ConnectionEventState, IdleEvent, AdmissionRefusedEvent, KeeperEndedEvent, UnguardedEvent>;

#[napi(object, use_nullable = true)]
pub struct Check {
    pub name: String,
    pub ok: bool,
    pub detail: String,
    pub remedy: Option<String>,
    pub required: bool,
}

/* ---- towards the core ---- */

fn address(field: &'static str, text: &str) -> Result<Ipv4Addr> {
    text.parse().map_err(|_| Error::invalid(field, format!("{text:?} is not an IPv4 address")))
}

fn port(field: &'static str, value: u32) -> Result<u16> {
    u16::try_from(value).map_err(|_| Error::invalid(field, format!("{value} is more than 65535")))
}

/// Of the family that `A` is of: an IPv4 address, an IPv6 one or either.
fn prefix<A: FromStr + Into<IpAddr> + Copy>(field: &'static str, text: &str, example: &str) -> Result<(A, u8)> {
    let wrong = || Error::invalid(field, format!("{text:?} is not a prefix such as {example}"));
    let (base, length) = text.split_once('/').ok_or_else(wrong)?;
    let base: A = base.parse().map_err(|_| wrong())?;
    let longest = if base.into().is_ipv4() { 32 } else { 128 };
    let length: u8 = length.parse().ok().filter(|length| *length <= longest).ok_or_else(wrong)?;
    Ok((base, length))
}

fn addresses(v4: Option<&String>, v6: Option<&String>) -> Result<Addresses> {
    let wrong6 = |text| Error::invalid("address6", format!("{text:?} is not an IPv6 address"));
    let v4 = v4.map(|text| address("address", text)).transpose()?;
    let v6 = v6.map(|text| text.parse().map_err(|_| wrong6(text))).transpose()?;
    match (v4, v6) {
        (None, None) => Err(Error::invalid("address", "an endpoint needs one of IPv4 or of IPv6")),
        _ => Ok(Addresses { v4, v6 }),
    }
}

impl TryFrom<PortRange> for ports::PortRange {
    type Error = Error;

    fn try_from(PortRange { first, count }: PortRange) -> Result<Self> {
        let block = u16::try_from(first).ok().zip(u16::try_from(count).ok());
        let block = block.and_then(|(first, count)| Self::block(first, count).ok());
        block.ok_or_else(|| {
            Error::invalid("ranges", format!("{count} ports from {first} on are no range within 1-65535"))
        })
    }
}

impl From<&Key> for EndpointKey {
    fn from(key: &Key) -> Self {
        EndpointKey { vni: key.vni, id: key.id }
    }
}

impl From<WantedLimits> for accounts::EndpointLimits {
    fn from(wanted: WantedLimits) -> Self {
        let unless_told = Self::default();
        Self {
            sockets: wanted.sockets.unwrap_or(unless_told.sockets),
            listeners: wanted.listeners.unwrap_or(unless_told.listeners),
            connects_per_second: wanted.connects_per_second.unwrap_or(unless_told.connects_per_second),
        }
    }
}

impl TryFrom<CoreConfig> for node::NodeConfig {
    type Error = Error;

    fn try_from(config: CoreConfig) -> Result<Self> {
        Ok(Self {
            underlay: address("underlayAddress", &config.underlay_address)?,
            front_first: port("frontPortFirst", config.front_port_first)?,
            front_count: port("frontPortCount", config.front_port_count)?,
            vxlan_port: port("vxlanPort", config.vxlan_port)?,
            node_name: config.node_name,
            cgroup: config.cgroup,
            run_dir: config.run_dir.into(),
            endpoint_limits: config.endpoint_limits.into(),
            keeper: config.keeper_path.into(),
        })
    }
}

impl TryFrom<NodeState> for node::NodeState {
    type Error = Error;

    fn try_from(state: NodeState) -> Result<Self> {
        Ok(Self {
            underlay: address("underlayAddress", &state.underlay_address)?,
            front_first: port("frontPortFirst", state.front_port_first)?,
            front_count: port("frontPortCount", state.front_port_count)?,
            name: state.name,
        })
    }
}

impl TryFrom<NetworkState> for node::NetworkState {
    type Error = Error;

    fn try_from(state: NetworkState) -> Result<Self> {
        let egress = state.egress.iter().map(|range| prefix("egress", range, "192.0.2.0/24 or 2001:db8::/32"));
        let v4 = state.prefix.as_deref().map(|text| prefix("prefix", text, "10.32.0.0/16")).transpose()?;
        let v6 = state.prefix6.as_deref().map(|text| prefix("prefix6", text, "fd00:32::/64")).transpose()?;
        if v4.is_none() && v6.is_none() {
            return Err(Error::invalid("prefix", "a network needs one of IPv4 or of IPv6"));
        }
        Ok(Self { vni: state.vni, prefixes: Prefixes { v4, v6 }, egress: egress.collect::<Result<_>>()? })
    }
}

impl TryFrom<EndpointState> for node::EndpointState {
    type Error = Error;

    fn try_from(state: EndpointState) -> Result<Self> {
        Ok(Self {
            key: EndpointKey { vni: state.vni, id: state.id },
            addresses: addresses(state.address.as_ref(), state.address6.as_ref())?,
            node: state.node,
            is_plain: state.is_plain,
        })
    }
}

fn each<From, To: TryFrom<From, Error = Error>>(all: Vec<From>) -> Result<Vec<To>> {
    all.into_iter().map(To::try_from).collect()
}

impl TryFrom<StateChange> for node::StateChange {
    type Error = Error;

    fn try_from(change: StateChange) -> Result<Self> {
        let addresses = |field: &'static str, texts: &[String]| -> Result<Vec<Ipv4Addr>> {
            texts.iter().map(|text| address(field, text)).collect()
        };
        Ok(Self {
            node_addresses: addresses("nodeAddresses", &change.node_addresses)?,
            removed_node_addresses: addresses("removedNodeAddresses", &change.removed_node_addresses)?,
            nodes: each(change.nodes)?,
            networks: each(change.networks)?,
            endpoints: each(change.endpoints)?,
            removed_endpoints: change.removed_endpoints.iter().map(EndpointKey::from).collect(),
            removed_networks: change.removed_networks,
            removed_nodes: change.removed_nodes,
        })
    }
}

impl TryFrom<PolicyVerdict> for Verdict {
    type Error = Error;

    fn try_from(verdict: PolicyVerdict) -> Result<Self> {
        let ports = port("portFirst", verdict.port_first)?..=port("portLast", verdict.port_last)?;
        Ok(Self { from: verdict.from, to: verdict.to, ports, is_allowed: verdict.is_allowed })
    }
}

impl TryFrom<NetworkPolicy> for policies::NetworkPolicy {
    type Error = Error;

    fn try_from(policy: NetworkPolicy) -> Result<Self> {
        Ok(Self {
            vni: policy.vni,
            is_default_deny: policy.is_default_deny,
            identities: policy.identities.iter().map(|one| (one.endpoint_id, one.identity)).collect(),
            verdicts: each(policy.verdicts)?,
        })
    }
}

impl TryFrom<PublishedPort> for node::PublishedPort {
    type Error = Error;

    fn try_from(published: PublishedPort) -> Result<Self> {
        Ok(Self {
            host_port: port("publishedPorts", published.host_port)?,
            endpoint_port: port("publishedPorts", published.endpoint_port)?,
        })
    }
}

impl TryFrom<AttachRequest> for node::AttachRequest {
    type Error = Error;

    fn try_from(request: AttachRequest) -> Result<Self> {
        Ok(Self {
            key: EndpointKey { vni: request.vni, id: request.id },
            addresses: addresses(request.address.as_ref(), request.address6.as_ref())?,
            netns_name: request.netns_name,
            published: each(request.published_ports)?,
            note: request.note,
        })
    }
}

/* ---- from the core ---- */

impl From<SocketAddr> for AddressPort {
    fn from(address: SocketAddr) -> Self {
        Self { address: address.ip().to_string(), port: address.port().into() }
    }
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Outbound => "outbound",
        Direction::Inbound => "inbound",
    }
}

fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Notify => "notify",
        Tier::Preload => "preload",
    }
}

fn kind_name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Opened => "opened",
        EventKind::Accepted => "accepted",
        EventKind::Closed => "closed",
        EventKind::Refused => "refused",
    }
}

impl From<&Connection> for ConnectionState {
    fn from(connection: &Connection) -> Self {
        Self {
            cookie: connection.cookie.into(),
            vni: connection.owner.vni,
            endpoint_id: connection.owner.id,
            direction: direction_name(connection.direction).into(),
            tier: tier_name(connection.tier).into(),
            state: connection.state.into(),
            local: connection.local.into(),
            peer: connection.peer.into(),
            underlay_local: connection.underlay_local.into(),
            underlay_peer: connection.underlay_peer.into(),
            bytes_sent: connection.bytes_sent.into(),
            bytes_received: connection.bytes_received.into(),
            rtt_us: connection.rtt_us,
            duration_us: connection.duration_us.into(),
            setup_us: connection.setup_us,
        }
    }
}

impl From<&Listener> for ListenerState {
    fn from(listener: &Listener) -> Self {
        Self {
            cookie: listener.cookie.into(),
            vni: listener.owner.vni,
            endpoint_id: listener.owner.id,
            local: listener.local.into(),
            v6_only: listener.v6_only,
        }
    }
}

impl From<accounts::EndpointLimits> for EndpointLimits {
    fn from(limits: accounts::EndpointLimits) -> Self {
        let accounts::EndpointLimits { sockets, listeners, connects_per_second } = limits;
        Self { sockets, listeners, connects_per_second }
    }
}

impl From<&accounts::EndpointUsage> for EndpointUsage {
    fn from(usage: &accounts::EndpointUsage) -> Self {
        Self {
            sockets: usage.sockets,
            listeners: usage.listeners,
            refused_sockets: usage.refused_sockets.into(),
            refused_listeners: usage.refused_listeners.into(),
            refused_connects: usage.refused_connects.into(),
            refused_inbound: usage.refused_inbound.into(),
        }
    }
}

impl From<&node::AttachedState> for AttachedState {
    fn from(state: &node::AttachedState) -> Self {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            vni: state.key.vni,
            id: state.key.id,
            netns_path: netns::path_of(&state.netns_name).display().to_string(),
            listener_metadata: node::Node::listener_metadata(state.key),
            note: state.note.clone(),
            seccomp_listeners: count(state.seccomp_listeners),
            dispensers: count(state.dispensers),
            unguarded_listeners: count(state.unguarded),
            usage: (&state.usage).into(),
        }
    }
}

impl From<&ConnectionEvent> for ConnectionEventState {
    fn from(event: &ConnectionEvent) -> Self {
        Self {
            kind: kind_name(event.kind).into(),
            time_ns: event.time_ns.into(),
            connection: (&event.connection).into(),
            error: event.errno.map(slimfast_core::error::errno_name),
        }
    }
}

fn core_event(event: node::NodeEvent) -> CoreEvent {
    match event {
        node::NodeEvent::Connection(event) => CoreEvent::A(event.as_ref().into()),
        node::NodeEvent::Idle(key) => {
            CoreEvent::B(IdleEvent { kind: "idle".into(), vni: key.vni, endpoint_id: key.id })
        }
        node::NodeEvent::Unguarded { endpoint, reason } => {
            let (vni, endpoint_id) = (endpoint.vni, endpoint.id);
            CoreEvent::E(UnguardedEvent { kind: "unguarded".into(), vni, endpoint_id, reason })
        }
        node::NodeEvent::Refused { reason } => {
            CoreEvent::C(AdmissionRefusedEvent { kind: "admissionRefused".into(), reason })
        }
        node::NodeEvent::KeeperEnded => CoreEvent::D(KeeperEndedEvent { kind: "keeperEnded".into() }),
    }
}

impl From<node::Batch> for EventBatch {
    fn from(batch: node::Batch) -> Self {
        Self {
            events: batch.events.into_iter().map(core_event).collect(),
            dropped: batch.dropped.into(),
            passed_over: batch.passed_over.into_iter().map(PassedOver::from).collect(),
        }
    }
}

impl From<(EventClass, u64)> for PassedOver {
    fn from((class, count): (EventClass, u64)) -> Self {
        Self {
            kind: kind_name(class.kind).into(),
            direction: direction_name(class.direction).into(),
            tier: tier_name(class.tier).into(),
            error: class.errno.map(slimfast_core::error::errno_name),
            count: count as f64,
        }
    }
}

impl From<probe::Check> for Check {
    fn from(check: probe::Check) -> Self {
        Self {
            name: check.name.to_string(),
            ok: check.ok,
            detail: check.detail,
            remedy: check.remedy,
            required: check.required,
        }
    }
}
