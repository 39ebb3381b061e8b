//! The admission socket, spoken to as runtimes, as our launcher and as somebody with bad manners would.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use slimfast_core::admission::{Admission, AdmissionEvent, Holding};
use slimfast_core::error::Error;
use slimfast_seccomp::protocol::Reply;
use slimfast_seccomp::scm;

use crate::sources::{ENDPOINT, Plain, Sources};
use crate::target::{is_marked, socket, spawn};
use crate::{eventually, open_descriptors, turn};

struct Door {
    path: PathBuf,
    admission: Admission,
    events: Receiver<AdmissionEvent>,
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("slimfast-admission-{name}-{}.sock", std::process::id()))
}

fn open(name: &str) -> Door {
    let path = path(name);
    let (sender, events) = channel();
    let lookup = Box::new(|metadata: &str| (metadata == "mine").then_some(ENDPOINT));
    let admission = Admission::start(&path, lookup, Arc::new(Sources(Plain::new())), sender).unwrap();
    Door { path, admission, events }
}

impl Door {
    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        stream
    }

    fn hand_over(&self, state: &str, fds: &[BorrowedFd<'_>]) -> Reply {
        let stream = self.connect();
        scm::send(stream.as_fd(), state.as_bytes(), fds, 0).unwrap();
        reply(stream)
    }

    fn event(&self) -> AdmissionEvent {
        self.events.recv_timeout(Duration::from_secs(8)).expect("an event")
    }
}

/// The one that accepts and the one that prepares sockets.
const ADMISSIONS_OWN: usize = 2;

/// By name, since the test harness starts and ends threads of its own.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with("sf")).count()
}

fn reply(stream: UnixStream) -> Reply {
    let mut line = String::new();
    // Not to the end: targets that were forked meanwhile may hold a copy of the other end.
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert!(line.ends_with('\n'), "{line:?}");
    serde_json::from_str(&line).unwrap()
}

fn state(fds: &str, metadata: &str) -> String {
    state_of(1, fds, metadata)
}

