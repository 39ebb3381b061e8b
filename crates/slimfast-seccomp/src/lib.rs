//! What the agent (slimfast-core) and the launcher share, kept apart from both so that the launcher stays small.
//!
//! - [`filter`]: the seccomp filter, as data. Pure.
//! - [`install`]: installs it on the calling thread and returns the listener.
//! - [`protocol`]: the records of the OCI seccomp-agent protocol, and our launcher's two additions to it.
//! - [`scm`]: passing descriptors over unix sockets.
#![deny(unsafe_code)]

pub mod filter;
#[allow(unsafe_code)]
pub mod install;
pub mod protocol;
#[allow(unsafe_code)]
pub mod scm;
