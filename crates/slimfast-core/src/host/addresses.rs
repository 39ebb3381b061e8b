//! Owns the question which IP addresses are this host's own, and being told when that changes.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use super::netlink::Netlink;
use super::netns::NetNs;
use crate::error::{Error, Result};
use crate::sys::unix::wait_readable;
use crate::sys::wake::{Wake, spawn};

/// More than the fixed part of a notification, which is all that has to be taken off the queue.
const NOTIFICATION_BYTES: usize = 256;

/// All IPv4 and IPv6 addresses of the namespace, loopback included, sorted.
pub fn list(namespace: &NetNs) -> Result<BTreeSet<IpAddr>> {
    let mut netlink = Netlink::open(namespace)?;
    list_with(&mut netlink)
}

/// Checks that `underlay` is an address of the namespace. [`Error::Invalid`] otherwise.
pub fn require_local(namespace: &NetNs, underlay: Ipv4Addr) -> Result<()> {
    if list(namespace)?.contains(&IpAddr::V4(underlay)) { Ok(()) } else { Err(not_local(underlay)) }
}

pub(super) fn not_local(underlay: Ipv4Addr) -> Error {
    Error::invalid("underlayAddress", format!("{underlay} is not an address of this node (`ip address` lists them)"))
}

/// Index of the device that has `address`.
pub(super) fn device_with(netlink: &mut Netlink, address: IpAddr) -> Result<Option<u32>> {
    Ok(dump(netlink)?.into_iter().find(|message| address_of(message) == Some(address)).map(|found| found.header.index))
}

fn list_with(netlink: &mut Netlink) -> Result<BTreeSet<IpAddr>> {
    Ok(dump(netlink)?.iter().filter_map(address_of).collect())
}

fn dump(netlink: &mut Netlink) -> Result<Vec<AddressMessage>> {
    let messages = netlink.dump("listing addresses", Message::GetAddress(AddressMessage::default()))?;
    let addresses = messages.into_iter().filter_map(|message| match message {
        Message::NewAddress(address) => Some(address),
        _ => None,
    });
    Ok(addresses.collect())
}

/// `IFA_LOCAL` is the host's own end where both are given (point-to-point IPv4); IPv6 has `IFA_ADDRESS` alone.
fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

/// Tells of changes of a namespace's addresses until it is dropped.
#[derive(Debug)]
pub struct AddressWatch {
    stop: Arc<Wake>,
    thread: Option<JoinHandle<()>>,
}

impl AddressWatch {
    /// Calls `changed` with all addresses of the namespace: once at first, before this returns, and then, on a thread of
    /// its own, whenever they are others than before.
    pub fn start(namespace: &NetNs, mut changed: impl FnMut(&BTreeSet<IpAddr>) + Send + 'static) -> Result<Self> {
        let failed = |syscall, error| Error::system(syscall, "watching addresses", error);
        // Subscribed first, listed second: a change in between is then seen twice rather than never.
        let subscription = namespace.run(|| subscribe().map_err(|error| failed("socket", error)))?;
        let mut netlink = Netlink::open(namespace)?;
        let mut known = list_with(&mut netlink)?;
        changed(&known);
        let stop = Arc::new(Wake::new().map_err(|error| failed("eventfd", error))?);
        let stopped = Arc::clone(&stop);
        let body = move || {
            while wait_for_change(&subscription, &stopped) {
                // Whatever the notifications say, only the list is complete. If it cannot be had now, the next
                // notification brings another try.
                if let Ok(now) = list_with(&mut netlink)
                    && now != known
                {
                    known = now;
                    changed(&known);
                }
            }
        };
        let thread = spawn("slimfast-addr".to_owned(), body).map_err(|error| failed("clone", error))?;
        Ok(AddressWatch { stop, thread: Some(thread) })
    }
}

impl Drop for AddressWatch {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            // A panic of the callback has been printed by its own thread.
            let _ = thread.join();
        }
    }
}

fn subscribe() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.add_membership(libc::RTNLGRP_IPV4_IFADDR)?;
    socket.add_membership(libc::RTNLGRP_IPV6_IFADDR)?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// Waits for notifications and takes all there are. False when it is time to stop.
fn wait_for_change(subscription: &Socket, stop: &Wake) -> bool {
    match wait_readable(subscription.as_fd(), stop.as_fd()) {
        Ok(true) => {}
        Ok(false) | Err(_) => return false,
    }
    // Their text is not read, so it may be cut off. EAGAIN: that was all. ENOBUFS: some were lost, which is a change too.
    let mut cut_off = Vec::with_capacity(NOTIFICATION_BYTES);
    while subscription.recv(&mut cut_off, 0).is_ok() {
        cut_off.clear();
    }
    true
}

#[cfg(test)]
mod tests;
