//! Ends the process when nothing makes progress: a benchmark that hangs tells nobody what hung, and a read time-out on
//! each connection would be a system call in what is measured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longer than any retransmission of a SYN that succeeds in the end on a sane network.
const STALL: Duration = Duration::from_secs(30);

static OPERATIONS: AtomicU64 = AtomicU64::new(0);

/// One operation is done.
pub fn progress() {
    OPERATIONS.fetch_add(1, Ordering::Relaxed);
}

/// From now on, [`STALL`] without progress ends the process with exit code 1.
pub fn start(what: &'static str) {
    std::thread::spawn(move || {
        let mut seen = OPERATIONS.load(Ordering::Relaxed);
        loop {
            std::thread::sleep(STALL);
            let now = OPERATIONS.load(Ordering::Relaxed);
            if now == seen {
                eprintln!("slimfast-bench: {what}: nothing finished in {} s, after {now} operations", STALL.as_secs());
                std::process::exit(1);
            }
            seen = now;
        }
    });
}
