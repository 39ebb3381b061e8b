//! One node's data path: everything that the agent asks of the core goes through [`Node`].
//!
//! ```text
//! node          opening and closing, in one order and its reverse; queries
//! node/config   what a node is opened with, checked once
//! node/state    the cluster's state: remembered, and written into the maps and the routers
//! node/attach   endpoints of this node: attached and detached as a whole
//! node/readings what can be asked while a change is under way
//! node/adopt    taking over what a former agent has left
//! node/uplinks the wires between this node and the routers of its networks
//! node/queue    events on their way to the agent: bounded, dropped and counted when nobody reads
//! ```
//!
//! Threads: any. Changes are serialised by one lock; no thread that serves a container ever takes it, and neither does one that
//! only asks ([`readings`]).

mod adopt;
mod attach;
mod config;
mod queue;
mod readings;
mod state;
mod uplinks;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub use self::attach::{AttachRequest, PublishedPort};
pub use self::config::NodeConfig;
pub use self::queue::{Batch, EventQueue, NodeEvent};
pub use self::state::{EndpointState, NetworkState, NodeState, StateChange};

use self::readings::Readings;
use self::state::State;
use crate::datapath::accounts::{EndpointLimits, EndpointUsage};
use crate::datapath::events::EventReader;
use crate::datapath::listing::{Connection, Cut, Listener, Listing};
use crate::datapath::loader::{Loaded, NodeConstants};
use crate::datapath::pins::Pins;
use crate::datapath::policies::{NetworkPolicy, Policies};
use crate::datapath::tables::{HostAddresses, Tables};
use crate::error::{Error, Result};
use crate::host::addresses::{self, AddressWatch};
use crate::host::bpf_fs::BpfFs;
use crate::host::cgroup::Cgroup;
use crate::host::journal::{Change, Journal};
use crate::host::netns::NetNs;
use crate::host::overlay::Router;
use crate::host::ports::{PortHold, PortRange, Purpose, Reservation};
use crate::host::uplink::Uplink;
use crate::keeper::{Keeper, KeeperEvent, KeeperStart, KeeperWatch, SECCOMP_SOCKET};
use crate::owner::EndpointKey;

/// Directory of the pins in the run directory.
const PINS: &str = "bpf";
/// What the keeper calls the sockets that keep other programs off the front ports.
const FRONT_HOLD: &str = "front";

/// An open node. Every method fails with [`Error::Closed`] once [`Node::close`] was called.
pub struct Node {
    inner: Mutex<Option<Inner>>,
    /// None once it is closed.
    readings: RwLock<Option<Arc<Readings>>>,
    queue: Arc<EventQueue>,
    seccomp_socket: PathBuf,
}

/// An attached endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedState {
    pub key: EndpointKey,
    pub netns_name: String,
    /// Of the [`AttachRequest`], also of a former agent's.
    pub note: String,
    pub seccomp_listeners: usize,
    pub dispensers: usize,
    /// Of the listeners, those of processes that may use io_uring, or of which that is not known.
    pub unguarded: usize,
    pub usage: EndpointUsage,
}

/// What an open node consists of.
struct Inner {
    config: NodeConfig,
    state: State,
    readings: Arc<Readings>,
    /// By VNI; one for each network that has an endpoint attached here.
    routers: HashMap<u32, Router>,
    /// By VNI; one for each router.
    uplinks: HashMap<u32, Uplink>,
    parts: Parts,
    host: Host,
    namespace: NetNs,
    /// Whether a former agent had left it running.
    is_adopted: bool,
}

/// The threads and handles of this process: dropping them leaves the node as it is.
struct Parts {
    keeper_watch: KeeperWatch,
    keeper: Keeper,
    address_watch: AddressWatch,
    reader: EventReader,
    tables: Arc<Tables>,
    policies: Policies,
    loaded: Loaded,
}

