//! One node's data path: everything that the agent asks of the core goes through [`Node`].
//!
//! ```text
//! node          opening and closing, in one order and its reverse; queries
//! node/config   what a node is opened with, checked once
//! node/state    the cluster's state: remembered, and written into the maps and the routers
//! node/attach   endpoints of this node: attached and detached as a whole
//! node/uplinks the wires between this node and the routers of its networks
//! node/queue    events on their way to the agent: bounded, dropped and counted when nobody reads
//! ```
//!
//! Threads: any. Changes are serialised by one lock; no thread that serves a container ever takes it.

mod attach;
mod config;
mod queue;
mod state;
mod uplinks;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub use self::attach::{AttachRequest, PublishedPort};
pub use self::config::NodeConfig;
pub use self::queue::{Batch, EventQueue, NodeEvent};
pub use self::state::{EndpointState, NetworkState, NodeState, StateChange};

use self::attach::Attached;
use self::state::State;
use crate::admission::{Admission, AdmissionEvent};
use crate::datapath::accounts::{EndpointLimits, EndpointUsage};
use crate::datapath::events::EventReader;
use crate::datapath::listing::{Connection, Cut, Listener, Listing};
use crate::datapath::loader::{Loaded, NodeConstants};
use crate::datapath::policies::{NetworkPolicy, Policies};
use crate::datapath::sockets::HostSockets;
use crate::datapath::tables::{HostAddresses, Tables};
use crate::error::{Error, Result};
use crate::host::addresses::{self, AddressWatch};
use crate::host::cgroup::Cgroup;
use crate::host::journal::Journal;
use crate::host::netns::NetNs;
use crate::host::overlay::Router;
use crate::host::ports::{PortHold, PortRange, Reservation};
use crate::host::uplink::Uplink;
use crate::owner::{EndpointKey, SocketSources};

/// File name of the seccomp-agent socket in the run directory.
const SECCOMP_SOCKET: &str = "seccomp.sock";

/// An open node. Every method fails with [`Error::Closed`] once [`Node::close`] was called.
pub struct Node {
    inner: Mutex<Option<Inner>>,
    queue: Arc<EventQueue>,
    seccomp_socket: PathBuf,
}

/// What an attached endpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachedState {
    pub key: EndpointKey,
    pub seccomp_listeners: usize,
    pub dispensers: usize,
    pub usage: EndpointUsage,
}

/// What an open node consists of.
struct Inner {
    config: NodeConfig,
    state: State,
    attached: HashMap<EndpointKey, Attached>,
    /// By VNI; one for each network that has an endpoint attached here.
    routers: HashMap<u32, Router>,
    /// By VNI; one for each router.
    uplinks: HashMap<u32, Uplink>,
    parts: Parts,
    host: Host,
    namespace: NetNs,
}

/// What ends by being stopped or dropped, without a trace on the host.
struct Parts {
    admission: Admission,
    idle_watch: JoinHandle<()>,
    address_watch: AddressWatch,
    reader: EventReader,
    listing: Listing,
    sockets: Arc<HostSockets>,
    tables: Tables,
    policies: Policies,
    loaded: Loaded,
}

/// What a node changes on its host before anything else works.
struct Host {
    cgroup: Option<Cgroup>,
    reservation: Option<Reservation>,
    hold: Option<PortHold>,
    journal: Arc<Journal>,
}

impl Node {
    /// Opens the node in the network namespace of the calling thread, and moves the process into the node's cgroup.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field; [`Error::Conflict`] when a front port or the run directory is taken, by whom;
    /// [`Error::Unsupported`] when the host lacks something. Nothing is left behind.
    pub fn open(config: NodeConfig) -> Result<Self> {
        config.check()?;
        let namespace = NetNs::current()?;
        addresses::require_local(&namespace, config.underlay)?;
        crate::sys::limits::raise_descriptor_limit();
        let queue = Arc::new(EventQueue::default());
        let seccomp_socket = config.run_dir.join(SECCOMP_SOCKET);
        let host = Host::prepare(&config)?;
        match Parts::open(&config, &host, &namespace, &queue) {
            Ok(parts) => {
                let state = State::new(config.node_name.clone());
                let inner = Inner {
                    config,
                    state,
                    attached: HashMap::new(),
                    routers: HashMap::new(),
                    uplinks: HashMap::new(),
                    parts,
                    host,
                    namespace,
                };
                Ok(Self { inner: Mutex::new(Some(inner)), queue, seccomp_socket })
            }
            Err(error) => {
                // The error that led here is the one to report.
                let _ = host.restore();
                Err(error)
            }
        }
    }

    /// Detaches every endpoint, takes everything down and restores the host. Idempotent. Goes on past failures and returns
    /// the first.
    pub fn close(&self) -> Result<()> {
        let Some(inner) = self.lock().take() else { return Ok(()) };
        inner.close()
    }

