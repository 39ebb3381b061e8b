//! Loads the programs and attaches them: all of them, or none. Dropping [`Loaded`] detaches everything.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use libbpf_rs::{
    Link, MapCore, MapHandle, NF_INET_LOCAL_IN, NFPROTO_IPV4, NFPROTO_IPV6, NetfilterOpts, Object, ObjectBuilder,
    OpenObject, PrintLevel,
};

use super::records::{OBJECT, rodata};
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

/// After conntrack (-200) and the packet filter (0) have had their say, before NAT's last hook (100): what the host's own
/// firewall drops never becomes a flow.
const INGRESS_PRIORITY: i32 = 50;

/// Exists where the kernel has IPv6.
const IPV6_ADDRESSES: &str = "/proc/thread-self/net/if_inet6";

/// What is compiled into the programs as constants.
#[derive(Debug, Clone, Copy)]
pub struct NodeConstants {
    /// The node's underlay address.
    pub address: Ipv4Addr,
    pub front_first: u16,
    pub front_count: u16,
}

/// The loaded object and its attachments, all of which end with it.
pub struct Loaded {
    object: Object,
    _links: Vec<Link>,
}

impl Loaded {
    /// Loads the programs and attaches them to `cgroup` and to the network namespace that the calling thread is in.
    ///
    /// # Errors
    /// [`Error::System`] with the verifier's or kernel's message; nothing stays attached.
    pub fn load(constants: NodeConstants, cgroup: &Path) -> Result<Self> {
        silence_libbpf();
        let mut open = ObjectBuilder::default()
            .name("slimfast")
            .and_then(|builder| builder.open_memory(OBJECT))
            .map_err(|error| bpf_error("open the BPF object", &error))?;
        set_constants(&mut open, constants)?;
        let object = open.load().map_err(|error| bpf_error("load the BPF programs", &error))?;
        let links = attach(&object, cgroup)?;
        Ok(Self { object, _links: links })
    }

    /// A handle of its own on a map.
    pub fn map(&self, name: &str) -> Result<MapHandle> {
        let map = self
            .object
            .maps()
            .find(|map| map.name() == name)
            .ok_or_else(|| Error::NotFound { what: format!("BPF map {name}") })?;
        MapHandle::try_from(&map).map_err(|error| bpf_error(format!("duplicate BPF map {name}"), &error))
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
        let failed = |error| bpf_error(format!("attach {name} to device {device}"), &error);
        let index = i32::try_from(device).map_err(|_| Error::invalid("device", format!("{device} is no index")))?;
        let program = self.program(name)?;
        let descriptor = program.as_fd();
        namespace.run(|| {
            let mut hook = libbpf_rs::TcHook::new(descriptor);
            hook.ifindex(index).attach_point(libbpf_rs::TC_EGRESS).handle(1).priority(1).replace(true);
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

fn attach(object: &Object, cgroup: &Path) -> Result<Vec<Link>> {
    let open = |path: &Path| {
        File::open(path).map_err(|source| Error::system("open", format!("open {}", path.display()), source))
    };
    let cgroup_file = open(cgroup)?;
    let netns = open(Path::new("/proc/thread-self/ns/net"))?;
    let mut links = Vec::new();
    for name in CGROUP_PROGRAMS {
        let link = program(object, name)?
            .attach_cgroup(cgroup_file.as_raw_fd())
            .map_err(|error| bpf_error(format!("attach {name} to {}", cgroup.display()), &error))?;
        links.push(link);
    }
    // Before the first socket is counted, which it will count off.
    let destroy = program(object, "sf_destroy")?.attach();
    links.push(destroy.map_err(|error| bpf_error("attach sf_destroy to the tracepoint tcp_destroy_sock", &error))?);
    // Guards before entrances: dispatch answers for the front ports before the ingress hook records the first flow.
    links.push(
        program(object, "sf_dispatch")?
            .attach_netns(netns.as_fd().as_raw_fd())
            .map_err(|error| bpf_error("attach sf_dispatch to the network namespace", &error))?,
    );
    for (name, protocol_family) in [("sf_ingress", NFPROTO_IPV4), ("sf_ingress6", NFPROTO_IPV6)] {
        if protocol_family == NFPROTO_IPV6 && !Path::new(IPV6_ADDRESSES).exists() {
            continue; // no container can have an IPv6 socket either
        }
        let ingress = NetfilterOpts {
            protocol_family,
            hooknum: NF_INET_LOCAL_IN,
            priority: INGRESS_PRIORITY,
            ..NetfilterOpts::default()
        };
        links.push(
            program(object, name)?
                .attach_netfilter_with_opts(ingress)
                .map_err(|error| bpf_error(format!("attach {name} to netfilter's LOCAL_IN"), &error))?,
        );
    }
    Ok(links)
}

/// libbpf writes to stderr on its own; what matters is in the errors. Warnings are kept for `SLIMFAST_LIBBPF_DEBUG`.
fn silence_libbpf() {
    let debug = std::env::var_os("SLIMFAST_LIBBPF_DEBUG").is_some();
    libbpf_rs::set_print(debug.then_some((PrintLevel::Debug, |_, message| eprint!("{message}"))));
}
