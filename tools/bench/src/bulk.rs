//! Throughput, counted where the bytes arrive: what a sender has written may still be in its buffers.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::Error;
use crate::serve::{CHUNK_BYTES, DISCARD, RECEIPT_BYTES, SEND};
use crate::{sys, watchdog};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkReport {
    mode: &'static str,
    flows: u16,
    reverse: bool,
    bytes: u64,
    elapsed_seconds: f64,
    gbit_per_second: f64,
}

/// What one receiver saw.
struct Received {
    bytes: u64,
    /// From the first byte to the last.
    elapsed: Duration,
}

pub fn run(to: SocketAddr, duration: Duration, flows: u16, reverse: bool) -> Result<BulkReport, Error> {
    watchdog::start("bulk");
    // All are connected before the first one sends.
    let streams = (0..flows)
        .map(|_| TcpStream::connect(to).map_err(Error::socket("connect", to)))
        .collect::<Result<Vec<_>, _>>()?;
    let until = Instant::now() + duration;
    let received = std::thread::scope(|scope| {
        let threads: Vec<_> = streams
            .into_iter()
            .map(|stream| {
                scope.spawn(move || if reverse { receive(stream, to, until) } else { send(stream, to, until) })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a measuring thread does not panic"))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let (bytes, elapsed) = total(&received);
    if bytes == 0 || elapsed.is_zero() {
        return Err(Error::Peer { address: to, reason: "too little arrived to tell a rate" });
    }
    Ok(BulkReport {
        mode: "bulk",
        flows,
        reverse,
        bytes,
        elapsed_seconds: elapsed.as_secs_f64(),
        gbit_per_second: gbit_per_second(bytes, elapsed),
    })
}

/// The flows started together; the one that took longest says how long all took.
fn total(received: &[Received]) -> (u64, Duration) {
    let bytes = received.iter().map(|flow| flow.bytes).sum();
    (bytes, received.iter().map(|flow| flow.elapsed).max().unwrap_or_default())
}

fn gbit_per_second(bytes: u64, elapsed: Duration) -> f64 {
    bytes as f64 * 8.0 / elapsed.as_secs_f64() / 1e9
}

fn send(mut stream: TcpStream, to: SocketAddr, until: Instant) -> Result<Received, Error> {
    let chunk = vec![0; CHUNK_BYTES];
    stream.write_all(&[DISCARD]).map_err(Error::socket("write", to))?;
    while Instant::now() < until {
        stream.write_all(&chunk).map_err(Error::socket("write", to))?;
        watchdog::progress();
    }
    stream.shutdown(Shutdown::Write).map_err(Error::socket("shutdown", to))?;
    let mut receipt = [0; RECEIPT_BYTES];
    stream.read_exact(&mut receipt).map_err(Error::socket("read", to))?;
    Ok(parse_receipt(receipt))
}

fn parse_receipt(receipt: [u8; RECEIPT_BYTES]) -> Received {
    let number = |at: usize| receipt[at..at + 8].iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    Received { bytes: number(0), elapsed: Duration::from_nanos(number(8)) }
}

fn receive(mut stream: TcpStream, to: SocketAddr, until: Instant) -> Result<Received, Error> {
    let mut chunk = vec![0; CHUNK_BYTES];
    stream.write_all(&[SEND]).map_err(Error::socket("write", to))?;
    let mut bytes = 0;
    let mut first = None;
    loop {
        let length = stream.read(&mut chunk).map_err(Error::socket("read", to))?;
        if length == 0 {
            return Err(Error::Peer { address: to, reason: "the server ended the connection" });
        }
        watchdog::progress();
        let now = Instant::now();
        bytes += length as u64;
        let elapsed = now - *first.get_or_insert(now);
        if now >= until {
            // The server is still sending and is to stop at once.
            sys::reset_on_close(&stream).map_err(Error::socket("setsockopt", to))?;
            return Ok(Received { bytes, elapsed });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gigabyte_in_eight_seconds_is_a_gigabit_per_second() {
        assert_eq!(gbit_per_second(1_000_000_000, Duration::from_secs(8)), 1.0);
    }

    #[test]
    fn flows_add_bytes_but_not_time() {
        let flows = [(10, 2), (30, 3), (20, 1)]
            .map(|(bytes, seconds)| Received { bytes, elapsed: Duration::from_secs(seconds) });
        assert_eq!(total(&flows), (60, Duration::from_secs(3)));
    }

    #[test]
    fn the_receipt_is_big_endian() {
        let received = parse_receipt([0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 232]);
        assert_eq!((received.bytes, received.elapsed), (258, Duration::from_micros(1)));
    }
}
