//! Taking over a node that a former agent has left running: killed, upgraded, or told to leave it.
//!
//! The kernel goes on with what it has all the while: connections, listeners, pinned programs and maps, routes; and the keeper
//! serves the containers. What an endpoint was in the middle of becoming is detached. What the maps say of the cluster stays in
//! force until the state has come once more ([`Inner::settle`]).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::attach::{Attached, PublishedPort, hold_label};
use super::config::NodeConfig;
use super::queue::EventQueue;
use super::{FRONT_HOLD, Host, Inner, PINS, Parts};
use crate::datapath::listing::Cut;
use crate::datapath::pins::Pins;
use crate::error::{Error, Result};
use crate::host::bpf_fs::BpfFs;
use crate::host::cgroup::Cgroup;
use crate::host::journal::{Change, EndpointRecord, EndpointStage, Journal, undo_namespace};
use crate::host::netns::NetNs;
use crate::host::overlay::{LocalEndpoint, Router, router_name};
use crate::host::ports::{PortHold, PortRange, Purpose, Reservation};
use crate::host::uplink::{Uplink, UplinkConfig};
use crate::keeper::Keeper;
use crate::owner::Addresses;

/// How often a keeper is started in the place of one that has ended: the machine may be short of memory for a moment.
const KEEPER_ATTEMPTS: u32 = 4;
const KEEPER_PAUSE: Duration = Duration::from_millis(250);

/// The keeper of a node that can be taken over. `None` when there is none, and what is left is to be undone.
///
/// # Errors
/// [`Error::Conflict`] when there is one that this agent cannot go on with.
pub(super) fn find_keeper(config: &NodeConfig) -> Result<Option<Keeper>> {
    // With its owner alive, the journal says so.
    let Some(record) = Journal::peek(&config.run_dir)? else { return Ok(None) };
    if !Pins::at(&config.run_dir.join(PINS)).are_live() {
        return Ok(None);
    }
    let Some(keeper) = Keeper::find(&config.run_dir)? else { return Ok(None) };
    let what = || format!("run directory {}", config.run_dir.display());
    for (name, value) in config.options() {
        let former = record.options.get(&name);
        if former != Some(&value) {
            let former = former.map_or("nothing", String::as_str);
            let holder = format!(
                "a node that was opened with {name} {former}, not {value}: start the agent as before, or once with --fresh, \
                 which ends that node first"
            );
            return Err(Error::Conflict { what: what(), holder });
        }
    }
    if !keeper.is_compatible()? {
        let holder =
            "a keeper of another version: end the containers of this node, and start the agent once with --fresh";
        return Err(Error::Conflict { what: what(), holder: holder.into() });
    }
    Ok(Some(keeper))
}

impl Inner {
    /// # Errors
    /// Everything goes on as before then, and another agent may try.
    pub(super) fn adopt(config: NodeConfig, namespace: NetNs, keeper: Keeper, queue: &Arc<EventQueue>) -> Result<Self> {
        let journal = Arc::new(Journal::adopt(&config.run_dir)?);
        let opened = Self::adopt_parts(config, namespace, keeper, queue, &journal);
        let taken = opened.and_then(|mut inner| inner.take_over().map(|()| inner));
        taken.inspect_err(|_| drop(journal.abandon()))
    }

    fn adopt_parts(
        config: NodeConfig,
        namespace: NetNs,
        keeper: Keeper,
        queue: &Arc<EventQueue>,
        journal: &Arc<Journal>,
    ) -> Result<Self> {
        let front_ports = Reservation::adopt(Purpose::FrontPorts, journal)?
            .ok_or_else(|| Error::NotFound { what: "the front ports in the journal".into() })?;
        let host = Host {
            front_ports: Some(front_ports),
            static_ports: Reservation::adopt(Purpose::Static, journal)?,
            cgroup: Some(Cgroup::adopt(&config.cgroup, journal)?),
            bpf_fs: Some(BpfFs::adopt(&config.run_dir.join(PINS), journal)),
            journal: Arc::clone(journal),
        };
        if !keeper.labels()?.iter().any(|label| label == FRONT_HOLD) {
            // The former agent was killed before it could hand them over.
            keeper.hold(FRONT_HOLD, PortHold::acquire(config.front_ports()?)?.sockets())?;
        }
        let loaded = host.load(&config)?;
        let (parts, readings) = Parts::around(keeper, loaded, &config, &namespace, queue)?;
        let mut inner = Self::new(config, namespace, host, parts, readings);
        inner.is_adopted = true;
        Ok(inner)
    }

