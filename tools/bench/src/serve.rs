//! The server: one thread, one epoll instance, one port. The first byte of a connection says what it does, so that one
//! server is enough for all modes and nothing differs between the configurations that are compared.
//!
//! Invariant: a connection waits for exactly one thing at a time (see [`Interest`]): to read, or, when the peer does not
//! take what we have, to write.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use serde::Serialize;

use crate::error::Error;
use crate::sys::{self, Epoll, Events, Interest};

/// First bytes of connections.
pub const ECHO: u8 = b'e';
pub const DISCARD: u8 = b's';
pub const SEND: u8 = b'd';
/// Length of the answer to [`DISCARD`]: bytes, then nanoseconds, each big-endian u64.
pub const RECEIPT_BYTES: usize = 16;
/// Large enough that bulk is not about system calls.
pub const CHUNK_BYTES: usize = 256 * 1024;

const LISTENER: u64 = u64::MAX;
const EVENTS_PER_WAIT: usize = 256;
/// After so many chunks a connection lets the others have their turn.
const CHUNKS_PER_TURN: usize = 16;

pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    /// Connections are closed as soon as they are accepted.
    accept_only: bool,
}

#[derive(Serialize)]
pub struct Ready {
    ready: bool,
    address: String,
    port: u16,
    pid: u32,
}

impl Server {
    pub fn listen(address: SocketAddr, backlog: u16, accept_only: bool) -> Result<Self, Error> {
        let listener = sys::listen(address, backlog).map_err(Error::socket("listen", address))?;
        Ok(Self { listener, address, accept_only })
    }

    pub fn ready(&self) -> Result<Ready, Error> {
        let bound = self.listener.local_addr().map_err(Error::socket("getsockname", self.address))?;
        Ok(Ready { ready: true, address: bound.ip().to_string(), port: bound.port(), pid: std::process::id() })
    }

    /// Serves until the process is killed, or the process runs out of something.
    pub fn run(self) -> Result<(), Error> {
        let epoll = Epoll::new().map_err(Error::system("epoll_create1"))?;
        epoll.add(&self.listener, LISTENER, Interest::Readable).map_err(Error::system("epoll_ctl"))?;
        let mut connections = Connections::default();
        let mut events = Events::with_capacity(EVENTS_PER_WAIT);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            epoll.wait(&mut events).map_err(Error::system("epoll_wait"))?;
            for token in events.tokens() {
                if token == LISTENER {
                    self.accept_all(&epoll, &mut connections)?;
                } else {
                    connections.turn(token, &epoll, &mut chunk);
                }
            }
        }
    }

    fn accept_all(&self, epoll: &Epoll, connections: &mut Connections) -> Result<(), Error> {
        while let Some(stream) = sys::accept(&self.listener).map_err(Error::socket("accept", self.address))? {
            if self.accept_only {
                continue;
            }
            let token = connections.next_token();
            epoll.add(&stream, token, Interest::Readable).map_err(Error::system("epoll_ctl"))?;
            connections.insert(token, Connection::new(stream));
        }
        Ok(())
    }
}

/// Connections by token. A token is used again when its connection is gone; an event of the old one that is still in the
/// batch then meets the new one, which finds nothing to read and waits on.
#[derive(Default)]
struct Connections {
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
}

impl Connections {
    fn next_token(&self) -> u64 {
        self.free.last().copied().unwrap_or(self.slots.len()) as u64
    }

    fn insert(&mut self, token: u64, connection: Connection) {
        match self.free.pop() {
            Some(slot) => self.slots[slot] = Some(connection),
            None => self.slots.push(Some(connection)),
        }
        debug_assert!(self.slots[token as usize].is_some());
    }

    fn turn(&mut self, token: u64, epoll: &Epoll, chunk: &mut [u8]) {
        let slot = token as usize;
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return };
        let before = connection.interest;
        // A connection that fails concerns only its client, who sees it too.
        let goes_on = connection.turn(chunk).unwrap_or(false)
            && (connection.interest == before || epoll.change(&connection.stream, token, connection.interest).is_ok());
        if !goes_on {
            self.slots[slot] = None;
            self.free.push(slot);
        }
    }
}

