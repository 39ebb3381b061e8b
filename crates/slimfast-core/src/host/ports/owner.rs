//! Owns finding out which program has a TCP port: the kernel's socket list names inodes, /proc names who has them open.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};

use crate::error::{Error, Result};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP_FLAGS: u16 = 0x301;
const NETLINK_HEADER_BYTES: usize = 16;
/// `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = 56;
/// `struct inet_diag_msg`.
const ANSWER_BYTES: usize = 72;
/// The kernel's dump of sockets comes in datagrams of at most 32 KiB.
const DATAGRAM_BYTES: usize = 64 << 10;

/// States of linux/tcp_states.h.
const TCP_LISTEN: u8 = 10;
/// Bound, neither listening nor connected (Linux 6.8; older kernels do not list such sockets).
const TCP_BOUND_INACTIVE: u8 = 13;

/// A socket that keeps others off a local TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PortUser {
    pub port: u16,
    pub inode: u32,
}

/// All sockets of the calling thread's namespace that listen on, or are bound to, a TCP port. Connections are not among
/// them.
pub(super) fn users_here() -> Result<Vec<PortUser>> {
    let failed = |syscall, error| Error::system(syscall, "listing TCP sockets", error);
    let mut socket = Socket::new(NETLINK_SOCK_DIAG).map_err(|error| failed("socket", error))?;
    socket.bind_auto().map_err(|error| failed("bind", error))?;
    let mut users = Vec::new();
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
        socket.send(&request(family), 0).map_err(|error| failed("sendto", error))?;
        let mut done = false;
        while !done {
            let mut datagram = Vec::with_capacity(DATAGRAM_BYTES);
            socket.recv(&mut datagram, 0).map_err(|error| failed("recvfrom", error))?;
            done = read_datagram(&datagram, &mut users).map_err(|error| failed("recvfrom", error))?;
        }
    }
    Ok(users)
}

/// A netlink message with `struct inet_diag_req_v2`: all TCP sockets of `family` in the states of [`PortUser`].
fn request(family: u8) -> [u8; NETLINK_HEADER_BYTES + REQUEST_BYTES] {
    let states = 1u32 << TCP_LISTEN | 1 << TCP_BOUND_INACTIVE;
    let mut bytes = [0; NETLINK_HEADER_BYTES + REQUEST_BYTES];
    bytes[0..4].copy_from_slice(&((NETLINK_HEADER_BYTES + REQUEST_BYTES) as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&DUMP_FLAGS.to_ne_bytes());
    bytes[16] = family;
    bytes[17] = libc::IPPROTO_TCP as u8;
    bytes[20..24].copy_from_slice(&states.to_ne_bytes());
    bytes
}

/// Adds the sockets of one datagram to `users`. True when it was the last one.
fn read_datagram(mut bytes: &[u8], users: &mut Vec<PortUser>) -> io::Result<bool> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    while bytes.len() >= NETLINK_HEADER_BYTES {
        let length = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
        let body = bytes.get(NETLINK_HEADER_BYTES..length).ok_or_else(malformed)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = body.first_chunk::<4>().ok_or_else(malformed)?;
                return Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(*code)));
            }
            SOCK_DIAG_BY_FAMILY if body.len() >= ANSWER_BYTES => users.push(PortUser {
                port: u16::from_be_bytes([body[4], body[5]]),
                inode: u32::from_ne_bytes([body[68], body[69], body[70], body[71]]),
            }),
            _ => return Err(malformed()),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// "nginx (pid 123)": the process with the lowest id that has the socket open, in whatever namespace it is itself.
pub(super) fn describe_holder(inode: u32) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    let mut holders = BTreeMap::new();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // Processes end while we look.
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let has_it = descriptors
            .flatten()
            .any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()));
        if has_it {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            holders.insert(pid, name.trim_end().to_owned());
        }
    }
    let (pid, name) = holders.pop_first()?;
    Some(format!("{name} (pid {pid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(port: u16, inode: u32) -> Vec<u8> {
        let mut bytes = vec![0; NETLINK_HEADER_BYTES + ANSWER_BYTES];
        bytes[0..4].copy_from_slice(&((NETLINK_HEADER_BYTES + ANSWER_BYTES) as u32).to_ne_bytes());
        bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        bytes[20..22].copy_from_slice(&port.to_be_bytes());
        bytes[84..88].copy_from_slice(&inode.to_ne_bytes());
        bytes
    }

    fn header(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; NETLINK_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&((NETLINK_HEADER_BYTES + body.len()) as u32).to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn reads_sockets_until_the_end_of_the_list() {
        let mut users = Vec::new();
        let datagram = [answer(7000, 11), answer(80, 12)].concat();
        assert!(!read_datagram(&datagram, &mut users).expect("well-formed"));
        assert!(read_datagram(&header(NLMSG_DONE, &[0; 4]), &mut users).expect("well-formed"));
        assert_eq!(users, [PortUser { port: 7000, inode: 11 }, PortUser { port: 80, inode: 12 }]);
    }

    #[test]
    fn errors_and_malformed_answers_are_told_apart_from_an_end() {
        let refused = read_datagram(&header(NLMSG_ERROR, &(-libc::EPERM).to_ne_bytes()), &mut Vec::new());
        assert_eq!(refused.expect_err("refused").raw_os_error(), Some(libc::EPERM));
        let full = answer(7000, 11);
        for length in [NETLINK_HEADER_BYTES, NETLINK_HEADER_BYTES + ANSWER_BYTES - 1] {
            assert!(read_datagram(&full[..length], &mut Vec::new()).is_err());
        }
    }
}
