//! Loads the programs and attaches them: all of them, or none.
//!
//! What is pinned goes on when [`Loaded`] is dropped, and the next one takes it over: it loads its own programs on the maps
//! that are there and puts each into its predecessor's place, which the kernel does between two packets. What is not pinned
//! is detached by dropping.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use libbpf_rs::{
    Link, MapCore, MapHandle, NF_INET_LOCAL_IN, NFPROTO_IPV4, NetfilterOpts, Object, ObjectBuilder, OpenObject,
    PrintLevel,
};

use super::layouts::Build;
use super::pins::Pins;
use super::records::rodata;
use super::{be32, bpf_error};
use crate::error::{Error, Result};
use crate::host::netns::NetNs;

/// Programs that run for the sockets created in the agent's cgroup.
const CGROUP_PROGRAMS: [&str; 12] = [
    "sf_bind4",
    "sf_bind6",
    "sf_release",
    "sf_connect4",
    "sf_connect6",
    "sf_setsockopt",
    "sf_getsockopt",
    "sf_getsockname4",
    "sf_getsockname6",
    "sf_getpeername4",
    "sf_getpeername6",
    "sf_sockops",
];

/// Counts a socket off at its end.
const DESTROY: &str = "sf_destroy";

/// What lets connections in, as far as the guards have it.
pub(super) const ENTRANCES: [&str; 1] = ["sf_ingress"];

/// After conntrack (-200) and the packet filter (0) have had their say, before NAT's last hook (100): what the host's own
/// firewall drops never becomes a flow. Two, because netfilter's links cannot be given another program: the next one is
/// attached beside the former one, and for a moment both record the same.
const INGRESS_PRIORITIES: [i32; 2] = [50, 51];

const DISPATCH: &str = "sf_dispatch";

/// What is compiled into the programs as constants.
#[derive(Debug, Clone, Copy)]
pub struct NodeConstants {
    /// The node's underlay address.
    pub address: Ipv4Addr,
    pub front_first: u16,
    pub front_count: u16,
}

/// The loaded object and its attachments.
pub struct Loaded {
    object: Object,
    _links: Vec<(&'static str, Link)>,
}

impl Loaded {
    /// Loads the programs and attaches them to `cgroup` and to the network namespace that the calling thread is in, as long as
    /// this lives.
    ///
    /// # Errors
    /// [`Error::System`] with the verifier's or kernel's message; nothing stays attached.
    pub fn load(constants: NodeConstants, cgroup: &Path) -> Result<Self> {
        let object = load(open(&Build::CURRENT, constants)?)?;
        let links = Hooks::open(cgroup)?.attach_all(&object)?;
        Ok(Self { object, _links: links })
    }

    /// As [`Loaded::load`], but for good; or takes over what is pinned.
    ///
    /// # Errors
    /// [`Error::Conflict`] when what is pinned has a layout that this build cannot take over. What was attached before stays
    /// attached.
    pub fn load_pinned(constants: NodeConstants, cgroup: &Path, pins: &Pins) -> Result<Self> {
        Self::load_build(&Build::CURRENT, constants, cgroup, pins)
    }

    /// As [`Loaded::load_pinned`], with the programs of another version.
    pub fn load_build(build: &Build, constants: NodeConstants, cgroup: &Path, pins: &Pins) -> Result<Self> {
        let mut open = open(build, constants)?;
        let hooks = Hooks::open(cgroup)?;
        if !pins.are_live() {
            let object = load(open)?;
            let mut links = hooks.attach_all(&object)?;
            pins.make_live(&object, &mut links, build)?;
            return Ok(Self { object, _links: links });
        }
        let formers = pins.reuse(&mut open, build)?;
        let object = load(open)?;
        Pins::convert(&object, &formers)?;
        pins.add_maps(&object)?;
        let links = hooks.take_over(&object, pins)?;
        pins.replace(&object, &formers, build)?;
        Ok(Self { object, _links: links })
    }

    /// A handle of its own on a map.
    pub fn map(&self, name: &str) -> Result<MapHandle> {
        map_of(&self.object, name)
    }

