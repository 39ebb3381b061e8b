//! Reading /proc, and journals in a directory of the test's own.

use super::*;

#[test]
fn missing_capabilities_are_named() {
    let root = "Name:\tx\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n";
    assert!(lacking_capabilities(root).is_empty());
    assert_eq!(
        lacking_capabilities("CapEff:\t0000000000000000\n"),
        ["CAP_NET_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_ADMIN"]
    );
    assert_eq!(lacking_capabilities("CapEff:\t0000000000281000\n"), [""; 0]);
    assert_eq!(lacking_capabilities("").len(), 3);
}

#[test]
fn the_hard_limit_counts() {
    let limits =
        |hard: &str| format!("Limit Soft Hard Units\nMax open files            1024                 {hard}   files\n");
    assert_eq!(hard_descriptor_limit(&limits("524288")), Some(524_288));
    assert_eq!(hard_descriptor_limit(&limits("unlimited")), Some(u64::MAX));
    assert_eq!(hard_descriptor_limit("nothing"), None);
}

#[test]
fn a_directory_without_journals_is_clean_and_a_damaged_journal_is_told() {
    let root = std::env::temp_dir().join(format!("sfh-probe-{}", std::process::id()));
    assert!(stale_below(&root).is_ok());
    let node = root.join("node-1");
    fs::create_dir_all(&node).expect("create");
    assert!(stale_below(&root).is_ok());
    fs::write(node.join(journal::FILE_NAME), "{").expect("write");
    let told = stale_below(&root).expect_err("damaged");
    assert!(told.detail.contains("node-1"), "{}", told.detail);
    fs::remove_dir_all(&root).expect("remove");
}
