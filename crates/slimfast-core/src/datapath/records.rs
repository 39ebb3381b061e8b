//! The records of `bpf/slimfast.h` as Rust types, generated from the compiled programs' BTF.

#![allow(clippy::all, clippy::undocumented_unsafe_blocks, dead_code, missing_debug_implementations, unsafe_code)]

mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/slimfast.skel.rs"));
}

pub use skeleton::types::*;

/// The compiled programs, to be handed to the loader.
pub static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/slimfast.bpf.o"));

/// A record without padding or invalid bit patterns, which may be copied to and from a map as bytes.
///
/// # Safety
/// `repr(C)`, no padding bytes, every bit pattern valid. `bpf/slimfast.h` spells padding out for this.
pub unsafe trait Record: Copy {}

macro_rules! records {
    ($($name:ty: $size:expr),+ $(,)?) => {$(
        // SAFETY: integers and nested records only; the size, asserted here, is the sum of the fields' sizes.
        unsafe impl Record for $name {}
        const _: () = assert!(size_of::<$name>() == $size);
    )+};
}

records! {
    sf_endpoint_key: 8,
    sf_address6: 16,
    sf_endpoint: 24,
    sf_limits: 24,
    sf_usage: 64,
    sf_claim: 12,
    sf_address_key: 8,
    sf_address6_key: 20,
    sf_source6: 20,
    sf_peer: 12,
    sf_node: 4,
    sf_network: 44,
    sf_router: 12,
    sf_wire_key: 16,
    sf_published: 12,
    sf_socket: 96,
    sf_connection: 128,
    sf_option: 20,
    sf_policy: 4,
    sf_verdict_key: 18,
    sf_egress_key: 12,
    sf_egress6_key: 24,
    sf_cut_order: 24,
    sf_passed_over: 4352,
}

/// The record's bytes, as the kernel wants them.
pub fn bytes_of<T: Record>(record: &T) -> &[u8] {
    // SAFETY: `Record` has no padding, so every byte is initialised; the slice borrows `record`.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(record).cast::<u8>(), size_of::<T>()) }
}

/// Reads a record from the start of `bytes`; `None` if they are too few.
pub fn read_record<T: Record>(bytes: &[u8]) -> Option<T> {
    // SAFETY: enough bytes, any bit pattern is valid, and the read does not need alignment.
    (bytes.len() >= size_of::<T>()).then(|| unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast::<T>()) })
}
