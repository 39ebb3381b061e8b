//! Round trips on one established connection, one at a time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use serde::Serialize;

use crate::error::Error;
use crate::latency::{Latencies, LatencySummary};
use crate::serve::ECHO;
use crate::watchdog;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestResponseReport {
    mode: &'static str,
    count: u32,
    size_bytes: u32,
    elapsed_seconds: f64,
    per_second: f64,
    #[serde(flatten)]
    latency: LatencySummary,
}

pub fn run(to: SocketAddr, count: u32, size_bytes: u32, warmup: u32) -> Result<RequestResponseReport, Error> {
    watchdog::start("rr");
    let mut stream = TcpStream::connect(to).map_err(Error::socket("connect", to))?;
    stream.set_nodelay(true).map_err(Error::socket("setsockopt", to))?;
    let request = vec![ECHO; size_bytes as usize];
    let mut response = vec![0; size_bytes as usize];
    for _ in 0..warmup {
        round_trip(&mut stream, to, &request, &mut response)?;
    }
    let mut latency = Latencies::with_capacity(count as usize);
    let started = Instant::now();
    for _ in 0..count {
        let start = Instant::now();
        round_trip(&mut stream, to, &request, &mut response)?;
        latency.push(start.elapsed());
    }
    let elapsed_seconds = started.elapsed().as_secs_f64();
    Ok(RequestResponseReport {
        mode: "rr",
        count,
        size_bytes,
        elapsed_seconds,
        per_second: f64::from(count) / elapsed_seconds,
        latency: latency.summarize(),
    })
}

fn round_trip(stream: &mut TcpStream, to: SocketAddr, request: &[u8], response: &mut [u8]) -> Result<(), Error> {
    stream.write_all(request).map_err(Error::socket("write", to))?;
    stream.read_exact(response).map_err(Error::socket("read", to))?;
    watchdog::progress();
    Ok(())
}