fn state_of(pid: i32, fds: &str, metadata: &str) -> String {
    format!(r#"{{"ociVersion":"1.0.2","fds":[{fds}],"pid":{pid},"metadata":"{metadata}","state":{{}}}}"#)
}

fn seqpacket_pair() -> (OwnedFd, OwnedFd) {
    let mut fds = [-1; 2];
    // SAFETY: the kernel fills two descriptors, which are ours.
    unsafe {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        assert_eq!(libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()), 0);
        (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    }
}

fn one_socket() -> i32 {
    i32::from(!is_marked(socket(libc::AF_INET, libc::SOCK_STREAM, 0)))
}

#[test]
fn a_container_is_served_until_its_last_process_has_ended() {
    let _turn = turn();
    let before = open_descriptors();
    let door = open("served");
    let (target, listener) = spawn(one_socket);
    let (agent, container) = seqpacket_pair();
    let fds = [agent.as_fd(), listener.as_fd()];
    let names = r#""slimfastDispenserFd","seccompFd""#;
    let answer = door.hand_over(&state_of(target.pid, names, "mine"), &fds);
    assert_eq!(answer, Reply { ok: true, error: None });
    drop((agent, listener));
    let pid = target.pid.into();
    assert_eq!(door.event(), AdmissionEvent::Admitted { endpoint: ENDPOINT, pid, dispenser: true });
    assert_eq!(door.admission.held(ENDPOINT), (1, 1));
    assert_eq!(target.wait(), 0);
    assert_eq!(door.event(), AdmissionEvent::Idle(ENDPOINT));
    // The dispenser goes with the listener, even if somebody still holds the container's end.
    assert_eq!(door.admission.held(ENDPOINT), (0, 0));
    eventually(
        "the dispenser closes",
        || matches!(scm::receive(container.as_fd(), &mut [0]), Ok(received) if received.length == 0),
    );
    drop(container);
    let path = door.path.clone();
    door.admission.stop();
    assert!(!path.exists());
    assert_eq!(open_descriptors(), before);
}

/// Filters are looked at where the kernel has them, not where the runtime says.
#[test]
fn whoever_may_use_io_uring_is_reported() {
    let _turn = turn();
    let before = open_descriptors();
    let door = open("unguarded");
    let mut plain = Command::new("sleep").arg("60").spawn().unwrap();
    let without_filter = i32::try_from(plain.id()).unwrap();
    let reason_for = |pid: Option<i32>| {
        let (target, listener) = spawn(one_socket);
        let pid = pid.unwrap_or(target.pid);
        let answer = door.hand_over(&state_of(pid, r#""seccompFd""#, "mine"), &[listener.as_fd()]);
        assert!(answer.ok, "it is let in: {answer:?}");
        drop(listener);
        let unguarded = usize::from(pid != target.pid);
        assert_eq!(door.admission.all_held()[&ENDPOINT], Holding { listeners: 1, dispensers: 0, unguarded });
        // What was stopped to be looked at goes on.
        assert_eq!(target.wait(), 0);
        assert!(matches!(door.event(), AdmissionEvent::Admitted { .. }));
        match door.event() {
            AdmissionEvent::Unguarded { reason, .. } => {
                assert_eq!(door.event(), AdmissionEvent::Idle(ENDPOINT));
                Some(reason)
            }
            event => {
                assert_eq!(event, AdmissionEvent::Idle(ENDPOINT));
                None
            }
        }
    };
    assert_eq!(reason_for(None), None);
    let reason = reason_for(Some(without_filter)).expect("it has no filter at all");
    assert!(reason.contains("may use io_uring") && reason.contains("slimfast oci-profile"), "{reason}");
    plain.kill().unwrap();
    plain.wait().unwrap();
    for gone in [without_filter, 1, 0, -5] {
        let reason = reason_for(Some(gone)).expect("nobody knows");
        assert!(reason.contains("not known"), "{reason}");
    }
    assert_eq!(door.admission.counters().admission_unguarded.get(), 5);
    door.admission.stop();
    assert_eq!(open_descriptors(), before);
}

/// As a busy node's processes do not, a parent in vfork(2) does not stop before its child lets it.
#[test]
fn a_process_that_is_slow_to_stop_is_waited_for() {
    let _turn = turn();
    let door = open("slow");
    let (mut target, listener) = spawn(|| {
        // SAFETY: a child with memory of its own, which makes nothing but these two calls.
        unsafe {
            if libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0) == 0 {
                libc::usleep(800_000);
                libc::_exit(0);
            }
        }
        0
    });
    target.go();
    let stat = format!("/proc/{}/stat", target.pid);
    eventually("it cannot be stopped", || std::fs::read_to_string(&stat).unwrap().contains(") D "));
    let stream = door.connect();
    scm::send(stream.as_fd(), state_of(target.pid, r#""seccompFd""#, "mine").as_bytes(), &[listener.as_fd()], 0)
        .unwrap();
    drop(listener);
    assert!(matches!(door.event(), AdmissionEvent::Admitted { .. }), "it is served meanwhile");
    assert!(std::fs::read_to_string(&stat).unwrap().contains(") D "));
    assert!(reply(stream).ok);
    assert_eq!(target.wait(), 0, "it is let go");
    assert_eq!(door.event(), AdmissionEvent::Idle(ENDPOINT));
    assert_eq!(door.admission.counters().admission_unguarded.get(), 0);
    door.admission.stop();
}

#[test]
fn a_command_that_has_ended_before_it_is_looked_at_is_not_reported() {
    let _turn = turn();
    let door = open("short");
    let mut short = Command::new("true").spawn().unwrap();
    let pid = i32::try_from(short.id()).unwrap();
    short.wait().unwrap();
    let (target, listener) = spawn(|| 0);
    // As runc does: send, close, read nothing.
    let stream = door.connect();
    scm::send(stream.as_fd(), state_of(pid, r#""seccompFd""#, "mine").as_bytes(), &[listener.as_fd()], 0).unwrap();
    drop((stream, listener));
    assert!(matches!(door.event(), AdmissionEvent::Admitted { .. }));
    assert_eq!(target.wait(), 0);
    assert_eq!(door.event(), AdmissionEvent::Idle(ENDPOINT));
    assert_eq!(door.admission.counters().admission_unguarded.get(), 0);
    eventually("nobody looks any more", || threads() == ADMISSIONS_OWN);
    door.admission.stop();
}

#[test]
fn idle_is_reported_for_the_last_of_several() {
    let _turn = turn();
    let door = open("several");
    let targets: Vec<_> = (0..3)
        .map(|_| {
            let (target, listener) = spawn(one_socket);
            let stream = door.connect();
            scm::send(
                stream.as_fd(),
                state_of(target.pid, r#""seccompFd""#, "mine").as_bytes(),
                &[listener.as_fd()],
                0,
            )
            .unwrap();
            (target, stream)
        })
        .collect();
    for _ in 0..3 {
        assert!(matches!(door.event(), AdmissionEvent::Admitted { .. }));
    }
    assert_eq!(door.admission.held(ENDPOINT), (3, 0));
    for (index, (target, stream)) in targets.into_iter().enumerate() {
        assert!(reply(stream).ok, "nobody looks at it any more, who would wait for its end");
        assert!(door.events.try_recv().is_err());
        assert_eq!(target.wait(), 0);
        eventually("one less is held", || door.admission.held(ENDPOINT).0 == 2 - index);
    }
    assert_eq!(door.event(), AdmissionEvent::Idle(ENDPOINT));
    door.admission.stop();
}

/// A keeper that is killed as soon as a launcher has its answer must not take the command's sockets with it.
#[test]
fn the_answer_waits_for_an_agents_copy() {
    let _turn = turn();
    let door = open("copied");
    let hand_over = || {
        let (target, listener) = spawn(one_socket);
        let stream = door.connect();
        let state = state_of(target.pid, r#""seccompFd""#, "mine");
        scm::send(stream.as_fd(), state.as_bytes(), &[listener.as_fd()], 0).unwrap();
        assert!(matches!(door.event(), AdmissionEvent::Admitted { .. }));
        (target, stream)
    };
    door.admission.add_follower();
    let (target, mut stream) = hand_over();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(stream.read(&mut [0]).is_err(), "an answer before there is a copy");
    stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    let [number] = door.admission.numbers()[..] else { panic!("one is served") };
    let copy = door.admission.copy(number).expect("a copy");
    door.admission.note_copied(number);
    assert!(reply(stream).ok);
    drop(copy);
    assert_eq!(target.wait(), 0);
    assert_eq!(door.event(), AdmissionEvent::Idle(ENDPOINT));
    // The agent ends: nobody will get a copy.
    let (target, stream) = hand_over();
    door.admission.remove_follower();
    assert!(reply(stream).ok);
    assert_eq!(target.wait(), 0);
    door.admission.stop();
}

#[test]
fn a_detached_endpoint_stays_held_until_its_processes_end() {
    let _turn = turn();
    let door = open("detached");
    let (target, listener) = spawn(|| i32::from(socket(libc::AF_INET, libc::SOCK_STREAM, 0) != -libc::ENETDOWN));
    let (agent, container) = seqpacket_pair();
    let fds = [listener.as_fd(), agent.as_fd()];
    assert!(door.hand_over(&state_of(target.pid, r#""seccompFd","slimfastDispenserFd""#, "mine"), &fds).ok);
    drop((agent, listener));
    assert!(matches!(door.event(), AdmissionEvent::Admitted { .. }));
    door.admission.stop_endpoint(ENDPOINT);
    eventually("the dispenser is gone", || door.admission.held(ENDPOINT) == (1, 0));
    assert_eq!(target.wait(), 0);
    assert_eq!(door.event(), AdmissionEvent::Idle(ENDPOINT));
    drop(container);
    door.admission.stop();
}

#[test]
fn what_is_wrong_is_refused_and_closed() {
    let _turn = turn();
    let door = open("refused");
    let before = open_descriptors();
    let (target, listener) = spawn(|| i32::from(socket(libc::AF_INET, libc::SOCK_STREAM, 0) != -libc::ENOSYS));
    let file = std::fs::File::open("/dev/null").unwrap();
    let (l, f) = (listener.as_fd(), file.as_fd());
    let cases: [(String, Vec<BorrowedFd<'_>>, &str); 11] = [
        (state(r#""seccompFd""#, "other"), vec![l], "metadata"),
        (state(r#""seccompFd""#, "mine"), vec![f], "not a seccomp listener"),
        (state(r#""seccompFd","slimfastDispenserFd""#, "mine"), vec![l, f], "SOCK_SEQPACKET"),
        (state(r#""seccompFd""#, "mine"), vec![], "names 1"),
        (state(r#""seccompFd""#, "mine"), vec![l, f], "names 1"),
        (state(r#""other""#, "mine"), vec![l], "no seccompFd"),
        (state(r#""seccompFd","seccompFd""#, "mine"), vec![l, l], "twice"),
        (state(r#""seccompFd""#, "mine"), vec![l; 9], "9 descriptors"),
        (state(r#""seccompFd""#, "mine"), vec![l; 16], "16 descriptors"),
        ("hello".into(), vec![l], "can not be read"),
        (r#"{"fds":["sec"#.into(), vec![l], "in its middle"),
    ];
    let count = cases.len() as u64;
    for (state, fds, expected) in cases {
        let stream = door.connect();
        scm::send(stream.as_fd(), state.as_bytes(), &fds, 0).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = reply(stream);
        let error = answer.error.expect("a reason");
        assert!(!answer.ok && error.contains(expected), "{expected}: {error}");
        let AdmissionEvent::Refused { reason } = door.event() else { panic!("not refused") };
        assert!(reason.contains(expected) && reason.contains("ENOSYS"), "{reason}");
    }
    assert_eq!(door.admission.counters().admission_refused.get(), count);
    assert_eq!(door.admission.held(ENDPOINT), (0, 0));
    drop((listener, file));
    assert_eq!(target.wait(), 0, "no copy of the listener is left open");
    eventually("all is closed", || open_descriptors() == before);
    door.admission.stop();
}

#[test]
fn a_state_may_come_in_pieces_and_an_empty_connection_is_nothing() {
    let _turn = turn();
    let door = open("pieces");
    drop(door.connect());
    let (target, listener) = spawn(one_socket);
    let mut stream = door.connect();
    let text = state_of(target.pid, r#""seccompFd""#, "mine");
    for (index, piece) in text.as_bytes().chunks(40).enumerate() {
        if index == 0 {
            scm::send(stream.as_fd(), piece, &[listener.as_fd()], 0).unwrap();
        } else {
            stream.write_all(piece).unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(reply(stream).ok);
    drop(listener);
    assert_eq!(target.wait(), 0);
    assert_eq!(door.admission.counters().admission_refused.get(), 0);
    door.admission.stop();
}

#[test]
fn an_endless_state_is_cut_off() {
    let _turn = turn();
    let door = open("endless");
    let mut stream = door.connect();
    // The peer may close before all of it is written.
    let _ = stream.write_all(&vec![b' '; 70 * 1024]);
    let mut line = String::new();
    let _ = stream.read_to_string(&mut line);
    let AdmissionEvent::Refused { reason } = door.event() else { panic!("not refused") };
    assert!(reason.contains("longer than"), "{reason}");
    door.admission.stop();
}

#[test]
fn a_slow_peer_delays_nobody_and_is_given_up() {
    let _turn = turn();
    let door = open("slow");
    let mut slow: Vec<_> = (0..8).map(|_| door.connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"{").unwrap();
    }
    let start = Instant::now();
    let (target, listener) = spawn(one_socket);
    assert!(door.hand_over(&state_of(target.pid, r#""seccompFd""#, "mine"), &[listener.as_fd()]).ok);
    assert!(start.elapsed() < Duration::from_secs(2));
    drop(listener);
    assert_eq!(target.wait(), 0);
    for stream in slow {
        assert!(reply(stream).error.unwrap().contains("within 5 s"));
    }
    assert!(start.elapsed() < Duration::from_secs(7));
    door.admission.stop();
}

#[test]
fn only_root_is_let_in() {
    let _turn = turn();
    let door = open("root");
    assert_eq!(std::fs::metadata(&door.path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&door.path, std::fs::Permissions::from_mode(0o666)).unwrap();
    // SAFETY: the child makes plain system calls and exits.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: as above.
        unsafe { libc::setuid(65534) };
        let closed = UnixStream::connect(&door.path).is_ok_and(|mut s| s.read(&mut [0]).is_ok_and(|n| n == 0));
        // SAFETY: ends the child without running what belongs to the parent.
        unsafe { libc::_exit(i32::from(!closed)) };
    }
    let mut status = 0;
    // SAFETY: our child.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0);
    assert_eq!(door.admission.counters().admission_not_root.get(), 1);
    door.admission.stop();
}

#[test]
fn a_dead_agents_socket_is_replaced_and_a_living_ones_is_not() {
    let _turn = turn();
    let door = open("twice");
    let start =
        |path: &PathBuf| Admission::start(path, Box::new(|_| None), Arc::new(Sources(Plain::new())), channel().0);
    let Err(Error::Conflict { holder, .. }) = start(&door.path) else { panic!("two agents on one socket") };
    assert_eq!(holder, format!("process {}", std::process::id()));
    door.admission.stop();

    let stale = path("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    start(&stale).unwrap().stop();
    assert!(!stale.exists());

    let long = PathBuf::from(format!("/tmp/{}", "x".repeat(120)));
    assert!(matches!(start(&long), Err(Error::Invalid { .. })));
    assert!(matches!(start(&PathBuf::from("/no/such/directory/s")), Err(Error::System { .. })));
}

#[test]
fn stopping_ends_what_is_served() {
    let _turn = turn();
    let before = open_descriptors();
    let door = open("stop");
    let (target, listener) = spawn(|| i32::from(socket(libc::AF_INET, libc::SOCK_STREAM, 0) != -libc::ENOSYS));
    let (agent, container) = seqpacket_pair();
    let fds = [listener.as_fd(), agent.as_fd()];
    assert!(door.hand_over(&state_of(target.pid, r#""seccompFd","slimfastDispenserFd""#, "mine"), &fds).ok);
    drop((agent, listener));
    let events = door.events;
    door.admission.stop();
    assert_eq!(target.wait(), 0);
    drop(container);
    assert!(matches!(events.recv(), Ok(AdmissionEvent::Admitted { .. })));
    assert!(events.recv().is_err(), "nothing more is reported, and nobody holds the sender");
    eventually("all is closed", || open_descriptors() == before);
}

#[test]
fn a_hundred_short_containers_leave_nothing_behind() {
    let _turn = turn();
    let door = open("hundred");
    let before = (open_descriptors(), ADMISSIONS_OWN);
    eventually("only admission's own threads run", || threads() == before.1);
    for _ in 0..10 {
        let targets: Vec<_> = (0..10)
            .map(|_| {
                let (target, listener) = spawn(one_socket);
                let (agent, container) = seqpacket_pair();
                let fds = [listener.as_fd(), agent.as_fd()];
                assert!(door.hand_over(&state_of(target.pid, r#""seccompFd","slimfastDispenserFd""#, "mine"), &fds).ok);
                (target, container)
            })
            .collect();
        assert_eq!(door.admission.held(ENDPOINT).0, 10);
        for (target, container) in targets {
            assert_eq!(target.wait(), 0);
            drop(container);
        }
        eventually("none is held", || door.admission.held(ENDPOINT) == (0, 0));
    }
    eventually("all is closed", || (open_descriptors(), threads()) == before);
    assert_eq!(door.events.try_iter().filter(|e| matches!(e, AdmissionEvent::Idle(_))).count(), 10);
    door.admission.stop();
}