    /// Applies one increment of the cluster's state.
    pub fn apply(&self, change: StateChange) -> Result<()> {
        self.with(|inner| inner.apply(change))
    }

    /// Attaches an endpoint of this node that is in the applied state. Nothing is left behind if it fails.
    pub fn attach(&self, request: &AttachRequest) -> Result<()> {
        self.with(|inner| inner.attach(request))
    }

    /// Detaches an endpoint and cuts its connections. Idempotent.
    pub fn detach(&self, key: EndpointKey) -> Result<()> {
        self.with(|inner| inner.detach(key))
    }

    pub fn attached(&self) -> Result<Vec<AttachedState>> {
        self.with(|inner| {
            let state = |&key: &EndpointKey| {
                let (seccomp_listeners, dispensers) = inner.parts.admission.held(key);
                let usage = inner.parts.tables.accounts().usage(key)?.unwrap_or_default();
                Ok(AttachedState { key, seccomp_listeners, dispensers, usage })
            };
            inner.attached.keys().map(state).collect()
        })
    }

    /// What each endpoint of this node may have.
    pub fn endpoint_limits(&self) -> Result<EndpointLimits> {
        self.with(|inner| Ok(inner.parts.tables.accounts().limits()))
    }

    pub fn connections(&self) -> Result<Vec<Connection>> {
        self.with(|inner| inner.namespace.run(|| inner.parts.listing.connections()))
    }

    pub fn listeners(&self) -> Result<Vec<Listener>> {
        self.with(|inner| inner.namespace.run(|| inner.parts.listing.listeners()))
    }

    /// Replaces a network's policies and resets the connections that they do not allow; says how many those were.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a network that is not in the applied state, [`Error::Invalid`] as [`Policies::set`].
    pub fn set_policy(&self, policy: &NetworkPolicy) -> Result<u32> {
        self.with(|inner| {
            if inner.state.network(policy.vni).is_none() {
                return Err(Error::NotFound { what: format!("network {}", policy.vni) });
            }
            inner.parts.policies.set(policy)?;
            inner.cut(Cut::Denied { vni: policy.vni })
        })
    }

    /// Everything is allowed in the network from now on. Idempotent.
    pub fn remove_policy(&self, vni: u32) -> Result<()> {
        self.with(|inner| inner.parts.policies.remove(vni))
    }

    /// Resets the connection with this socket cookie; false if there is none.
    pub fn cut_connection(&self, cookie: u64) -> Result<bool> {
        self.with(|inner| Ok(inner.cut(Cut::Cookie(cookie))? > 0))
    }

    /// Counters of the BPF programs and of the hand-out of sockets, by name; they grow from 0 while the node is open.
    pub fn counters(&self) -> Result<Vec<(String, u64)>> {
        self.with(|inner| {
            let mut all: Vec<_> =
                inner.parts.tables.counters()?.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let handed_out = inner.parts.admission.counters().named();
            all.extend(handed_out.into_iter().map(|(name, value)| (name.to_owned(), value)));
            Ok(all)
        })
    }

    /// The queue of this node's events.
    pub fn events(&self) -> &Arc<EventQueue> {
        &self.queue
    }

    /// Path of the socket that OCI runtimes and the launcher hand seccomp listeners to.
    pub fn seccomp_socket(&self) -> &Path {
        &self.seccomp_socket
    }

    /// What the runtime must send as metadata for an endpoint.
    pub fn listener_metadata(key: EndpointKey) -> String {
        format!("slimfast/{}/{}", key.vni, key.id)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> Result<T>) -> Result<T> {
        work(self.lock().as_mut().ok_or(Error::Closed)?)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Inner>> {
        // Every method leaves a consistent state at each point where it can fail, so a panic's half-way state is one, too.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Whoever wants to know of failures calls close() first.
        let _ = self.close();
    }
}

impl Host {
    fn prepare(config: &NodeConfig) -> Result<Self> {
        let journal = Arc::new(Journal::begin(&config.run_dir)?);
        let mut host = Self { cgroup: None, reservation: None, hold: None, journal };
        match host.fill(config) {
            Ok(()) => Ok(host),
            Err(error) => {
                let _ = host.restore();
                Err(error)
            }
        }
    }

    fn fill(&mut self, config: &NodeConfig) -> Result<()> {
        let range = PortRange::block(config.front_first, config.front_count)?;
        self.hold = Some(PortHold::acquire(range)?);
        self.reservation = Some(Reservation::acquire(range, &self.journal)?);
        self.cgroup = Some(Cgroup::join(&config.cgroup, &self.journal)?);
        Ok(())
    }

