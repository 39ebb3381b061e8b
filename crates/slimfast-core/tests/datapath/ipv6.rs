//! IPv6 overlay addresses: a dual-stack network, and one of IPv6 alone that has the same addresses.

use std::net::{IpAddr, Ipv6Addr, TcpStream};
use std::time::Instant;

use super::*;

const D: EndpointKey = EndpointKey { vni: 44, id: 11 };
const E: EndpointKey = EndpointKey { vni: 44, id: 12 };
/// Have the IPv6 addresses of D and E, in another network, and no IPv4 ones.
const F: EndpointKey = EndpointKey { vni: 45, id: 21 };
const G: EndpointKey = EndpointKey { vni: 45, id: 22 };
const D4: Ipv4Addr = Ipv4Addr::new(10, 32, 0, 11);
const E4: Ipv4Addr = Ipv4Addr::new(10, 32, 0, 12);
const D6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x32, 0, 0, 0, 0, 0, 11);
const E6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x32, 0, 0, 0, 0, 0, 12);
const PREFIX4: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 32, 0, 0), 16);
const PREFIX6: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfd00, 0x32, 0, 0, 0, 0, 0, 0), 64);
const LOOPBACK: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn start() -> Node {
    let node = Node::start();
    let dual = Prefixes { v4: Some(PREFIX4), v6: Some(PREFIX6) };
    let alone = Prefixes { v4: None, v6: Some(PREFIX6) };
    node.attach(D, Addresses { v4: Some(D4), v6: Some(D6) }, dual);
    node.attach(E, Addresses { v4: Some(E4), v6: Some(E6) }, dual);
    node.attach(F, Addresses { v4: None, v6: Some(D6) }, alone);
    node.attach(G, Addresses { v4: None, v6: Some(E6) }, alone);
    node
}

fn v6(address: Ipv6Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(address), port)
}

fn v6_only(socket: &Socket) {
    socket.set_only_v6(true).expect("IPV6_V6ONLY");
    assert!(socket.only_v6().expect("IPV6_V6ONLY"));
}

fn only_listener(node: &Node, owner: EndpointKey, address: SocketAddr) -> Socket {
    let socket = node.socket(owner, Family::Inet6);
    v6_only(&socket);
    socket.bind(&address.into()).expect("bind");
    socket.listen(16).expect("listen");
    socket
}

/// Connects from `owner`, and checks all names of both ends, whole, and a byte in each direction.
fn meet(node: &Node, listener: &Socket, owner: EndpointKey, to: SocketAddr, from: IpAddr) -> (Socket, Socket) {
    greet(node.connect(owner, to).expect("connect"), listener, to, from)
}

/// The same of a client that has connected.
fn greet(mut client: Socket, listener: &Socket, to: SocketAddr, from: IpAddr) -> (Socket, Socket) {
    let (mut accepted, name) = listener.accept().expect("accept");
    let own = local(&client);
    assert_eq!(own.ip(), from);
    assert_ne!(own.port(), 0);
    assert_eq!((peer(&client), local(&accepted)), (to, to));
    assert_eq!((peer(&accepted), name.as_socket()), (own, Some(own)));
    let mut byte = [0];
    client.write_all(&[7]).expect("write");
    accepted.read_exact(&mut byte).expect("read");
    accepted.write_all(&byte).expect("write");
    client.read_exact(&mut byte).expect("read");
    assert_eq!(byte, [7]);
    (client, accepted)
}

