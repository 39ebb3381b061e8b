//! Owns what `slimfast doctor` asks of a host, and what the agent wants before it starts: every feature is tried out,
//! none is guessed from a version number. Nothing stays changed: what has to be made is made in a network namespace
//! without a name, on a thread that ends with it.
//!
//! `probe/bpf` tries the BPF programs, `probe/network` namespaces and devices, `probe/host` the process's surroundings,
//! `probe/seccomp` user notification.
#![deny(unsafe_code)]

mod bpf;
mod host;
mod network;
mod seccomp;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Short stable identifier.
    pub name: &'static str,
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it; `None` when `ok`.
    pub remedy: Option<String>,
    /// Without it the agent refuses to start.
    pub required: bool,
}

/// What a look at one feature found.
type Finding = Result<String, Missing>;

/// A feature that is not there, and the way to get it.
#[derive(Debug)]
struct Missing {
    detail: String,
    remedy: String,
}

struct Probe {
    name: &'static str,
    required: bool,
    /// Cannot be tried out without [`host::PRIVILEGES`].
    privileged: bool,
    look: fn() -> Finding,
}

const fn needed(name: &'static str, look: fn() -> Finding) -> Probe {
    Probe { name, required: true, privileged: true, look }
}

const fn wanted(name: &'static str, look: fn() -> Finding) -> Probe {
    Probe { name, required: false, privileged: true, look }
}

/// In this order, so that the first failure is the cause of later ones.
const PROBES: [Probe; 19] = [
    Probe { name: host::PRIVILEGES, required: true, privileged: false, look: host::privileges },
    Probe { name: "kernel.btf", required: true, privileged: false, look: bpf::type_information },
    needed("kernel.network_namespaces", network::namespaces),
    needed("kernel.veth", network::veth),
    needed("kernel.vxlan", network::vxlan),
    needed("host.cgroup2", host::cgroup2),
    needed("kernel.bpf_maps", bpf::maps),
    needed("kernel.cgroup_sock", bpf::cgroup_sock),
    needed("kernel.cgroup_sock_addr", bpf::cgroup_sock_addr),
    needed("kernel.sock_ops", bpf::sock_ops),
    needed("kernel.sk_lookup", bpf::sk_lookup),
    needed("kernel.netfilter_bpf", bpf::netfilter),
    needed("kernel.bpf_programs", bpf::our_programs),
    wanted("kernel.bpf_jit", bpf::jit),
    needed("kernel.seccomp_notify", seccomp::notify),
    wanted("kernel.seccomp_sync_wake_up", seccomp::sync_wake_up),
    Probe { name: "host.seccomp_filter", required: false, privileged: false, look: seccomp::surrounding_filter },
    Probe { name: "host.descriptors", required: false, privileged: false, look: host::descriptors },
    Probe { name: "host.stale_run", required: false, privileged: false, look: host::stale_run },
];

/// Tries out everything. Takes some hundred milliseconds: to be called on a thread that may wait.
pub fn probe() -> Vec<Check> {
    let privileged = host::privileges().is_ok();
    PROBES.iter().map(|probe| probe.run(privileged)).collect()
}

impl Probe {
    fn run(&self, privileged: bool) -> Check {
        let finding = match self.privileged && !privileged {
            true => missing("cannot be tried without the privileges that are missing", "run as root"),
            false => (self.look)(),
        };
        let Probe { name, required, .. } = *self;
        match finding {
            Ok(detail) => Check { name, ok: true, detail, remedy: None, required },
            Err(Missing { detail, remedy }) => Check { name, ok: false, detail, remedy: Some(remedy), required },
        }
    }
}

fn missing(detail: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Err(Missing { detail: detail.into(), remedy: remedy.into() })
}

#[cfg(test)]
mod tests;
