//! The BPF programs on the real kernel: loaded, attached, and driven by real sockets, within one node.
//!
//! Needs root. Every test makes a network namespace and a cgroup of its own and leaves neither behind. The process moves
//! between cgroups, so the tests take turns.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slimfast_core::datapath::accounts::EndpointLimits;
use slimfast_core::datapath::events::{ConnectionEvent, EventKind, EventReader, Told};
use slimfast_core::datapath::listing::{Cut, Direction, Listing};
use slimfast_core::datapath::loader::{Loaded, NodeConstants};
use slimfast_core::datapath::policies::{NetworkPolicy, Policies, Verdict};
use slimfast_core::datapath::sockets::HostSockets;
use slimfast_core::datapath::tables::{HostAddresses, Tables};
use slimfast_core::owner::{Addresses, EndpointKey, Family, Prefixes, SocketSources, Tier};
use socket2::{SockRef, Socket};

#[path = "datapath/forged.rs"]
mod forged;
#[path = "datapath/ipv6.rs"]
mod ipv6;
#[path = "datapath/limits.rs"]
mod limits;
#[path = "datapath/reuse.rs"]
mod reuse;
#[path = "datapath/upgrade.rs"]
mod upgrade;

const NODE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const FRONT: u16 = 7000;
const A: EndpointKey = EndpointKey { vni: 42, id: 1 };
const B: EndpointKey = EndpointKey { vni: 42, id: 2 };
/// Has the same address as B, in another network.
const C: EndpointKey = EndpointKey { vni: 43, id: 2 };
const A_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 32, 0, 2);
const B_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 32, 0, 3);

static TURN: Mutex<()> = Mutex::new(());

/// A network namespace for the calling thread, with loopback up.
fn own_namespace() {
    // SAFETY: unshare(2) takes a plain integer; a thread of its own network namespace shares nothing that matters here.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "unshare: these tests need root");
    let status = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("run ip");
    assert!(status.success());
}

/// One node in a namespace, whose loopback device is its underlay.
struct Node {
    tables: Tables,
    sockets: HostSockets,
    listing: Listing,
    policies: Mutex<Policies>,
    told: Receiver<Told>,
    host_addresses: Mutex<HostAddresses>,
    _reader: EventReader,
    _loaded: Loaded,
    _cgroup: Cgroup,
    _turn: MutexGuard<'static, ()>,
}

struct Cgroup(PathBuf);

impl Cgroup {
    fn enter() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("read the mounts");
        let mount = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields[2] == "cgroup2")
            .expect("a cgroup2 mount: these tests need root and cgroup v2")[1]
            .to_owned();
        let path = PathBuf::from(mount).join(format!("sf-test-{}", std::process::id()));
        fs::create_dir(&path).expect("create a cgroup: these tests need root");
        fs::write(path.join("cgroup.procs"), std::process::id().to_string()).expect("enter the cgroup");
        Self(path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let parent = self.0.parent().expect("a cgroup below the mount");
        fs::write(parent.join("cgroup.procs"), std::process::id().to_string()).expect("leave the cgroup");
        fs::remove_dir(&self.0).expect("remove the cgroup");
    }
}

impl Node {
    fn start() -> Self {
        Self::start_with(EndpointLimits::default())
    }

    fn start_with(limits: EndpointLimits) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        own_namespace();
        let cgroup = Cgroup::enter();
        let constants = NodeConstants { address: NODE, front_first: FRONT, front_count: 16 };
        let loaded = Loaded::load(constants, &cgroup.0).expect("load the programs");
        let tables = Tables::new(&loaded, limits).expect("open the maps");
        let sockets = HostSockets::default();
        let listing = Listing::new(&loaded).expect("attach the iterators");
        let policies = Policies::new(&loaded).expect("open the maps of policies");
        let (sender, told) = channel();
        let reader = EventReader::start(
            loaded.map("events").expect("the ring"),
            loaded.map("passed_over").expect("the counts"),
            // A test that fails no longer reads.
            Box::new(move |told| drop(sender.send(told))),
        )
        .expect("read events");
        tables.set_node(NODE).expect("set the node");
        let mut host_addresses = HostAddresses::new(&tables);
        host_addresses.replace(&[NODE.into()].into()).expect("set a host address");
        let node = Self {
            tables,
            sockets,
            listing,
            policies: Mutex::new(policies),
            told,
            host_addresses: Mutex::new(host_addresses),
            _reader: reader,
            _loaded: loaded,
            _cgroup: cgroup,
            _turn: turn,
        };
        for (key, address) in [(A, A_ADDRESS), (B, B_ADDRESS), (C, B_ADDRESS)] {
            node.attach(key, address, (Ipv4Addr::new(10, 32, 0, 0), 16));
        }
        node
    }

    fn attach(&self, key: EndpointKey, addresses: impl Into<Addresses>, prefixes: impl Into<Prefixes>) {
        let addresses = addresses.into();
        self.tables.set_network(key.vni, prefixes, None).expect("set a network");
        self.tables.set_endpoint(key, addresses).expect("set an endpoint");
        for address in addresses.iter() {
            self.tables.set_peer(key, address, NODE, (FRONT, 16)).expect("set a peer");
        }
        self.sockets.admit(key);
    }
}

impl Node {
    fn socket(&self, owner: EndpointKey, family: Family) -> Socket {
        let source = self.sockets.for_endpoint(owner, Tier::Notify).expect("a source of sockets");
        Socket::from(source.create(family).expect("create a socket"))
    }

