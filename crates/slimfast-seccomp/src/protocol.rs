//! The OCI seccomp-agent protocol (runtime-spec 1.1, config-linux.md) and what our launcher adds to it.
//!
//! A runtime connects to the agent's socket, sends one [`ContainerProcessState`] as JSON with the descriptors in its
//! first message, and goes away. Our launcher also passes one end of a SOCK_SEQPACKET pair ([`DISPENSER_FD`]) and
//! waits for a [`Reply`], one line of JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Name of the listener in `fds`, fixed by the specification.
pub const SECCOMP_FD: &str = "seccompFd";
/// Name of the agent's end of a dispenser in `fds`: our addition.
pub const DISPENSER_FD: &str = "slimfastDispenserFd";
/// Longest state that is read. Runtimes send the container's annotations in it, which orchestrators fill.
pub const MAX_STATE_BYTES: usize = 64 * 1024;
/// Most descriptors that a state may carry: ours, and room for names that a later specification adds.
pub const MAX_STATE_FDS: usize = 8;
/// Longest reply.
pub const MAX_REPLY_BYTES: usize = 4096;
/// In the environment of a process under the preload tier: `FD:ST_DEV:ST_INO`, decimal.
pub const DISPENSER_ENV: &str = "SLIMFAST_DISPENSER";

/// The parts of the record that we use; the rest is ignored, as the specification demands of readers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerProcessState {
    #[serde(default)]
    pub oci_version: String,
    /// Names of the descriptors, in their order.
    pub fds: Vec<String>,
    #[serde(default)]
    pub pid: i64,
    /// `listenerMetadata`: which endpoint the process belongs to.
    #[serde(default)]
    pub metadata: String,
    /// Our addition: signals do not interrupt calls whose notification has been taken (`install`).
    #[serde(default)]
    pub slimfast_wait_killable: bool,
    #[serde(default)]
    pub state: ContainerState,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerState {
    #[serde(default)]
    pub oci_version: String,
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub pid: i64,
    #[serde(default)]
    pub bundle: String,
}

/// The agent's answer to our launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Reply {
    /// The reply as it goes over the wire.
    pub fn to_line(&self) -> Vec<u8> {
        // A bool and a string: there is nothing that could fail to serialise.
        let mut line = serde_json::to_vec(self).unwrap_or_else(|_| br#"{"ok":false}"#.to_vec());
        line.push(b'\n');
        line
    }
}

/// Value of [`DISPENSER_ENV`]: which descriptor, and which socket it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispenserName {
    pub fd: i32,
    pub dev: u64,
    pub ino: u64,
}

impl fmt::Display for DispenserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.fd, self.dev, self.ino)
    }
}
