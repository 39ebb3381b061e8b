//! Reading of the ContainerProcessState that a runtime sends. Pure; its input is whatever somebody sent.

use slimfast_seccomp::protocol::{ContainerProcessState, DISPENSER_FD, MAX_STATE_BYTES, SECCOMP_FD};

/// Progress of a state that arrives in pieces, without an end mark.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// So far it is the beginning of a state.
    Incomplete,
    Complete(ContainerProcessState),
    Rejected(String),
}

/// Reads what has arrived. White space may follow the state, anything else may not.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    if bytes.len() > MAX_STATE_BYTES {
        return Parsed::Rejected(format!("the container's state is longer than {MAX_STATE_BYTES} bytes"));
    }
    match serde_json::from_slice(bytes) {
        Ok(state) => Parsed::Complete(state),
        Err(error) if error.is_eof() => Parsed::Incomplete,
        Err(error) => Parsed::Rejected(format!("the container's state can not be read: {error}")),
    }
}

/// Where the descriptors are among those that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub seccomp: usize,
    pub dispenser: Option<usize>,
}

/// Finds the descriptors by their names. Names that we do not know are left alone, as the specification demands.
pub(super) fn locate(names: &[String], received: usize) -> Result<Places, String> {
    if names.len() != received {
        return Err(format!("the state names {} descriptors, but {received} came with it", names.len()));
    }
    let place = |name: &str| {
        let mut found = names.iter().enumerate().filter(|(_, n)| *n == name).map(|(index, _)| index);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(format!("the state names {name} twice")),
            (first, _) => Ok(first),
        }
    };
    let seccomp = place(SECCOMP_FD)?.ok_or_else(|| format!("the state names no {SECCOMP_FD}"))?;
    Ok(Places { seccomp, dispenser: place(DISPENSER_FD)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn rejected(bytes: &[u8]) -> bool {
        matches!(parse(bytes), Parsed::Rejected(_))
    }

    #[test]
    fn what_runc_sends_is_read() {
        let sent = br#"{"ociVersion":"1.0.2-dev","fds":["seccompFd"],"pid":7,"metadata":"vni=1,id=2",
            "state":{"ociVersion":"1.0.2-dev","id":"c1","status":"creating","pid":7,"bundle":"/b",
            "annotations":{"a":"b"}}}"#;
        let Parsed::Complete(state) = parse(sent) else { panic!("not read") };
        assert_eq!((state.fds, state.pid, state.metadata.as_str()), (names(&["seccompFd"]), 7, "vni=1,id=2"));
        assert_eq!(state.state.id, "c1");
        for end in 0..sent.len() {
            assert_eq!(parse(&sent[..end]), Parsed::Incomplete, "cut at {end}");
        }
    }

    #[test]
    fn only_the_descriptors_names_are_indispensable() {
        assert!(matches!(parse(br#"{"fds":[]}"#), Parsed::Complete(_)));
        assert!(rejected(br#"{"metadata":"x"}"#));
        assert!(rejected(br#"{"fds":null}"#));
    }

    #[test]
    fn what_is_no_state_is_rejected() {
        let deep = "[".repeat(10_000);
        for bytes in [
            b"hello".as_slice(),
            b"[1]",
            b"null",
            br#"{"fds":[1]}"#,
            br#"{"fds":["a"],"fds":["b"]}"#,
            br#"{"fds":["a"]} {"fds":["b"]}"#,
            br#"{"fds":["a"],"pid":"7"}"#,
            br#"{"fds":["a"],"metadata":7}"#,
            b"\x00\x01\x02",
            b"{\"fds\":[\"\xff\"]}",
            deep.as_bytes(),
        ] {
            assert!(rejected(bytes), "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
        }
    }

    #[test]
    fn the_length_is_bounded() {
        let mut bytes = br#"{"fds":["a"],"metadata":""#.to_vec();
        bytes.resize(MAX_STATE_BYTES, b'x');
        assert_eq!(parse(&bytes), Parsed::Incomplete);
        bytes.push(b'x');
        assert!(rejected(&bytes));
    }

    #[test]
    fn descriptors_are_found_by_name() {
        let places = |seccomp, dispenser| Ok(Places { seccomp, dispenser });
        assert_eq!(locate(&names(&["seccompFd"]), 1), places(0, None));
        assert_eq!(locate(&names(&["slimfastDispenserFd", "other", "seccompFd"]), 3), places(2, Some(0)));
    }

    #[test]
    fn names_and_descriptors_must_agree() {
        assert!(locate(&names(&["seccompFd"]), 0).is_err());
        assert!(locate(&names(&["seccompFd"]), 2).is_err());
        assert!(locate(&names(&["other", "seccompFd"]), 1).is_err());
        assert!(locate(&names(&["other"]), 1).is_err());
        assert!(locate(&names(&[]), 0).is_err());
        assert!(locate(&names(&["seccompFd", "seccompFd"]), 2).is_err());
        assert!(locate(&names(&["seccompFd", "slimfastDispenserFd", "slimfastDispenserFd"]), 3).is_err());
    }

    /// Changes, cuts and doubles a valid state at random, but the same in each run: nothing may panic, and what is
    /// accepted must be found in bounds.
    #[test]
    fn damaged_states_are_survived() {
        let valid =
            br#"{"ociVersion":"1.1.0","fds":["seccompFd","slimfastDispenserFd"],"pid":7,"metadata":"m","state":{}}"#;
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        let mut accepted = 0;
        for _ in 0..50_000 {
            let mut bytes = valid.to_vec();
            for _ in 0..=next(3) {
                let at = next(bytes.len());
                match next(4) {
                    0 => bytes[at] ^= 1 << next(8),
                    1 => bytes[at] = b"{}[]\",:0\\\0\xff"[next(11)],
                    2 => bytes.truncate(at.max(1)),
                    _ => bytes.extend_from_within(at..),
                }
            }
            if let Parsed::Complete(state) = parse(&bytes) {
                for received in 0..4 {
                    if let Ok(places) = locate(&state.fds, received) {
                        accepted += 1;
                        assert!(places.seccomp < received && places.dispenser.is_none_or(|at| at < received));
                        assert_ne!(Some(places.seccomp), places.dispenser);
                    }
                }
            }
        }
        assert!(accepted > 100, "the damage is not always fatal: {accepted}");
    }
}
