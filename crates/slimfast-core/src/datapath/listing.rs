//! Connections and listeners as the kernel has them, read through BPF iterators; and cutting some of them.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use libbpf_rs::{Iter, Link, MapCore, MapFlags, MapHandle};

use super::loader::Loaded;
use super::records::{
    bytes_of, read_record, sf_address6, sf_bind_class, sf_connection, sf_cut_order, sf_cut_what, sf_endpoint_key,
    sf_socket_flags,
};
use super::{bpf_error, ipv4, ipv6};
use crate::error::{Error, Result};
use crate::owner::{EndpointKey, Tier};

/// Of the walk at a time. The kernel gives less.
const READ_BYTES: usize = 256 * 1024;

/// TCP_LISTEN (include/net/tcp_states.h).
const TCP_LISTEN: u8 = 10;
const TCP_CLOSE: u8 = 7;

/// Names of the TCP states by number (include/net/tcp_states.h).
const TCP_STATES: [&str; 13] = [
    "",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
];

/// Which end of a connection the container holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    Outbound,
    Inbound,
}

/// A TCP connection of an endpoint of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The kernel's socket cookie; 0 for a connection that never had a socket on this node.
    pub cookie: u64,
    pub owner: EndpointKey,
    pub direction: Direction,
    pub tier: Tier,
    /// The kernel's name of the TCP state.
    pub state: &'static str,
    /// As the container sees them.
    pub local: SocketAddr,
    pub peer: SocketAddr,
    /// Of the host socket.
    pub underlay_local: SocketAddr,
    pub underlay_peer: SocketAddr,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Smoothed, in microseconds; 0 if not measured yet.
    pub rtt_us: u32,
    /// Since it was established, in microseconds.
    pub duration_us: u64,
    /// Of the handshake, in microseconds; outbound only.
    pub setup_us: u32,
}

/// A listening TCP socket of an endpoint of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub cookie: u64,
    pub owner: EndpointKey,
    pub local: SocketAddr,
    pub v6_only: bool,
}

fn has(record: &sf_connection, flag: sf_socket_flags) -> bool {
    record.flags & flag.0 != 0
}

fn v4(address: u32, port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(ipv4(address), u16::from_be(port)))
}

fn v6(address: sf_address6, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(ipv6(address)), u16::from_be(port))
}

impl Connection {
    pub(super) fn from_record(record: &sf_connection) -> Self {
        let is_to_loopback6 = has(record, sf_socket_flags::SF_LOOPBACK6);
        let is_ipv6 = has(record, sf_socket_flags::SF_IPV6);
        let is_accepted = has(record, sf_socket_flags::SF_ACCEPTED);
        // As is_named_loopback6 of bpf/names.bpf.h.
        let shown = |is_clients: bool, address: u32, address6: sf_address6, port: u16| {
            if is_to_loopback6 != (is_clients && has(record, sf_socket_flags::SF_OTHER6)) {
                SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), u16::from_be(port))
            } else if is_ipv6 || is_to_loopback6 {
                v6(address6, port)
            } else {
                v4(address, port)
            }
        };
        // What leaves the overlay by IPv6, or goes to a plain peer, is not carried by IPv4; then nobody records the node's own
        // address.
        let is_native = has(record, sf_socket_flags::SF_OUTSIDE) || has(record, sf_socket_flags::SF_PLAIN);
        let underlay = if is_ipv6 && is_native {
            [v6(sf_address6::default(), record.underlay_local_port), v6(record.peer_address6, record.peer_port)]
        } else {
            [
                v4(record.underlay_local_address, record.underlay_local_port),
                v4(record.underlay_peer_address, record.underlay_peer_port),
            ]
        };
        Self {
            cookie: record.cookie,
            owner: record.owner.into(),
            direction: if is_accepted { Direction::Inbound } else { Direction::Outbound },
            tier: if has(record, sf_socket_flags::SF_PRELOAD) { Tier::Preload } else { Tier::Notify },
            state: TCP_STATES.get(usize::from(record.state)).copied().unwrap_or(""),
            local: shown(!is_accepted, record.local_address, record.local_address6, record.local_port),
            peer: shown(is_accepted, record.peer_address, record.peer_address6, record.peer_port),
            underlay_local: underlay[0],
            underlay_peer: underlay[1],
            bytes_sent: record.bytes_sent,
            bytes_received: record.bytes_received,
            rtt_us: record.rtt_us,
            duration_us: record.duration_ns / 1000,
            setup_us: record.setup_us,
        }
    }
}

