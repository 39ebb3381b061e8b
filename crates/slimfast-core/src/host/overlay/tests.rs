//! Two nodes in namespaces of their own, joined by a wire: what passes, what must not, and that everything is undone.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::journal::{Change, Journal};
use super::super::netns;
use super::super::steps::fail_at;
use super::super::testing::{RunDir, TestNs, assert_same_picture, one_ping, pings, run, two_nodes, udp, unique};
use super::*;
use crate::error::Error;

const A: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 2);
/// More steps than any operation has.
const STEPS_MAX: usize = 100;

fn config(node: &TestNs, underlay: Ipv4Addr, vni: u32) -> RouterConfig {
    RouterConfig { node_name: node.name.clone(), vni, underlay, vxlan_port: 4789, has_ipv6: false }
}

fn router(node: &TestNs, underlay: Ipv4Addr, vni: u32, journal: &Arc<Journal>) -> Router {
    Router::ensure(&node.ns, &config(node, underlay, vni), journal).expect("a router")
}

fn endpoint(id: u32, addresses: impl Into<Addresses>) -> LocalEndpoint {
    LocalEndpoint { id, addresses: addresses.into(), netns: unique("ep") }
}

fn v4(endpoint: &LocalEndpoint) -> Ipv4Addr {
    endpoint.addresses.v4.expect("an IPv4 address")
}

#[test]
fn endpoints_of_two_nodes_reach_each_other_and_nothing_is_left() {
    let (a, b) = two_nodes();
    let run_dir = RunDir::new();
    let before = (a.picture(), b.picture());
    let mut router_a = router(&a, A, 42, &run_dir.journal);
    let mut router_b = router(&b, B, 42, &run_dir.journal);
    assert_eq!(router_a.mtu(), 1450);
    let (one, two) = (endpoint(1, Ipv4Addr::new(10, 32, 0, 1)), endpoint(2, Ipv4Addr::new(10, 32, 0, 2)));
    let neighbour = endpoint(3, Ipv4Addr::new(10, 32, 0, 3));
    router_a.attach(&one).expect("attach");
    router_a.attach(&neighbour).expect("attach");
    router_b.attach(&two).expect("attach");
    router_a.set_remote(v4(&two), B).expect("remote");
    router_b.set_remotes(&[(v4(&one), A), (v4(&neighbour), A)]).expect("remotes");

    assert!(pings(&one.netns, v4(&two)), "across the nodes");
    assert!(pings(&two.netns, v4(&one)), "and back");
    assert!(pings(&one.netns, v4(&neighbour)), "on one node");
    assert!(!pings(&one.netns, A), "the node itself is out of reach");
    let (from, to) = (udp(&one.netns, v4(&one)), udp(&two.netns, v4(&two)));
    from.send_to(b"hello", to.local_addr().expect("bound")).expect("send");
    let mut bytes = [0; 16];
    let (length, peer) = to.recv_from(&mut bytes).expect("receive");
    assert_eq!((&bytes[..length], peer), (&b"hello"[..], from.local_addr().expect("bound")));
    // No neighbour was ever asked for.
    assert!(!run("ip", &["-n", &one.netns, "neighbour"]).contains("REACHABLE"));
    assert!(run("ip", &["-n", &one.netns, "link", "show", "eth0"]).contains("mtu 1450"));

    router_a.destroy().expect("destroy");
    router_b.destroy().expect("destroy");
    assert_same_picture(&a.picture(), &before.0, "node a");
    assert_same_picture(&b.picture(), &before.1, "node b");
    assert!(![&one, &two, &neighbour].iter().any(|endpoint| netns::exists(&endpoint.netns)));
    assert_eq!(run_dir.journal.changes(), []);
}