    fn listener(&self, owner: EndpointKey, address: SocketAddr) -> Socket {
        let family = if address.is_ipv4() { Family::Inet } else { Family::Inet6 };
        let socket = self.socket(owner, family);
        socket.bind(&address.into()).expect("bind");
        socket.listen(16).expect("listen");
        socket
    }

    fn connect(&self, owner: EndpointKey, to: SocketAddr) -> std::io::Result<Socket> {
        let socket = self.socket(owner, if to.is_ipv4() { Family::Inet } else { Family::Inet6 });
        socket.connect(&to.into())?;
        Ok(socket)
    }

    /// The events that come within half a second after the last one.
    fn events(&self) -> Vec<ConnectionEvent> {
        let mut all = Vec::new();
        while let Ok(told) = self.told.recv_timeout(Duration::from_millis(500)) {
            all.extend(told.events);
        }
        all
    }

    fn counter(&self, name: &str) -> u64 {
        let counters = self.tables.counters().expect("read the counters");
        counters.iter().find(|(counter, _)| *counter == name).unwrap_or_else(|| panic!("no counter {name}")).1
    }

    /// Entries of a map of the table.
    fn entries(&self, map: &str) -> usize {
        use libbpf_rs::MapCore as _;
        self._loaded.map(map).expect("a map").keys().count()
    }

    /// Handshakes that are under way: those of each set whose stamps, which are its first words, are not 0.
    fn handshakes(&self) -> usize {
        /// SF_HANDSHAKE_WAYS.
        const WAYS: usize = 4;
        use libbpf_rs::{MapCore as _, MapFlags};
        let map = self._loaded.map("handshakes").expect("a map");
        let sets = map.keys().map(|set| map.lookup(&set, MapFlags::ANY).expect("a look-up").expect("a set"));
        sets.map(|set| set.chunks(8).take(WAYS).filter(|stamp| *stamp != [0; 8]).count()).sum()
    }
}

fn v4(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(address, port))
}

fn mapped(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::V6(SocketAddrV6::new(address.to_ipv6_mapped(), port, 0, 0))
}

fn any(port: u16) -> SocketAddr {
    v4(Ipv4Addr::UNSPECIFIED, port)
}

fn any6(port: u16) -> SocketAddr {
    SocketAddr::V6(SocketAddrV6::new(std::net::Ipv6Addr::UNSPECIFIED, port, 0, 0))
}

fn local(socket: &Socket) -> SocketAddr {
    socket.local_addr().expect("getsockname").as_socket().expect("an IP address")
}

fn peer(socket: &Socket) -> SocketAddr {
    socket.peer_addr().expect("getpeername").as_socket().expect("an IP address")
}

/// Accepts, checks both ends' names against each other, and echoes a byte.
fn exchange(listener: &Socket, client: &Socket, client_address: Ipv4Addr, server: SocketAddr) {
    let (mut accepted, from) = listener.accept().expect("accept");
    let from = from.as_socket().expect("an IP address");
    assert_eq!(peer(&accepted), from);
    assert_eq!(from.port(), local(client).port());
    assert_eq!(from.ip().to_canonical(), std::net::IpAddr::V4(client_address));
    assert_eq!(local(client).ip().to_canonical(), std::net::IpAddr::V4(client_address));
    assert_eq!(peer(client), server);
    assert_eq!(local(&accepted).port(), server.port());
    assert_eq!(local(&accepted).ip().to_canonical(), server.ip().to_canonical());
    let mut byte = [0];
    let mut client = client.try_clone().expect("dup");
    client.write_all(&[7]).expect("write");
    accepted.read_exact(&mut byte).expect("read");
    accepted.write_all(&byte).expect("write");
    client.read_exact(&mut byte).expect("read");
    assert_eq!(byte, [7]);
}

#[test]
fn connects_two_endpoints_under_their_overlay_addresses() {
    let node = Node::start();
    let listener = node.listener(B, any(80));
    assert_eq!(local(&listener), any(80));
    let client = node.socket(A, Family::Inet);
    assert_eq!(local(&client), any(0));
    client.connect(&v4(B_ADDRESS, 80).into()).expect("connect");
    exchange(&listener, &client, A_ADDRESS, v4(B_ADDRESS, 80));
    let connections = node.listing.connections(usize::MAX).expect("list");
    let outbound: Vec<_> = connections.iter().filter(|c| c.direction == Direction::Outbound).collect();
    assert_eq!(outbound.len(), 1, "{connections:?}");
    assert_eq!((outbound[0].owner, outbound[0].peer), (A, v4(B_ADDRESS, 80)));
    assert_eq!(outbound[0].underlay_peer.ip(), NODE);
    assert_eq!(node.listing.listeners().expect("list")[0].local, any(80));
    drop(client);
    let events = node.events();
    let of = |kind| events.iter().filter(|event| event.kind == kind).collect::<Vec<_>>();
    assert_eq!(of(EventKind::Opened).len(), 1);
    assert_eq!(of(EventKind::Opened)[0].connection.owner, A);
    assert!(of(EventKind::Opened)[0].connection.setup_us < 1_000_000);
    assert_eq!(of(EventKind::Accepted)[0].connection.owner, B);
    assert_eq!(of(EventKind::Accepted)[0].connection.peer.ip(), A_ADDRESS);
    let closed = of(EventKind::Closed);
    assert_eq!(closed.len(), 2);
    assert!(
        closed.iter().all(|event| event.connection.bytes_sent == 1 && event.connection.bytes_received == 1),
        "{closed:?}"
    );
}

