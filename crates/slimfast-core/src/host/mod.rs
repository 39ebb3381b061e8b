//! Everything that SlimFast sets up on a host besides BPF, and its exact undoing: network namespaces, the routed VXLAN
//! overlay for whatever is not TCP, front ports, the agent's cgroup, and the journal that lets a crashed run be undone.
//!
//! Threads: nothing here keeps a thread in a foreign namespace. Work inside a namespace runs on a thread of its own that
//! ends with it; sockets made there serve afterwards from any thread, since a socket stays in the namespace it was made in.
#![deny(unsafe_code)]

pub mod addresses;
pub mod bpf_fs;
pub mod cgroup;
pub mod journal;
pub mod netlink;
pub mod netns;
pub mod overlay;
pub mod ports;
mod steps;
pub mod sysctl;
mod undo;
pub mod uplink;

pub use self::journal::{Recovered, recover};

#[cfg(test)]
pub(crate) mod testing;