    /// Goes on past failures and returns the first.
    fn restore(self) -> Result<()> {
        let left = self.cgroup.map_or(Ok(()), Cgroup::leave);
        let released = self.reservation.map_or(Ok(()), Reservation::release);
        drop(self.hold);
        left.and(released).and(self.journal.finish())
    }
}

impl Parts {
    fn open(config: &NodeConfig, host: &Host, namespace: &NetNs, queue: &Arc<EventQueue>) -> Result<Self> {
        let cgroup = host.cgroup.as_ref().ok_or(Error::Closed)?;
        let constants = NodeConstants {
            address: config.underlay,
            front_first: config.front_first,
            front_count: config.front_count,
        };
        let loaded = Loaded::load(constants, cgroup.directory())?;
        let tables = Tables::new(&loaded, config.endpoint_limits)?;
        let policies = Policies::new(&loaded)?;
        // Its own containers reach their loopback before any state has come.
        tables.set_node(config.underlay)?;
        let mut host_addresses = HostAddresses::new(&loaded)?;
        let (first, written) = sync_channel(1);
        // A later failure (the map is full) leaves the former entries; there is nobody to tell.
        let address_watch =
            AddressWatch::start(namespace, move |addresses| drop(first.try_send(host_addresses.replace(addresses))))?;
        written.recv().unwrap_or(Err(Error::Closed))?;
        let sockets = Arc::new(HostSockets::default());
        let listing = Listing::new(&loaded)?;
        let sink = Arc::clone(queue);
        let reader = EventReader::start(
            loaded.map("events")?,
            loaded.map("passed_over")?,
            Box::new(move |told| sink.push_told(told)),
        )?;
        let (sender, admitted) = channel();
        let admitted_sockets = Arc::clone(&sockets);
        let lookup = move |metadata: &str| parse_metadata(metadata).filter(|&key| admitted_sockets.is_admitted(key));
        let sources: Arc<dyn SocketSources> = Arc::clone(&sockets) as _;
        let idle_watch = watch_admission(admitted, Arc::clone(queue))?;
        let admission = Admission::start(&config.run_dir.join(SECCOMP_SOCKET), Box::new(lookup), sources, sender)?;
        Ok(Self { admission, idle_watch, address_watch, reader, listing, sockets, tables, policies, loaded })
    }

    fn stop(self) {
        self.admission.stop();
        // Ends with the sender that admission held. A panic has been reported by the panic hook.
        let _ = self.idle_watch.join();
        drop(self.address_watch);
        drop(self.reader);
        drop(self.loaded);
    }
}

impl Inner {
    /// The iterators walk the sockets of the namespace that they are read in.
    fn cut(&self, which: Cut) -> Result<u32> {
        self.namespace.run(|| self.parts.listing.cut(which))
    }

    fn close(mut self) -> Result<()> {
        let mut outcome = Ok(());
        let keys: Vec<_> = self.attached.keys().copied().collect();
        for key in keys {
            outcome = outcome.and(self.detach(key));
        }
        let vnis: Vec<_> = self.uplinks.keys().copied().collect();
        for vni in vnis {
            outcome = outcome.and(self.close_uplink(vni));
        }
        for (_, router) in self.routers.drain() {
            outcome = outcome.and(router.destroy());
        }
        self.parts.stop();
        outcome.and(self.host.restore())
    }
}

/// Parses what [`Node::listener_metadata`] made.
fn parse_metadata(metadata: &str) -> Option<EndpointKey> {
    let (vni, id) = metadata.strip_prefix("slimfast/")?.split_once('/')?;
    Some(EndpointKey { vni: vni.parse().ok()?, id: id.parse().ok()? })
}

/// Puts admission's events that the agent wants into its queue.
fn watch_admission(admitted: Receiver<AdmissionEvent>, queue: Arc<EventQueue>) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("sf-idle".into())
        .spawn(move || {
            for event in admitted {
                match event {
                    AdmissionEvent::Idle(key) => queue.push_all([NodeEvent::Idle(key)]),
                    AdmissionEvent::Refused { reason } => queue.push_all([NodeEvent::Refused { reason }]),
                    AdmissionEvent::Admitted { .. } => {}
                }
            }
        })
        .map_err(|source| Error::system("clone", "start the thread that watches admission", source))
}

#[cfg(test)]
mod tests {
    use super::{EndpointKey, Node, parse_metadata};

    #[test]
    fn metadata_goes_there_and_back() {
        let key = EndpointKey { vni: 7, id: 4_000_000_000 };
        assert_eq!(parse_metadata(&Node::listener_metadata(key)), Some(key));
        for wrong in ["", "slimfast/7", "slimfast/x/1", "slimfast/7/1/2", "7/1", "slimfast/7/-1"] {
            assert_eq!(parse_metadata(wrong), None, "{wrong}");
        }
    }
}