/// What a node changes on its host before anything else works.
struct Host {
    front_ports: Option<Reservation>,
    /// Once there was a static reservation.
    static_ports: Option<Reservation>,
    cgroup: Option<Cgroup>,
    bpf_fs: Option<BpfFs>,
    journal: Arc<Journal>,
}

impl Node {
    /// Opens the node in the network namespace of the calling thread. A node that a former agent has left running is taken
    /// over; what else is left of one is undone first.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field; [`Error::Conflict`] when a front port or the run directory is taken, by whom, and when
    /// a node that runs cannot be taken over; [`Error::Unsupported`] when the host lacks something. Everything is as before
    /// then.
    pub fn open(config: NodeConfig) -> Result<Self> {
        config.check()?;
        let namespace = NetNs::current()?;
        addresses::require_local(&namespace, config.underlay)?;
        crate::sys::limits::raise_descriptor_limit();
        let queue = Arc::new(EventQueue::default());
        let seccomp_socket = config.run_dir.join(SECCOMP_SOCKET);
        let inner = match adopt::find_keeper(&config)? {
            Some(keeper) => Inner::adopt(config, namespace, keeper, &queue)?,
            None => {
                crate::host::recover(&config.run_dir)?;
                Inner::create(config, namespace, &queue)?
            }
        };
        let readings = RwLock::new(Some(Arc::clone(&inner.readings)));
        Ok(Self { inner: Mutex::new(Some(inner)), readings, queue, seccomp_socket })
    }

    /// Detaches every endpoint, takes everything down and restores the host. Idempotent. Goes on past failures and returns
    /// the first.
    pub fn close(&self) -> Result<()> {
        let Some(inner) = self.take() else { return Ok(()) };
        inner.close()
    }

    /// Closes the node and leaves everything as it is, for the next agent to take over. Idempotent.
    pub fn leave(&self) -> Result<()> {
        let Some(inner) = self.take() else { return Ok(()) };
        inner.leave()
    }

    /// Whether a former agent had left the node running, and this one has taken it over.
    pub fn is_adopted(&self) -> Result<bool> {
        self.with(|inner| Ok(inner.is_adopted))
    }

    /// The state that was applied since the node was opened is complete: what a former agent has left beyond it goes. Says how
    /// many connections were cut.
    pub fn settle(&self) -> Result<u32> {
        self.with(Inner::settle)
    }

    /// Applies one increment of the cluster's state.
    pub fn apply(&self, change: StateChange) -> Result<()> {
        self.with(|inner| inner.apply(change))
    }

    /// Keeps these ports out of the kernel's choice of ports for outgoing connections, and no longer those of the last call.
    /// That ends with the node, and goes on from one agent to the next.
    pub fn reserve_ports(&self, ranges: &[PortRange]) -> Result<()> {
        self.with(|inner| inner.reserve_ports(ranges))
    }

    /// Attaches an endpoint of this node that is in the applied state. Nothing is left behind if it fails.
    pub fn attach(&self, request: &AttachRequest) -> Result<()> {
        self.with(|inner| inner.attach(request))
    }

    /// Detaches an endpoint and cuts its connections. Idempotent.
    pub fn detach(&self, key: EndpointKey) -> Result<()> {
        self.detach_all(&[key])
    }

    /// As [`Self::detach`] of each, in a fraction of the time: what the kernel waits for, it waits for once. Goes on past failures
    /// and returns the first.
    pub fn detach_all(&self, keys: &[EndpointKey]) -> Result<()> {
        self.with(|inner| inner.detach_all(keys))
    }

    /// Also what is just being attached.
    pub fn attached(&self) -> Result<Vec<AttachedState>> {
        self.reading(Readings::states)
    }

    /// What each endpoint of this node may have.
    pub fn endpoint_limits(&self) -> Result<EndpointLimits> {
        self.reading(|readings| Ok(readings.limits()))
    }

    /// All of them, or that many.
    pub fn connections(&self, at_most: Option<usize>) -> Result<Vec<Connection>> {
        self.reading(|readings| readings.connections(at_most.unwrap_or(usize::MAX)))
    }

