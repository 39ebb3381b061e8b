//! Addresses of a namespace that the test changes.

use std::sync::mpsc;
use std::time::Duration;

use super::super::testing::{TestNs, run};
use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn only_the_namespaces_own_addresses_are_local() {
    let node = TestNs::new("addr");
    run("ip", &["-n", &node.name, "address", "add", "10.200.0.7/24", "dev", "lo"]);
    let all = list(&node.ns).expect("list");
    assert!([ip("127.0.0.1"), ip("::1"), ip("10.200.0.7")].iter().all(|address| all.contains(address)), "{all:?}");
    require_local(&node.ns, Ipv4Addr::new(10, 200, 0, 7)).expect("local");
    let other = require_local(&node.ns, Ipv4Addr::new(10, 200, 0, 8)).expect_err("not local");
    assert!(matches!(other, Error::Invalid { field: "underlayAddress", .. }), "{other}");
}

#[test]
fn the_watch_tells_of_the_first_list_and_of_each_change_until_it_is_dropped() {
    let node = TestNs::new("addr");
    let (sender, receiver) = mpsc::channel();
    let watch = AddressWatch::start(&node.ns, move |addresses| drop(sender.send(addresses.clone()))).expect("a watch");
    let next = || receiver.recv_timeout(Duration::from_secs(5)).expect("a change");
    assert!(next().contains(&ip("127.0.0.1")));
    run("ip", &["-n", &node.name, "address", "add", "10.1.2.3/32", "dev", "lo"]);
    assert!(next().contains(&ip("10.1.2.3")));
    run("ip", &["-n", &node.name, "address", "add", "fd00::7/128", "dev", "lo", "nodad"]);
    assert!(next().contains(&ip("fd00::7")));
    run("ip", &["-n", &node.name, "address", "del", "10.1.2.3/32", "dev", "lo"]);
    assert!(!next().contains(&ip("10.1.2.3")));
    drop(watch);
    run("ip", &["-n", &node.name, "address", "add", "10.1.2.4/32", "dev", "lo"]);
    assert!(receiver.recv_timeout(Duration::from_millis(100)).is_err(), "the callback is gone");
}
