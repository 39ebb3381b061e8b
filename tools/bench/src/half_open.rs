//! Connections of which only the SYN is sent, towards a peer that does not answer: what happens on a SYN, by itself.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use serde::Serialize;

use crate::error::Error;
use crate::{hold, sys};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HalfOpenReport {
    mode: &'static str,
    sent: usize,
}

pub struct HalfOpen {
    pub report: HalfOpenReport,
    sockets: Vec<OwnedFd>,
}

/// Starts the connections and waits for none.
pub fn open(to: SocketAddr, count: u32) -> Result<HalfOpen, Error> {
    let sockets = (0..count)
        .map(|_| sys::start_connecting(to).map_err(Error::socket("connect", to)))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(HalfOpen { report: HalfOpenReport { mode: "half-open", sent: sockets.len() }, sockets })
}

impl HalfOpen {
    pub fn until_stdin_ends(self) -> Result<(), Error> {
        hold::wait_for_end_of_stdin()?;
        drop(self.sockets);
        Ok(())
    }
}