#[test]
fn endpoints_reach_each_other_by_ipv6_beside_ipv4_and_alone() {
    let (a, b) = two_nodes();
    let run_dir = RunDir::new();
    let before = (a.picture(), b.picture());
    let router = |node: &TestNs, underlay| {
        let config = RouterConfig { has_ipv6: true, ..config(node, underlay, 42) };
        Router::ensure(&node.ns, &config, &run_dir.journal).expect("a router")
    };
    let (mut router_a, mut router_b) = (router(&a, A), router(&b, B));
    let name = router_name(&a.name, 42);
    let [x, y, z] = [1, 2, 3].map(|last| Ipv6Addr::new(0xfd00, 0x32, 0, 0, 0, 0, 0, last));
    let dual = |last, v6| Addresses { v4: Some(Ipv4Addr::new(10, 32, 0, last)), v6: Some(v6) };
    let (one, two) = (endpoint(1, dual(1, x)), endpoint(2, Addresses { v4: None, v6: Some(y) }));
    let neighbour = endpoint(3, dual(3, z));
    let empty = run("ip", &["-n", &name, "-6", "route"]) + &run("ip", &["-n", &name, "neighbour"]);
    for endpoint in [&one, &neighbour] {
        router_a.attach(endpoint).expect("attach");
    }
    router_b.attach(&two).expect("attach");
    router_a.set_remote(y, B).expect("remote");
    for endpoint in [&one, &neighbour] {
        let remotes: Vec<_> = endpoint.addresses.iter().map(|address| (address, A)).collect();
        router_b.set_remotes(&remotes).expect("remotes");
    }

    assert!(pings(&one.netns, y), "across the nodes, at once");
    assert!(pings(&two.netns, x), "and back");
    assert!(pings(&one.netns, z), "on one node");
    assert!(pings(&one.netns, v4(&neighbour)), "by IPv4 as well");
    let (from, to) = (udp(&one.netns, x), udp(&two.netns, y));
    from.send_to(b"hello", to.local_addr().expect("bound")).expect("send");
    let mut bytes = [0; 16];
    let (length, peer) = to.recv_from(&mut bytes).expect("receive");
    assert_eq!((&bytes[..length], peer), (&b"hello"[..], from.local_addr().expect("bound")));
    let started = Instant::now();
    let nobody = Ipv6Addr::new(0xfd00, 0x32, 0, 0, 0, 0, 9, 9);
    assert!(one_ping(&one.netns, nobody).contains("From 100::a9fe:101"), "unreachable, at once");
    assert!(started.elapsed() < Duration::from_secs(1));
    // 1450 less 40 of IPv6 and 8 of ICMPv6, not to be fragmented.
    run("ip", &["netns", "exec", &one.netns, "ping", "-c1", "-W1", "-M", "do", "-s", "1402", &y.to_string()]);
    let inside = run("ip", &["-n", &one.netns, "-6", "address", "show", "dev", "eth0"]);
    assert_eq!(inside.matches("inet6").count(), 1, "its own address alone, and no link-local one: {inside}");
    assert!(!inside.contains("tentative"), "{inside}");
    assert!(!run("ip", &["-n", &one.netns, "neighbour"]).contains("REACHABLE"), "nobody was ever asked for");
    // What the other node's router cannot pass on is told to whoever sent it.
    run("ip", &["-n", &router_name(&b.name, 42), "link", "set", "ep2", "mtu", "1300"]);
    let too_long = NetNs::open(&one.netns).expect("the namespace exists").run(|| {
        let output = Command::new("ping").args(["-c1", "-W1", "-M", "do", "-s", "1402", &y.to_string()]).output();
        output.map_err(|error| Error::system("exec", "ping", error))
    });
    let too_long = String::from_utf8_lossy(&too_long.expect("ping runs").stdout).into_owned();
    assert!(too_long.contains("From 100::a9fe:101") && too_long.contains("mtu=1300"), "{too_long}");
    assert!(run("ip", &["-n", &one.netns, "-6", "route", "get", &y.to_string()]).contains("mtu 1300"));

    // A local endpoint comes before a remote one with its address, which gets its route back.
    router_a.set_remote(x, B).expect("remote");
    let route = || run("ip", &["-n", &name, "-6", "route", "show", "fd00:32::1"]);
    assert!(route().contains("dev ep1"), "{}", route());
    router_a.detach(1).expect("detach");
    assert!(route().contains("via fe80::ac8:2 dev vxlan0"), "{}", route());
    router_a.detach(3).expect("detach");
    router_a.remove_remotes(&[x, y]).expect("remove");
    let left = run("ip", &["-n", &name, "-6", "route"]) + &run("ip", &["-n", &name, "neighbour"]);
    assert_eq!(left, empty);
    router_a.destroy().expect("destroy");
    router_b.destroy().expect("destroy");
    assert_same_picture(&a.picture(), &before.0, "node a");
    assert_same_picture(&b.picture(), &before.1, "node b");
}

