//! This machine must have everything, and probing must leave no trace. Needs root, like the agent itself.

use std::collections::HashSet;

use super::*;
use crate::host::testing::{require_root, run};

#[test]
fn names_are_unique() {
    let names: HashSet<_> = PROBES.iter().map(|probe| probe.name).collect();
    assert_eq!(names.len(), PROBES.len());
}

#[test]
fn everything_required_is_here_and_nothing_is_left_changed() {
    require_root();
    let picture = || {
        let named = run("ip", &["link"]);
        let groups = crate::host::cgroup::find_mount().expect("cgroup2");
        let probes = std::fs::read_dir(groups).expect("readable").flatten();
        let own = format!("slimfast-probe-{}", std::process::id());
        (named, probes.filter(|entry| entry.file_name().to_string_lossy().starts_with(&own)).count())
    };
    let before = picture();
    for check in probe() {
        println!("{check:?}");
        assert!(check.ok || !check.required, "{check:?}");
        assert_eq!(check.ok, check.remedy.is_none());
    }
    assert_eq!(picture(), before);
}

#[test]
fn without_privileges_nothing_is_tried_that_needs_them() {
    for probe in PROBES.iter().filter(|probe| probe.privileged) {
        let check = probe.run(false);
        assert!(!check.ok);
        assert_eq!(check.remedy.as_deref(), Some("run as root"));
    }
}