#[test]
fn connects_by_ipv6_in_a_dual_stack_network_and_in_one_of_ipv6_alone() {
    let node = start();
    for (here, there) in [(D, E), (F, G)] {
        let listener = node.listener(there, any6(80));
        let (client, accepted) = meet(&node, &listener, here, v6(E6, 80), D6.into());
        let connections = node.listing.connections(usize::MAX).expect("list");
        let of = |direction| connections.iter().find(|one| one.direction == direction).expect("an end");
        let (outbound, inbound) = (of(Direction::Outbound), of(Direction::Inbound));
        assert_eq!((outbound.owner, outbound.local, outbound.peer), (here, local(&client), v6(E6, 80)));
        assert_eq!((inbound.owner, inbound.local, inbound.peer), (there, v6(E6, 80), local(&client)));
        assert_eq!(outbound.underlay_peer.ip(), NODE, "the underlay is IPv4");
        let cookie = outbound.cookie;
        drop((client, accepted));
        let events = node.events();
        for event in events.iter().filter(|event| !event.connection.peer.ip().is_loopback()) {
            let (owner, local, peer) = (event.connection.owner, event.connection.local, event.connection.peer);
            let expected = if owner == here { (D6, E6) } else { (E6, D6) };
            assert_eq!((local.ip(), peer.ip()), (expected.0.into(), expected.1.into()), "{event:?}");
        }
        let kinds: Vec<_> = events.iter().filter(|one| one.connection.cookie == cookie).map(|one| one.kind).collect();
        assert_eq!(kinds, [EventKind::Opened, EventKind::Closed]);

        // ::1 is the container's own in both, and so is everything that it binds.
        let (client, _accepted) = meet(&node, &listener, there, v6(Ipv6Addr::LOCALHOST, 80), LOOPBACK);
        assert_eq!(peer(&client), v6(Ipv6Addr::LOCALHOST, 80));
        assert_eq!(node.connect_error(here, v6(Ipv6Addr::LOCALHOST, 80)), Some(libc::ECONNREFUSED));
    }
    for map in ["ports", "hidden_ports"] {
        assert_eq!(node.entries(map), 0, "{map}");
    }
}

#[test]
fn a_client_within_its_container_keeps_the_ipv6_address_that_it_has_bound() {
    const CLIENT_PORT: u16 = 5_000;
    let node = start();
    let listener = node.listener(F, any6(80));
    let mut ends = Vec::new();
    // All four at a time: what they have in common is one port each of clients and listener.
    for from in [D6, Ipv6Addr::LOCALHOST] {
        for to in [D6, Ipv6Addr::LOCALHOST] {
            let client = node.socket(F, Family::Inet6);
            client.set_reuse_address(true).expect("SO_REUSEADDR");
            client.bind(&v6(from, CLIENT_PORT).into()).expect("bind");
            client.connect(&v6(to, 80).into()).expect("connect");
            let (client, accepted) = greet(client, &listener, v6(to, 80), from.into());
            let connections = node.listing.connections(usize::MAX).expect("list");
            let names = |direction| {
                let of_direction = connections.iter().filter(move |one| one.direction == direction);
                of_direction.map(|one| (one.local, one.peer)).collect::<Vec<_>>()
            };
            let (own, other) = (v6(from, CLIENT_PORT), v6(to, 80));
            assert!(names(Direction::Outbound).contains(&(own, other)), "{connections:?}");
            assert!(names(Direction::Inbound).contains(&(other, own)), "{connections:?}");
            ends.push((client, accepted));
        }
    }
    // The same two names once more.
    let again = node.socket(F, Family::Inet6);
    again.set_reuse_address(true).expect("SO_REUSEADDR");
    again.bind(&v6(D6, CLIENT_PORT).into()).expect("bind");
    let error = again.connect(&v6(Ipv6Addr::LOCALHOST, 80).into()).expect_err("taken");
    assert_eq!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL));

    // Nobody listens on a client's port, though its number is the one that is connected to.
    let alone = node.socket(G, Family::Inet6);
    alone.bind(&v6(E6, CLIENT_PORT).into()).expect("bind");
    let error = alone.connect(&v6(Ipv6Addr::LOCALHOST, CLIENT_PORT).into()).expect_err("refused");
    assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
}

