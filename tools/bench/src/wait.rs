//! Waits until something listens: what a benchmark does before it measures a server that does not say when it is ready.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::Error;

const PAUSE: Duration = Duration::from_millis(20);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitReport {
    mode: &'static str,
    elapsed_seconds: f64,
}

/// Connects until it succeeds; the last error if it does not within `limit`.
pub fn run(to: SocketAddr, limit: Duration) -> Result<WaitReport, Error> {
    let started = Instant::now();
    loop {
        match TcpStream::connect(to) {
            Ok(_) => return Ok(WaitReport { mode: "wait", elapsed_seconds: started.elapsed().as_secs_f64() }),
            Err(error) if started.elapsed() >= limit => return Err(Error::socket("connect", to)(error)),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
