//! Whoever may connect to the admission socket, and whatever it sends.

use slimfast_seccomp::protocol::{MAX_STATE_BYTES, MAX_STATE_FDS};

use super::connection::read_state;
use super::state::{Parsed, locate, parse};
use crate::fuzzing::{Input, sent, without_leak};
use crate::owner::EndpointKey;

/// What [`parse`] and [`locate`] accept is in bounds, and stays what it is when more white space or less of it has come.
pub(crate) fn state(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let received = usize::from(input.byte() % 10);
    let text = input.take(usize::MAX);
    match parse(text) {
        Parsed::Complete(state) => {
            assert!(text.len() <= MAX_STATE_BYTES);
            if let Ok(places) = locate(&state.fds, received) {
                assert!(places.seccomp < received && places.dispenser.is_none_or(|at| at < received));
                assert_ne!(Some(places.seccomp), places.dispenser);
            }
            if let Some(key) = EndpointKey::from_metadata(&state.metadata) {
                assert_eq!(EndpointKey::from_metadata(&key.metadata()), Some(key));
            }
            // Where a reader tries, the rest is waited for.
            let text = text.trim_ascii_end();
            let tries = (1..text.len()).filter(|&end| text[end - 1] == b'}').take(8);
            for end in tries {
                assert_eq!(parse(&text[..end]), Parsed::Incomplete, "cut at {end}");
            }
            let again = serde_json::to_vec(&state).expect("a state can be written");
            assert_eq!(parse(&again), Parsed::Complete(state));
        }
        // Bytes that follow do not make it good.
        Parsed::Rejected(_) => assert!(matches!(parse(&[text, b"}"].concat()), Parsed::Rejected(_))),
        Parsed::Incomplete => {}
    }
}

/// The same over a socket, with descriptors.
pub(crate) fn connection(bytes: &[u8]) {
    without_leak(|| {
        if let Ok(Some((state, fds))) = read_state(&sent(bytes)) {
            assert!(fds.len() <= MAX_STATE_FDS);
            if let Ok(places) = locate(&state.fds, fds.len()) {
                assert!(places.seccomp < fds.len());
            }
        }
    });
}
