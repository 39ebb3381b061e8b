//! Many connections that do nothing, for tests of what a connection costs while it lives and leaves when it ends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::Error;
use crate::serve::ECHO;
use crate::{sys, watchdog};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldReport {
    mode: &'static str,
    held: usize,
    elapsed_seconds: f64,
}

pub struct Held {
    pub report: HoldReport,
    to: SocketAddr,
    connections: Vec<TcpStream>,
}

/// Opens the connections. Each echoes one byte, so that the server has accepted all of them when this returns.
pub fn open(to: SocketAddr, count: u32) -> Result<Held, Error> {
    let started = Instant::now();
    let mut connections = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let mut stream = TcpStream::connect(to).map_err(Error::socket("connect", to))?;
        let mut byte = [ECHO];
        stream.write_all(&byte).map_err(Error::socket("write", to))?;
        stream.read_exact(&mut byte).map_err(Error::socket("read", to))?;
        watchdog::progress();
        connections.push(stream);
    }
    let elapsed_seconds = started.elapsed().as_secs_f64();
    Ok(Held { report: HoldReport { mode: "hold", held: connections.len(), elapsed_seconds }, to, connections })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdleReport {
    mode: &'static str,
    count: u32,
    bytes_per_connection: f64,
}

/// Connections before those that are measured: caches, tables and the server's own lists get their size.
const WARM_UP: u32 = 1_000;
/// For what the kernel frees and accounts late.
const SETTLE: Duration = Duration::from_millis(500);

/// What the kernel's memory (Slab in /proc/meminfo) grows by while `count` connections are opened that then do nothing.
pub fn measure_idle(to: SocketAddr, count: u32) -> Result<IdleReport, Error> {
    watchdog::start("idle");
    let warm = open(to, WARM_UP)?;
    std::thread::sleep(SETTLE);
    let before = slab_bytes()?;
    let held = open(to, count)?;
    std::thread::sleep(SETTLE);
    let bytes_per_connection = (slab_bytes()? - before) as f64 / f64::from(count);
    // The next run needs the ports.
    warm.reset_at_the_end()?;
    held.reset_at_the_end()?;
    Ok(IdleReport { mode: "idle", count, bytes_per_connection })
}

fn slab_bytes() -> Result<i64, Error> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(Error::system("read /proc/meminfo"))?;
    let missing = || io::Error::new(io::ErrorKind::InvalidData, "no Slab in /proc/meminfo");
    slab_of(&text).ok_or_else(missing).map_err(Error::system("read /proc/meminfo"))
}

fn slab_of(meminfo: &str) -> Option<i64> {
    let kib: i64 =
        meminfo.lines().find_map(|line| line.strip_prefix("Slab:"))?.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

impl Held {
    /// None of them stays in TIME_WAIT then.
    pub fn reset_at_the_end(&self) -> Result<(), Error> {
        self.connections.iter().try_for_each(sys::reset_on_close).map_err(Error::socket("setsockopt", self.to))
    }

    pub fn until_stdin_ends(self) -> Result<(), Error> {
        wait_for_end_of_stdin()?;
        drop(self.connections);
        Ok(())
    }
}

pub fn wait_for_end_of_stdin() -> Result<(), Error> {
    io::copy(&mut io::stdin().lock(), &mut io::sink()).map(drop).map_err(Error::system("read"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn slab_is_read_in_bytes() {
        let meminfo = "MemTotal:        2 kB\nSlab:             524 kB\nSReclaimable:     1 kB\n";
        assert_eq!(super::slab_of(meminfo), Some(524 * 1024));
        assert_eq!(super::slab_of("MemTotal: 2 kB\n"), None);
    }
}