    pub fn listeners(&self) -> Result<Vec<Listener>> {
        self.reading(Readings::listeners)
    }

    /// Replaces a network's policies and resets the connections that they do not allow; says how many those were. `note` is kept
    /// with them, for the next agent.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a network that is not in the applied state, [`Error::Invalid`] as [`Policies::set`].
    pub fn set_policy(&self, policy: &NetworkPolicy, note: &str) -> Result<u32> {
        self.with(|inner| {
            let vni = policy.vni;
            if inner.state.network(vni).is_none() && !inner.parts.tables.is_inherited_network(vni) {
                return Err(Error::NotFound { what: format!("network {}", policy.vni) });
            }
            if inner.host.journal.node().policies.get(&vni).map(String::as_str) != Some(note) {
                inner.host.journal.update_node(|node| drop(node.policies.insert(vni, note.to_owned())))?;
            }
            inner.parts.policies.set(policy)?;
            inner.cut(Cut::Denied { vni: policy.vni })
        })
    }

    /// Everything is allowed in the network from now on. Idempotent.
    pub fn remove_policy(&self, vni: u32) -> Result<()> {
        self.with(|inner| {
            inner.parts.policies.remove(vni)?;
            if !inner.host.journal.node().policies.contains_key(&vni) {
                return Ok(());
            }
            inner.host.journal.update_node(|node| drop(node.policies.remove(&vni)))
        })
    }

    /// The notes of the policies that are in force, by VNI.
    pub fn policy_notes(&self) -> Result<BTreeMap<u32, String>> {
        self.with(|inner| Ok(inner.host.journal.node().policies))
    }

    /// Starts another keeper in the place of one that has ended. Connections and listeners are the kernel's, and go on; what the
    /// keeper has served, the other one goes on with, since this process has copies of the descriptors. Says how many endpoints have
    /// programs that create no more TCP sockets (ENOSYS), because their descriptors have been lost: none, unless something failed.
    pub fn replace_keeper(&self) -> Result<usize> {
        self.with(|inner| inner.replace_keeper(&self.queue))
    }

    /// Resets the connection with this socket cookie; false if there is none.
    pub fn cut_connection(&self, cookie: u64) -> Result<bool> {
        self.with(|inner| Ok(inner.cut(Cut::Cookie(cookie))? > 0))
    }

    /// Counters of the BPF programs and of the hand-out of sockets, by name; they grow from 0 while the node is there, whatever
    /// agent runs it.
    pub fn counters(&self) -> Result<Vec<(String, u64)>> {
        self.reading(Readings::counters)
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
        key.metadata()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> Result<T>) -> Result<T> {
        work(self.lock().as_mut().ok_or(Error::Closed)?)
    }

    fn reading<T>(&self, work: impl FnOnce(&Readings) -> Result<T>) -> Result<T> {
        let readings = self.readings.read().unwrap_or_else(PoisonError::into_inner).clone();
        work(&*readings.ok_or(Error::Closed)?)
    }

    fn take(&self) -> Option<Inner> {
        let inner = self.lock().take();
        *self.readings.write().unwrap_or_else(PoisonError::into_inner) = None;
        inner
    }

    fn lock(&self) -> MutexGuard<'_, Option<Inner>> {
        // Every method leaves a consistent state at each point where it can fail, so a panic's half-way state is one, too.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Not closed: what the process did not mean to end goes on, whatever has ended the process.
        let _ = self.leave();
    }
}

impl Host {
    fn prepare(config: &NodeConfig) -> Result<Self> {
        let journal = Arc::new(Journal::begin(&config.run_dir)?);
        let mut host = Self { front_ports: None, static_ports: None, cgroup: None, bpf_fs: None, journal };
        match host.fill(config) {
            Ok(()) => Ok(host),
            Err(error) => {
                let _ = host.restore();
                Err(error)
            }
        }
    }