    /// Attaches one of the iterator programs.
    pub fn iterator(&self, program: &str) -> Result<Link> {
        self.program(program)?
            .attach_iter_with_opts(libbpf_rs::IterOpts::None)
            .map_err(|error| bpf_error(format!("attach the iterator {program}"), &error))
    }

    /// Runs the program `name` on what a device of `namespace` sends. It stays there as long as the device, whatever becomes
    /// of this process.
    pub fn attach_egress(&self, name: &str, namespace: &NetNs, device: u32) -> Result<()> {
        self.attach_to_device(name, namespace, device, libbpf_rs::TC_EGRESS)
    }

    /// The same on what it receives.
    pub fn attach_ingress(&self, name: &str, namespace: &NetNs, device: u32) -> Result<()> {
        self.attach_to_device(name, namespace, device, libbpf_rs::TC_INGRESS)
    }

    fn attach_to_device(
        &self,
        name: &str,
        namespace: &NetNs,
        device: u32,
        point: libbpf_rs::TcAttachPoint,
    ) -> Result<()> {
        let failed = |error| bpf_error(format!("attach {name} to device {device}"), &error);
        let index = i32::try_from(device).map_err(|_| Error::invalid("device", format!("{device} is no index")))?;
        let program = self.program(name)?;
        let descriptor = program.as_fd();
        namespace.run(|| {
            let mut hook = libbpf_rs::TcHook::new(descriptor);
            hook.ifindex(index).attach_point(point).handle(1).priority(1).replace(true);
            hook.create().map_err(failed)?;
            hook.attach().map(drop).map_err(failed)
        })
    }

    fn program(&self, name: &str) -> Result<libbpf_rs::ProgramMut<'_>> {
        program(&self.object, name)
    }

    /// Names of the counters by index, from the object's own type information.
    pub fn counter_names(&self) -> Result<Vec<String>> {
        use libbpf_rs::btf::types::{Enum, EnumMember};
        let btf = self.object.btf().map_err(|error| bpf_error("read the object's BTF", &error))?;
        let btf = btf.ok_or_else(|| Error::NotFound { what: "BTF of the BPF object".into() })?;
        let counters: Enum<'_> =
            btf.type_by_name("sf_counter").ok_or_else(|| Error::NotFound { what: "enum sf_counter".into() })?;
        Ok(counters
            .iter()
            .filter_map(|EnumMember { name, .. }| name?.to_str()?.strip_prefix("SF_COUNTER_").map(str::to_owned))
            .collect())
    }
}

/// A handle of its own on one of the object's maps.
pub(super) fn map_of(object: &Object, name: &str) -> Result<MapHandle> {
    let map = object
        .maps()
        .find(|map| map.name() == name)
        .ok_or_else(|| Error::NotFound { what: format!("BPF map {name}") })?;
    MapHandle::try_from(&map).map_err(|error| bpf_error(format!("duplicate BPF map {name}"), &error))
}

fn program<'a>(object: &'a Object, name: &str) -> Result<libbpf_rs::ProgramMut<'a>> {
    object
        .progs_mut()
        .find(|program| program.name() == name)
        .ok_or_else(|| Error::NotFound { what: format!("BPF program {name}") })
}

fn set_constants(open: &mut OpenObject, constants: NodeConstants) -> Result<()> {
    let mut map = open
        .maps_mut()
        .find(|map| map.name().to_string_lossy().ends_with(".rodata"))
        .ok_or_else(|| Error::NotFound { what: ".rodata of the BPF object".into() })?;
    let data = map.initial_value_mut().ok_or_else(|| Error::NotFound { what: "contents of .rodata".into() })?;
    let mut set = |offset: usize, bytes: &[u8]| data[offset..offset + bytes.len()].copy_from_slice(bytes);
    set(std::mem::offset_of!(rodata, node_address), &be32(constants.address).to_ne_bytes());
    set(std::mem::offset_of!(rodata, front_first), &constants.front_first.to_ne_bytes());
    set(std::mem::offset_of!(rodata, front_count), &constants.front_count.to_ne_bytes());
    Ok(())
}

