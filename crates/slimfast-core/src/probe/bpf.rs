//! Owns trying out BPF: the kernel's type information, each kind of program and map that we use, and at last our own
//! programs, loaded and attached for a moment where nothing passes by.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use libbpf_rs::{MapType, ProgramType};

use super::{Finding, Missing, missing};
use crate::datapath::listing::Listing;
use crate::datapath::loader::{Loaded, NodeConstants};
use crate::error::{Error, Result};
use crate::host::{cgroup, netns};

const TYPE_INFORMATION: &str = "/sys/kernel/btf/vmlinux";
const JIT_SYSCTL: &str = "/proc/sys/net/core/bpf_jit_enable";

/// `enum bpf_func_id`: fixed numbers of the kernel's ABI.
const FUNC_SK_STORAGE_GET: u32 = 107;
const FUNC_SK_ASSIGN: u32 = 124;
const FUNC_STORE_HDR_OPT: u32 = 142;

/// What our maps are made of.
const MAP_TYPES: [(MapType, &str); 6] = [
    (MapType::Hash, "hash"),
    (MapType::LruHash, "lru_hash"),
    (MapType::PercpuArray, "percpu_array"),
    (MapType::SkStorage, "sk_storage"),
    (MapType::Sockhash, "sockhash"),
    (MapType::RingBuf, "ringbuf"),
];

pub(super) fn type_information() -> Finding {
    match fs::metadata(TYPE_INFORMATION) {
        Ok(file) => Ok(format!("{TYPE_INFORMATION}, {} bytes", file.len())),
        Err(error) => missing(
            format!("{TYPE_INFORMATION}: {error}"),
            "mount sysfs on /sys, or boot a kernel built with CONFIG_DEBUG_INFO_BTF (those of Debian and Ubuntu are)",
        ),
    }
}

pub(super) fn maps() -> Finding {
    let without = MAP_TYPES.iter().filter(|(kind, _)| !matches!(kind.is_supported(), Ok(true)));
    let without: Vec<&str> = without.map(|(_, name)| *name).collect();
    match without.is_empty() {
        true => Ok(MAP_TYPES.map(|(_, name)| name).join(", ")),
        false => missing(
            format!("the kernel cannot make BPF maps of the types {}", without.join(", ")),
            "boot a kernel of 6.4 or later built with CONFIG_BPF_SYSCALL and CONFIG_BPF_STREAM_PARSER",
        ),
    }
}

pub(super) fn cgroup_sock() -> Finding {
    kind(ProgramType::CgroupSock, None, "boot a kernel built with CONFIG_CGROUP_BPF")
}

pub(super) fn cgroup_sock_addr() -> Finding {
    kind(
        ProgramType::CgroupSockAddr,
        Some((FUNC_SK_STORAGE_GET, "bpf_sk_storage_get")),
        "boot a kernel built with CONFIG_CGROUP_BPF and CONFIG_INET",
    )
}

pub(super) fn sock_ops() -> Finding {
    kind(
        ProgramType::SockOps,
        Some((FUNC_STORE_HDR_OPT, "bpf_store_hdr_opt")),
        "boot a kernel of 5.10 or later built with CONFIG_CGROUP_BPF",
    )
}

pub(super) fn sk_lookup() -> Finding {
    kind(
        ProgramType::SkLookup,
        Some((FUNC_SK_ASSIGN, "bpf_sk_assign")),
        "boot a kernel of 5.9 or later built with CONFIG_BPF_SYSCALL and CONFIG_INET",
    )
}

pub(super) fn netfilter() -> Finding {
    kind(ProgramType::Netfilter, None, "boot a kernel of 6.4 or later built with CONFIG_NETFILTER_BPF_LINK")
}

/// The programs that the agent will run: the verifier takes them, and each can be attached. In a namespace that nothing
/// passes through and a cgroup that nobody is in.
pub(super) fn our_programs() -> Finding {
    let outcome = netns::in_temporary(|| {
        let directory = cgroup::Temporary::create("slimfast-probe")?;
        load(directory.path())
    });
    match outcome {
        Ok(()) => Ok("verified, attached and detached again".to_owned()),
        Err(error) => missing(
            error.to_string(),
            "see the failed checks above; SLIMFAST_LIBBPF_DEBUG=1 prints the verifier's log. If all of them are \
             well, the kernel is too old: boot 6.4 or later",
        ),
    }
}

fn load(cgroup: &Path) -> Result<()> {
    let constants = NodeConstants { address: Ipv4Addr::LOCALHOST, front_first: 1, front_count: 1 };
    let loaded = Loaded::load(constants, cgroup)?;
    // Attaches the iterators, for which libbpf has no probe that works without CONFIG_BPF_EVENTS.
    Listing::new(&loaded).map(drop)
}

pub(super) fn jit() -> Finding {
    match fs::read_to_string(JIT_SYSCTL) {
        Ok(value) if value.trim() != "0" => Ok("programs are compiled to machine code".to_owned()),
        Ok(_) => missing("programs are interpreted, which is slow", "sysctl -w net.core.bpf_jit_enable=1"),
        Err(error) => missing(format!("{JIT_SYSCTL}: {error}"), "boot a kernel built with CONFIG_BPF_JIT"),
    }
}

/// Programs of this kind can be loaded, and may call the function they are useless without.
fn kind(program: ProgramType, function: Option<(u32, &str)>, remedy: &str) -> Finding {
    let unknown = |error: libbpf_rs::Error| Missing { detail: error.to_string(), remedy: remedy.to_owned() };
    if !program.is_supported().map_err(unknown)? {
        return missing(format!("the kernel has no BPF programs of type {program:?}"), remedy);
    }
    match function {
        Some((id, name)) if !program.is_helper_supported(id).map_err(unknown)? => {
            missing(format!("the kernel's BPF programs of type {program:?} lack {name}"), remedy)
        }
        Some((_, name)) => Ok(format!("programs of type {program:?}, with {name}")),
        None => Ok(format!("programs of type {program:?}")),
    }
}

/// For messages that would only repeat the source.
impl From<Error> for Missing {
    fn from(error: Error) -> Self {
        match error {
            Error::Unsupported { feature, remedy } => Missing { detail: format!("{feature} is not available"), remedy },
            other => Missing { detail: other.to_string(), remedy: "see the message".to_owned() },
        }
    }
}
