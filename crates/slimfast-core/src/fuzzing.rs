//! What reads bytes that others made, as functions of such bytes: driven by libFuzzer (`slimfast test fuzz`), and with the
//! cases that are kept in `fuzz/corpus`, by an ordinary test.
//!
//! Compiled with `--cfg fuzzing` the crate has libFuzzer's entry, which runs the target that the environment names. A target
//! panics when a promise of its parser is broken; a descriptor that is left open is such a promise as well.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use slimfast_seccomp::scm;

use crate::{admission, host, keeper, supervisor};

/// A parser, by the name of its directory in `fuzz/corpus`.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 8] = [
    ("admission-state", admission::fuzz::state),
    ("admission-connection", admission::fuzz::connection),
    ("keeper-request", keeper::fuzz::request),
    ("keeper-answer", keeper::fuzz::answer),
    ("journal", host::journal::fuzz::document),
    ("proc-stat", host::journal::fuzz::stat),
    ("port-ranges", host::ports::fuzz::ranges),
    ("notification", supervisor::fuzz::notification),
];

#[cfg(fuzzing)]
mod entry {
    use std::env;
    use std::process::abort;
    use std::sync::OnceLock;

    use super::TARGETS;

    /// Names one of [`TARGETS`].
    const VARIABLE: &str = "SLIMFAST_FUZZ_TARGET";

    /// libFuzzer's entry.
    ///
    /// # Safety
    /// `bytes` must point to `length` bytes.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn LLVMFuzzerTestOneInput(bytes: *const u8, length: usize) -> i32 {
        static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
        let target = TARGET.get_or_init(|| {
            let name = env::var(VARIABLE).unwrap_or_default();
            TARGETS.iter().find(|(known, _)| *known == name).map(|&(_, target)| target).unwrap_or_else(|| {
                eprintln!("{VARIABLE} names no target: {:?}", TARGETS.map(|(name, _)| name));
                abort()
            })
        });
        // SAFETY: the caller vouches for it; of nothing libFuzzer gives a null pointer.
        let bytes = if length == 0 { &[] } else { unsafe { std::slice::from_raw_parts(bytes, length) } };
        target(bytes);
        0
    }
}

/// Takes an input apart.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// 0 once nothing is left.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// In the machine's order; what is missing is 0.
    pub fn word(&mut self) -> u64 {
        let mut word = [0; 8];
        let taken = self.take(8);
        word[..taken.len()].copy_from_slice(taken);
        u64::from_ne_bytes(word)
    }

    /// As many bytes, or those that are left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Sends an input over a socket pair as somebody might who has connected to us: in messages of any length, with descriptors,
/// and then no more. Returns the end to read from. Each message is preceded in the input by a byte for its length (times 16)
/// and one for the number of its descriptors.
pub(crate) fn sent(bytes: &[u8]) -> UnixStream {
    let (sender, receiver) = UnixStream::pair().expect("a socket pair");
    let file = File::open("/dev/null").expect("/dev/null");
    let mut input = Input::new(bytes);
    while !input.is_empty() {
        let (length, count) = (16 * (1 + usize::from(input.byte())), usize::from(input.byte() % 17));
        let fds: Vec<BorrowedFd<'_>> = vec![file.as_fd(); count];
        let payload = input.take(length);
        // The input is shorter than the socket's buffer. Without payload there is no message.
        if scm::send(sender.as_fd(), payload, &fds, libc::MSG_DONTWAIT).is_err() {
            break;
        }
    }
    receiver
}

/// Runs `body`, which must close every descriptor that it opens.
pub(crate) fn without_leak(body: impl FnOnce()) {
    let lowest = || File::open("/dev/null").expect("/dev/null").as_raw_fd();
    let before = lowest();
    body();
    assert_eq!(lowest(), before, "a descriptor was left open");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// What libFuzzer found worth keeping, crashes among it.
    #[test]
    fn every_case_that_is_kept_is_survived() {
        for (name, target) in TARGETS {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
            let cases = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
            let mut count = 0;
            for case in cases {
                let path = case.unwrap().path();
                let bytes = fs::read(&path).unwrap();
                let survived = std::panic::catch_unwind(|| target(&bytes));
                assert!(survived.is_ok(), "{}", path.display());
                count += 1;
            }
            assert!(count > 0, "{name} has no cases");
        }
    }
}
