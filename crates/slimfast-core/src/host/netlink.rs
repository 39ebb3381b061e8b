//! Owns the conversation with the kernel's routing netlink: requests with their acknowledgements, batches, dumps.
//! Knows no message's meaning.
//!
//! Blocking, on plain sockets: the kernel answers a routing request within the send itself, so an event loop would only
//! add a runtime (and threads that must not change namespace) to a call that never waits.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use super::netns::NetNs;
use crate::error::{Error, Result};

/// Requests in one send. Their acknowledgements wait in the socket's receive buffer until we read them: 64 need about
/// 64 KiB of its 1 MiB.
const BATCH_REQUESTS: usize = 64;
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// The kernel never sends a larger netlink datagram than 32 KiB unless a single message is larger.
const DATAGRAM_BYTES: usize = 128 << 10;

/// What to do when the object of a request exists, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Neither created nor replaced: deletions and settings.
    Plain,
    /// Must not exist yet.
    Create,
    /// Made or replaced.
    Put,
}

impl Mode {
    fn flags(self) -> u16 {
        match self {
            Mode::Plain => 0,
            Mode::Create => NLM_F_CREATE | NLM_F_EXCL,
            Mode::Put => NLM_F_CREATE | NLM_F_REPLACE,
        }
    }
}

/// A request and how it treats what exists.
pub type Request = (RouteNetlinkMessage, Mode);

/// A routing netlink socket in one network namespace, usable from any thread.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    pub fn open(namespace: &NetNs) -> Result<Self> {
        namespace.run(Self::open_here)
    }

    /// In the namespace of the calling thread.
    pub fn open_here() -> Result<Self> {
        let failed = |error| Error::system("socket", "opening a routing netlink socket", error);
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        // Acknowledgements without a copy of the request: more of them fit into the buffer.
        socket.set_cap_ack(true).map_err(failed)?;
        socket.set_rx_buf_sz(RECEIVE_BUFFER_BYTES as u32).map_err(failed)?;
        Ok(Netlink { socket, sequence: 0, buffer: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    /// Sends one request and waits for its acknowledgement. `context` says what it is for.
    pub fn request(&mut self, context: &str, message: RouteNetlinkMessage, mode: Mode) -> Result<()> {
        match self.batch(context, &[(message, mode)])?.pop() {
            Some(Some(error)) => Err(Error::system("netlink", context, error)),
            _ => Ok(()),
        }
    }

    /// Sends all requests, whatever becomes of each, and gives each one's failure in their order. `Err` only when the
    /// conversation itself broke.
    pub fn batch(&mut self, context: &str, requests: &[Request]) -> Result<Vec<Option<io::Error>>> {
        let mut outcomes = Vec::with_capacity(requests.len());
        for chunk in requests.chunks(BATCH_REQUESTS) {
            let mut bytes = Vec::new();
            let first = self.sequence.wrapping_add(1);
            for (message, mode) in chunk {
                self.append(&mut bytes, message.clone(), NLM_F_ACK | mode.flags());
            }
            self.send(context, &bytes)?;
            let base = outcomes.len();
            outcomes.extend(chunk.iter().map(|_| None));
            let mut waiting = chunk.len();
            while waiting > 0 {
                for answer in self.receive(context)? {
                    let position = answer.header.sequence_number.wrapping_sub(first) as usize;
                    if let (NetlinkPayload::Error(error), true) = (&answer.payload, position < chunk.len()) {
                        outcomes[base + position] = error.code.map(|_| error.to_io());
                        waiting -= 1;
                    }
                }
            }
        }
        Ok(outcomes)
    }

    /// The one object that a GET request with this message names.
    pub fn get(&mut self, context: &str, message: RouteNetlinkMessage) -> Result<RouteNetlinkMessage> {
        let mut bytes = Vec::new();
        self.append(&mut bytes, message, 0);
        let sequence = self.sequence;
        self.send(context, &bytes)?;
        loop {
            for answer in self.receive(context)? {
                if answer.header.sequence_number != sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::InnerMessage(object) => return Ok(object),
                    NetlinkPayload::Error(error) => return Err(Error::system("netlink", context, error.to_io())),
                    _ => {}
                }
            }
        }
    }

    /// All objects that a GET request with this message lists.
    pub fn dump(&mut self, context: &str, message: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>> {
        let mut bytes = Vec::new();
        self.append(&mut bytes, message, NLM_F_DUMP);
        let sequence = self.sequence;
        self.send(context, &bytes)?;
        let mut objects = Vec::new();
        loop {
            for answer in self.receive(context)? {
                if answer.header.sequence_number != sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::InnerMessage(object) => objects.push(object),
                    NetlinkPayload::Done(_) => return Ok(objects),
                    NetlinkPayload::Error(error) => return Err(Error::system("netlink", context, error.to_io())),
                    _ => {}
                }
            }
        }
    }

    fn append(&mut self, bytes: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[start..]);
    }

    fn send(&self, context: &str, bytes: &[u8]) -> Result<()> {
        loop {
            match self.socket.send(bytes, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::system("sendto", context, error)),
            }
        }
    }

    fn receive(&mut self, context: &str) -> Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        self.buffer.clear();
        loop {
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => return parse_datagram(&self.buffer, context),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::system("recvfrom", context, error)),
            }
        }
    }
}

/// The messages of one datagram. Also for datagrams of notification groups.
pub(crate) fn parse_datagram(mut bytes: &[u8], context: &str) -> Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map_err(|error| {
            Error::system("recvfrom", context, io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
        })?;
        let length = (message.header.length as usize).next_multiple_of(4).min(bytes.len());
        bytes = &bytes[length..];
        messages.push(message);
    }
    Ok(messages)
}
