//! Load for memcached over its text protocol, SET:GET 1:10: a connection per request, which no packaged tool makes, or
//! persistent connections. Every answer is checked. tests/memcached.rs compares what is reported with what memcached counts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::Error;
use crate::latency::{Latencies, LatencySummary};
use crate::{sys, watchdog};

/// One SET, then as many GETs.
const GETS_PER_SET: u64 = 10;
/// Keys per client; all are set before anything is measured.
const KEYS: u64 = 16;
const LONGEST_HEAD: usize = 64;

#[derive(Clone, Copy)]
pub struct Load {
    pub to: SocketAddr,
    pub duration: Duration,
    pub clients: u16,
    pub value_bytes: u32,
    pub connection_per_request: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemcachedReport {
    mode: &'static str,
    clients: u16,
    value_bytes: u32,
    connection_per_request: bool,
    /// During the measurement.
    sets: u64,
    gets: u64,
    elapsed_seconds: f64,
    per_second: f64,
    #[serde(flatten)]
    latency: LatencySummary,
}

#[derive(Default)]
struct Counted {
    sets: u64,
    gets: u64,
    latencies: Latencies,
}

pub fn run(load: Load) -> Result<MemcachedReport, Error> {
    watchdog::start("memcached");
    // All keys are there before the first request that counts.
    let connections = (0..load.clients)
        .map(|client| {
            let mut connection = Connection::open(load.to)?;
            (0..KEYS).try_for_each(|key| connection.set(client, key, &value(load.value_bytes)))?;
            Ok(connection)
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let started = Instant::now();
    let counted = std::thread::scope(|scope| {
        let threads: Vec<_> = connections
            .into_iter()
            .zip(0..)
            .map(|(connection, client)| scope.spawn(move || requests(load, connection, client, started)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a measuring thread does not panic"))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let elapsed_seconds = started.elapsed().as_secs_f64();
    let mut total = Counted::default();
    for one in counted {
        total.sets += one.sets;
        total.gets += one.gets;
        total.latencies.append(one.latencies);
    }
    Ok(MemcachedReport {
        mode: "memcached",
        clients: load.clients,
        value_bytes: load.value_bytes,
        connection_per_request: load.connection_per_request,
        sets: total.sets,
        gets: total.gets,
        elapsed_seconds,
        per_second: (total.sets + total.gets) as f64 / elapsed_seconds,
        latency: total.latencies.summarize(),
    })
}

fn requests(load: Load, persistent: Connection, client: u16, started: Instant) -> Result<Counted, Error> {
    let mut persistent = if load.connection_per_request { None } else { Some(persistent) };
    let mut counted = Counted::default();
    let value = value(load.value_bytes);
    // At least one, so that there is a latency to report.
    for number in 0.. {
        let start = Instant::now();
        if number > 0 && start - started >= load.duration {
            break;
        }
        let mut fresh;
        let connection = match &mut persistent {
            Some(connection) => connection,
            None => {
                fresh = Connection::open(load.to)?;
                &mut fresh
            }
        };
        if number % (GETS_PER_SET + 1) == 0 {
            connection.set(client, number % KEYS, &value)?;
            counted.sets += 1;
        } else {
            connection.get(client, number % KEYS, &value)?;
            counted.gets += 1;
        }
        counted.latencies.push(start.elapsed());
        if load.connection_per_request {
            connection.reset_on_close()?;
        }
        watchdog::progress();
    }
    Ok(counted)
}

fn value(bytes: u32) -> Vec<u8> {
    vec![b'v'; bytes as usize]
}

struct Connection {
    stream: TcpStream,
    to: SocketAddr,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(to: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(to).map_err(Error::socket("connect", to))?;
        stream.set_nodelay(true).map_err(Error::socket("setsockopt", to))?;
        Ok(Self { stream, to, buffer: Vec::new() })
    }

    fn set(&mut self, client: u16, key: u64, value: &[u8]) -> Result<(), Error> {
        let mut request = format!("set k{client}-{key} 0 0 {}\r\n", value.len()).into_bytes();
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
        self.round_trip(&request, b"STORED\r\n")
    }

    fn get(&mut self, client: u16, key: u64, value: &[u8]) -> Result<(), Error> {
        let mut answer = format!("VALUE k{client}-{key} 0 {}\r\n", value.len()).into_bytes();
        answer.extend_from_slice(value);
        answer.extend_from_slice(b"\r\nEND\r\n");
        self.round_trip(format!("get k{client}-{key}\r\n").as_bytes(), &answer)
    }

    fn round_trip(&mut self, request: &[u8], expected: &[u8]) -> Result<(), Error> {
        self.stream.write_all(request).map_err(Error::socket("write", self.to))?;
        self.buffer.resize(expected.len() + LONGEST_HEAD, 0);
        let mut length = 0;
        while length < expected.len() {
            let more = self.stream.read(&mut self.buffer[length..]).map_err(Error::socket("read", self.to))?;
            length += more;
            if more == 0 || !expected.starts_with(&self.buffer[..length]) {
                return Err(Error::Peer { address: self.to, reason: "memcached's answer is not the expected one" });
            }
        }
        Ok(())
    }

    fn reset_on_close(&self) -> Result<(), Error> {
        sys::reset_on_close(&self.stream).map_err(Error::socket("setsockopt", self.to))
    }
}
