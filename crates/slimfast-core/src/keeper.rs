//! What outlives the agent: one *keeper* process per node holds the seccomp listeners and the dispensers of its containers, and
//! creates their sockets. An agent may be killed, restarted and upgraded meanwhile, and no socket(2) waits for it.
//!
//! ```text
//! keeper/line      messages of JSON, one a line, and the descriptors that come with them
//! keeper/protocol  what an agent asks, and what it is answered
//! keeper/server    the keeper's side: admission, supervisors, dispensers, held sockets, events that wait for an agent
//! keeper/client    the agent's side: finds a keeper or starts one
//! keeper/copies    what an agent keeps of it, for the next keeper
//! ```
//!
//! The keeper decides nothing: which endpoints there are is told by the agent, and what a socket may do by the BPF programs,
//! which are pinned. It ends when an agent tells it to, or when its run directory is gone.
#![deny(unsafe_code)]

mod client;
mod copies;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod line;
mod protocol;
mod server;

pub use self::client::{Keeper, KeeperStart, KeeperWatch};
pub use self::protocol::{Held, KeeperEvent};
pub use self::server::run;

/// File name of the control socket in the run directory.
pub const SOCKET: &str = "keeper.sock";
/// File name of the socket that OCI runtimes and the launcher hand seccomp listeners to.
pub const SECCOMP_SOCKET: &str = "seccomp.sock";
