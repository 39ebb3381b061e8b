//! The load for memcached against a real one, which counts what it is asked.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

struct Memcached {
    child: Child,
    port: u16,
}

impl Memcached {
    /// On a port that it chooses itself, so that no other test has it.
    fn start(test: &str) -> Self {
        let port_file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("memcached-{}-{test}", std::process::id()));
        let child = Command::new("memcached")
            .args(["-u", "root", "-l", "127.0.0.1", "-U", "0", "-p", "-1"])
            .env("MEMCACHED_PORT_FILENAME", &port_file)
            .spawn()
            .expect("memcached, which the set-up installs");
        let mut memcached = Self { child, port: 0 };
        let deadline = Instant::now() + Duration::from_secs(20);
        while memcached.port == 0 {
            assert!(Instant::now() < deadline, "memcached does not listen");
            std::thread::sleep(Duration::from_millis(20));
            // It gets its name when it is complete.
            let text = std::fs::read_to_string(&port_file).unwrap_or_default();
            let port = text.lines().find_map(|line| line.strip_prefix("TCP INET: "));
            memcached.port = port.map_or(0, |port| port.parse().expect("a port"));
        }
        std::fs::remove_file(&port_file).expect("remove the file with the port");
        memcached
    }

    fn statistic(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connect");
        stream.write_all(b"stats\r\n").expect("write");
        let lines = BufReader::new(stream).lines().map(|line| line.expect("read"));
        let text: Vec<_> = lines.take_while(|line| line != "END").collect();
        let value = text.iter().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
        value.expect(name).parse().expect(name)
    }

    /// What the load reports, and what memcached counted meanwhile: sets, gets, connections.
    fn load(&self, options: &[&str]) -> (Value, [u64; 3]) {
        let names = ["cmd_set", "cmd_get", "total_connections"];
        let before = names.map(|name| self.statistic(name));
        let output = Command::new(env!("CARGO_BIN_EXE_slimfast-bench"))
            .args(["memcached", "--to", &format!("127.0.0.1:{}", self.port), "--seconds", "0.3"])
            .args(options)
            .output()
            .expect("run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let after = names.map(|name| self.statistic(name));
        let report = serde_json::from_slice(&output.stdout).expect("one JSON object");
        (report, [after[0] - before[0], after[1] - before[1], after[2] - before[2]])
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CLIENTS: u64 = 3;
/// Set by each client before it measures.
const KEYS: u64 = 16;
/// Each of the three statistics has a connection of its own.
const OWN_CONNECTIONS: u64 = 3;

#[test]
fn a_connection_per_request_is_what_memcached_counts() {
    let (report, [sets, gets, connections]) =
        Memcached::start("fresh").load(&["--clients", "3", "--connection-per-request"]);
    let (reported_sets, reported_gets) =
        (report["sets"].as_u64().expect("sets"), report["gets"].as_u64().expect("gets"));
    assert_eq!((sets, gets), (reported_sets + CLIENTS * KEYS, reported_gets));
    assert_eq!(connections, reported_sets + reported_gets + CLIENTS + OWN_CONNECTIONS);
    let requests_per_second = (reported_sets + reported_gets) as f64 / report["elapsedSeconds"].as_f64().expect("time");
    assert!((report["perSecond"].as_f64().expect("rate") - requests_per_second).abs() < 1.0);
}

#[test]
fn persistent_connections_are_made_once() {
    let (report, [sets, gets, connections]) = Memcached::start("kept").load(&["--clients", "3"]);
    let (reported_sets, reported_gets) =
        (report["sets"].as_u64().expect("sets"), report["gets"].as_u64().expect("gets"));
    assert_eq!((sets, gets), (reported_sets + CLIENTS * KEYS, reported_gets));
    assert_eq!(connections, CLIENTS + OWN_CONNECTIONS);
    // One SET, then ten GETs, each client by itself.
    assert!(reported_gets <= 10 * reported_sets && reported_gets + 10 * CLIENTS >= 10 * reported_sets);
}
