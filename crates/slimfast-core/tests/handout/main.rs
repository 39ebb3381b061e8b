//! Supervisor, dispenser and admission against the real kernel. Needs root, like the agent, and fails without it.
//!
//! The tests of this process take turns: some of them count the process's descriptors.

mod admission;
mod dispenser;
mod sources;
mod supervisor;
mod target;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static TURN: Mutex<()> = Mutex::new(());

/// To be held for the length of a test.
fn turn() -> MutexGuard<'static, ()> {
    // SAFETY: no pointers are passed.
    assert_eq!(unsafe { libc::geteuid() }, 0, "these tests need root: seccomp listeners without no_new_privs do");
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for something that another thread or process brings about.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The descriptors that this process has open.
fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