#[test]
fn a_flood_is_told_in_part_each_connection_wholly_and_the_rest_counted() {
    const CONNECTIONS: u64 = 5_000;
    let node = Node::start();
    let listener = node.listener(B, any(80));
    let source = node.sockets.for_endpoint(A, Tier::Preload).expect("a source of sockets");
    for _ in 0..CONNECTIONS {
        let client = Socket::from(source.create(Family::Inet).expect("create a socket"));
        client.connect(&v4(B_ADDRESS, 80).into()).expect("connect");
        let accepted = listener.accept().expect("accept").0;
        // A reset: nothing is left to wait for.
        client.set_linger(Some(Duration::ZERO)).expect("set SO_LINGER");
        drop((client, accepted));
    }
    let (mut events, mut passed_over) = (Vec::new(), HashMap::new());
    while let Ok(told) = node.told.recv_timeout(Duration::from_millis(1_500)) {
        events.extend(told.events);
        for (class, count) in told.passed_over {
            *passed_over.entry((class.kind, class.direction, class.tier)).or_insert(0) += count;
        }
    }
    let cookies = |kind: EventKind, direction: Direction| {
        let of = events.iter().filter(|event| event.kind == kind && event.connection.direction == direction);
        of.map(|event| event.connection.cookie).collect::<BTreeSet<_>>()
    };
    for (begun, direction, tier) in [
        (EventKind::Opened, Direction::Outbound, Tier::Preload),
        (EventKind::Accepted, Direction::Inbound, Tier::Notify),
    ] {
        let told = cookies(begun, direction);
        assert_eq!(told, cookies(EventKind::Closed, direction), "from beginning to end");
        assert!(told.len() > 100, "{}", told.len());
        for kind in [begun, EventKind::Closed] {
            let count = passed_over.get(&(kind, direction, tier)).copied().unwrap_or(0);
            assert_eq!(told.len() as u64 + count, CONNECTIONS, "{kind:?}");
            assert!(count > 0, "{kind:?}");
        }
    }
    assert_eq!(node.counter("events_lost"), 0);
}

#[test]
fn leaves_nothing_in_the_table() {
    let node = Node::start();
    for port in 0..50 {
        let listener = node.listener(B, any(1000 + port));
        let client = node.connect(A, v4(B_ADDRESS, 1000 + port)).expect("connect");
        exchange(&listener, &client, A_ADDRESS, v4(B_ADDRESS, 1000 + port));
        let bound = node.socket(A, Family::Inet);
        bound.bind(&any(0).into()).expect("bind");
        assert!(node.entries("ports") >= 2);
        assert_eq!(node.entries("hidden_ports"), 1);
    }
    for map in ["ports", "hidden_ports"] {
        assert_eq!(node.entries(map), 0, "{map}");
    }
    assert_eq!(node.handshakes(), 0);
    assert!(node.listing.listeners().expect("list").is_empty());
    assert_eq!(node.counter("accepted_stray"), 0);
}

#[test]
fn refuses_what_is_not_there() {
    let node = Node::start();
    let refused = |to| node.connect(A, to).expect_err("a refusal").kind();
    assert_eq!(refused(v4(B_ADDRESS, 81)), ErrorKind::ConnectionRefused);
    assert_eq!(refused(mapped(B_ADDRESS, 81)), ErrorKind::ConnectionRefused);
    assert_eq!(refused(v4(Ipv4Addr::new(10, 32, 9, 9), 80)), ErrorKind::HostUnreachable);
    assert_eq!(refused(mapped(Ipv4Addr::new(10, 32, 9, 9), 80)), ErrorKind::HostUnreachable);
    assert_eq!(refused(v4(Ipv4Addr::new(169, 254, 169, 254), 80)), ErrorKind::HostUnreachable);
    node.host_addresses
        .lock()
        .expect("a lock")
        .replace(&["192.0.2.1".parse().expect("an address")].into())
        .expect("set");
    assert_eq!(refused(v4(Ipv4Addr::new(192, 0, 2, 1), 80)), ErrorKind::HostUnreachable, "the host's own address");
    assert_eq!(refused("[2001:db8::1]:80".parse().expect("an address")), ErrorKind::NetworkUnreachable);
    let events = node.events();
    let outbound: Vec<_> = events.iter().filter(|event| event.connection.direction == Direction::Outbound).collect();
    assert_eq!(outbound.len(), 7);
    assert!(outbound.iter().all(|event| event.kind == EventKind::Refused));
    assert_eq!(outbound[0].errno, Some(libc::ECONNREFUSED));
    assert_eq!(outbound[2].errno, Some(libc::EHOSTUNREACH));
}

#[test]
fn a_stale_id_never_reaches_the_next_owner_of_an_address() {
    let node = Node::start();
    let _listener = node.listener(B, any(80));
    node.tables.set_peer(EndpointKey { vni: 42, id: 99 }, B_ADDRESS, NODE, (FRONT, 16)).expect("an outdated entry");
    let error = node.connect(A, v4(B_ADDRESS, 80)).expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(node.counter("refused_unknown_endpoint"), 1);
}

