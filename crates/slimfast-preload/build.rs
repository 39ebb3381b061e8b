//! Makes the shared library, `libslimfast_preload.so`, in the directory where cargo puts what it builds
//! (`target/debug`, `target/release`).
//!
//! cargo's own cdylib target can not make it. One file has to load into glibc and into musl programs, so it must not
//! need the C library; a library without the standard library has to be compiled with panic=abort; and cargo takes
//! that setting for all crates of a workspace or for none, while the addon needs unwinding. So this calls the same
//! compiler on the same source, which has no dependencies. It is optimised in every profile: without that the code
//! would refer to the panic machinery.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const FILE_NAME: &str = "libslimfast_preload.so";

fn main() {
    let out_dir = PathBuf::from(variable("OUT_DIR"));
    // <profile directory>/build/slimfast-preload-<hash>/out
    let Some(profile_dir) = out_dir.ancestors().nth(3) else { panic!("OUT_DIR is not where cargo puts it") };
    let library = profile_dir.join(FILE_NAME);
    println!("cargo:rustc-check-cfg=cfg(shared_library)");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=build.rs");
    // Makes it again when it was deleted.
    println!("cargo:rerun-if-changed={}", library.display());
    println!("cargo:rustc-env=SLIMFAST_PRELOAD_LIBRARY={}", library.display());

    let temporary = out_dir.join(FILE_NAME);
    compile(&temporary);
    // Dated before this run, or cargo would take it for a source that changed during the run and make it every time.
    let file = std::fs::File::open(&temporary).expect("the library was made");
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("the library can be dated");
    // Renamed into place, never written over: processes may have the old one loaded.
    std::fs::rename(&temporary, &library).expect("the library moves into the profile's directory");
}

fn compile(output: &Path) {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["src/lib.rs", "--crate-name=slimfast_preload", "--crate-type=cdylib", "--edition=2024"]);
    rustc.arg(format!("--target={}", variable("TARGET"))).arg("-o").arg(output);
    rustc.args(["--cfg=shared_library", "-Cpanic=abort", "-Copt-level=3", "-Ccodegen-units=1", "-Cstrip=symbols"]);
    rustc.args(["-Coverflow-checks=off", "-Cdebug-assertions=off", "-Dwarnings"]);
    rustc.args(["-Clink-arg=-nostdlib", "-Clink-arg=-Wl,-soname,libslimfast_preload.so,-z,now,-z,relro"]);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    let status = rustc.status().expect("the compiler starts");
    assert!(status.success(), "compiling {FILE_NAME} failed: {status}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
