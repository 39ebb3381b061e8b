//! The preload tier's queue, read as the preloaded library reads it.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use slimfast_core::counters::HandoutCounters;
use slimfast_core::dispenser::{Dispenser, MESSAGE};
use slimfast_seccomp::scm;

use crate::sources::{ENDPOINT, Plain, Sources};
use crate::target::is_marked;
use crate::{eventually, open_descriptors, turn};

struct Dispensing {
    container: OwnedFd,
    dispenser: Dispenser,
    plain: Arc<Plain>,
    counters: Arc<HandoutCounters>,
    ended: Arc<AtomicUsize>,
}

fn pair(kind: i32) -> (OwnedFd, OwnedFd) {
    let mut fds = [-1; 2];
    // SAFETY: the kernel fills two descriptors, which are ours.
    unsafe {
        assert_eq!(libc::socketpair(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr()), 0);
        (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    }
}

fn dispense() -> Dispensing {
    let (agent, container) = pair(libc::SOCK_SEQPACKET);
    // SAFETY: no pointers are passed.
    unsafe { libc::fcntl(container.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    let (plain, counters, ended) = (Plain::new(), Arc::<HandoutCounters>::default(), Arc::<AtomicUsize>::default());
    let on_end = {
        let ended = Arc::clone(&ended);
        move || {
            ended.fetch_add(1, Ordering::SeqCst);
        }
    };
    let sources = Arc::new(Sources(Arc::clone(&plain)));
    let (dispenser, filled) = Dispenser::start(agent, ENDPOINT, sources, Arc::clone(&counters), on_end).unwrap();
    filled.wait(std::time::Duration::from_secs(5));
    assert!(counters.preload_dispensed.get() > 0);
    Dispensing { container, dispenser, plain, counters, ended }
}

/// One socket from the queue.
fn take(container: &OwnedFd) -> Option<OwnedFd> {
    let mut byte = [0];
    match scm::receive(container.as_fd(), &mut byte) {
        Ok(mut received) if received.length == 1 => {
            assert_eq!((byte[0], received.fds.len()), (MESSAGE, 1));
            received.fds.pop()
        }
        _ => None,
    }
}

fn settled(counter: impl Fn() -> u64) -> u64 {
    loop {
        let before = counter();
        std::thread::sleep(std::time::Duration::from_millis(100));
        if before > 0 && counter() == before {
            return before;
        }
    }
}

#[test]
fn the_queue_is_about_64_deep_and_refilled_when_a_quarter_is_left() {
    let _turn = turn();
    let d = dispense();
    let depth = settled(|| d.counters.preload_dispensed.get());
    assert!((56..=72).contains(&depth), "{depth} sockets are queued");
    // What does not fit is not made: it would be held by this process for as long as the queue is full.
    let spare = d.plain.created.load(Ordering::SeqCst) as u64 - depth;
    assert!(spare <= 4, "{spare} sockets were made for which there is no room");
    // Half of them: nothing happens yet.
    for _ in 0..depth / 2 {
        assert!(is_marked(take(&d.container).unwrap().as_raw_fd()));
    }
    assert_eq!(settled(|| d.counters.preload_dispensed.get()), depth);
    for _ in 0..depth / 2 - 4 {
        take(&d.container).unwrap();
    }
    // It may have been refilled while these were taken, and then has no reason to be refilled again.
    let refilled = depth + depth * 3 / 4 - 8;
    eventually("it is refilled", || d.counters.preload_dispensed.get() >= refilled);
    d.dispenser.stop();
    d.dispenser.join();
}

#[test]
fn a_queue_that_runs_dry_gets_deeper_up_to_a_limit() {
    let _turn = turn();
    let d = dispense();
    settled(|| d.counters.preload_dispensed.get());
    for ran_dry in 1..=4 {
        // As if the thread were late: it sends what it had made already, and makes no more until all are taken.
        d.plain.close_gate();
        eventually("it wants to make more", || {
            while take(&d.container).is_some() {}
            d.plain.waiting() == 1
        });
        while take(&d.container).is_some() {}
        d.plain.open_gate();
        eventually("it notices", || d.counters.preload_ran_dry.get() == ran_dry);
        settled(|| d.counters.preload_dispensed.get());
    }
    let mut depth = 0;
    d.plain.close_gate();
    while take(&d.container).is_some() {
        depth += 1;
    }
    // Those that were made already may have been queued meanwhile.
    assert!((448..=576).contains(&depth), "{depth} sockets were queued");
    d.plain.open_gate();
    d.dispenser.stop();
    d.dispenser.join();
}

#[test]
fn ten_thousand_sockets_come_and_nothing_leaks() {
    let _turn = turn();
    let before = open_descriptors();
    let d = dispense();
    let mut got = 0;
    while got < 10_000 {
        match take(&d.container) {
            Some(socket) => {
                assert!(is_marked(socket.as_raw_fd()));
                got += 1;
            }
            None => std::thread::yield_now(),
        }
    }
    drop(d.container);
    d.dispenser.join();
    assert_eq!(d.ended.load(Ordering::SeqCst), 1);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn it_ends_when_the_container_has_closed_its_end() {
    let _turn = turn();
    let before = open_descriptors();
    let d = dispense();
    settled(|| d.counters.preload_dispensed.get());
    drop(d.container);
    d.dispenser.join();
    assert_eq!(d.ended.load(Ordering::SeqCst), 1);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn it_ends_when_the_endpoint_is_detached() {
    let _turn = turn();
    let d = dispense();
    settled(|| d.counters.preload_dispensed.get());
    d.dispenser.detach();
    d.dispenser.join();
    assert_eq!(d.ended.load(Ordering::SeqCst), 1);
    // What was queued is still there; then comes the end, not a wait.
    while take(&d.container).is_some() {}
    assert_eq!(scm::receive(d.container.as_fd(), &mut [0]).map(|r| r.length).ok(), Some(0));
}

#[test]
fn it_comes_back_after_a_shortage() {
    let _turn = turn();
    let d = dispense();
    let depth = settled(|| d.counters.preload_dispensed.get());
    d.plain.failure.store(libc::ENOMEM, Ordering::SeqCst);
    while take(&d.container).is_some() {}
    eventually("it has backed off", || d.counters.preload_back_offs.get() > 1);
    assert!(d.counters.preload_back_offs.get() < 20, "it does not spin");
    d.plain.failure.store(0, Ordering::SeqCst);
    eventually("it is full again", || d.counters.preload_dispensed.get() >= 2 * depth - 1);
    d.dispenser.stop();
    d.dispenser.join();
    assert_eq!(d.ended.load(Ordering::SeqCst), 0, "a stop is not reported");
}

#[test]
fn the_container_can_not_send() {
    let _turn = turn();
    let d = dispense();
    settled(|| d.counters.preload_dispensed.get());
    let sent = scm::send(d.container.as_fd(), b"x", &[d.container.as_fd()], libc::MSG_DONTWAIT);
    assert_eq!(sent.unwrap_err().raw_os_error(), Some(libc::EPIPE));
    d.dispenser.stop();
    d.dispenser.join();
}

#[test]
fn other_descriptors_are_refused() {
    let _turn = turn();
    let start = |fd| Dispenser::start(fd, ENDPOINT, Arc::new(Sources(Plain::new())), Arc::default(), || {});
    assert!(start(pair(libc::SOCK_STREAM).0).is_err());
    assert!(start(std::fs::File::open("/dev/null").unwrap().into()).is_err());
}