#[test]
fn keeps_endpoints_and_networks_apart() {
    let node = Node::start();
    let a = node.listener(A, any(80));
    let b = node.listener(B, any(80));
    let c = node.listener(C, any(80));
    for _ in 0..20 {
        let to_b = node.connect(A, v4(B_ADDRESS, 80)).expect("connect");
        exchange(&b, &to_b, A_ADDRESS, v4(B_ADDRESS, 80));
        let to_a = node.connect(B, v4(A_ADDRESS, 80)).expect("connect");
        exchange(&a, &to_a, B_ADDRESS, v4(A_ADDRESS, 80));
        let to_itself = node.connect(C, v4(B_ADDRESS, 80)).expect("connect");
        exchange(&c, &to_itself, B_ADDRESS, v4(B_ADDRESS, 80));
    }
    let error = node.connect(C, v4(A_ADDRESS, 80)).expect_err("no such address in the other network");
    assert_eq!(error.kind(), ErrorKind::HostUnreachable);
}

#[test]
fn binds_by_linux_rules_within_each_endpoint() {
    let node = Node::start();
    let try_bind = |owner, address: SocketAddr, prepare: &dyn Fn(&Socket)| {
        let socket = node.socket(owner, if address.is_ipv4() { Family::Inet } else { Family::Inet6 });
        prepare(&socket);
        socket.bind(&address.into()).map(|()| socket)
    };
    let plain: &dyn Fn(&Socket) = &|_| {};
    let v6_only: &dyn Fn(&Socket) = &|socket| socket.set_only_v6(true).expect("IPV6_V6ONLY");
    let reuse: &dyn Fn(&Socket) = &|socket| socket.set_reuse_address(true).expect("SO_REUSEADDR");
    let share: &dyn Fn(&Socket) = &|socket| socket.set_reuse_port(true).expect("SO_REUSEPORT");
    let in_use =
        |result: std::io::Result<Socket>| assert_eq!(result.expect_err("a conflict").kind(), ErrorKind::AddrInUse);

    let first = try_bind(A, any(80), plain).expect("bind");
    assert_eq!(local(&first), any(80));
    in_use(try_bind(A, any(80), plain));
    in_use(try_bind(A, v4(A_ADDRESS, 80), plain));
    in_use(try_bind(A, v4(Ipv4Addr::LOCALHOST, 80), plain));
    in_use(try_bind(A, any6(80), plain));
    let beside = try_bind(A, any6(80), v6_only).expect("a v6-only socket beside an IPv4 one");
    assert_eq!(local(&beside), any6(80));
    try_bind(B, any(80), plain).expect("another endpoint");
    drop(first);
    let specific = try_bind(A, v4(A_ADDRESS, 80), plain).expect("bind after close");
    assert_eq!(local(&specific), v4(A_ADDRESS, 80));
    try_bind(A, v4(Ipv4Addr::LOCALHOST, 80), plain).expect("another address");
    let as_mapped = try_bind(A, mapped(A_ADDRESS, 81), plain).expect("a v4-mapped address");
    assert_eq!(local(&as_mapped), mapped(A_ADDRESS, 81));

    let one = try_bind(A, any(90), reuse).expect("bind");
    let _two = try_bind(A, any(90), reuse).expect("both SO_REUSEADDR, neither listens");
    one.listen(1).expect("listen");
    in_use(try_bind(A, any(90), reuse));
    let _shared = [try_bind(A, any(91), share).expect("bind"), try_bind(A, any(91), share).expect("bind")];
    in_use(try_bind(A, any(91), plain));

    let foreign = try_bind(A, v4(B_ADDRESS, 80), plain).expect_err("not its address");
    assert_eq!(foreign.kind(), ErrorKind::AddrNotAvailable);
    let host = try_bind(A, "[2001:db8::1]:80".parse().expect("an address"), plain).expect_err("not its address");
    assert_eq!(host.kind(), ErrorKind::AddrNotAvailable);
    let chosen = local(&try_bind(A, any(0), plain).expect("bind"));
    assert!((32768..61000).contains(&chosen.port()), "{chosen}");
    let twice = try_bind(A, any(92), plain).expect("bind");
    assert_eq!(twice.bind(&any(93).into()).expect_err("bound already").kind(), ErrorKind::InvalidInput);
    assert_eq!(local(&twice), any(92));
}

