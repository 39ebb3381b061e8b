//! Raw system calls: the only module of this crate with `unsafe` outside the BPF data path. Each file wraps one kernel
//! interface in owned descriptors and plain values; policy lives with the callers.

pub mod clock;
pub mod cpu;
pub mod filters;
pub mod host_socket;
pub mod limits;
pub mod mount;
pub mod netns;
pub mod process;
pub mod seccomp;
pub mod shared_page;
pub mod target;
pub mod tcp;
pub mod unix;
pub mod wake;
pub mod xattr;
