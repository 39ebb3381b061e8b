//! The BPF side of a node: loading and attaching the programs, and typed access to their maps.
//!
//! ```text
//! loader    object -> loaded, attached programs
//! layouts   what becomes of the maps of the version before
//! pins      where maps and links are kept beyond the process
//! tables    the cluster's state into the maps; table: one of them, and what a former agent has left in it
//! accounts  what each endpoint may have of the node, and has
//! sockets   host sockets with their owner's record
//! events    the ring of connection events, read by one thread
//! passed_over  counts of the connections that nobody is told of
//! listing   connections and listeners out of the kernel's own tables; cutting an endpoint's
//! policies  who may connect to whom, into the maps
//! records   the C header's records in Rust
//! ```

pub mod accounts;
pub mod events;
pub mod layouts;
pub mod listing;
pub mod loader;
pub mod passed_over;
pub mod pins;
pub mod policies;
pub mod records;
pub mod sockets;
mod table;
pub mod tables;

use std::net::{Ipv4Addr, Ipv6Addr};

use self::records::sf_address6;

/// An IPv4 address as the programs keep it: in network order, in memory.
pub(crate) fn be32(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

/// The inverse of [`be32`].
pub(crate) fn ipv4(address: u32) -> Ipv4Addr {
    Ipv4Addr::from(address.to_ne_bytes())
}

/// An IPv6 address as the programs keep it.
pub(crate) fn address6(address: Ipv6Addr) -> sf_address6 {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(address.octets().chunks_exact(4)) {
        *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    sf_address6 { words }
}

/// The inverse of [`address6`].
pub(crate) fn ipv6(address: sf_address6) -> Ipv6Addr {
    let mut octets = [0; 16];
    for (bytes, word) in octets.chunks_exact_mut(4).zip(address.words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    Ipv6Addr::from(octets)
}

/// A failure of libbpf as the crate's error. libbpf reports the errno of the system call that failed.
pub(crate) fn bpf_error(context: impl Into<String>, error: &libbpf_rs::Error) -> crate::error::Error {
    crate::error::Error::system("bpf", context, std::io::Error::other(format!("{error:#}")))
}