#[test]
fn full_sized_packets_pass_and_larger_ones_are_named_too_large() {
    let (a, b) = two_nodes();
    let run_dir = RunDir::new();
    let (mut router_a, mut router_b) = (router(&a, A, 42, &run_dir.journal), router(&b, B, 42, &run_dir.journal));
    let (one, two) = (endpoint(1, Ipv4Addr::new(10, 32, 0, 1)), endpoint(2, Ipv4Addr::new(10, 32, 0, 2)));
    router_a.attach(&one).expect("attach");
    router_b.attach(&two).expect("attach");
    router_a.set_remote(v4(&two), B).expect("remote");
    router_b.set_remote(v4(&one), A).expect("remote");
    // 1450 less 20 of IPv4 and 8 of ICMP, not to be fragmented.
    run("ip", &["netns", "exec", &one.netns, "ping", "-c1", "-W1", "-M", "do", "-s", "1422", "10.32.0.2"]);
    router_a.destroy().expect("destroy");
    router_b.destroy().expect("destroy");
}

#[test]
fn networks_with_one_prefix_stay_apart() {
    let (a, b) = two_nodes();
    let run_dir = RunDir::new();
    let (x, y) = (Ipv4Addr::new(10, 32, 0, 1), Ipv4Addr::new(10, 32, 0, 2));
    let mut routers: Vec<(Router, Router, LocalEndpoint, LocalEndpoint)> = [42, 43]
        .map(|vni| {
            let (mut at_a, mut at_b) = (router(&a, A, vni, &run_dir.journal), router(&b, B, vni, &run_dir.journal));
            let (here, there) = (endpoint(1, x), endpoint(2, y));
            at_a.attach(&here).expect("attach");
            at_b.attach(&there).expect("attach");
            at_a.set_remote(y, B).expect("remote");
            at_b.set_remote(x, A).expect("remote");
            (at_a, at_b, here, there)
        })
        .into();
    let sockets: Vec<_> =
        routers.iter().map(|(_, _, here, there)| (udp(&here.netns, x), udp(&there.netns, y))).collect();
    for (network, (from, to)) in sockets.iter().enumerate() {
        from.send_to(&[network as u8], to.local_addr().expect("bound")).expect("send");
        let mut byte = [0];
        to.recv(&mut byte).expect("receive");
        assert_eq!(byte, [network as u8]);
    }
    // Without its peer, the second network's address is nowhere, whatever the first one has there.
    let (at_a, ..) = &mut routers[1];
    at_a.remove_remote(y).expect("remove");
    assert!(!pings(&routers[1].2.netns, y));
    assert!(pings(&routers[0].2.netns, y));
    for (at_a, at_b, ..) in routers {
        at_a.destroy().expect("destroy");
        at_b.destroy().expect("destroy");
    }
}

