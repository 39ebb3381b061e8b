//! What one endpoint may take of its node: counted exactly, whatever becomes of a socket, and refused as Linux would.

use std::net::Shutdown;
use std::thread::sleep;
use std::time::Instant;

use libbpf_rs::{MapCore as _, MapFlags};
use slimfast_core::datapath::accounts::EndpointUsage;
use slimfast_core::error::Error;

use super::*;

const FEW: EndpointLimits = EndpointLimits { sockets: 8, listeners: 2, connects_per_second: 50_000 };

impl Node {
    fn usage(&self, owner: EndpointKey) -> EndpointUsage {
        self.tables.accounts().usage(owner).expect("read the account").expect("an attached endpoint")
    }

    /// The end of a connection takes a moment: its last packets pass a queue of the kernel.
    fn expect_sockets(&self, owner: EndpointKey, sockets: u32) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.usage(owner).sockets != sockets && Instant::now() < deadline {
            sleep(Duration::from_millis(1));
        }
        assert_eq!(self.usage(owner).sockets, sockets);
    }

    fn try_socket(&self, owner: EndpointKey, tier: Tier) -> Result<Socket, Error> {
        self.sockets.for_endpoint(owner, tier).expect("a source").create(Family::Inet).map(Socket::from)
    }
}

fn errno(outcome: Result<(), std::io::Error>) -> Option<i32> {
    outcome.expect_err("refused").raw_os_error()
}

#[test]
fn sockets_end_with_the_last_who_holds_them() {
    let node = Node::start_with(FEW);
    let mut held: Vec<_> = (0..FEW.sockets).map(|_| node.socket(A, Family::Inet)).collect();
    for tier in [Tier::Notify, Tier::Preload] {
        let refused = node.try_socket(A, tier).expect_err("one too many");
        assert_eq!(refused.errno(), Some(libc::ENFILE), "{refused}");
    }
    assert_eq!(node.usage(A).sockets, FEW.sockets, "what was refused is not counted");
    assert_eq!(node.usage(A).refused_sockets, 1, "a dispenser that tries again and again is not, either");
    node.try_socket(B, Tier::Notify).expect("another endpoint has limits of its own");

    let copy = held[0].try_clone().expect("dup");
    drop(held.remove(0));
    node.try_socket(A, Tier::Notify).expect_err("the copy is the same socket");
    drop(copy);
    node.expect_sockets(A, FEW.sockets - 1);
    held.push(node.try_socket(A, Tier::Preload).expect("there is room again"));
    held.clear();
    node.expect_sockets(A, 0);
    node.expect_sockets(B, 0);
}

#[test]
fn accepted_connections_count_from_their_handshake_on() {
    let node = Node::start();
    let listener = node.listener(B, any(80));
    let connect = || Some(node.connect(A, v4(B_ADDRESS, 80)).expect("connect"));
    let mut clients = [connect(), connect(), connect(), connect()];
    node.expect_sockets(A, 4);
    node.expect_sockets(B, 5);
    let (first, _) = listener.accept().expect("accept");
    let (second, _) = listener.accept().expect("accept");
    node.expect_sockets(B, 5);
    // Reset while it waits: it can be accepted all the same, and is a socket until then.
    let reset = clients[2].take().expect("a client");
    reset.set_linger(Some(Duration::ZERO)).expect("linger");
    drop(reset);
    node.expect_sockets(A, 3);
    let (reset, _) = listener.accept().expect("accept what was reset");
    node.expect_sockets(B, 5);
    // The client's end first: it is the one that waits for the last packet, not ours.
    clients[0].take();
    drop((first, reset));
    node.expect_sockets(B, 3);
    // Takes the one that nobody has accepted with it.
    drop(listener);
    node.expect_sockets(B, 1);
    clients[1].take();
    drop(second);
    node.expect_sockets(B, 0);
    clients[3].take();
    node.expect_sockets(A, 0);
}

#[test]
fn every_kind_of_end_is_counted_once() {
    let node = Node::start();
    // Refused, unconnected again, bound only, to itself, over ::1.
    drop(node.connect(A, v4(B_ADDRESS, 81)).expect_err("nobody listens"));
    let own = node.socket(A, Family::Inet);
    own.bind(&v4(A_ADDRESS, 90).into()).expect("bind");
    own.connect(&v4(A_ADDRESS, 90).into()).expect("connect to itself");
    node.expect_sockets(A, 1);
    drop(own);
    drop({
        let bound = node.socket(A, Family::Inet6);
        bound.bind(&any6(91).into()).expect("bind");
        bound
    });
    let listener = node.listener(A, any6(92));
    let client = node.connect(A, any6(92)).expect("connect over ::1");
    node.expect_sockets(A, 3);
    let (accepted, _) = listener.accept().expect("accept");
    client.shutdown(Shutdown::Both).expect("shutdown");
    drop((client, accepted, listener));
    node.expect_sockets(A, 0);
    // Cut off, and held on to.
    let listener = node.listener(B, any(80));
    let client = node.connect(A, v4(B_ADDRESS, 80)).expect("connect");
    node.listing.cut(Cut::Endpoint(A)).expect("cut");
    node.expect_sockets(A, 1);
    drop((client, listener));
    node.expect_sockets(A, 0);
    node.expect_sockets(B, 0);
}

