//! The conversation with the agent: one state with descriptors, one reply.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use slimfast_seccomp::install::Installed;
use slimfast_seccomp::protocol::{
    ContainerProcessState, ContainerState, DISPENSER_FD, MAX_REPLY_BYTES, Reply, SECCOMP_FD,
};
use slimfast_seccomp::scm;

use crate::failure::Failure;

/// The agent answers in milliseconds; one that does not in this time never will.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Version of the runtime specification whose record this is.
const OCI_VERSION: &str = "1.1.0";

pub(crate) fn connect(path: &Path) -> Result<UnixStream, Failure> {
    let connected = UnixStream::connect(path).and_then(|stream| {
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(stream)
    });
    connected.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ": is the node's agent running?",
            io::ErrorKind::PermissionDenied => ": only root may start commands in an endpoint",
            _ => "",
        };
        Failure::launcher(format!("connecting to the agent at {}: {error}{hint}", path.display()))
    })
}

/// Hands the descriptors over and waits until the agent serves them.
pub(crate) fn send(
    mut agent: UnixStream,
    metadata: &str,
    installed: &Installed,
    dispenser: Option<&OwnedFd>,
) -> Result<(), Failure> {
    let failed = |what: &str, error: io::Error| Failure::launcher(format!("{what} the agent: {error}"));
    let mut names = vec![SECCOMP_FD.to_owned()];
    let mut fds = vec![installed.listener.as_fd()];
    if let Some(dispenser) = dispenser {
        names.push(DISPENSER_FD.to_owned());
        fds.push(dispenser.as_fd());
    }
    let state = encode(metadata, names, installed.is_wait_killable)?;
    let sent = scm::send(agent.as_fd(), &state, &fds, 0).map_err(|e| failed("sending the listener to", e))?;
    agent.write_all(&state[sent..]).map_err(|e| failed("sending the listener to", e))?;
    let reply = read_reply(&mut agent).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            Failure::launcher(format!("the agent did not answer within {} s", REPLY_TIMEOUT.as_secs()))
        }
        _ => failed("reading the answer of", error),
    })?;
    match reply {
        Reply { ok: true, .. } => Ok(()),
        Reply { error, .. } => {
            Err(Failure::launcher(format!("the agent refused: {}", error.as_deref().unwrap_or("no reason given"))))
        }
    }
}

fn encode(metadata: &str, fds: Vec<String>, is_wait_killable: bool) -> Result<Vec<u8>, Failure> {
    let pid = i64::from(std::process::id());
    let state = ContainerProcessState {
        oci_version: OCI_VERSION.into(),
        fds,
        pid,
        metadata: metadata.into(),
        slimfast_wait_killable: is_wait_killable,
        state: ContainerState {
            oci_version: OCI_VERSION.into(),
            id: format!("slimfast-launch-{pid}"),
            status: "creating".into(),
            pid,
            bundle: String::new(),
        },
    };
    serde_json::to_vec(&state).map_err(|e| Failure::launcher(format!("encoding the state: {e}")))
}

/// Reads one line, or what there is until the connection's end.
fn read_reply(agent: &mut UnixStream) -> io::Result<Reply> {
    let mut line = Vec::new();
    let mut buffer = [0u8; 512];
    while !line.contains(&b'\n') && line.len() <= MAX_REPLY_BYTES {
        match agent.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => line.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if line.is_empty() {
        return Err(io::Error::other("it closed the connection; its log says why"));
    }
    serde_json::from_slice(&line).map_err(io::Error::from)
}
