//! Writing, refusing and recovering. A crash is played by giving the journal an owner that is dead.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use super::super::netns::{self, NetNs};
use super::super::overlay::{LocalEndpoint, Router, RouterConfig, router_name};
use super::super::ports::{PortRange, Purpose, Reservation};
use super::super::sysctl;
use super::super::testing::{RunDir, assert_same_picture, require_root, run, two_nodes, unique};
use super::*;

fn change(name: &str) -> Change {
    Change::NetNs { name: name.to_owned() }
}

/// The owner is gone, as after a crash.
fn orphan(directory: &Path) {
    let mut child = Command::new("true").spawn().expect("true");
    let pid = child.id();
    child.wait().expect("wait");
    let mut document = read(directory).expect("readable").expect("present");
    document.owner = Owner { pid, start_time_ticks: 1 };
    write(directory, &document).expect("writable");
}

#[test]
fn stat_of_a_process_with_an_odd_name_is_read() {
    let stat = |state: &str| format!("7 (a) b (c) {state} 1 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 4711 99 1");
    assert_eq!(parse_stat(&stat("S")), Some(4711));
    assert_eq!(parse_stat(&stat("Z")), None);
    assert_eq!(parse_stat("garbage"), None);
    assert!(Owner::current().expect("this process").alive());
    assert!(!Owner { pid: std::process::id(), start_time_ticks: 1 }.alive(), "another process with our id");
}

#[test]
fn a_change_is_on_disk_before_it_is_made_and_gone_after_it_is_undone() {
    let run_dir = RunDir::new();
    let on_disk = || read(&run_dir.path).expect("readable").map(|document| document.changes);
    assert_eq!(fs::metadata(&run_dir.path).expect("made").permissions().mode() & 0o777, 0o700);
    run_dir.journal.record(change("x")).expect("record");
    run_dir.journal.record(change("y")).expect("record");
    assert_eq!(on_disk(), Some(vec![change("x"), change("y")]));
    run_dir.journal.forget(&change("x")).expect("forget");
    run_dir.journal.forget(&change("never recorded")).expect("no matter");
    assert_eq!(on_disk(), Some(vec![change("y")]));
    assert!(matches!(run_dir.journal.finish(), Err(Error::Conflict { .. })));
    run_dir.journal.forget(&change("y")).expect("forget");
    run_dir.journal.finish().expect("finish");
    assert_eq!(on_disk(), None);
}

#[test]
fn nothing_is_recorded_that_cannot_be_written() {
    let run_dir = RunDir::new();
    fs::remove_dir_all(&run_dir.path).expect("remove");
    run_dir.journal.record(change("x")).expect_err("no directory");
    assert_eq!(run_dir.journal.changes(), []);
}

#[test]
fn a_journal_has_one_living_owner() {
    let run_dir = RunDir::new();
    for error in
        [Journal::begin(&run_dir.path).map(drop).expect_err("ours"), recover(&run_dir.path).expect_err("alive")]
    {
        assert!(error.to_string().contains(&format!("(pid {})", std::process::id())), "{error}");
        assert!(matches!(error, Error::Conflict { .. }));
    }
    assert!(!is_stale(&run_dir.path).expect("readable"));
    orphan(&run_dir.path);
    assert!(is_stale(&run_dir.path).expect("readable"));
    let stale = Journal::begin(&run_dir.path).expect_err("stale");
    assert!(stale.to_string().contains("crashed"), "{stale}");
    assert_eq!(recover(&run_dir.path).expect("recover"), Recovered::default());
    assert_eq!(recover(&run_dir.path).expect("nothing left"), Recovered::default());
    Journal::begin(&run_dir.path).expect("a new run");
}