impl Listener {
    fn from_record(record: &sf_connection) -> Self {
        let class = sf_bind_class(u32::from(record.bind_class));
        let address = match class {
            sf_bind_class::SF_BIND_ADDRESS4 => IpAddr::V4(ipv4(record.local_address)),
            sf_bind_class::SF_BIND_LOOPBACK4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            sf_bind_class::SF_BIND_DUAL | sf_bind_class::SF_BIND_ANY6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            sf_bind_class::SF_BIND_LOOPBACK6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
            sf_bind_class::SF_BIND_ADDRESS6 => IpAddr::V6(ipv6(record.local_address6)),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        Self {
            cookie: record.cookie,
            owner: record.owner.into(),
            local: SocketAddr::new(address, u16::from_be(record.local_port)),
            v6_only: matches!(
                class,
                sf_bind_class::SF_BIND_ANY6 | sf_bind_class::SF_BIND_LOOPBACK6 | sf_bind_class::SF_BIND_ADDRESS6
            ),
        }
    }
}

/// Which sockets to reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// All connections and listeners of an endpoint.
    Endpoint(EndpointKey),
    /// The connection with this socket cookie.
    Cookie(u64),
    /// The connections of a network that its policies do not allow.
    Denied { vni: u32 },
}

/// The iterator programs, attached once.
pub struct Listing {
    list: Link,
    cut: Link,
    globals: MapHandle,
}

impl Listing {
    pub fn new(loaded: &Loaded) -> Result<Self> {
        Ok(Self {
            list: loaded.iterator("sf_list")?,
            cut: loaded.iterator("sf_cut")?,
            globals: loaded.map("slimfast.bss").or_else(|_| loaded.map(".bss"))?,
        })
    }

    /// The connections that are open, opening or closing: all, or the first so many in the order of the kernel's table. Sockets
    /// that only wait (TIME_WAIT) are the kernel's own.
    pub fn connections(&self, at_most: usize) -> Result<Vec<Connection>> {
        let is_connection = |record: &sf_connection| !matches!(record.state, TCP_LISTEN | TCP_CLOSE);
        let mut found = Vec::new();
        run(&self.list, "list the sockets", |bytes| {
            let room = at_most - found.len();
            found
                .extend(records(bytes).filter(is_connection).take(room).map(|record| Connection::from_record(&record)));
            found.len() < at_most
        })?;
        Ok(found)
    }

    pub fn listeners(&self) -> Result<Vec<Listener>> {
        let mut found = Vec::new();
        run(&self.list, "list the sockets", |bytes| {
            let listening = records(bytes).filter(|record| record.state == TCP_LISTEN);
            found.extend(listening.map(|record| Listener::from_record(&record)));
            true
        })?;
        Ok(found)
    }

    /// Resets sockets and says how many. Calls must not overlap.
    pub fn cut(&self, which: Cut) -> Result<u32> {
        let nobody = EndpointKey { vni: 0, id: 0 };
        let (what, owner, cookie) = match which {
            Cut::Endpoint(owner) => (sf_cut_what::SF_CUT_OWNER, owner, 0),
            Cut::Cookie(cookie) => (sf_cut_what::SF_CUT_COOKIE, nobody, cookie),
            Cut::Denied { vni } => (sf_cut_what::SF_CUT_DENIED, EndpointKey { vni, id: 0 }, 0),
        };
        let order = sf_cut_order { cookie, owner: sf_endpoint_key::from(owner), what: what.0, done: 0 };
        self.globals
            .update(&0u32.to_ne_bytes(), bytes_of(&order), MapFlags::ANY)
            .map_err(|error| bpf_error("say which sockets to cut", &error))?;
        run(&self.cut, "cut sockets", |_| true)?;
        let done = self
            .globals
            .lookup(&0u32.to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| bpf_error("read how many sockets were cut", &error))?;
        Ok(done.as_deref().and_then(read_record::<sf_cut_order>).map_or(0, |order| order.done))
    }
}

fn records(bytes: &[u8]) -> impl Iterator<Item = sf_connection> {
    bytes.chunks_exact(size_of::<sf_connection>()).filter_map(read_record)
}

/// Walks the sockets. `take` gets whole records, some at a time, and says whether it wants more: of very many sockets the walk costs
/// more than what is made of a few.
fn run(link: &Link, context: &'static str, mut take: impl FnMut(&[u8]) -> bool) -> Result<()> {
    let mut walk = Iter::new(link).map_err(|error| bpf_error(context, &error))?;
    let mut buffer = vec![0; READ_BYTES];
    let mut filled = 0;
    loop {
        match walk.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(()),
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(Error::system("read", context, source)),
        }
        let whole = filled - filled % size_of::<sf_connection>();
        if !take(&buffer[..whole]) {
            return Ok(());
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}