    fn fill(&mut self, config: &NodeConfig) -> Result<()> {
        self.journal.update_node(|node| node.options = config.options())?;
        self.front_ports = Some(Reservation::acquire(Purpose::FrontPorts, &[config.front_ports()?], &self.journal)?);
        self.cgroup = Some(Cgroup::create(&config.cgroup, &self.journal)?);
        self.bpf_fs = Some(BpfFs::mount(&config.run_dir.join(PINS), &self.journal)?);
        Ok(())
    }

    fn pins(&self) -> Result<Pins> {
        Ok(Pins::at(self.bpf_fs.as_ref().ok_or(Error::Closed)?.directory()))
    }

    /// Starts the keeper, which is in the journal before it is there, and lets it keep other programs off the front ports.
    fn start_keeper(&self, config: &NodeConfig, hold: &PortHold) -> Result<Keeper> {
        let cgroup = self.cgroup.as_ref().ok_or(Error::Closed)?;
        let change = Change::Keeper { run_dir: config.run_dir.clone() };
        self.journal.record(change.clone())?;
        let start = KeeperStart { program: &config.keeper, run_dir: &config.run_dir, cgroup: cgroup.directory() };
        let keeper = Keeper::start(&start).inspect_err(|_| drop(self.journal.forget(&change)))?;
        match keeper.hold(FRONT_HOLD, hold.sockets()) {
            Ok(()) => Ok(keeper),
            Err(error) => {
                let _ = self.stop_keeper(config, keeper);
                Err(error)
            }
        }
    }

    fn stop_keeper(&self, config: &NodeConfig, keeper: Keeper) -> Result<()> {
        keeper.stop()?;
        self.journal.forget(&Change::Keeper { run_dir: config.run_dir.clone() })
    }

    /// Goes on past failures and returns the first.
    fn restore(self) -> Result<()> {
        let unpinned = self.bpf_fs.map_or(Ok(()), BpfFs::remove);
        let removed = self.cgroup.map_or(Ok(()), Cgroup::remove);
        let freed = self.static_ports.map_or(Ok(()), Reservation::release);
        let released = self.front_ports.map_or(Ok(()), Reservation::release);
        unpinned.and(removed).and(freed).and(released).and(self.journal.finish())
    }
}

impl Parts {
    fn open(
        config: &NodeConfig,
        host: &Host,
        namespace: &NetNs,
        queue: &Arc<EventQueue>,
    ) -> Result<(Self, Arc<Readings>)> {
        // First of all: who has a front port is to be named before anything is attached.
        let hold = PortHold::acquire(config.front_ports()?)?;
        let loaded = host.load(config)?;
        let keeper = host.start_keeper(config, &hold)?;
        Self::around(keeper, loaded, config, namespace, queue).inspect_err(|_| {
            if let Ok(Some(keeper)) = Keeper::find(&config.run_dir) {
                let _ = host.stop_keeper(config, keeper);
            }
        })
    }

    /// The keeper outlives a failure.
    fn around(
        keeper: Keeper,
        loaded: Loaded,
        config: &NodeConfig,
        namespace: &NetNs,
        queue: &Arc<EventQueue>,
    ) -> Result<(Self, Arc<Readings>)> {
        let tables = Arc::new(Tables::new(&loaded, config.endpoint_limits)?);
        let policies = Policies::new(&loaded)?;
        // Its own containers reach their loopback before any state has come.
        tables.set_node(config.underlay)?;
        let mut host_addresses = HostAddresses::new(&tables);
        let (first, written) = sync_channel(1);
        // A later failure (the map is full) leaves the former entries; there is nobody to tell.
        let address_watch = AddressWatch::start(namespace, move |addresses| {
            drop(first.try_send(host_addresses.replace(addresses)));
        })?;
        written.recv().unwrap_or(Err(Error::Closed))?;
        let sink = Arc::clone(queue);
        let reader = EventReader::start(
            loaded.map("events")?,
            loaded.map("passed_over")?,
            Box::new(move |told| sink.push_told(told)),
        )?;
        let keeper_watch = watch(&keeper, queue)?;
        let readings = Readings::new(Arc::clone(&tables), Listing::new(&loaded)?, namespace.clone(), keeper.again()?);
        let parts = Self { keeper_watch, keeper, address_watch, reader, tables, policies, loaded };
        Ok((parts, Arc::new(readings)))
    }