#[test]
fn unknown_destinations_are_unreachable_at_once_and_foreign_sources_are_dropped() {
    let (a, _b) = two_nodes();
    let run_dir = RunDir::new();
    let mut router = router(&a, A, 42, &run_dir.journal);
    let (one, two) = (endpoint(1, Ipv4Addr::new(10, 32, 0, 1)), endpoint(2, Ipv4Addr::new(10, 32, 0, 2)));
    router.attach(&one).expect("attach");
    router.attach(&two).expect("attach");
    let started = Instant::now();
    let answer = one_ping(&one.netns, Ipv4Addr::new(10, 32, 9, 9));
    assert!(answer.contains("From 169.254.1.1") && answer.contains("Destination Host Unreachable"), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(1));

    run("ip", &["-n", &one.netns, "address", "add", "10.32.0.77/32", "dev", "eth0"]);
    let (forger, victim) = (udp(&one.netns, Ipv4Addr::new(10, 32, 0, 77)), udp(&two.netns, v4(&two)));
    victim.set_read_timeout(Some(Duration::from_millis(300))).expect("a time limit");
    forger.send_to(b"x", victim.local_addr().expect("bound")).expect("send");
    victim.recv(&mut [0]).expect_err("a source that is not the endpoint's own");
    router.destroy().expect("destroy");
}

#[test]
fn remotes_are_idempotent_move_and_vanish_with_their_node() {
    let (a, _b) = two_nodes();
    let run_dir = RunDir::new();
    let mut router = router(&a, A, 42, &run_dir.journal);
    let name = router_name(&a.name, 42);
    let state = || {
        let routes = run("ip", &["-n", &name, "route"]);
        let forwarding = run("bridge", &["-n", &name, "fdb"]);
        routes + &run("ip", &["-n", &name, "neighbour"]) + &forwarding
    };
    let empty = state();
    let (x, y) = (Ipv4Addr::new(10, 32, 0, 1), Ipv4Addr::new(10, 32, 0, 2));
    let (b, c) = (Ipv4Addr::new(10, 200, 0, 2), Ipv4Addr::new(10, 200, 0, 3));
    router.set_remotes(&[(x, b), (y, b)]).expect("set");
    let both = state();
    router.set_remotes(&[(x, b), (y, c), (y, b)]).expect("set again");
    assert_eq!(state(), both);
    router.set_remote(x, c).expect("move");
    assert!(state().contains("10.32.0.1 via 10.200.0.3"), "{}", state());
    router.set_remote(x, b).expect("move back");
    router.remove_remote(x).expect("remove");
    assert!(
        state().contains("10.200.0.2 dev vxlan0 lladdr 02:53:0a:c8:00:02 PERMANENT"),
        "the node is still needed: {}",
        state()
    );
    router.remove_remotes(&[x, y]).expect("remove");
    assert_eq!(state(), empty);
    router.destroy().expect("destroy");
}

#[test]
fn a_batch_that_fails_in_the_middle_leaves_the_routes_as_they_were() {
    let (a, _b) = two_nodes();
    let run_dir = RunDir::new();
    let mut router = router(&a, A, 42, &run_dir.journal);
    let name = router_name(&a.name, 42);
    let (x, y) = (Ipv4Addr::new(10, 32, 0, 1), Ipv4Addr::new(10, 32, 0, 2));
    router.set_remote(x, B).expect("set");
    let before = run("ip", &["-n", &name, "route"]) + &run("bridge", &["-n", &name, "fdb"]);
    // No gateway can be a multicast address.
    let refused = router.set_remotes(&[(x, Ipv4Addr::new(10, 200, 0, 3)), (y, Ipv4Addr::new(224, 0, 0, 1))]);
    refused.expect_err("refused");
    assert_eq!(run("ip", &["-n", &name, "route"]) + &run("bridge", &["-n", &name, "fdb"]), before);
    router.set_remote(y, B).expect("and it still works");
    router.destroy().expect("destroy");
}

#[test]
fn a_local_endpoint_comes_before_a_remote_one_with_its_address() {
    let (a, _b) = two_nodes();
    let run_dir = RunDir::new();
    let mut router = router(&a, A, 42, &run_dir.journal);
    let name = router_name(&a.name, 42);
    let one = endpoint(1, Ipv4Addr::new(10, 32, 0, 1));
    let route = || run("ip", &["-n", &name, "route", "show", "10.32.0.1/32"]);
    router.set_remote(v4(&one), B).expect("remote");
    router.attach(&one).expect("attach");
    assert!(route().contains("dev ep1"), "{}", route());
    router.set_remote(v4(&one), Ipv4Addr::new(10, 200, 0, 3)).expect("remote");
    assert!(route().contains("dev ep1"), "{}", route());
    router.detach(1).expect("detach");
    assert!(route().contains("via 10.200.0.3 dev vxlan0"), "{}", route());
    assert!(matches!(router.detach(1), Err(Error::NotFound { .. })));
    router.destroy().expect("destroy");
}