    fn take_over(&mut self) -> Result<()> {
        let mut by_network: BTreeMap<u32, Vec<EndpointRecord>> = BTreeMap::new();
        for record in self.host.journal.node().endpoints {
            by_network.entry(record.endpoint.vni).or_default().push(record);
        }
        let mut doomed = Vec::new();
        for (vni, records) in by_network {
            let is_there = self.adopt_router(vni, &records)?;
            for record in records {
                self.readings.attached().insert(record.endpoint, attached_of(&record));
                if !(is_there && self.adopt_endpoint(&record)?) {
                    doomed.push(record.endpoint);
                }
            }
        }
        // What cannot be taken away is in the journal, and is tried again when the node is closed.
        let _ = self.detach_all(&doomed);
        self.dismiss_others()?;
        self.parts.tables.drop_inherited_of_node()?;
        self.undo_namespaces();
        Ok(())
    }

    /// False if it is gone, and its endpoints with it.
    fn adopt_router(&mut self, vni: u32, records: &[EndpointRecord]) -> Result<bool> {
        let locals: Vec<LocalEndpoint> = records
            .iter()
            .map(|EndpointRecord { endpoint, addresses, netns_name, .. }| LocalEndpoint {
                id: endpoint.id,
                addresses: *addresses,
                netns: netns_name.clone(),
            })
            .collect();
        let config = self.router_config(vni)?;
        match Router::adopt(&config, &locals, &self.host.journal) {
            Ok(router) => self.routers.insert(vni, router),
            Err(Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let wire = self.host.journal.node().uplinks.into_iter().find(|uplink| uplink.vni == vni);
        let router = self.routers.get(&vni).ok_or(Error::Closed)?;
        let adopted = wire.map(|wire| {
            let config = UplinkConfig { vni, aliases: wire.aliases, has_ipv6: config.has_ipv6 };
            Uplink::adopt(&self.namespace, router.namespace(), config)
        });
        match adopted {
            Some(Ok(uplink)) => {
                self.attach_uplink(vni, &uplink, router.namespace())?;
                self.uplinks.insert(vni, uplink);
                Ok(true)
            }
            Some(Err(error)) if !matches!(error, Error::NotFound { .. }) => Err(error),
            // The former agent was killed while it made the wire, or removed it.
            _ => Ok(self.ensure_uplink(vni).is_ok()),
        }
    }

    /// Writes once more what the programs and the keeper know of an endpoint. False if it is not a whole one.
    fn adopt_endpoint(&self, record: &EndpointRecord) -> Result<bool> {
        let EndpointRecord { endpoint, addresses, published, is_plain, stage, .. } = record;
        let has_device = self.routers.get(&endpoint.vni).is_some_and(|router| router.device_of(endpoint.id).is_some());
        if *stage != EndpointStage::Attached || !has_device {
            return Ok(false);
        }
        let Parts { tables, keeper, .. } = &self.parts;
        self.guard_source(*endpoint, addresses.v6)?;
        tables.set_endpoint(*endpoint, *addresses)?;
        if !is_plain {
            self.lead_to_node(*endpoint)?;
            keeper.admit(*endpoint)?;
        }
        for address in attached_of(record).routed.iter() {
            tables.guard_address(address)?;
        }
        for (host_port, port) in published {
            tables.set_published(*host_port, *endpoint, *port)?;
        }
        Ok(true)
    }

    /// See [`super::Node::replace_keeper`]. If it fails, no keeper is left, and programs that wait for one get ENOSYS.
    pub(super) fn replace_keeper(&mut self, queue: &Arc<EventQueue>) -> Result<usize> {
        let mut attempts = 1..KEEPER_ATTEMPTS;
        loop {
            match self.try_replace_keeper(queue) {
                Err(_) if attempts.next().is_some() => std::thread::sleep(KEEPER_PAUSE),
                outcome => return outcome.inspect_err(|_| self.parts.keeper_watch.forget_copies()),
            }
        }
    }

    fn try_replace_keeper(&mut self, queue: &Arc<EventQueue>) -> Result<usize> {
        let hold = PortHold::acquire(self.config.front_ports()?)?;
        // The one that has ended is undone.
        self.host.journal.forget(&Change::Keeper { run_dir: self.config.run_dir.clone() })?;
        let keeper = self.host.start_keeper(&self.config, &hold)?;
        let told = self.tell_keeper(&keeper).and_then(|endpoints| {
            let lost = self.parts.keeper_watch.hand_to(&keeper);
            Ok((lost.map_or(endpoints, |lost| lost.len()), super::watch(&keeper, queue)?, keeper.again()?))
        });
        match told {
            Ok((affected, watch, asked)) => {
                self.readings.follow(asked);
                self.parts.keeper_watch = watch;
                self.parts.keeper = keeper;
                Ok(affected)
            }
            Err(error) => {
                // The error that led here is the one to report.
                let _ = self.host.stop_keeper(&self.config, keeper);
                Err(error)
            }
        }
    }

    /// Tells a new keeper of the node's endpoints. Says how many there are whose programs' sockets it makes.
    fn tell_keeper(&self, keeper: &Keeper) -> Result<usize> {
        let mut affected = 0;
        for EndpointRecord { endpoint, published, is_plain, .. } in self.host.journal.node().endpoints {
            for (host_port, _) in published {
                // Whoever was quicker has it, as a keeper that starts late would find.
                if let Ok(hold) = PortRange::block(host_port, 1).and_then(PortHold::acquire) {
                    keeper.hold(&hold_label(host_port), hold.sockets())?;
                }
            }
            if !is_plain {
                keeper.admit(endpoint)?;
                affected += 1;
            }
        }
        Ok(affected)
    }

    /// Of endpoints that there are no records of, the keeper has nothing any more.
    fn dismiss_others(&self) -> Result<()> {
        let keeper = &self.parts.keeper;
        for held in keeper.endpoints()? {
            if held.admitted && !self.readings.attached().contains_key(&held.endpoint) {
                keeper.dismiss(held.endpoint)?;
                self.cut(Cut::Endpoint(held.endpoint))?;
            }
        }
        let published =
            |attached: &Attached| attached.published.iter().map(|port| hold_label(port.host_port)).collect();
        let mut wanted: HashSet<String> = self.readings.attached().values().flat_map::<Vec<_>, _>(published).collect();
        wanted.insert(FRONT_HOLD.to_owned());
        for label in keeper.labels()? {
            if !wanted.contains(&label) {
                keeper.release(&label)?;
            }
        }
        Ok(())
    }

    /// Namespaces of the journal that belong to no router and no endpoint: made when the former agent was killed.
    fn undo_namespaces(&self) {
        let routers = self.routers.keys().map(|&vni| router_name(&self.config.node_name, vni));
        let mut wanted: HashSet<String> = routers.collect();
        wanted.extend(self.readings.attached().values().map(|attached| attached.netns_name.clone()));
        for change in self.host.journal.changes() {
            if let Change::NetNs { name } = &change
                && !wanted.contains(name)
                && undo_namespace(name).is_ok()
            {
                // Otherwise it stays in the journal, and is tried again when the node is closed.
                let _ = self.host.journal.forget(&change);
            }
        }
    }

    /// See [`super::Node::settle`].
    pub(super) fn settle(&mut self) -> Result<u32> {
        for (vni, router) in &mut self.routers {
            let known: HashSet<_> = self.state.remotes(*vni).into_iter().map(|(address, _)| address).collect();
            let gone: Vec<_> = router.remotes().filter(|address| !known.contains(address)).collect();
            router.remove_remotes(&gone)?;
        }
        let dropped = self.parts.policies.drop_inherited()?;
        if !dropped.is_empty() {
            self.host.journal.update_node(|node| node.policies.retain(|vni, _| !dropped.contains(vni)))?;
        }
        let mut cut = 0;
        for vni in self.parts.tables.drop_inherited_of_cluster()? {
            cut += self.cut(Cut::Denied { vni })?;
        }
        Ok(cut)
    }
}

fn attached_of(record: &EndpointRecord) -> Attached {
    let published =
        record.published.iter().map(|&(host_port, endpoint_port)| PublishedPort { host_port, endpoint_port });
    // One that was not whole may have its routes or not: taking away what is not there does nothing.
    let is_partial = record.stage != EndpointStage::Attached;
    Attached {
        published: published.collect(),
        routed: Addresses {
            v4: record.addresses.v4.filter(|_| record.is_routed || is_partial),
            v6: record.addresses.v6.filter(|_| record.is_routed6 || is_partial),
        },
        netns_name: record.netns_name.clone(),
        note: record.note.clone(),
    }
}
