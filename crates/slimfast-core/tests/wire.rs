//! Packets that the fuzzer found worth keeping, through the BPF programs compiled for user space (fuzz/wire.c).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn every_packet_that_is_kept_is_dealt_with() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wire");
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang-16".into());
    let flags = ["@crates/slimfast-core/fuzz/wire.flags", "-o"];
    let built = Command::new(clang).args(flags).arg(&program).current_dir(root).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let cases: Vec<PathBuf> = fs::read_dir(root.join("crates/slimfast-core/fuzz/corpus/wire"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!cases.is_empty());
    let run = Command::new(&program).args(&cases).current_dir(env!("CARGO_TARGET_TMPDIR")).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}
