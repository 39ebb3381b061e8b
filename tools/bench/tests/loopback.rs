//! The binary against itself over loopback: every mode's object has what README.md promises, and failures are exit
//! codes and messages.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn bench() -> Command {
    Command::new(env!("CARGO_BIN_EXE_slimfast-bench"))
}

struct Server {
    child: Child,
    port: u64,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child =
            bench().args(["serve", "--port", "0"]).args(arguments).stdout(Stdio::piped()).spawn().expect("spawn");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("the ready line");
        let ready: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(ready["ready"], true);
        assert_eq!(ready["pid"], child.id());
        Self { child, port: ready["port"].as_u64().expect("port") }
    }

    fn run(&self, mode: &str, arguments: &[&str]) -> Value {
        let to = format!("127.0.0.1:{}", self.port);
        let output = bench().args([mode, "--to", &to]).args(arguments).stdin(Stdio::null()).output().expect("run");
        assert!(output.status.success(), "{mode}: {}", String::from_utf8_lossy(&output.stderr));
        let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        assert_eq!(object["mode"], mode);
        object
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn assert_ordered(latency: &Value) {
    let times = ["minUs", "p50Us", "p99Us", "p999Us", "maxUs"].map(|key| latency[key].as_f64().expect(key));
    assert!(times.is_sorted() && times[0] > 0.0, "{latency}");
}

#[test]
fn connect_reports_setup_and_full_times() {
    let report = Server::start(&[]).run("connect", &["--count", "300", "--warmup", "10"]);
    assert_eq!(report["count"], 300);
    assert_ordered(&report);
    assert_ordered(&report["full"]);
    assert!(report["full"]["p50Us"].as_f64() > report["p50Us"].as_f64());
    assert!(report["perSecond"].as_f64() > Some(0.0));
}

#[test]
fn connect_from_several_threads() {
    let report = Server::start(&[]).run("connect", &["--count", "301", "--concurrency", "4"]);
    assert_eq!((&report["count"], &report["concurrency"]), (&301.into(), &4.into()));
}

#[test]
fn connect_without_blocking() {
    let report = Server::start(&[]).run("connect", &["--count", "300", "--nonblocking"]);
    assert_eq!(report["count"], 300);
    assert_ordered(&report);
}

#[test]
fn a_server_that_only_accepts_closes_each_connection() {
    let server = Server::start(&["--accept-only"]);
    let report = server.run("connect", &["--count", "301", "--concurrency", "4", "--until-closed"]);
    assert_eq!(report["count"], 301);
    // It sends no echo.
    let to = format!("127.0.0.1:{}", server.port);
    let output = bench().args(["connect", "--to", &to, "--count", "1", "--warmup", "0"]).output().expect("run");
    assert_eq!(output.status.code(), Some(1));
}

/// Each connection is two sockets; the kernel's own is more than 2,000 B.
#[test]
fn idle_connections_take_what_sockets_take() {
    let report = Server::start(&[]).run("idle", &["--count", "5000"]);
    let bytes = report["bytesPerConnection"].as_f64().expect("a number");
    assert!((3_000.0..20_000.0).contains(&bytes), "{bytes}");
}

#[test]
fn rr_with_messages_larger_than_a_chunk() {
    let report = Server::start(&[]).run("rr", &["--count", "5", "--size", "1000000", "--warmup", "0"]);
    assert_eq!((&report["count"], &report["sizeBytes"]), (&5.into(), &1_000_000.into()));
    assert_ordered(&report);
}

#[test]
fn bulk_in_both_directions() {
    let server = Server::start(&[]);
    for arguments in [&["--seconds", "0.3", "--flows", "2"][..], &["--seconds", "0.3", "--reverse"]] {
        let report = server.run("bulk", arguments);
        assert!(report["bytes"].as_u64() > Some(1_000_000), "{report}");
        assert!(report["gbitPerSecond"].as_f64() > Some(0.1), "{report}");
        let elapsed = report["elapsedSeconds"].as_f64().expect("elapsedSeconds");
        assert!((0.1..3.0).contains(&elapsed), "{report}");
    }
}

#[test]
fn hold_keeps_its_connections_until_stdin_ends() {
    let server = Server::start(&[]);
    let to = format!("127.0.0.1:{}", server.port);
    let mut holder = bench()
        .args(["hold", "--to", &to, "--count", "50"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().expect("stdout")).read_line(&mut line).expect("the object");
    assert_eq!(serde_json::from_str::<Value>(&line).expect("JSON")["held"], 50);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).expect("fds").count();
    assert!(descriptors() >= 50);
    drop(holder.stdin.take());
    assert!(holder.wait().expect("wait").success());
    // The server sees the ends as events of their own; a connection made after them is served after them.
    server.run("connect", &["--count", "1", "--warmup", "0"]);
    assert!(descriptors() < 50);
}

#[test]
fn a_dual_stack_server_takes_ipv4() {
    Server::start(&["--family", "6"]).run("connect", &["--count", "1"]);
}

#[test]
fn nobody_listening_is_exit_code_1_and_names_the_errno() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("name").port();
    let Output { status, stderr, stdout } =
        bench().args(["connect", "--to", &format!("127.0.0.1:{port}"), "--count", "1"]).output().expect("run");
    assert_eq!(status.code(), Some(1));
    assert!(stdout.is_empty());
    let expected = format!("slimfast-bench: connect 127.0.0.1:{port}: ECONNREFUSED: Connection refused\n");
    assert_eq!(String::from_utf8_lossy(&stderr), expected);
}

#[test]
fn wrong_arguments_are_exit_code_2() {
    for arguments in [&["connect", "--to", "nowhere", "--count", "1"][..], &["connect", "--to", "127.0.0.1:1"], &["x"]]
    {
        assert_eq!(bench().args(arguments).output().expect("run").status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn half_open_sends_and_keeps_until_stdin_ends() {
    let server = Server::start(&[]);
    let report = server.run("half-open", &["--count", "20"]);
    assert_eq!(report["sent"], 20);
}

#[test]
fn a_process_without_maps_has_no_entries() {
    let output = bench().args(["bpf-maps", "--pid", &std::process::id().to_string()]).output().expect("run");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(report["maps"], Value::Array(Vec::new()));
}

#[test]
fn a_cpu_that_does_not_exist_is_exit_code_1() {
    let server = Server::start(&["--cpu", "0"]);
    server.run("connect", &["--count", "10", "--cpu", "0"]);
    for cpu in ["1023", "65535"] {
        let output = bench().args(["serve", "--port", "0", "--cpu", cpu]).output().expect("run");
        assert_eq!(output.status.code(), Some(1), "{cpu}");
        let expected = "slimfast-bench: sched_setaffinity: EINVAL: Invalid argument\n";
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    }
}

#[test]
fn wait_ends_when_something_listens_and_says_what_was_wrong_if_nothing_does() {
    Server::start(&[]).run("wait", &[]);
    let unused = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port");
    let output = bench().args(["wait", "--to", &unused.to_string(), "--seconds", "0.05"]).output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ECONNREFUSED"));
}