#[test]
fn serves_every_kind_of_listener() {
    let node = Node::start();
    let dual = node.listener(B, any6(80));
    let client = node.connect(A, v4(B_ADDRESS, 80)).expect("connect");
    exchange(&dual, &client, A_ADDRESS, v4(B_ADDRESS, 80));
    let client = node.connect(A, mapped(B_ADDRESS, 80)).expect("connect");
    exchange(&dual, &client, A_ADDRESS, mapped(B_ADDRESS, 80));

    // As memcached has them: IPv4 and v6-only on one port.
    let four = node.listener(B, any(11211));
    let six = node.socket(B, Family::Inet6);
    six.set_only_v6(true).expect("IPV6_V6ONLY");
    six.bind(&any6(11211).into()).expect("bind");
    six.listen(16).expect("listen");
    let client = node.connect(A, v4(B_ADDRESS, 11211)).expect("connect");
    exchange(&four, &client, A_ADDRESS, v4(B_ADDRESS, 11211));

    // The more specific address wins; loopback is not reachable from outside.
    let specific = node.listener(B, v4(B_ADDRESS, 90));
    let loopback = node.listener(B, v4(Ipv4Addr::LOCALHOST, 90));
    let client = node.connect(A, v4(B_ADDRESS, 90)).expect("connect");
    exchange(&specific, &client, A_ADDRESS, v4(B_ADDRESS, 90));
    drop(specific);
    assert_eq!(node.connect(A, v4(B_ADDRESS, 90)).expect_err("refused").kind(), ErrorKind::ConnectionRefused);
    let client = node.connect(B, v4(Ipv4Addr::LOCALHOST, 90)).expect("connect");
    exchange(&loopback, &client, Ipv4Addr::LOCALHOST, v4(Ipv4Addr::LOCALHOST, 90));
    assert_eq!(
        node.connect(A, v4(Ipv4Addr::LOCALHOST, 90)).expect_err("another's loopback").kind(),
        ErrorKind::ConnectionRefused
    );
    let client = node.connect(B, "[::1]:80".parse().expect("an address")).expect("connect to a dual-stack listener");
    assert_eq!(peer(&client).to_string(), "[::1]:80");
    assert_eq!(dual.accept().expect("accept").1.as_socket().expect("an IP address").ip().to_string(), "::1");

    // A v6-only listener, of :: and of ::1, by ::1: from sockets that take IPv6 only as well.
    for (address, port) in [("[::]:83", 83), ("[::1]:84", 84)] {
        let six = node.socket(B, Family::Inet6);
        six.set_only_v6(true).expect("IPV6_V6ONLY");
        six.bind(&address.parse::<SocketAddr>().expect("an address").into()).expect("bind");
        six.listen(16).expect("listen");
        let to: SocketAddr = format!("[::1]:{port}").parse().expect("an address");
        let client = node.socket(B, Family::Inet6);
        client.set_only_v6(port == 84).expect("IPV6_V6ONLY");
        client.connect(&to.into()).expect("connect");
        let (accepted, from) = six.accept().expect("accept");
        assert_eq!((peer(&client), local(&accepted)), (to, to));
        assert_eq!(from.as_socket(), Some(local(&client)));
        assert_eq!(local(&client).ip().to_string(), "::1");
        let other = node.socket(A, Family::Inet6);
        let error = other.connect(&to.into()).expect_err("another container's loopback");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }

    // listen(2) without bind(2).
    let unbound = node.socket(B, Family::Inet);
    unbound.listen(16).expect("listen");
    let port = local(&unbound).port();
    assert_ne!(port, 0);
    let client = node.connect(A, v4(B_ADDRESS, port)).expect("connect");
    exchange(&unbound, &client, A_ADDRESS, v4(B_ADDRESS, port));

    // bind(2), then connect(2).
    let bound = node.socket(A, Family::Inet);
    bound.bind(&v4(A_ADDRESS, 5555).into()).expect("bind");
    bound.connect(&v4(B_ADDRESS, port).into()).expect("connect");
    assert_eq!(local(&bound), v4(A_ADDRESS, 5555));
    exchange(&unbound, &bound, A_ADDRESS, v4(B_ADDRESS, port));
}

#[test]
fn spreads_over_listeners_that_share_a_port() {
    let node = Node::start();
    let listeners: Vec<_> = (0..4)
        .map(|_| {
            let socket = node.socket(B, Family::Inet);
            socket.set_reuse_port(true).expect("SO_REUSEPORT");
            socket.bind(&any(80).into()).expect("bind");
            socket.listen(1024).expect("listen");
            socket.set_nonblocking(true).expect("O_NONBLOCK");
            socket
        })
        .collect();
    let served = |listeners: &[Socket]| {
        let clients: Vec<_> = (0..200).map(|_| node.connect(A, v4(B_ADDRESS, 80)).expect("connect")).collect();
        let counts: Vec<_> =
            listeners.iter().map(|listener| std::iter::from_fn(|| listener.accept().ok()).count()).collect();
        assert_eq!(counts.iter().sum::<usize>(), clients.len(), "{counts:?}");
        counts
    };
    assert!(served(&listeners).iter().all(|&count| count > 10));
    let mut listeners = listeners;
    listeners.remove(1);
    assert!(served(&listeners).iter().all(|&count| count > 10));
}

#[test]
fn hides_real_ports_and_answers_strangers_with_a_reset() {
    let node = Node::start();
    let _listener = node.listener(B, any(80));
    let real = std::fs::read_to_string("/proc/thread-self/net/tcp").expect("the namespace's sockets");
    let real_port = real
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.strip_prefix("00000000:"))
        .find_map(|port| u16::from_str_radix(port, 16).ok())
        .expect("the host socket listens somewhere");
    let stranger = |port| std::net::TcpStream::connect(v4(NODE, port)).expect_err("a reset").kind();
    assert_eq!(stranger(real_port), ErrorKind::ConnectionRefused);
    assert_eq!(node.counter("refused_hidden"), 1);
    assert_eq!(stranger(FRONT), ErrorKind::ConnectionRefused);
    assert_eq!(node.counter("refused_no_flow"), 1);
    assert_eq!(node.counter("syns_no_option"), 1);
}

#[test]
fn publishes_a_host_port() {
    let node = Node::start();
    let listener = node.listener(B, any(80));
    node.tables.set_published(8080, B, 80).expect("publish");
    let client = std::net::TcpStream::connect(v4(NODE, 8080)).expect("connect from the host");
    let (accepted, from) = listener.accept().expect("accept");
    assert_eq!(from.as_socket(), client.local_addr().ok(), "the client's real address");
    assert_eq!(local(&accepted), v4(B_ADDRESS, 80));
    node.tables.remove_published(8080).expect("withdraw");
    std::net::TcpStream::connect(v4(NODE, 8080)).expect_err("withdrawn");
}