#[test]
fn each_family_reaches_the_listeners_that_take_it() {
    let node = start();
    let own = node.listener(E, v6(E6, 80));
    assert_eq!(local(&own), v6(E6, 80));
    let listed = node.listing.listeners().expect("list");
    assert_eq!(listed.iter().map(|one| (one.local, one.v6_only)).collect::<Vec<_>>(), [(v6(E6, 80), true)]);
    meet(&node, &own, D, v6(E6, 80), D6.into());
    assert_eq!(node.connect_error(D, v4(E4, 80)), Some(libc::ECONNREFUSED));
    assert_eq!(node.connect_error(E, v6(Ipv6Addr::LOCALHOST, 80)), Some(libc::ECONNREFUSED));

    // As memcached has them: IPv4 and IPv6 alone beside each other, on one port.
    let four = node.listener(E, any(81));
    let six = only_listener(&node, E, any6(81));
    let (_client, accepted) = meet(&node, &six, D, v6(E6, 81), D6.into());
    assert!(accepted.only_v6().expect("IPV6_V6ONLY"), "as the listener's");
    meet(&node, &six, E, v6(Ipv6Addr::LOCALHOST, 81), LOOPBACK);
    let client = node.connect(D, v4(E4, 81)).expect("connect");
    exchange(&four, &client, D4, v4(E4, 81));
    drop(six);
    assert_eq!(node.connect_error(D, v6(E6, 81)), Some(libc::ECONNREFUSED), "the IPv4 one takes no IPv6");

    // Dual stack takes both, each under its own names; the more specific address comes first.
    let dual = node.listener(E, any6(82));
    let client = node.connect(D, v4(E4, 82)).expect("connect");
    exchange(&dual, &client, D4, v4(E4, 82));
    meet(&node, &dual, D, v6(E6, 82), D6.into());
    let share = |address: SocketAddr| {
        let socket = node.socket(E, Family::Inet6);
        socket.set_reuse_port(true).expect("SO_REUSEPORT");
        socket.bind(&address.into()).expect("bind");
        socket.listen(16).expect("listen");
        socket
    };
    let (_wide, narrow) = (share(any6(83)), share(v6(E6, 83)));
    for _ in 0..8 {
        meet(&node, &narrow, D, v6(E6, 83), D6.into());
    }
    let published = node.listener(E, any6(84));
    node.tables.set_published(8084, E, 84).expect("publish");
    let client = std::net::TcpStream::connect(v6(Ipv6Addr::LOCALHOST, 8084)).expect("by the host's IPv6");
    let (accepted, from) = published.accept().expect("accept");
    assert_eq!((from.as_socket(), local(&accepted)), (client.local_addr().ok(), v6(E6, 84)));
    node.tables.set_published(8085, A, 84).expect("publish");
    let _listener = node.listener(A, any6(84));
    std::net::TcpStream::connect(v6(Ipv6Addr::LOCALHOST, 8085)).expect_err("it has no IPv6 address");
}

/// Of clients whose ports are the same, their addresses decide.
#[test]
fn spreads_ipv6_clients_from_outside_over_listeners_that_share_a_port() {
    const CLIENTS: u16 = 64;
    let node = start();
    let route = std::process::Command::new("ip").args(["route", "add", "local", "fd77::/64", "dev", "lo"]).status();
    assert!(route.expect("run ip").success());
    let listeners: Vec<_> = (0..4)
        .map(|_| {
            let socket = node.socket(E, Family::Inet6);
            socket.set_reuse_port(true).expect("SO_REUSEPORT");
            socket.bind(&any6(86).into()).expect("bind");
            socket.listen(i32::from(CLIENTS)).expect("listen");
            socket.set_nonblocking(true).expect("O_NONBLOCK");
            socket
        })
        .collect();
    node.tables.set_published(8086, E, 86).expect("publish");
    let connect = |client: u16| {
        let socket = Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).expect("socket");
        socket.set_freebind_v6(true).expect("IPV6_FREEBIND");
        socket.bind(&v6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, client), 40_000).into()).expect("bind");
        socket.connect(&v6(Ipv6Addr::LOCALHOST, 8086).into()).expect("connect");
        socket
    };
    let clients: Vec<_> = (1..=CLIENTS).map(connect).collect();
    let counts: Vec<_> =
        listeners.iter().map(|listener| std::iter::from_fn(|| listener.accept().ok()).count()).collect();
    assert_eq!(counts.iter().sum::<usize>(), clients.len(), "{counts:?}");
    assert!(counts.iter().all(|&count| count > 2), "{counts:?}");
}

