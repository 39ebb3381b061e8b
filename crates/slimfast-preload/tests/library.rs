//! What the shared library needs and gives, read from the file itself: the promise that it loads anywhere.

use std::process::Command;

const LIBRARY: &str = env!("SLIMFAST_PRELOAD_LIBRARY");

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).arg(LIBRARY).output().expect("binutils are installed");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn it_exports_socket_and_nothing_else() {
    let defined = output("nm", &["-D", "--defined-only"]);
    let names: Vec<_> = defined.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(names, ["socket"]);
}

#[test]
fn it_needs_only_what_glibc_and_musl_both_have() {
    let undefined = output("nm", &["-D", "--undefined-only"]);
    let mut symbols: Vec<_> = undefined.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    symbols.sort();
    assert_eq!(symbols, ["U __errno_location", "w environ", "w gnu_get_libc_version"]);
    assert!(!output("readelf", &["-d"]).contains("NEEDED"));
}

#[test]
fn it_has_no_thread_local_state_and_no_executable_stack() {
    let segments = output("readelf", &["-lW"]);
    assert!(!segments.contains("TLS"), "{segments}");
    let stack = segments.lines().find(|line| line.contains("GNU_STACK")).expect("a stack segment");
    assert!(!stack.contains("RWE"), "{stack}");
}
