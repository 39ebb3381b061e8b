//! Reading mountinfo, and a real cgroup. This process is not moved: other tests run in it at the same time.

use std::process::Command;

use super::super::testing::{RunDir, require_root, unique};
use super::*;

#[test]
fn finds_the_version_2_mount_wherever_it_is() {
    let hybrid = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw
";
    assert_eq!(mount_in(hybrid), Some(PathBuf::from("/sys/fs/cgroup/unified")));
    let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    assert_eq!(mount_in(unified), Some(PathBuf::from("/sys/fs/cgroup")));
    let odd = "30 23 0:26 / /mnt/my\\040cgroup rw - cgroup2 none rw\n";
    assert_eq!(mount_in(odd), Some(PathBuf::from("/mnt/my cgroup")));
    let part = "30 23 0:26 /some/container /sys/fs/cgroup rw - cgroup2 none rw\n";
    assert_eq!(mount_in(part), None);
    assert_eq!(mount_in("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"), None);
}

#[test]
fn paths_stay_below_the_mount() {
    for good in ["slimfast", "slimfast/node-1"] {
        check_path(good).expect("good");
    }
    for bad in ["", "/", "/slimfast", "../x", "a/../../b"] {
        assert!(matches!(check_path(bad), Err(Error::Invalid { field: "cgroup", .. })), "{bad:?}");
    }
}

#[test]
fn a_process_moves_in_and_out_and_the_cgroup_goes_when_it_is_empty() {
    require_root();
    let run_dir = RunDir::new();
    let name = unique("cgroup");
    let outer = find_mount().expect("cgroup2").join(&name);
    let mut undo = Undo::new();
    assert!(create(&outer, &run_dir.journal, &mut undo).expect("create"));
    undo.commit();
    let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
    move_process(child.id(), &outer).expect("move");
    let held = remove_directory(&outer).expect_err("not empty");
    assert!(held.to_string().contains(&child.id().to_string()), "{held}");
    child.kill().expect("kill");
    child.wait().expect("wait");
    remove_directory(&outer).expect("remove");
    remove_directory(&outer).expect("and again");
    assert!(!outer.exists());
    assert_eq!(run_dir.journal.changes(), [Change::Cgroup { directory: outer }]);
}

#[test]
fn an_outer_cgroup_goes_with_the_last_of_those_who_share_it_unless_it_was_there_before() {
    require_root();
    let run_dir = RunDir::new();
    let (ours, foreign) =
        (find_mount().expect("cgroup2").join(unique("cgroup")), find_mount().expect("cgroup2").join(unique("cgroup")));
    fs::create_dir(&foreign).expect("a cgroup of somebody else");
    let make = |directory: &Path| {
        let mut undo = Undo::new();
        let made = create(directory, &run_dir.journal, &mut undo).expect("create");
        undo.commit();
        made
    };
    assert!(make(&ours) && make(&ours.join("node-1")) && make(&ours.join("node-2")) && make(&foreign.join("node-1")));
    assert!(!make(&foreign));
    let as_of_a_crash = run_dir.journal.changes();

    remove_directory(&ours.join("node-1")).expect("remove");
    remove_marked_above(&ours.join("node-1"));
    assert!(ours.exists(), "node-2 still uses it");
    recover_directory(&ours).expect("node-1 had created it, and crashed");
    assert!(ours.join("node-2").exists());
    for change in as_of_a_crash.iter().rev() {
        if let Change::Cgroup { directory } = change {
            recover_directory(directory).expect("recover");
        }
    }
    assert!(!ours.exists() && foreign.exists() && !foreign.join("node-1").exists());
    fs::remove_dir(&foreign).expect("remove");
}

#[test]
fn is_created_whole_or_not_at_all_and_taken_over_by_the_next_agent() {
    require_root();
    let run_dir = RunDir::new();
    let name = unique("cgroup");
    let (outer, path) = (find_mount().expect("cgroup2").join(&name), format!("{name}/node-1"));
    for step in 0..10 {
        let (outcome, failed) = super::super::steps::fail_at(step, || Cgroup::create(&path, &run_dir.journal));
        if failed {
            outcome.expect_err("injected");
            assert!(!outer.exists(), "after step {step}");
            assert_eq!(run_dir.journal.changes(), []);
            continue;
        }
        assert_eq!(step, 2);
        let cgroup = outcome.expect("create");
        assert_eq!(cgroup.directory(), outer.join("node-1"));
        assert_eq!(run_dir.journal.changes().len(), 2);
        drop(cgroup);
        let adopted = Cgroup::adopt(&path, &run_dir.journal).expect("adopt");
        adopted.remove().expect("remove");
        assert!(!outer.exists());
        assert_eq!(run_dir.journal.changes(), []);
        assert!(matches!(Cgroup::adopt(&path, &run_dir.journal), Err(Error::NotFound { .. })));
        return;
    }
    panic!("it never succeeded");
}
