//! Owns holding TCP ports: sockets that are bound, so that nobody else can bind there, but never listen. What arrives for
//! the port is dispatched by BPF before the kernel looks for a listener; without BPF it gets RST.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use super::super::netns::NetNs;
use super::super::steps::step;
use super::owner::{describe_holder, users_here};
use super::range::PortRange;
use crate::error::{Error, Result};
use crate::sys;

/// Ports that others cannot bind, as long as this lives or somebody else has its sockets.
#[derive(Debug)]
pub struct PortHold {
    range: PortRange,
    /// One per port: on both families at once where the host has IPv6.
    sockets: Vec<OwnedFd>,
}

impl PortHold {
    /// Holds every port of `range` in the caller's namespace, or none. [`Error::Conflict`] names the program that has one.
    pub fn acquire(range: PortRange) -> Result<Self> {
        Self::acquire_in(&NetNs::current()?, range)
    }

    /// As [`PortHold::acquire`], in `namespace`.
    pub fn acquire_in(namespace: &NetNs, range: PortRange) -> Result<Self> {
        let sockets = range.ports().map(|port| {
            step("hold a port")?;
            namespace.run(|| hold(port))
        });
        Ok(PortHold { range, sockets: sockets.collect::<Result<_>>()? })
    }

    pub fn range(&self) -> PortRange {
        self.range
    }

    /// For somebody else to keep open.
    pub fn sockets(&self) -> &[OwnedFd] {
        &self.sockets
    }
}

/// Without SO_REUSEADDR, so that later binds fail even if they ask for it.
fn hold(port: u16) -> Result<OwnedFd> {
    match bind(port, false) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        other => return other.map_err(|error| Error::system("bind", format!("holding TCP port {port}"), error)),
    }
    let users: HashSet<u32> =
        users_here()?.into_iter().filter(|user| user.port == port).map(|user| user.inode).collect();
    if !users.is_empty() {
        let holder = users.into_iter().find_map(describe_holder);
        return Err(taken(port, holder.unwrap_or_else(|| "a process that this one cannot see".to_owned())));
    }
    // Nobody listens there: what is in the way are connections of an earlier run, open or in TIME_WAIT, which carry our
    // port as their local one. They do no harm. (Linux before 6.8 does not list sockets that are only bound; there, such a
    // socket of somebody else goes unnoticed, and gets none of what arrives for the port.)
    bind(port, true).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => taken(port, "a program that the kernel does not name".to_owned()),
        _ => Error::system("bind", format!("holding TCP port {port}"), error),
    })
}

fn bind(port: u16, beside_connections: bool) -> io::Result<OwnedFd> {
    let any = |v6: bool| match v6 {
        true => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        false => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    };
    match sys::tcp::bind_only(any(true), beside_connections) {
        // IPv6 is switched off in this kernel or namespace.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
            sys::tcp::bind_only(any(false), beside_connections)
        }
        other => other,
    }
}

fn taken(port: u16, holder: String) -> Error {
    Error::Conflict { what: format!("TCP port {port}"), holder }
}

#[cfg(test)]
mod tests;