#[test]
fn recovery_undoes_exactly_what_a_crashed_run_had_changed() {
    let (a, _b) = two_nodes();
    let run_dir = RunDir::new();
    let before = a.picture();
    let one = LocalEndpoint { id: 1, addresses: Ipv4Addr::new(10, 32, 0, 1).into(), netns: unique("ep") };
    let config = || RouterConfig {
        node_name: a.name.clone(),
        vni: 42,
        underlay: Ipv4Addr::new(10, 200, 0, 1),
        vxlan_port: 4789,
        has_ipv6: false,
    };
    let mut router = Router::ensure(&a.ns, &config(), &run_dir.journal).expect("router");
    router.attach(&one).expect("attach");
    let block = PortRange::block(7000, 16).expect("a block");
    let reservation =
        a.ns.run(|| Reservation::acquire(Purpose::FrontPorts, &[block], &run_dir.journal)).expect("reserve");
    let kept_free = [PortRange::block(9000, 2).expect("a block")];
    let static_ports =
        a.ns.run(|| Reservation::acquire(Purpose::Static, &kept_free, &run_dir.journal)).expect("reserve");
    let foreign = unique("foreign");
    netns::create(&foreign).expect("somebody else's namespace");
    // Recorded, but it never came to be.
    run_dir.journal.record(change("sfh-never-made")).expect("record");
    let recorded = run_dir.journal.changes().len();
    // A process that keeps the endpoint's namespace alive must not keep the network id taken.
    let keeper = NetNs::open(&one.netns).expect("open");
    drop((router, reservation, static_ports));
    orphan(&run_dir.path);

    let recovered = recover(&run_dir.path).expect("recover");
    assert_eq!(recovered.undone.len(), recorded);
    assert_same_picture(&a.picture(), &before, "recovered");
    assert!(!netns::exists(&one.netns) && !netns::exists(&router_name(&a.name, 42)));
    assert!(netns::exists(&foreign));
    let journal = Arc::new(Journal::begin(&run_dir.path).expect("a new run"));
    Router::ensure(&a.ns, &config(), &journal).expect("at once, again").destroy().expect("destroy");
    netns::delete(&foreign).expect("delete");
    drop(keeper);
}

#[test]
fn after_a_reboot_nothing_is_touched() {
    require_root();
    let run_dir = RunDir::new();
    let name = unique("reboot");
    netns::create(&name).expect("a namespace with the same name as one before the reboot");
    run_dir.journal.record(change(&name)).expect("record");
    orphan(&run_dir.path);
    let mut document = read(&run_dir.path).expect("readable").expect("present");
    document.boot_id = "another".to_owned();
    write(&run_dir.path, &document).expect("write");
    assert_eq!(recover(&run_dir.path).expect("recover"), Recovered::default());
    assert!(netns::exists(&name));
    assert!(read(&run_dir.path).expect("readable").is_none());
    netns::delete(&name).expect("delete");
}

#[test]
fn what_cannot_be_undone_stays_in_the_journal() {
    require_root();
    let run_dir = RunDir::new();
    let name = unique("kept");
    netns::create(&name).expect("create");
    run_dir.journal.record(change(&name)).expect("record");
    // Not a cgroup, and not empty: it cannot be removed.
    let full = run_dir.path.join("full");
    fs::create_dir_all(full.join("x")).expect("a directory");
    let stuck = Change::Cgroup { directory: full.clone() };
    run_dir.journal.record(stuck.clone()).expect("record");
    orphan(&run_dir.path);
    recover(&run_dir.path).expect_err("stuck");
    assert!(!netns::exists(&name), "the others are undone all the same");
    assert_eq!(read(&run_dir.path).expect("readable").expect("kept").changes.as_slice(), std::slice::from_ref(&stuck));
    fs::remove_dir(full.join("x")).expect("unstuck");
    assert_eq!(recover(&run_dir.path).expect("recover").undone, [stuck]);
}

#[test]
fn reserved_ports_of_a_namespace_that_is_gone_need_nothing() {
    require_root();
    let run_dir = RunDir::new();
    let here = NetNs::current().expect("current");
    let before = here.run(|| sysctl::get_here("net/ipv4/ip_local_reserved_ports")).expect("read");
    let ranges = vec![PortRange::block(7000, 16).expect("a block")];
    run_dir
        .journal
        .record(Change::ReservedPorts { netns_cookie: u64::MAX, purpose: Purpose::Static, ranges })
        .expect("record");
    orphan(&run_dir.path);
    assert_eq!(recover(&run_dir.path).expect("recover").undone.len(), 1);
    assert_eq!(here.run(|| sysctl::get_here("net/ipv4/ip_local_reserved_ports")).expect("read"), before);
    assert!(!run("ip", &["netns", "list"]).contains("sfh-never-made"));
}

#[test]
fn a_journal_of_another_version_or_a_damaged_one_is_refused() {
    let run_dir = RunDir::new();
    let path = run_dir.path.join(FILE_NAME);
    let text = fs::read_to_string(&path).expect("read").replace("\"version\": 1", "\"version\": 2");
    fs::write(&path, text).expect("write");
    assert!(matches!(recover(&run_dir.path), Err(Error::Conflict { .. })));
    fs::write(&path, "{").expect("write");
    assert!(matches!(recover(&run_dir.path), Err(Error::System { syscall: "parse", .. })));
}
