//! Connection setup: socket() + connect() until established, one connection after the other in each thread. Each is
//! used for a one-byte echo, since a connection that nobody accepts would measure the backlog, and then reset.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::time::Instant;

use serde::Serialize;

use crate::error::Error;
use crate::latency::{Latencies, LatencySummary};
use crate::serve::ECHO;
use crate::{sys, watchdog};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectReport {
    mode: &'static str,
    count: u32,
    concurrency: u16,
    elapsed_seconds: f64,
    per_second: f64,
    /// Until established.
    #[serde(flatten)]
    connect: LatencySummary,
    /// Until the echo is back.
    full: LatencySummary,
}

/// What each connection does.
#[derive(Clone, Copy)]
pub struct Load {
    pub to: SocketAddr,
    pub nonblocking: bool,
    /// Waits for the end instead of an echo.
    pub until_closed: bool,
}

pub fn run(load: Load, count: u32, concurrency: u16, warmup: u32) -> Result<ConnectReport, Error> {
    watchdog::start("connect");
    for _ in 0..warmup {
        one(load)?;
    }
    let shares = shares(count, concurrency);
    let start_line = Barrier::new(shares.len() + 1);
    let mut connect = Latencies::with_capacity(count as usize);
    let mut full = Latencies::with_capacity(count as usize);
    let started = std::thread::scope(|scope| -> Result<Instant, Error> {
        let threads: Vec<_> = shares
            .iter()
            .map(|&share| {
                let start_line = &start_line;
                scope.spawn(move || {
                    start_line.wait();
                    many(load, share)
                })
            })
            .collect();
        start_line.wait();
        let started = Instant::now();
        for thread in threads {
            let (its_connect, its_full) = thread.join().expect("a measuring thread does not panic")?;
            connect.append(its_connect);
            full.append(its_full);
        }
        Ok(started)
    })?;
    let elapsed_seconds = started.elapsed().as_secs_f64();
    Ok(ConnectReport {
        mode: "connect",
        count,
        concurrency,
        elapsed_seconds,
        per_second: f64::from(count) / elapsed_seconds,
        connect: connect.summarize(),
        full: full.summarize(),
    })
}

/// `count` split over at most `parts` threads; none is idle.
fn shares(count: u32, parts: u16) -> Vec<u32> {
    let parts = u32::from(parts).min(count);
    (0..parts).map(|part| count / parts + u32::from(part < count % parts)).collect()
}

fn many(load: Load, count: u32) -> Result<(Latencies, Latencies), Error> {
    let mut connect = Latencies::with_capacity(count as usize);
    let mut full = Latencies::with_capacity(count as usize);
    for _ in 0..count {
        let times = one(load)?;
        connect.push(times.connect);
        full.push(times.full);
    }
    Ok((connect, full))
}

struct Times {
    connect: std::time::Duration,
    full: std::time::Duration,
}

fn one(Load { to, nonblocking, until_closed }: Load) -> Result<Times, Error> {
    let start = Instant::now();
    let connected = if nonblocking {
        sys::start_connecting(to).and_then(sys::finish_connecting)
    } else {
        // std makes exactly two calls here: socket() and connect().
        TcpStream::connect(to)
    };
    let mut stream = connected.map_err(Error::socket("connect", to))?;
    let connect = start.elapsed();
    let mut byte = [ECHO];
    if until_closed {
        if stream.read(&mut byte).map_err(Error::socket("read", to))? != 0 {
            return Err(Error::Peer { address: to, reason: "sent something: is the server one that only accepts?" });
        }
    } else {
        stream.write_all(&byte).map_err(Error::socket("write", to))?;
        stream.read_exact(&mut byte).map_err(Error::socket("read", to))?;
        if byte != [ECHO] {
            return Err(Error::Peer { address: to, reason: "the echo is not what was sent" });
        }
    }
    let full = start.elapsed();
    sys::reset_on_close(&stream).map_err(Error::socket("setsockopt", to))?;
    watchdog::progress();
    Ok(Times { connect, full })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_differ_by_one_at_most() {
        assert_eq!(shares(10, 1), [10]);
        assert_eq!(shares(10, 4), [3, 3, 2, 2]);
        assert_eq!(shares(2, 8), [1, 1]);
    }
}
