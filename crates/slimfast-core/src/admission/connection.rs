//! One connection to the admission socket, from its first byte to the reply. Runs on a thread of its own.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slimfast_seccomp::protocol::{ContainerProcessState, MAX_STATE_BYTES, MAX_STATE_FDS, Reply};
use slimfast_seccomp::scm;

use super::state::{Parsed, locate, parse};
use super::{AdmissionEvent, Shared, check_fds};

/// From the connection to its complete state.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn serve(shared: &Arc<Shared>, stream: &UnixStream) {
    let error = match read_state(stream) {
        // Runtimes probe the socket with a connection that closes empty.
        Ok(None) => return,
        Ok(Some((state, fds))) => hand_over(shared, &state, fds).err(),
        Err(reason) => Some(reason),
    };
    if let Some(reason) = &error {
        shared.counters.admission_refused.add_one();
        let reason = format!("{reason}; TCP sockets of that container will fail with ENOSYS");
        shared.report(AdmissionEvent::Refused { reason });
    }
    // runc has closed its end by now and reads no reply: the failure is of no interest, and there is no SIGPIPE.
    let line = Reply { ok: error.is_none(), error }.to_line();
    let _ = scm::send(stream.as_fd(), &line, &[], libc::MSG_DONTWAIT);
}

fn hand_over(shared: &Arc<Shared>, state: &ContainerProcessState, fds: Vec<OwnedFd>) -> Result<(), String> {
    let places = locate(&state.fds, fds.len())?;
    let endpoint = (shared.lookup)(&state.metadata)
        .ok_or_else(|| format!("no endpoint of this node has the metadata {:?}", state.metadata))?;
    let mut fds: Vec<_> = fds.into_iter().map(Some).collect();
    let mut take = |place: usize| fds.get_mut(place).and_then(Option::take);
    let listener = take(places.seccomp).ok_or("the listener is missing")?;
    let dispenser = places.dispenser.and_then(&mut take);
    let hand_over = check_fds(endpoint, state.pid, listener, state.slimfast_wait_killable, dispenser)?;
    shared.admit(hand_over).map_err(|error| error.to_string())
}

/// Reads one state. `None` if the peer closed without a byte.
pub(super) fn read_state(stream: &UnixStream) -> Result<Option<(ContainerProcessState, Vec<OwnedFd>)>, String> {
    let deadline = Instant::now() + READ_TIMEOUT;
    let mut bytes = Vec::with_capacity(4096);
    let mut buffer = [0u8; 8192];
    set_timeout(stream, deadline)?;
    // The descriptors are those of the first message. Later ones are dropped by the kernel, since read(2) has no room
    // for them.
    let first = scm::receive(stream.as_fd(), &mut buffer).map_err(|e| cannot_read(&e))?;
    let fds = first.fds;
    if first.length == 0 {
        return Ok(None);
    }
    if fds.len() > MAX_STATE_FDS {
        return Err(format!("{} descriptors came at once", fds.len()));
    }
    let mut length = first.length;
    loop {
        bytes.extend_from_slice(&buffer[..length]);
        // A state ends with a brace; trying only there keeps byte-wise senders from costing quadratic time.
        if bytes.trim_ascii_end().ends_with(b"}") || bytes.len() > MAX_STATE_BYTES || length == 0 {
            match parse(&bytes) {
                Parsed::Complete(state) => return Ok(Some((state, fds))),
                Parsed::Rejected(reason) => return Err(reason),
                Parsed::Incomplete if length == 0 => return Err("the container's state ends in its middle".into()),
                Parsed::Incomplete => {}
            }
        }
        set_timeout(stream, deadline)?;
        let mut reader = stream;
        // Signals are blocked on this thread, so nothing interrupts the call.
        length = reader.read(&mut buffer).map_err(|e| cannot_read(&e))?;
    }
}

fn set_timeout(stream: &UnixStream, deadline: Instant) -> Result<(), String> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(late());
    }
    stream.set_read_timeout(Some(left)).map_err(|e| cannot_read(&e))
}

fn late() -> String {
    format!("the container's state did not arrive within {} s", READ_TIMEOUT.as_secs())
}

fn cannot_read(error: &io::Error) -> String {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut, _) => late(),
        (_, Some(libc::EMSGSIZE)) => "more descriptors came than a state can name, or more than we can hold".into(),
        _ => format!("reading the container's state: {error}"),
    }
}
