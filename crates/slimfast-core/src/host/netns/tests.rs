//! Real namespaces; `ip netns` must see what we make and the other way round.

use std::thread;

use super::super::testing::{TestNs, require_root, run, unique};
use super::*;

#[test]
fn names_are_file_names_and_nothing_else() {
    for good in ["a", "sf-node-1", "A.b_c-9", "_x", &"n".repeat(NAME_MAX_BYTES)] {
        check_name(good).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for bad in ["", ".", "..", ".x", "-x", "a/b", "a b", "a\0", "ä", &"n".repeat(NAME_MAX_BYTES + 1)] {
        assert!(matches!(check_name(bad), Err(Error::Invalid { field: "netnsName", .. })), "{bad:?}");
    }
}

#[test]
fn ip_netns_sees_ours_and_we_see_its() {
    require_root();
    let name = unique("ours");
    let namespace = create(&name).expect("create");
    assert!(exists(&name) && list().expect("list").contains(&name));
    assert!(run("ip", &["-n", &name, "link"]).contains("lo:"));
    let taken = create(&name).expect_err("taken");
    assert!(matches!(taken, Error::Conflict { .. }), "{taken}");
    run("ip", &["netns", "delete", &name]);
    assert!(matches!(delete(&name), Err(Error::NotFound { .. })));
    assert!(matches!(NetNs::open(&name), Err(Error::NotFound { .. })));
    // Open, it lives on without its name.
    assert!(namespace.cookie().is_ok());

    run("ip", &["netns", "add", &name]);
    assert_ne!(NetNs::open(&name).expect("open").cookie().expect("cookie"), namespace.cookie().expect("cookie"));
    delete(&name).expect("delete");
    assert!(!run("ip", &["netns", "list"]).contains(&name));
}

#[test]
fn work_runs_inside_and_the_caller_stays_outside() {
    let node = TestNs::new("inside");
    let here = NetNs::current().expect("current").cookie().expect("cookie");
    let there = node.ns.run(|| NetNs::current()?.cookie()).expect("run");
    assert_eq!(there, node.ns.cookie().expect("cookie"));
    assert_ne!(there, here);
    assert_eq!(NetNs::current().expect("current").cookie().expect("cookie"), here);
    assert!(thread::spawn(move || node.ns.run::<()>(|| panic!("passed on"))).join().is_err());
}

#[test]
fn a_name_whose_namespace_was_never_mounted_can_be_deleted() {
    require_root();
    let name = unique("stale");
    prepare_directory().expect("directory");
    fs::write(path_of(&name), "").expect("a plain file");
    assert!(matches!(create(&name), Err(Error::Conflict { .. })));
    delete(&name).expect("delete");
    assert!(!exists(&name));
}
