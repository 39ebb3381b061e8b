//! Many connections that do nothing, for tests of what a connection costs while it lives and leaves when it ends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use serde::Serialize;

use crate::error::Error;
use crate::serve::ECHO;
use crate::watchdog;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldReport {
    mode: &'static str,
    held: usize,
    elapsed_seconds: f64,
}

pub struct Held {
    pub report: HoldReport,
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
    Ok(Held { report: HoldReport { mode: "hold", held: connections.len(), elapsed_seconds }, connections })
}

impl Held {
    pub fn until_stdin_ends(self) -> Result<(), Error> {
        wait_for_end_of_stdin()?;
        drop(self.connections);
        Ok(())
    }
}

pub fn wait_for_end_of_stdin() -> Result<(), Error> {
    io::copy(&mut io::stdin().lock(), &mut io::sink()).map(drop).map_err(Error::system("read"))
}
