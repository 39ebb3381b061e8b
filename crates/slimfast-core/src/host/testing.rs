//! What the privileged tests share: nodes that are namespaces of their own, and a picture of a node to compare with a
//! later one. Uses iproute2 on purpose: it looks at our work from outside.

use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::journal::{Change, Journal};
use super::netns::{self, NetNs};
use crate::error::Error;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// These tests make namespaces and devices; they are never skipped.
pub fn require_root() {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).and_then(|ids| ids.split('\t').nth(2));
    assert_eq!(uid, Some("0"), "this test creates network namespaces: run it as root");
}

/// A name that no other test, here or in a process beside, uses.
pub fn unique(what: &str) -> String {
    format!("sfh-{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a command and gives its output; panics with its complaint when it fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A run directory with a journal; removed with everything in it when dropped.
pub struct RunDir {
    pub path: PathBuf,
    pub journal: Arc<Journal>,
}

impl RunDir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(unique("run"));
        let journal = Arc::new(Journal::begin(&path).expect("a journal in a new directory"));
        RunDir { path, journal }
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // A test that failed leaves namespaces behind, and the journal knows them.
        for change in self.journal.changes() {
            if let Change::NetNs { name } = change {
                let _ = netns::delete(&name);
            }
        }
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A namespace that goes with its value.
pub struct TestNs {
    pub name: String,
    pub ns: NetNs,
}

impl TestNs {
    pub fn new(what: &str) -> Self {
        require_root();
        let name = unique(what);
        let ns = netns::create(&name).expect("a new namespace");
        run("ip", &["-n", &name, "link", "set", "lo", "up"]);
        TestNs { name, ns }
    }

    /// What can be seen of the node from outside: devices, addresses, routes, neighbours, sysctls, and the namespaces
    /// that carry its name.
    pub fn picture(&self) -> String {
        let mut names = netns::list().expect("listing");
        names.retain(|name| name.contains(&self.name));
        let mut picture = names.join("\n") + "\n";
        for object in [
            &["-d", "link"][..],
            &["address"],
            &["route", "show", "table", "all"],
            &["neighbour", "show", "nud", "permanent"],
            &["rule"],
        ] {
            let arguments: Vec<&str> = ["-n", &self.name].iter().chain(object).copied().collect();
            picture += &run("ip", &arguments);
        }
        let sysctls = self.ns.run(|| {
            Ok(run("sh", &["-c", "sysctl -a 2>/dev/null | grep -E 'ip_forward|rp_filter|ping_group|local_reserved|disable_ipv6' | sort"]))
        });
        picture + &sysctls.expect("reading sysctls")
    }
}

/// Fails with the lines that one picture has and the other has not.
#[track_caller]
pub fn assert_same_picture(now: &str, before: &str, when: &str) {
    let only = |of: &str, than: &str| {
        of.lines()
            .filter(|line| !than.lines().any(|other| other == *line))
            .map(|line| line.to_owned() + "\n")
            .collect::<String>()
    };
    assert!(now == before, "{when}: new:\n{}gone:\n{}", only(now, before), only(before, now));
}

impl Drop for TestNs {
    fn drop(&mut self) {
        let _ = netns::delete(&self.name);
    }
}

/// Two nodes on one wire: 10.200.0.1 and 10.200.0.2.
pub fn two_nodes() -> (TestNs, TestNs) {
    let (a, b) = (TestNs::new("a"), TestNs::new("b"));
    run("ip", &["link", "add", "wire", "netns", &a.name, "type", "veth", "peer", "name", "wire", "netns", &b.name]);
    for (node, address) in [(&a, "10.200.0.1/24"), (&b, "10.200.0.2/24")] {
        run("ip", &["-n", &node.name, "address", "add", address, "dev", "wire"]);
        run("ip", &["-n", &node.name, "link", "set", "wire", "addrgenmode", "none", "up"]);
    }
    // Carriers and addresses come up some time after they were asked for.
    for node in [&a, &b] {
        let settled = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            let seen = run("ip", &["-n", &node.name, "link", "show", "wire"])
                + &run("ip", &["-n", &node.name, "-6", "route", "show", "table", "local"]);
            seen.contains("state UP") && seen.contains("multicast ff00::/8 dev wire")
        });
        assert!(settled, "the wire of {} does not come up", node.name);
    }
    (a, b)
}

/// What `ping` says to one packet from the namespace `from` to `to`.
pub fn one_ping(from: &str, to: impl Into<IpAddr>) -> String {
    let to = to.into().to_string();
    let inside = NetNs::open(from).expect("the namespace exists");
    let output = inside.run(|| {
        let output = Command::new("ping").args(["-c1", "-W1", "-n"]).arg(&to).output();
        output.map_err(|error| Error::system("exec", "ping", error))
    });
    String::from_utf8_lossy(&output.expect("ping runs").stdout).into_owned()
}

/// Whether it was answered.
pub fn pings(from: &str, to: impl Into<IpAddr>) -> bool {
    one_ping(from, to).contains(" 1 received")
}

/// A UDP socket inside the namespace `at`, with a time limit on receiving.
pub fn udp(at: &str, address: impl Into<IpAddr>) -> UdpSocket {
    let address = address.into();
    let inside = NetNs::open(at).expect("the namespace exists");
    let socket =
        inside.run(|| UdpSocket::bind((address, 0)).map_err(|error| Error::system("bind", "a test socket", error)));
    let socket = socket.expect("binding");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a time limit");
    socket
}