#[test]
fn a_full_endpoint_accepts_no_more() {
    let node = Node::start_with(FEW);
    let listener = node.listener(B, any(80));
    let room = FEW.sockets - 1;
    let mut clients: Vec<_> = (0..room).map(|_| node.connect(A, v4(B_ADDRESS, 80)).expect("connect")).collect();
    node.expect_sockets(B, FEW.sockets);
    let refused = node.connect(A, v4(B_ADDRESS, 80)).expect_err("full");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!((node.usage(B).refused_inbound, node.counter("inbound_limited")), (1, 1));
    drop(clients.remove(0));
    drop(listener.accept().expect("accept"));
    node.expect_sockets(B, FEW.sockets - 1);
    node.connect(A, v4(B_ADDRESS, 80)).expect("there is room again");
}

#[test]
fn listeners_are_counted_while_they_listen() {
    let node = Node::start_with(FEW);
    let first = node.listener(B, any(80));
    let second = node.listener(B, any6(81));
    assert_eq!(node.usage(B).listeners, 2);
    let third = node.socket(B, Family::Inet);
    assert_eq!(errno(third.bind(&any(82).into())), Some(libc::ENOBUFS));
    // listen(2) cannot be refused: the listener is out of everybody's reach instead.
    third.listen(1).expect("listen");
    assert_eq!(node.usage(B).listeners, 2);
    assert_eq!(node.usage(B).refused_listeners, 2);
    assert_eq!(node.counter("listeners_limited"), 2);
    drop(third);
    assert_eq!(node.usage(B).listeners, 2, "what was not counted is not counted off");

    node.listener(A, any(80));
    // Listens no longer, and can again.
    first.shutdown(Shutdown::Both).expect("shutdown");
    assert_eq!(node.usage(B).listeners, 1);
    first.listen(1).expect("listen");
    assert_eq!(node.usage(B).listeners, 2);
    first.listen(5).expect("a longer backlog");
    assert_eq!(node.usage(B).listeners, 2);
    node.connect(A, v4(B_ADDRESS, 80)).expect("reached");
    drop((first, second));
    assert_eq!(node.usage(B).listeners, 0);
    node.listener(B, any(82));
}

#[test]
fn connections_come_at_the_rate_of_each_endpoint() {
    let per_second = 100;
    let node = Node::start_with(EndpointLimits { connects_per_second: per_second, ..EndpointLimits::default() });
    let listener = node.socket(B, Family::Inet);
    listener.bind(&any(80).into()).expect("bind");
    listener.listen(4096).expect("listen");
    let start = Instant::now();
    let mut made = Vec::new();
    let refused = loop {
        match node.connect(A, v4(B_ADDRESS, 80)) {
            Ok(client) => made.push(client),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.raw_os_error(), Some(libc::EADDRNOTAVAIL), "{refused}");
    let most = f64::from(per_second) * (1.0 + start.elapsed().as_secs_f64()) + 1.0;
    assert!(made.len() >= per_second as usize && made.len() as f64 <= most, "{} of at most {most}", made.len());
    let usage = node.usage(A);
    assert_eq!((usage.refused_connects, node.counter("connects_limited")), (1, 1));
    assert!(node.events().iter().all(|event| event.errno.is_none()), "a storm of events would crowd others' out");

    node.connect(B, v4(B_ADDRESS, 80)).expect("another endpoint has a rate of its own");
    sleep(Duration::from_secs(1) / per_second * 2);
    node.connect(A, v4(B_ADDRESS, 80)).expect("the next one is due");
}

/// Which account, and of whom.
fn owner_of(node: &Node, account: u32) -> EndpointKey {
    let limits = node._loaded.map("limits").expect("a map");
    let bytes = limits.lookup(&account.to_ne_bytes(), MapFlags::ANY).expect("look up").expect("an element");
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    EndpointKey { vni: word(0), id: word(4) }
}

#[test]
fn an_account_is_given_out_again_when_its_last_socket_is_gone() {
    let node = Node::start();
    let accounts = node._loaded.map("limits").expect("a map").max_entries();
    let kept = node.socket(A, Family::Inet);
    for key in [A, B, C] {
        node.tables.remove_endpoint(key).expect("remove");
    }
    assert_eq!(errno(kept.connect(&v4(B_ADDRESS, 80).into())), Some(libc::ENETDOWN));
    let next = |id| EndpointKey { vni: 44, id };
    for id in 1..=2 * accounts {
        node.tables.set_endpoint(next(id), A_ADDRESS).expect("an account");
        node.tables.remove_endpoint(next(id)).expect("remove");
    }
    assert_eq!(owner_of(&node, 0), A, "the socket is counted off where it was counted");
    drop(kept);
    for id in 2 * accounts..=3 * accounts {
        node.tables.set_endpoint(next(id), A_ADDRESS).expect("an account");
        node.tables.remove_endpoint(next(id)).expect("remove");
    }
    assert_eq!(owner_of(&node, 0).vni, 44);
}

#[test]
fn nobody_claims_a_socket_that_has_an_owner() {
    let node = Node::start();
    let socket = node.socket(A, Family::Inet);
    let claim = [B.vni.to_ne_bytes(), B.id.to_ne_bytes(), [0; 4]].concat();
    // SAFETY: the kernel reads as many bytes as the value has.
    let returned =
        unsafe { libc::setsockopt(std::os::fd::AsRawFd::as_raw_fd(&socket), 0x5346, 1, claim.as_ptr().cast(), 12) };
    assert_eq!((returned, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::ENOPROTOOPT)));
    assert_eq!((node.usage(A).sockets, node.usage(B).sockets), (1, 0));
}