enum Work {
    /// The first byte has not come.
    Undecided,
    /// `unsent` is what the peer has not taken yet; nothing is read meanwhile.
    Echo {
        unsent: Vec<u8>,
    },
    Discard {
        bytes: u64,
        /// When the first and the last byte came.
        span: Option<(Instant, Instant)>,
    },
    Send,
}

struct Connection {
    stream: TcpStream,
    interest: Interest,
    work: Work,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { stream, interest: Interest::Readable, work: Work::Undecided }
    }

    /// Does what can be done without waiting. False: the connection is done.
    fn turn(&mut self, chunk: &mut [u8]) -> io::Result<bool> {
        for _ in 0..CHUNKS_PER_TURN {
            let step = match self.interest {
                Interest::Readable => self.read(chunk),
                Interest::Writable => self.write(chunk),
            };
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Wait) => return Ok(true),
                Ok(Step::Done) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn read(&mut self, chunk: &mut [u8]) -> io::Result<Step> {
        let length = self.stream.read(chunk)?;
        if length == 0 {
            return self.end_of_input();
        }
        let mut input = &chunk[..length];
        if matches!(self.work, Work::Undecided) {
            match input[0] {
                ECHO => self.work = Work::Echo { unsent: Vec::new() },
                DISCARD => {
                    self.work = Work::Discard { bytes: 0, span: None };
                    input = &input[1..];
                }
                SEND => {
                    self.work = Work::Send;
                    self.interest = Interest::Writable;
                    return Ok(Step::Again);
                }
                _ => return Ok(Step::Done),
            }
        }
        match &mut self.work {
            Work::Echo { unsent } => {
                let sent = match self.stream.write(input) {
                    Ok(sent) => sent,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    Err(error) => return Err(error),
                };
                if sent < length {
                    unsent.extend_from_slice(&input[sent..]);
                    self.interest = Interest::Writable;
                    return Ok(Step::Wait);
                }
                // A short read has emptied the socket: reading again would only say so.
                Ok(if length < chunk.len() { Step::Wait } else { Step::Again })
            }
            Work::Discard { bytes, span } => {
                if !input.is_empty() {
                    let now = Instant::now();
                    *bytes += input.len() as u64;
                    *span = Some((span.map_or(now, |(first, _)| first), now));
                }
                Ok(Step::Again)
            }
            Work::Undecided | Work::Send => Ok(Step::Wait),
        }
    }

    fn write(&mut self, chunk: &[u8]) -> io::Result<Step> {
        match &mut self.work {
            Work::Echo { unsent } => {
                let sent = self.stream.write(unsent)?;
                unsent.drain(..sent);
                if unsent.is_empty() {
                    self.interest = Interest::Readable;
                }
                Ok(Step::Again)
            }
            Work::Send => {
                let _sent = self.stream.write(chunk)?; // zeros: where they are cut does not matter
                Ok(Step::Again)
            }
            Work::Undecided | Work::Discard { .. } => Ok(Step::Wait),
        }
    }

    fn end_of_input(&mut self) -> io::Result<Step> {
        if let Work::Discard { bytes, span } = &self.work {
            let elapsed_ns = span.map_or(0, |(first, last)| (last - first).as_nanos() as u64);
            let mut receipt = [0; RECEIPT_BYTES];
            receipt[..8].copy_from_slice(&bytes.to_be_bytes());
            receipt[8..].copy_from_slice(&elapsed_ns.to_be_bytes());
            // Nothing was sent before: the buffer has room for 16 bytes.
            self.stream.write_all(&receipt)?;
        }
        Ok(Step::Done)
    }
}

enum Step {
    /// There may be more to do at once.
    Again,
    Wait,
    Done,
}