#[test]
fn cuts_an_endpoint_off() {
    let node = Node::start();
    let listener = node.listener(B, any(80));
    let other = node.listener(A, any(80));
    let mut client = node.connect(A, v4(B_ADDRESS, 80)).expect("connect");
    let (_accepted, _) = listener.accept().expect("accept");
    assert!(node.listing.cut(Cut::Endpoint(B)).expect("cut") > 0);
    assert_eq!(client.read(&mut [0]).expect_err("reset").kind(), ErrorKind::ConnectionReset);
    assert_eq!(node.connect(A, v4(B_ADDRESS, 80)).expect_err("no listener").kind(), ErrorKind::ConnectionRefused);
    let to_a = node.connect(B, v4(A_ADDRESS, 80)).expect("the other endpoint is untouched");
    exchange(&other, &to_a, B_ADDRESS, v4(A_ADDRESS, 80));
    let left_over = [node.socket(B, Family::Inet), node.socket(B, Family::Inet), node.socket(B, Family::Inet)];
    node.tables.remove_endpoint(B).expect("detach");
    let down =
        |result: std::io::Result<()>| assert_eq!(result.expect_err("detached").raw_os_error(), Some(libc::ENETDOWN));
    down(left_over[0].connect(&v4(A_ADDRESS, 80).into()));
    down(left_over[1].bind(&any(81).into()));
    left_over[2].listen(1).expect("listen(2) itself cannot be refused");
    let port = local(&left_over[2]).port();
    assert_eq!(node.connect(A, v4(B_ADDRESS, port)).expect_err("not dispatched").kind(), ErrorKind::ConnectionRefused);
    node.sockets.dismiss(B);
    assert!(node.sockets.for_endpoint(B, Tier::Notify).is_err());
}

#[test]
fn leaves_sockets_without_a_record_alone() {
    let node = Node::start();
    let listener = std::net::TcpListener::bind(v4(NODE, 0)).expect("bind");
    let address = listener.local_addr().expect("getsockname");
    let client = std::net::TcpStream::connect(address).expect("connect");
    assert_eq!(client.peer_addr().expect("getpeername"), address);
    assert_eq!(SockRef::from(&client).local_addr().ok().and_then(|a| a.as_socket()), client.local_addr().ok());
    assert_eq!(node.counter("connects_outside"), 0);
}

/// A policy of network 42 in which A has identity 1 and B identity 2.
fn policy(is_default_deny: bool, verdicts: &[(u32, u32, u16, u16, bool)]) -> NetworkPolicy {
    NetworkPolicy {
        vni: A.vni,
        is_default_deny,
        identities: vec![(A.id, 1), (B.id, 2)],
        verdicts: verdicts
            .iter()
            .map(|&(from, to, first, last, is_allowed)| Verdict { from, to, ports: first..=last, is_allowed })
            .collect(),
    }
}

impl Node {
    fn set_policy(&self, policy: &NetworkPolicy) -> u32 {
        self.policies.lock().expect("the policies").set(policy).expect("set the policy");
        self.listing.cut(Cut::Denied { vni: policy.vni }).expect("cut what is denied")
    }

    fn connect_error(&self, owner: EndpointKey, to: SocketAddr) -> Option<i32> {
        self.connect(owner, to).err().and_then(|error| error.raw_os_error())
    }
}

#[test]
fn policies_decide_who_may_connect() {
    let node = Node::start();
    let _listeners = [80, 443, 8080].map(|port| node.listener(B, any(port)));
    let _elsewhere = node.listener(C, any(80));
    let _back = node.listener(A, any(80));
    let to = |port| v4(B_ADDRESS, port);

    node.set_policy(&policy(false, &[(1, 2, 400, 500, false)]));
    assert_eq!(node.connect_error(A, to(443)), Some(libc::EPERM), "denied by a range of ports");
    assert_eq!(node.connect_error(A, mapped(B_ADDRESS, 443)), Some(libc::EPERM), "v4-mapped");
    for allowed in [to(80), to(8080)] {
        node.connect(A, allowed).expect("what no policy denies");
    }
    node.connect(B, v4(A_ADDRESS, 80)).expect("the other direction");
    node.connect(C, v4(B_ADDRESS, 80)).expect("another network");

    node.set_policy(&policy(true, &[(1, 2, 80, 80, true)]));
    node.connect(A, to(80)).expect("what a policy allows");
    assert_eq!(node.connect_error(A, to(8080)), Some(libc::EPERM), "denied by default");
    assert_eq!(node.connect_error(B, v4(A_ADDRESS, 80)), Some(libc::EPERM));
    for own in [v4(B_ADDRESS, 8080), v4(Ipv4Addr::LOCALHOST, 8080)] {
        node.connect(B, own).expect("within the container");
    }
    node.connect(C, v4(B_ADDRESS, 80)).expect("another network");
    let mut stranger = policy(true, &[(1, 2, 80, 80, true)]);
    stranger.identities.truncate(1);
    node.set_policy(&stranger);
    assert_eq!(node.connect_error(A, to(80)), Some(libc::EPERM), "somebody that the policy does not know");

    assert_eq!(node.counter("connects_denied_policy"), 5);
    node.policies.lock().expect("the policies").remove(A.vni).expect("remove the policy");
    node.connect(A, to(8080)).expect("no policy any more");
    for map in ["policies", "identities", "verdicts"] {
        assert_eq!(node.entries(map), 0, "{map}");
    }
    let denied: Vec<_> = node.events().into_iter().filter(|event| event.errno == Some(libc::EPERM)).collect();
    assert_eq!(denied.len(), 5);
    assert!(denied.iter().all(|event| event.connection.direction == Direction::Outbound));
}