#[test]
fn many_endpoints_go_together_and_others_stay() {
    let (a, _b) = two_nodes();
    let run_dir = RunDir::new();
    let before = a.picture();
    let mut router = router(&a, A, 42, &run_dir.journal);
    let endpoints: Vec<_> = (1..=5).map(|id| endpoint(id, Ipv4Addr::new(10, 32, 0, id as u8))).collect();
    for endpoint in &endpoints {
        router.attach(endpoint).expect("attach");
    }
    let name = router_name(&a.name, 42);
    // One whose device is gone already, and one that was never there.
    run("ip", &["-n", &name, "link", "delete", "ep2"]);
    router.detach_all(&[1, 2, 3, 99]).expect("detach");
    let links = run("ip", &["-n", &name, "-o", "link"]);
    let left: Vec<_> = (1..=5).filter(|id| links.contains(&format!("ep{id}@"))).collect();
    assert_eq!(left, [4, 5]);
    let mut attached: Vec<_> = router.attached().collect();
    attached.sort_unstable();
    assert_eq!(attached, [4, 5]);
    let names: Vec<_> = endpoints.iter().map(|endpoint| netns::exists(&endpoint.netns)).collect();
    assert_eq!(names, [false, false, false, true, true]);
    router.detach_all(&[]).expect("nothing");
    router.destroy().expect("destroy");
    assert_same_picture(&a.picture(), &before, "the node");
    assert_eq!(run_dir.journal.changes(), []);
}

#[test]
fn a_failure_at_any_step_of_making_a_router_leaves_nothing() {
    let (a, _b) = two_nodes();
    let run_dir = RunDir::new();
    let before = a.picture();
    for step in 0..STEPS_MAX {
        let (outcome, failed) = fail_at(step, || Router::ensure(&a.ns, &config(&a, A, 42), &run_dir.journal));
        if !failed {
            assert!(step > 8, "only {step} steps can fail");
            return outcome.expect("made").destroy().expect("destroy");
        }
        assert_eq!(outcome.expect_err("injected").errno(), Some(libc::EIO));
        assert_same_picture(&a.picture(), &before, &format!("after step {step}"));
        assert_eq!(run_dir.journal.changes(), [], "after step {step}");
    }
    panic!("it never succeeded");
}

#[test]
fn a_failure_at_any_step_of_attaching_leaves_nothing() {
    let (a, _b) = two_nodes();
    let run_dir = RunDir::new();
    let mut router = router(&a, A, 42, &run_dir.journal);
    let name = router_name(&a.name, 42);
    let one = endpoint(1, Ipv4Addr::new(10, 32, 0, 1));
    router.set_remote(v4(&one), B).expect("a remote endpoint with the same address");
    let picture = || {
        let objects = [["route"], ["neighbour"], ["link"], ["address"]];
        let inside: String = objects.iter().map(|object| run("ip", &["-n", &name, object[0]])).collect();
        a.picture() + &inside
    };
    let (before, journal) = (picture(), run_dir.journal.changes());
    for step in 0..STEPS_MAX {
        let (outcome, failed) = fail_at(step, || router.attach(&one));
        if !failed {
            assert!(step > 12, "only {step} steps can fail");
            outcome.expect("attached");
            return router.destroy().expect("destroy");
        }
        assert_eq!(outcome.expect_err("injected").errno(), Some(libc::EIO));
        assert_same_picture(&picture(), &before, &format!("after step {step}"));
        assert_eq!(run_dir.journal.changes(), journal, "after step {step}");
        assert!(!netns::exists(&one.netns));
    }
    panic!("it never succeeded");
}