    /// Ends this process's threads, and gives the keeper back.
    fn end(self) -> Keeper {
        drop(self.keeper_watch);
        drop(self.address_watch);
        drop(self.reader);
        drop(self.loaded);
        self.keeper
    }
}

fn watch(keeper: &Keeper, queue: &Arc<EventQueue>) -> Result<KeeperWatch> {
    let told = Arc::clone(queue);
    keeper.watch(move |event| told.push_all(event.map_or(Some(NodeEvent::KeeperEnded), told_to_agent)))
}

/// None: what is between keeper and core only.
fn told_to_agent(event: KeeperEvent) -> Option<NodeEvent> {
    match event {
        KeeperEvent::Idle { endpoint } => Some(NodeEvent::Idle(endpoint)),
        KeeperEvent::Unguarded { endpoint, reason } => Some(NodeEvent::Unguarded { endpoint, reason }),
        KeeperEvent::Refused { reason } => Some(NodeEvent::Refused { reason }),
        KeeperEvent::Changed => None,
    }
}

impl Host {
    /// Loads the programs, pinned; or puts them into the place of a former agent's.
    fn load(&self, config: &NodeConfig) -> Result<Loaded> {
        let cgroup = self.cgroup.as_ref().ok_or(Error::Closed)?;
        let constants = NodeConstants {
            address: config.underlay,
            front_first: config.front_first,
            front_count: config.front_count,
        };
        Loaded::load_pinned(constants, cgroup.directory(), &self.pins()?)
    }
}

impl Inner {
    fn create(config: NodeConfig, namespace: NetNs, queue: &Arc<EventQueue>) -> Result<Self> {
        let host = Host::prepare(&config)?;
        match Parts::open(&config, &host, &namespace, queue) {
            Ok((parts, readings)) => Ok(Self::new(config, namespace, host, parts, readings)),
            Err(error) => {
                // The error that led here is the one to report.
                let _ = host.restore();
                Err(error)
            }
        }
    }

    fn new(config: NodeConfig, namespace: NetNs, host: Host, parts: Parts, readings: Arc<Readings>) -> Self {
        let state = State::new(config.node_name.clone());
        let (routers, uplinks) = (HashMap::new(), HashMap::new());
        Self { config, state, readings, routers, uplinks, parts, host, namespace, is_adopted: false }
    }

    fn reserve_ports(&mut self, ranges: &[PortRange]) -> Result<()> {
        match &mut self.host.static_ports {
            Some(reservation) => reservation.replace(ranges),
            None if ranges.is_empty() => Ok(()),
            none => {
                let journal = &self.host.journal;
                let acquire = || Reservation::acquire(Purpose::Static, ranges, journal);
                *none = Some(self.namespace.run(acquire)?);
                Ok(())
            }
        }
    }

    fn cut(&self, which: Cut) -> Result<u32> {
        self.readings.cut(which)
    }

    fn close(mut self) -> Result<()> {
        let keys: Vec<_> = self.readings.attached().keys().copied().collect();
        let mut outcome = self.detach_all(&keys);
        let vnis: Vec<_> = self.uplinks.keys().copied().collect();
        for vni in vnis {
            outcome = outcome.and(self.close_uplink(vni));
        }
        for (_, router) in self.routers.drain() {
            outcome = outcome.and(router.destroy());
        }
        let keeper = self.parts.end();
        outcome = outcome.and(self.host.stop_keeper(&self.config, keeper));
        outcome.and(self.host.restore())
    }

    fn leave(self) -> Result<()> {
        drop(self.parts.end());
        self.host.journal.abandon()
    }
}