/// The connecting end has been told of no policy for its own id; the listening end knows better.
#[test]
fn policies_hold_at_the_listening_end() {
    let node = Node::start();
    let _listener = node.listener(B, any(80));
    node.set_policy(&policy(false, &[(2, 1, 80, 80, false)]));
    node.connect(A, v4(B_ADDRESS, 80)).expect("what no policy denies");
    // Somebody that the listening node does not know, or knows on another node.
    node.tables.remove_peer(A.vni, A_ADDRESS).expect("remove a peer");
    assert_eq!(node.connect_error(A, v4(B_ADDRESS, 80)), Some(libc::ECONNREFUSED), "an unknown peer");
    node.tables.set_peer(A, A_ADDRESS, Ipv4Addr::new(192, 0, 2, 1), (FRONT, 16)).expect("set a peer");
    assert_eq!(node.connect_error(A, v4(B_ADDRESS, 80)), Some(libc::ECONNREFUSED), "a peer of another node");
    // The address has become that of somebody whom the policy denies, and the connecting node has not heard of it.
    let denied = EndpointKey { vni: A.vni, id: 3 };
    let policy = NetworkPolicy {
        identities: vec![(A.id, 1), (B.id, 2), (denied.id, 3)],
        ..policy(false, &[(3, 2, 1, 65_535, false)])
    };
    node.set_policy(&policy);
    node.tables.set_peer(denied, A_ADDRESS, NODE, (FRONT, 16)).expect("set a peer");
    assert_eq!(node.connect_error(A, v4(B_ADDRESS, 80)), Some(libc::ECONNREFUSED), "a denied identity");
    assert_eq!(node.counter("refused_policy"), 3);
    let refused: Vec<_> = node.events().into_iter().filter(|event| event.errno == Some(libc::EPERM)).collect();
    assert_eq!(refused.len(), 3);
    assert!(refused.iter().all(|event| event.connection.direction == Direction::Inbound));
}

/// Both ends are on one node, and each denies where the other one would not.
#[test]
fn each_end_denies_by_default() {
    let node = Node::start();
    let listener = node.listener(B, any(80));
    listener.set_nonblocking(true).expect("O_NONBLOCK");
    let to = v4(B_ADDRESS, 80);
    let denials = || (node.counter("connects_denied_policy"), node.counter("refused_policy"));

    node.set_policy(&policy(true, &[]));
    assert_eq!(node.connect_error(A, to), Some(libc::EPERM));
    assert_eq!(denials(), (1, 0), "nothing has come to the listening end");

    // A may. That its address is another's is known to the listening end alone, and of the other no policy says anything.
    let other = EndpointKey { vni: A.vni, id: 3 };
    let identities = vec![(A.id, 1), (B.id, 2), (other.id, 3)];
    node.set_policy(&NetworkPolicy { identities, ..policy(true, &[(1, 2, 80, 80, true)]) });
    node.connect(A, to).expect("what a policy allows");
    listener.accept().expect("accept");
    node.tables.set_peer(other, A_ADDRESS, NODE, (FRONT, 16)).expect("set a peer");
    assert_eq!(node.connect_error(A, to), Some(libc::ECONNREFUSED));
    assert_eq!(denials(), (1, 1), "the connecting end has let it go");
    assert_eq!(listener.accept().expect_err("nothing has got through").kind(), ErrorKind::WouldBlock);
    let directions: Vec<_> = node
        .events()
        .into_iter()
        .filter(|event| event.errno == Some(libc::EPERM))
        .map(|event| event.connection.direction)
        .collect();
    assert_eq!(directions, [Direction::Outbound, Direction::Inbound]);
}

#[test]
fn cuts_what_a_policy_no_longer_allows_and_single_connections() {
    let node = Node::start();
    let listener = node.listener(B, any(80));
    let other = node.listener(B, any(81));
    let open = |listener: &Socket, port| {
        let client = node.connect(A, v4(B_ADDRESS, port)).expect("connect");
        let (accepted, _) = listener.accept().expect("accept");
        (client, accepted)
    };
    let (mut denied, mut denied_end) = open(&listener, 80);
    let (mut kept, mut kept_end) = open(&other, 81);
    let mut byte = [0];
    // One end or both: the reset of the first may have ended the other before its turn.
    assert!(matches!(node.set_policy(&policy(false, &[(1, 2, 80, 80, false)])), 1 | 2));
    for end in [&mut denied, &mut denied_end] {
        let error = end.read(&mut byte).expect_err("cut").raw_os_error();
        assert!(matches!(error, Some(libc::ECONNABORTED | libc::ECONNRESET)), "{error:?}");
    }
    listener.set_nonblocking(true).expect("O_NONBLOCK");
    assert_eq!(listener.accept().expect_err("still listening").kind(), ErrorKind::WouldBlock);
    kept.write_all(&[1]).expect("write");
    kept_end.read_exact(&mut byte).expect("read");
    assert_eq!(node.set_policy(&policy(false, &[(1, 2, 80, 80, false)])), 0, "nothing is left to cut");

    let connections = node.listing.connections(usize::MAX).expect("list");
    let cookie = connections.iter().find(|one| one.direction == Direction::Outbound).expect("the client").cookie;
    assert_eq!(node.listing.cut(Cut::Cookie(cookie)).expect("cut"), 1);
    assert_eq!(kept.read(&mut byte).expect_err("cut").raw_os_error(), Some(libc::ECONNABORTED));
    assert_eq!(kept_end.read(&mut byte).expect_err("reset").raw_os_error(), Some(libc::ECONNRESET));
    assert_eq!(node.listing.cut(Cut::Cookie(cookie)).expect("cut"), 0);
}