#[test]
fn binds_by_linux_rules_and_keeps_ipv6_only_in_the_record() {
    let node = start();
    let bind = |address: SocketAddr, only: bool| {
        let socket = node.socket(D, if address.is_ipv4() { Family::Inet } else { Family::Inet6 });
        if only {
            v6_only(&socket);
        }
        socket.bind(&address.into()).map(|()| socket).map_err(|error| error.raw_os_error().expect("an errno"))
    };
    let held = bind(v6(D6, 80), false).expect("bind");
    assert_eq!(local(&held), v6(D6, 80));
    for (address, only) in [(v6(D6, 80), false), (any6(80), true), (any6(80), false)] {
        assert_eq!(bind(address, only).expect_err("in use"), libc::EADDRINUSE);
    }
    for address in [any(80), v4(D4, 80), mapped(D4, 80), v6(Ipv6Addr::LOCALHOST, 80)] {
        drop(bind(address, false).expect("beside it"));
    }
    drop(held);
    let _dual = bind(any6(80), false).expect("bind");
    for address in [v6(D6, 80), v4(D4, 80), any(80), v6(Ipv6Addr::LOCALHOST, 80)] {
        assert_eq!(bind(address, false).expect_err("in use"), libc::EADDRINUSE, "{address}");
    }
    for foreign in ["fd00:32::12", "2001:db8::1", "fe80::1", "::10.32.0.11", "64:ff9b::a20:b"] {
        let address = SocketAddr::new(foreign.parse().expect("an address"), 81);
        assert_eq!(bind(address, false).expect_err("not its address"), libc::EADDRNOTAVAIL, "{foreign}");
    }
    assert_eq!(bind(mapped(D4, 81), true).expect_err("IPv4 on a socket that takes IPv6 only"), libc::EINVAL);
    let chosen = local(&bind(v6(D6, 0), false).expect("bind"));
    assert_eq!((chosen.ip(), chosen.port() >= 32768), (D6.into(), true));

    let socket = node.socket(D, Family::Inet6);
    assert!(!socket.only_v6().expect("IPV6_V6ONLY"), "the default");
    v6_only(&socket);
    let refused = |error: std::io::Error| error.raw_os_error();
    assert_eq!(socket.connect(&mapped(E4, 80).into()).err().and_then(refused), Some(libc::ENETUNREACH));
    socket.set_only_v6(false).expect("IPV6_V6ONLY");
    assert_eq!(socket.connect(&mapped(E4, 80).into()).err().and_then(refused), Some(libc::ECONNREFUSED));
    let socket = bind(any6(82), true).expect("bind");
    assert_eq!(socket.set_only_v6(false).err().and_then(refused), Some(libc::EINVAL), "too late");
    assert!(socket.only_v6().expect("IPV6_V6ONLY"));
    let four = node.socket(D, Family::Inet);
    assert_eq!(four.set_only_v6(true).err().and_then(refused), Some(libc::ENOPROTOOPT), "not of IPv4");

    // listen(2) without bind(2); bind, then connect; to itself; and again after a disconnect.
    let unbound = node.socket(D, Family::Inet6);
    v6_only(&unbound);
    unbound.listen(16).expect("listen");
    let name = local(&unbound);
    assert_eq!(name.ip(), IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    meet(&node, &unbound, E, v6(D6, name.port()), E6.into());
    let bound = node.socket(E, Family::Inet6);
    bound.bind(&v6(E6, 5555).into()).expect("bind");
    bound.connect(&v6(D6, name.port()).into()).expect("connect");
    let (accepted, _) = unbound.accept().expect("accept");
    assert_eq!((local(&bound), peer(&accepted)), (v6(E6, 5555), v6(E6, 5555)));
    for address in [any6(5556), v6(D6, 5557)] {
        let alone = bind(address, false).expect("bind");
        let to = v6(D6, address.port());
        alone.connect(&to.into()).expect("connect to itself");
        assert_eq!((local(&alone), peer(&alone)), (to, to));
    }
}

#[test]
fn refuses_what_has_no_address_no_route_or_no_known_source() {
    let node = start();
    for owner in [D, F] {
        assert_eq!(node.connect_error(owner, v6(E6, 81)), Some(libc::ECONNREFUSED));
        let nobody = v6(Ipv6Addr::new(0xfd00, 0x32, 0, 0, 0, 0, 9, 9), 80);
        assert_eq!(node.connect_error(owner, nobody), Some(libc::EHOSTUNREACH));
        for outside in
            ["2001:db8::1", "fe80::1", "::10.32.0.12", "64:ff9b::a20:c", "ff02::1", "fd00:ec2::254", "100::a9fe:102"]
        {
            let to = SocketAddr::new(outside.parse().expect("an address"), 80);
            assert_eq!(node.connect_error(owner, to), Some(libc::ENETUNREACH), "{outside}");
        }
    }
    // A family of which the endpoint has no address has no route, but for its loopback.
    for to in [v4(E4, 80), mapped(E4, 80), v4(B_ADDRESS, 80), v4(Ipv4Addr::new(169, 254, 169, 254), 80)] {
        assert_eq!(node.connect_error(F, to), Some(libc::ENETUNREACH), "{to}");
    }
    assert_eq!(node.connect_error(A, v6(E6, 80)), Some(libc::ENETUNREACH));
    let four = node.listener(F, any(83));
    let client = node.connect(F, v4(Ipv4Addr::LOCALHOST, 83)).expect("its loopback");
    exchange(&four, &client, Ipv4Addr::LOCALHOST, v4(Ipv4Addr::LOCALHOST, 83));

    // To a plain endpoint no front port leads, but what stands for it in the node's namespace: there is no wire here.
    let plain = EndpointKey { vni: D.vni, id: 13 };
    let address = Ipv6Addr::new(0xfd00, 0x32, 0, 0, 0, 0, 0, 13);
    node.tables.set_peer(plain, address, NODE, (0, 0)).expect("set a peer");
    assert_eq!(node.connect_error(D, v6(address, 80)), Some(libc::ENETUNREACH));
    assert_eq!(node.counter("connects_plain"), 1);

    let listener = node.listener(E, any6(80));
    node.tables.set_peer(EndpointKey { vni: D.vni, id: 99 }, E6, NODE, (FRONT, 16)).expect("an outdated entry");
    assert_eq!(node.connect_error(D, v6(E6, 80)), Some(libc::ECONNREFUSED), "a stale id");
    node.tables.set_peer(E, E6, NODE, (FRONT, 16)).expect("set a peer");
    node.tables.forget_source(D).expect("forget");
    assert_eq!(node.connect_error(D, v6(E6, 80)), Some(libc::ECONNREFUSED), "nobody knows who that is");
    assert_eq!(node.counter("refused_unknown_source"), 1);
    node.tables.set_peer(D, D6, NODE, (FRONT, 16)).expect("set a peer");
    meet(&node, &listener, D, v6(E6, 80), D6.into());
}

/// Gives the node an address, and returns when packets to it arrive. The kernel adds the local route from a work queue, after `ip` has
/// returned and also without duplicate address detection; until then a SYN is answered with "no route" (ICMPv6).
fn add_address(address: Ipv6Addr) {
    let add = ["-6", "address", "add", &format!("{address}/128"), "dev", "lo", "nodad"];
    assert!(std::process::Command::new("ip").args(add).status().expect("run ip").success());
    let start = Instant::now();
    while TcpStream::connect(v6(address, 9)).is_err_and(|error| error.kind() == ErrorKind::NetworkUnreachable) {
        assert!(start.elapsed() < Duration::from_secs(10), "no route to {address}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn policies_and_egress_ranges_hold_for_ipv6() {
    let node = start();
    let _listeners = [80, 443].map(|port| node.listener(E, any6(port)));
    let policy = |verdicts: &[(u32, u32, u16, u16, bool)]| NetworkPolicy {
        vni: D.vni,
        identities: vec![(D.id, 1), (E.id, 2)],
        ..policy(false, verdicts)
    };
    node.set_policy(&policy(&[(1, 2, 443, 443, false)]));
    let mut kept = node.connect(D, v6(E6, 80)).expect("what no policy denies");
    for to in [v6(E6, 443), v4(E4, 443), mapped(E4, 443)] {
        assert_eq!(node.connect_error(D, to), Some(libc::EPERM), "{to}");
    }
    assert!(node.set_policy(&policy(&[(1, 2, 80, 80, false)])) >= 1, "established connections are cut");
    assert!(kept.read(&mut [0]).is_err());
    // The connecting node does not know yet; the listening one knows who it is by the id, and on which node.
    node.set_policy(&policy(&[(2, 1, 80, 80, false)]));
    node.tables.set_peer(D, D6, Ipv4Addr::new(192, 0, 2, 1), (FRONT, 16)).expect("set a peer");
    assert_eq!(node.connect_error(D, v6(E6, 80)), Some(libc::ECONNREFUSED), "an endpoint of another node");
    assert_eq!(node.counter("refused_policy"), 1);
    node.policies.lock().expect("the policies").remove(D.vni).expect("remove the policy");
    node.tables.set_peer(D, D6, NODE, (FRONT, 16)).expect("set a peer");

    let outside = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let metadata = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    for address in [outside, metadata] {
        add_address(address);
    }
    let server = std::net::TcpListener::bind(v6(Ipv6Addr::UNSPECIFIED, 0)).expect("a server outside of the overlay");
    let port = server.local_addr().expect("getsockname").port();
    node.tables.allow_egress(D.vni, (Ipv6Addr::UNSPECIFIED, 0)).expect("allow everything");
    let mut client = node.connect(D, v6(outside, port)).expect("an allowed range");
    assert_eq!((peer(&client), local(&client).ip()), (v6(outside, port), IpAddr::V6(D6)));
    let connections = node.listing.connections(usize::MAX).expect("list");
    assert_eq!(connections[0].underlay_peer, v6(outside, port));
    assert_eq!(node.connect_error(F, v6(outside, port)), Some(libc::ENETUNREACH), "another network's ranges");
    assert_eq!(node.connect_error(A, v6(outside, port)), Some(libc::ENETUNREACH), "it has no IPv6 address");
    node.host_addresses.lock().expect("a lock").replace(&[NODE.into(), outside.into()].into()).expect("set");
    for address in [outside, metadata] {
        assert_eq!(node.connect_error(D, v6(address, port)), Some(libc::ENETUNREACH), "by a range of many");
        node.tables.allow_egress(D.vni, (address, 128)).expect("allow by name");
        assert_eq!(node.connect_error(D, v6(address, port)), None, "{address} by name");
    }
    for never in ["::127.0.0.1", "fe80::1", "ff02::1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001::1"] {
        let to = SocketAddr::new(never.parse().expect("an address"), port);
        assert_eq!(node.connect_error(D, to), Some(libc::ENETUNREACH), "{never}");
    }
    node.tables.withdraw_egress(D.vni, (outside, 128)).expect("withdraw");
    assert!(node.listing.cut(Cut::Denied { vni: D.vni }).expect("cut") >= 1);
    assert!(client.read(&mut [0]).is_err(), "the connection is reset");
}
