//! What goes between an agent and the keeper of its node. Old and new of both may meet: a keeper stays when the agent is
//! upgraded.

use serde::{Deserialize, Serialize};

use crate::admission::Handed;
use crate::owner::EndpointKey;

/// Raised when a request changes its meaning, or there are new ones.
pub(super) const VERSION: u32 = 2;
/// The oldest keeper that agents go on with: a container's sockets do not outlive their keeper's replacement by choice.
pub(super) const OLDEST: u32 = 1;
/// From this one on keepers answer [`Request::Numbers`] and what follows it.
pub(super) const WITH_COPIES: u32 = 2;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "camelCase")]
pub(super) enum Request {
    /// Answered with [`Reply::Hello`], whatever the version.
    Hello,
    /// From now on the endpoint's containers are let in, and get sockets.
    Admit { endpoint: EndpointKey },
    /// From now on they are not, and those that are in get ENETDOWN. Idempotent.
    Dismiss { endpoint: EndpointKey },
    /// Answered with [`Reply::Endpoints`].
    Endpoints,
    /// Answered with [`Reply::Counters`].
    Counters,
    /// Keeps the sockets that come with it, in place of what it has under that label.
    Hold { label: String },
    /// Closes what was held. Idempotent.
    Release { label: String },
    /// Answered with [`Reply::Labels`].
    Labels,
    /// Done at once; then [`KeeperEvent`]s come over this connection, those first that nobody was there for. Who asked before
    /// gets no more.
    Events,
    /// Answered with [`Reply::Numbers`].
    Numbers,
    /// Answered with [`Reply::Copy`].
    Copy { number: u64 },
    /// Goes on with what another keeper has served. The descriptors are those of a [`Reply::Copy`].
    Resume { handed: Handed },
    /// Ends everything and the keeper itself. The connection ends when that is done.
    Stop,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase")]
pub(super) enum Reply {
    Done,
    Hello {
        version: u32,
        pid: u32,
    },
    Endpoints {
        endpoints: Vec<Held>,
    },
    Counters {
        counters: Vec<(String, u64)>,
    },
    Labels {
        labels: Vec<String>,
    },
    /// Of what runs under seccomp listeners, one for each hand-over.
    Numbers {
        numbers: Vec<u64>,
    },
    /// With the listener, its page of notifications and, if there is one, the dispenser. None: the processes have ended.
    Copy {
        handed: Option<Handed>,
    },
    Failed {
        reason: String,
    },
}

/// What the keeper has of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    pub endpoint: EndpointKey,
    /// Whether its containers are let in.
    pub admitted: bool,
    pub seccomp_listeners: usize,
    pub dispensers: usize,
    /// Of the listeners, those of processes that may use io_uring, or of which that is not known. Older keepers do not say.
    #[serde(default)]
    pub unguarded: usize,
}

/// What happens without being asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum KeeperEvent {
    /// The last process under the endpoint's last seccomp listener has ended.
    Idle { endpoint: EndpointKey },
    /// A container was let in that may use io_uring, or of which that is not known. For a log.
    Unguarded { endpoint: EndpointKey, reason: String },
    /// A container was refused. For a log.
    Refused { reason: String },
    /// [`Request::Numbers`] are others.
    Changed,
}