#[test]
fn refuses_policies_that_make_no_sense() {
    let node = Node::start();
    let mut policies = node.policies.lock().expect("the policies");
    let overlapping = policy(false, &[(1, 2, 80, 90, true), (1, 2, 85, 85, false)]);
    let nobody = NetworkPolicy { identities: vec![(A.id, 0)], ..policy(true, &[]) };
    let too_many = NetworkPolicy {
        verdicts: (0..262_145).map(|to| Verdict { from: 1, to, ports: 80..=80, is_allowed: true }).collect(),
        ..policy(false, &[])
    };
    for wrong in [overlapping, nobody, too_many] {
        policies.set(&wrong).expect_err("a policy that makes no sense");
        for map in ["policies", "identities", "verdicts"] {
            assert_eq!(node.entries(map), 0, "{map}");
        }
    }
}

#[test]
fn leaves_the_overlay_for_allowed_ranges_only() {
    let node = Node::start();
    let outside = Ipv4Addr::new(198, 51, 100, 1);
    let metadata = Ipv4Addr::new(169, 254, 169, 254);
    for address in [outside, metadata] {
        let status = std::process::Command::new("ip")
            .args(["address", "add", &format!("{address}/32"), "dev", "lo"])
            .status()
            .expect("run ip");
        assert!(status.success());
    }
    let server = std::net::TcpListener::bind(any(0)).expect("a server outside of the overlay");
    let port = server.local_addr().expect("getsockname").port();
    let both = |address: Ipv4Addr| [v4(address, port), mapped(address, port)];
    let errors = |owner, address| both(address).map(|to| node.connect_error(owner, to));

    assert_eq!(errors(A, outside), [Some(libc::ENETUNREACH); 2], "no range is the default");
    assert_eq!(node.counter("connects_denied_egress"), 2);
    node.tables.allow_egress(A.vni, (Ipv4Addr::new(198, 51, 100, 0), 24)).expect("allow");
    assert_eq!(errors(C, outside), [Some(libc::ENETUNREACH); 2], "another network's ranges");
    let mut connected: Vec<Socket> = both(outside).map(|to| node.connect(A, to).expect("an allowed range")).into();
    assert_eq!(peer(&connected[0]), v4(outside, port));
    assert_eq!(peer(&connected[1]), mapped(outside, port));
    assert_eq!(node.counter("connects_outside"), 2);

    // Everything: but what only an entry of its own opens stays closed, and the container's loopback is its own.
    node.tables.allow_egress(A.vni, (Ipv4Addr::UNSPECIFIED, 0)).expect("allow everything");
    node.host_addresses.lock().expect("a lock").replace(&[NODE.into(), outside.into()].into()).expect("set");
    assert_eq!(errors(A, outside), [Some(libc::EHOSTUNREACH); 2], "the node's own address, by a range of many");
    assert_eq!(errors(A, metadata), [Some(libc::EHOSTUNREACH); 2]);
    for (never, error) in [
        (Ipv4Addr::new(0, 1, 2, 3), libc::EHOSTUNREACH),
        (Ipv4Addr::new(224, 0, 0, 1), libc::ENETUNREACH),
        (Ipv4Addr::new(240, 0, 0, 1), libc::ENETUNREACH),
    ] {
        assert_eq!(errors(A, never), [Some(error); 2], "{never}");
    }
    assert_eq!(errors(A, NODE), [Some(libc::ECONNREFUSED); 2], "nobody listens on the container's own loopback");
    // Only what lies within ::ffff:0:0/96 is IPv4: IPv4-compatible, NAT64 and link-local addresses are a family without a route.
    for address in ["::198.51.100.1", "64:ff9b::c633:6401", "fe80::1", "fd00:ec2::254"] {
        let to = SocketAddr::new(address.parse().expect("an address"), port);
        assert_eq!(node.connect_error(A, to), Some(libc::ENETUNREACH), "{address}");
    }
    for address in [outside, metadata] {
        node.tables.allow_egress(A.vni, (address, 32)).expect("allow by name");
        assert_eq!(errors(A, address), [None; 2], "{address} by name");
    }

    // What is withdrawn is cut.
    node.tables.withdraw_egress(A.vni, (outside, 32)).expect("withdraw");
    assert!(node.listing.cut(Cut::Denied { vni: A.vni }).expect("cut") >= 2);
    for client in &mut connected {
        assert!(client.read(&mut [0]).is_err(), "the connection is reset");
    }
    assert_eq!(errors(A, outside), [Some(libc::EHOSTUNREACH); 2]);
}