#[test]
fn names_ids_and_addresses_that_are_taken_or_wrong_are_refused_and_change_nothing() {
    let (a, _b) = two_nodes();
    let run_dir = RunDir::new();
    let mut router_a = router(&a, A, 42, &run_dir.journal);
    let again = Router::ensure(&a.ns, &config(&a, A, 42), &run_dir.journal).expect_err("taken");
    assert!(matches!(again, Error::Conflict { .. }), "{again}");
    let other_node = RouterConfig { node_name: format!("{}x", a.name), ..config(&a, A, 42) };
    let same_vni = Router::ensure(&a.ns, &other_node, &run_dir.journal).expect_err("one VNI, one device");
    assert!(matches!(same_vni, Error::Conflict { .. }), "{same_vni}");
    let elsewhere = Router::ensure(&a.ns, &config(&a, Ipv4Addr::new(10, 9, 9, 9), 44), &run_dir.journal);
    assert!(matches!(elsewhere, Err(Error::Invalid { field: "underlayAddress", .. })));
    for vni in [0, 1 << 24] {
        assert!(matches!(
            Router::ensure(&a.ns, &config(&a, A, vni), &run_dir.journal),
            Err(Error::Invalid { field: "vni", .. })
        ));
    }

    let one = endpoint(1, Ipv4Addr::new(10, 32, 0, 1));
    router_a.attach(&one).expect("attach");
    let changes = run_dir.journal.changes();
    for taken in [
        endpoint(1, Ipv4Addr::new(10, 32, 0, 2)),
        endpoint(2, v4(&one)),
        LocalEndpoint { netns: one.netns.clone(), ..endpoint(2, Ipv4Addr::new(10, 32, 0, 2)) },
    ] {
        assert!(matches!(router_a.attach(&taken), Err(Error::Conflict { .. })));
    }
    for wrong in [
        LocalEndpoint { netns: "../x".to_owned(), ..endpoint(2, Ipv4Addr::new(10, 32, 0, 2)) },
        endpoint(0, Ipv4Addr::new(10, 32, 0, 2)),
        endpoint(2, Ipv4Addr::LOCALHOST),
        endpoint(2, GATEWAY),
    ] {
        assert!(matches!(router_a.attach(&wrong), Err(Error::Invalid { .. })));
    }
    assert_eq!(run_dir.journal.changes(), changes);
    assert!(changes.contains(&Change::NetNs { name: one.netns.clone() }));
    router_a.destroy().expect("destroy");
}

#[test]
fn ten_thousand_remotes_take_about_a_second() {
    let (a, _b) = two_nodes();
    let run_dir = RunDir::new();
    let mut router = router(&a, A, 42, &run_dir.journal);
    let remotes: Vec<(Ipv4Addr, Ipv4Addr)> = (0..10_000u32)
        .map(|index| (Ipv4Addr::from(0x0a20_0001 + index), Ipv4Addr::from(0x0ac8_0002 + index % 100)))
        .collect();
    let started = Instant::now();
    router.set_remotes(&remotes).expect("set");
    let (set, started) = (started.elapsed(), Instant::now());
    router.set_remotes(&remotes).expect("set again");
    let again = started.elapsed();
    let name = router_name(&a.name, 42);
    assert_eq!(run("ip", &["-n", &name, "route"]).lines().filter(|line| line.contains("vxlan0")).count(), 10_000);
    let started = Instant::now();
    router.remove_remotes(&remotes.iter().map(|(address, _)| *address).collect::<Vec<_>>()).expect("remove");
    println!("10,000 remotes: set {set:?}, set again {again:?}, removed {:?}", started.elapsed());
    assert_eq!(run("ip", &["-n", &name, "route"]).lines().filter(|line| line.contains("vxlan0")).count(), 0);
    // Ten times what it takes here: a busy machine must not fail the test, a request per round trip must.
    assert!(set < Duration::from_secs(5), "{set:?}");
    router.destroy().expect("destroy");
}
