//! Whatever may come over the keeper's control socket, in either direction.

use slimfast_seccomp::scm::MAX_FDS;

use super::line::Line;
use super::protocol::{KeeperEvent, Reply, Request};
use crate::fuzzing::{sent, without_leak};

pub(crate) fn request(bytes: &[u8]) {
    without_leak(|| {
        let mut line = Line::new(sent(bytes));
        while let Ok(Some((request, fds))) = line.receive::<Request>() {
            assert!(fds.len() <= MAX_FDS, "{} descriptors came with one request", fds.len());
            let again = serde_json::to_vec(&request).expect("a request can be written");
            assert!(serde_json::from_slice::<Request>(&again).is_ok(), "{request:?} cannot be read again");
        }
    });
}

/// An agent believes its keeper, but the two may be of different versions.
pub(crate) fn answer(bytes: &[u8]) {
    without_leak(|| {
        let mut line = Line::new(sent(bytes));
        while let Ok(Some((reply, _))) = line.receive::<Reply>() {
            let again = serde_json::to_vec(&reply).expect("a reply can be written");
            assert!(serde_json::from_slice::<Reply>(&again).is_ok(), "{reply:?} cannot be read again");
        }
    });
    without_leak(|| {
        let mut line = Line::new(sent(bytes));
        while let Ok(Some((event, _))) = line.receive::<KeeperEvent>() {
            let again = serde_json::to_vec(&event).expect("an event can be written");
            assert_eq!(serde_json::from_slice::<KeeperEvent>(&again).expect("it can be read again"), event);
        }
    });
}