fn open(build: &Build, constants: NodeConstants) -> Result<OpenObject> {
    silence_libbpf();
    let mut open = ObjectBuilder::default()
        .name("slimfast")
        .and_then(|builder| builder.open_memory(build.object))
        .map_err(|error| bpf_error("open the BPF object", &error))?;
    set_constants(&mut open, constants)?;
    Ok(open)
}

fn load(open: OpenObject) -> Result<Object> {
    open.load().map_err(|error| bpf_error("load the BPF programs", &error))
}

/// Where the programs are attached.
struct Hooks {
    cgroup: File,
    cgroup_name: String,
    netns: File,
}

impl Hooks {
    /// The calling thread's network namespace is the node's.
    fn open(cgroup: &Path) -> Result<Self> {
        let open = |path: &Path| {
            File::open(path).map_err(|source| Error::system("open", format!("open {}", path.display()), source))
        };
        Ok(Self {
            cgroup: open(cgroup)?,
            cgroup_name: cgroup.display().to_string(),
            netns: open(Path::new("/proc/thread-self/ns/net"))?,
        })
    }

    /// In the order in which they are attached. First what counts a socket off, before one is counted. Guards before entrances: dispatch answers for the front ports before the
    /// ingress hook records the first flow.
    fn programs(&self) -> Vec<&'static str> {
        let mut programs = vec![DESTROY];
        programs.extend(CGROUP_PROGRAMS);
        programs.push(DISPATCH);
        programs.extend(ENTRANCES);
        programs
    }

    fn attach_all(&self, object: &Object) -> Result<Vec<(&'static str, Link)>> {
        self.programs().into_iter().map(|name| Ok((name, self.attach(object, name, INGRESS_PRIORITIES[0])?))).collect()
    }

    /// `priority`: among netfilter's hooks.
    fn attach(&self, object: &Object, name: &str, priority: i32) -> Result<Link> {
        let program = program(object, name)?;
        let (attached, place) = if ENTRANCES.contains(&name) {
            let ingress = NetfilterOpts {
                protocol_family: NFPROTO_IPV4,
                hooknum: NF_INET_LOCAL_IN,
                priority,
                ..NetfilterOpts::default()
            };
            (program.attach_netfilter_with_opts(ingress), "netfilter's LOCAL_IN")
        } else if name == DESTROY {
            (program.attach(), "the tracepoint tcp_destroy_sock")
        } else if name == DISPATCH {
            (program.attach_netns(self.netns.as_raw_fd()), "the network namespace")
        } else {
            (program.attach_cgroup(self.cgroup.as_raw_fd()), &self.cgroup_name[..])
        };
        attached.map_err(|error| bpf_error(format!("attach {name} to {place}"), &error))
    }

    /// Puts each program of `object` into the place of its predecessor, which is pinned; new ones get a place.
    fn take_over(&self, object: &Object, pins: &Pins) -> Result<Vec<(&'static str, Link)>> {
        let programs = self.programs();
        let mut links = Vec::new();
        for &name in &programs {
            let former = pins.pinned_link(name)?;
            let link = match former {
                Some(mut link) if can_be_updated(name) => {
                    link.update_prog(&*program(object, name)?)
                        .map_err(|error| bpf_error(format!("put {name} into its predecessor's place"), &error))?;
                    link
                }
                former => {
                    let mut link = self.attach(object, name, INGRESS_PRIORITIES[0]).or_else(|error| {
                        if former.is_some() { self.attach(object, name, INGRESS_PRIORITIES[1]) } else { Err(error) }
                    })?;
                    pins.put_link(name, &mut link)?;
                    link
                }
            };
            links.push((name, link));
        }
        pins.keep_links(&programs)?;
        Ok(links)
    }
}

/// The others are attached beside their predecessors: what both do for a moment has to be the same as what one does.
fn can_be_updated(name: &str) -> bool {
    name != DESTROY && !ENTRANCES.contains(&name)
}

/// libbpf writes to stderr on its own; what matters is in the errors. Warnings are kept for `SLIMFAST_LIBBPF_DEBUG`.
fn silence_libbpf() {
    let debug = std::env::var_os("SLIMFAST_LIBBPF_DEBUG").is_some();
    libbpf_rs::set_print(debug.then_some((PrintLevel::Debug, |_, message| eprint!("{message}"))));
}
