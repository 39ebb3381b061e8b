//! Taking sockets out of a dispenser, in one process and without the export.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Mutex;

use slimfast_seccomp::scm;

use super::*;

/// The library's state is one per process, so the tests that use it take turns.
static TURN: Mutex<()> = Mutex::new(());

fn pair() -> (OwnedFd, OwnedFd) {
    let mut fds = [-1; 2];
    // SAFETY: the kernel fills two descriptors, which are ours.
    unsafe {
        assert_eq!(libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, fds.as_mut_ptr()), 0);
        (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    }
}

fn serve(end: &OwnedFd) {
    let (dev, ino) = syscall::identity(end.as_raw_fd()).unwrap();
    dispenser::set(dispenser::Name { fd: end.as_raw_fd(), dev, ino });
}

/// A TCP socket that can be told from others.
fn tcp() -> (OwnedFd, (u64, u64)) {
    let fd = syscall::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
    // SAFETY: just made for us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd as c_int) };
    let identity = syscall::identity(socket.as_raw_fd()).unwrap();
    (socket, identity)
}

fn opened(kind: c_int) -> OwnedFd {
    let fd = open(libc::AF_INET, kind, 0);
    assert!(fd >= 0);
    // SAFETY: just made for us.
    unsafe { OwnedFd::from_raw_fd(fd as c_int) }
}

fn identity(fd: &OwnedFd) -> (u64, u64) {
    syscall::identity(fd.as_raw_fd()).unwrap()
}

#[test]
fn only_plain_tcp_over_ipv4_is_dispensed() {
    let (inet, stream) = (libc::AF_INET, libc::SOCK_STREAM);
    for flags in [0, libc::SOCK_NONBLOCK, libc::SOCK_CLOEXEC, libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC] {
        assert!(is_dispensed(inet, stream | flags, 0));
        assert!(is_dispensed(inet, stream | flags, libc::IPPROTO_TCP));
    }
    assert!(!is_dispensed(libc::AF_INET6, stream, 0));
    assert!(!is_dispensed(libc::AF_UNIX, stream, 0));
    assert!(!is_dispensed(inet, libc::SOCK_DGRAM, 0));
    assert!(!is_dispensed(inet, stream | 0x10, 0));
    assert!(!is_dispensed(inet, stream, 262));
    assert!(!is_dispensed(inet, stream, -1));
}

#[test]
fn a_queued_socket_comes_with_the_flags_asked_for() {
    let _turn = TURN.lock().unwrap();
    let (agent, container) = pair();
    serve(&container);
    for flags in [0, libc::SOCK_NONBLOCK, libc::SOCK_CLOEXEC, libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC] {
        let (socket, expected) = tcp();
        scm::send(agent.as_fd(), &[dispenser::MESSAGE], &[socket.as_fd()], 0).unwrap();
        drop(socket);
        let got = opened(libc::SOCK_STREAM | flags);
        assert_eq!(identity(&got), expected);
        // SAFETY: no pointers are passed.
        let (descriptor, status) =
            unsafe { (libc::fcntl(got.as_raw_fd(), libc::F_GETFD), libc::fcntl(got.as_raw_fd(), libc::F_GETFL)) };
        assert_eq!(descriptor & libc::FD_CLOEXEC != 0, flags & libc::SOCK_CLOEXEC != 0);
        assert_eq!(status & libc::O_NONBLOCK != 0, flags & libc::SOCK_NONBLOCK != 0);
    }
}

#[test]
fn an_empty_or_closed_dispenser_falls_through() {
    let _turn = TURN.lock().unwrap();
    let (agent, container) = pair();
    serve(&container);
    opened(libc::SOCK_STREAM);
    drop(agent);
    opened(libc::SOCK_STREAM);
    drop(container);
    opened(libc::SOCK_STREAM);
}

#[test]
fn a_descriptor_that_became_something_else_is_left_alone() {
    let _turn = TURN.lock().unwrap();
    let (_agent, container) = pair();
    serve(&container);
    // The number now belongs to a socket pair of the program's own, with a message in it.
    let (ours, theirs) = pair();
    // SAFETY: no pointers are passed; both numbers are open.
    assert!(unsafe { libc::dup2(theirs.as_raw_fd(), container.as_raw_fd()) } >= 0);
    let (socket, foreign) = tcp();
    scm::send(ours.as_fd(), &[dispenser::MESSAGE], &[socket.as_fd()], 0).unwrap();
    assert_ne!(identity(&opened(libc::SOCK_STREAM)), foreign);
    // It is still there.
    assert_eq!(scm::receive(theirs.as_fd(), &mut [0; 8]).unwrap().fds.len(), 1);
}

#[test]
fn messages_of_another_kind_are_closed_and_not_used() {
    let _turn = TURN.lock().unwrap();
    let (agent, container) = pair();
    serve(&container);
    let (socket, foreign) = tcp();
    scm::send(agent.as_fd(), b"6", &[socket.as_fd()], 0).unwrap();
    scm::send(agent.as_fd(), &[dispenser::MESSAGE], &[], 0).unwrap();
    for _ in 0..3 {
        assert_ne!(identity(&opened(libc::SOCK_STREAM)), foreign);
    }
}

#[test]
fn what_is_no_dispensed_kind_goes_to_the_kernel() {
    let _turn = TURN.lock().unwrap();
    assert_eq!(open(libc::AF_INET, libc::SOCK_STREAM | 0x10, 0), -libc::EINVAL as isize);
    assert_eq!(open(12345, libc::SOCK_STREAM, 0), -libc::EAFNOSUPPORT as isize);
}

/// Bytes that are the same in each run.
pub(crate) fn random() -> impl FnMut(usize) -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Whoever holds the other end of the dispenser: nothing is taken but the first socket of a message that says so, and
/// nothing stays open.
#[test]
fn any_message_is_survived() {
    let _turn = TURN.lock().unwrap();
    let (agent, container) = pair();
    serve(&container);
    let mut random = random();
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..5_000 {
        let payload: Vec<u8> = (0..=random(3)).map(|_| [dispenser::MESSAGE, b'6', 0, 0xff][random(4)]).collect();
        let sockets: Vec<_> = (0..random(5)).map(|_| tcp()).collect();
        let fds: Vec<_> = sockets.iter().map(|(socket, _)| socket.as_fd()).collect();
        let flags = [0, libc::SOCK_NONBLOCK, libc::SOCK_CLOEXEC][random(3)];
        scm::send(agent.as_fd(), &payload, &fds, 0).unwrap();
        let expected =
            sockets.first().map(|&(_, identity)| identity).filter(|_| payload.first() == Some(&dispenser::MESSAGE));
        let others = open_descriptors();
        let got = opened(libc::SOCK_STREAM | flags);
        assert_eq!(open_descriptors(), others + 1, "{payload:?}, {} descriptors", sockets.len());
        if let Some(expected) = expected {
            assert_eq!(identity(&got), expected);
            taken += 1;
        } else {
            assert!(sockets.iter().all(|&(_, foreign)| identity(&got) != foreign), "{payload:?} is none of ours");
            refused += 1;
        }
    }
    assert!(taken > 500 && refused > 500, "{taken} taken, {refused} refused");
}
