//! Compiles the BPF programs and generates the Rust types of their records from the object's BTF.

use std::env;
use std::path::{Path, PathBuf};

use libbpf_cargo::SkeletonBuilder;

/// Tried in this order when `CLANG` is not set: Debian 12's default clang, 14, is too old for the programs.
const CLANGS: [&str; 3] = ["clang-19", "clang-16", "clang"];

fn clang() -> PathBuf {
    println!("cargo::rerun-if-env-changed=CLANG");
    if let Some(clang) = env::var_os("CLANG") {
        return clang.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    CLANGS
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |dir| dir.join(name)))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("no clang found to compile the BPF programs with; install the package clang-16"))
}

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    println!("cargo::rerun-if-changed=bpf");
    let older = ["-DSF_LAYOUT=1".into()];
    let compiled = compiler(&arch, &out.join("slimfast.bpf.o"), &[]).build_and_generate(out.join("slimfast.skel.rs"));
    // For the tests of the upgrade.
    let compiled = compiled.and_then(|()| compiler(&arch, &out.join("older.bpf.o"), &older).build());
    compiled.unwrap_or_else(|error| panic!("cannot compile the BPF programs: {error:#}"));
}

fn compiler(arch: &str, object: &Path, more: &[String]) -> SkeletonBuilder {
    let mut builder = SkeletonBuilder::new();
    // linux/types.h needs asm/types.h, which Debian keeps in the multiarch directory.
    let include = format!("-I/usr/include/{arch}-linux-gnu");
    let arguments = [include, "-mcpu=v3".into(), "-Wall".into(), "-Werror".into()].into_iter().chain(more.to_vec());
    builder.source("bpf/slimfast.bpf.c").obj(object).clang(clang()).clang_args(arguments);
    builder
}
