//! Owns which overlay address is on which other node, and how that becomes routes, neighbours and forwarding entries.
//!
//! A node's neighbour and forwarding entry exist exactly while at least one address leads there.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::RouteMessage;

use super::super::netlink::{Mode, Netlink, Request};
use super::messages;
use crate::error::{Error, Result};

/// Overlay address -> underlay address of its node, with a count of addresses per node.
#[derive(Debug)]
pub(super) struct Remotes {
    /// Whether nodes are next hops of IPv6 routes as well.
    has_ipv6: bool,
    nodes: HashMap<IpAddr, Ipv4Addr>,
    addresses_of: HashMap<Ipv4Addr, usize>,
}

/// An address, the node it was on, and the node it is to be on.
type Move = (IpAddr, Option<Ipv4Addr>, Option<Ipv4Addr>);

/// A change worked out in full: requests that make it, and requests that take each of those back.
#[derive(Debug)]
pub(super) struct Plan {
    moves: Vec<Move>,
    steps: Vec<(Request, Request)>,
}

impl Remotes {
    pub fn new(has_ipv6: bool) -> Self {
        Self { has_ipv6, nodes: HashMap::new(), addresses_of: HashMap::new() }
    }

    /// What the kernel has already, as (address, node): of an agent that is gone.
    pub fn inherit(has_ipv6: bool, routes: impl IntoIterator<Item = (IpAddr, Ipv4Addr)>) -> Self {
        let mut remotes = Self::new(has_ipv6);
        for (address, node) in routes {
            remotes.nodes.insert(address, node);
            *remotes.addresses_of.entry(node).or_default() += 1;
        }
        remotes
    }

    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.nodes.keys().copied()
    }

    /// The request that routes `address` to its node, if it is known.
    pub fn request_for(&self, address: IpAddr, device: u32) -> Option<Message> {
        let node = self.nodes.get(&address)?;
        Some(Message::NewRoute(route_to(address, *node, device)))
    }

    /// How to get from here to `wanted` (`None`: nowhere; the last word on an address counts). Addresses that are `local`
    /// are remembered but get no route.
    pub fn plan(&self, wanted: &[(IpAddr, Option<Ipv4Addr>)], device: u32, local: impl Fn(IpAddr) -> bool) -> Plan {
        let last_word: BTreeMap<IpAddr, Option<Ipv4Addr>> = wanted.iter().copied().collect();
        let moves: Vec<Move> = last_word
            .into_iter()
            .map(|(address, node)| (address, self.nodes.get(&address).copied(), node))
            .filter(|(_, former, node)| former != node)
            .collect();
        let mut gained: BTreeMap<Ipv4Addr, isize> = BTreeMap::new();
        for (_, former, node) in &moves {
            former.iter().for_each(|former| *gained.entry(*former).or_default() -= 1);
            node.iter().for_each(|node| *gained.entry(*node).or_default() += 1);
        }

        let (mut first, mut last) = (Vec::new(), Vec::new());
        for (node, gain) in gained {
            let before = self.addresses_of.get(&node).copied().unwrap_or(0);
            let after = before.saturating_add_signed(gain);
            match (before, after) {
                (0, 1..) => first.extend(self.node_steps(node, device)),
                (1.., 0) => last.extend(self.node_steps(node, device).map(|(make, unmake)| (unmake, make))),
                _ => {}
            }
        }
        let routes = moves.iter().filter(|(address, ..)| !local(*address)).map(|(address, former, node)| {
            (route_step(*address, *former, *node, device), route_step(*address, *node, *former, device))
        });
        let steps = first.into_iter().chain(routes).chain(last).collect();
        Plan { moves, steps }
    }

    /// The plan has been carried out.
    pub fn commit(&mut self, plan: Plan) {
        for (address, former, node) in plan.moves {
            match node {
                Some(node) => {
                    self.nodes.insert(address, node);
                    *self.addresses_of.entry(node).or_default() += 1;
                }
                None => drop(self.nodes.remove(&address)),
            }
            if let Some(former) = former
                && let Some(count) = self.addresses_of.get_mut(&former)
            {
                *count -= 1;
                if *count == 0 {
                    self.addresses_of.remove(&former);
                }
            }
        }
    }
}

impl Remotes {
    fn node_steps(&self, node: Ipv4Addr, device: u32) -> impl Iterator<Item = (Request, Request)> {
        let mac = || messages::mac_of(node);
        let hop = self.has_ipv6.then(|| messages::neighbour(messages::hop_of(node), mac(), device));
        let entries = [messages::neighbour(node, mac(), device), messages::forwarding(node, device)];
        entries.into_iter().chain(hop).map(|entry| {
            ((Message::NewNeighbour(entry.clone()), Mode::Put), (Message::DelNeighbour(entry), Mode::Plain))
        })
    }
}

impl Plan {
    /// Carries the plan out, or leaves the kernel as it was.
    pub fn apply(&self, netlink: &mut Netlink) -> Result<()> {
        const CONTEXT: &str = "routing to remote endpoints";
        let requests: Vec<Request> = self.steps.iter().map(|(make, _)| make.clone()).collect();
        let mut outcomes = netlink.batch(CONTEXT, &requests)?;
        for (outcome, request) in outcomes.iter_mut().zip(&requests) {
            outcome.take_if(|error| already_gone(request, error));
        }
        let Some(first) = outcomes.iter().position(Option::is_some) else { return Ok(()) };
        let done = self.steps.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_none());
        let back: Vec<Request> = done.rev().map(|((_, unmake), _)| unmake.clone()).collect();
        netlink.batch(CONTEXT, &back)?;
        match outcomes.swap_remove(first) {
            Some(error) => Err(Error::system("netlink", CONTEXT, error)),
            None => Ok(()),
        }
    }
}

/// Deleting what is not there is done already.
fn already_gone((message, _): &Request, error: &io::Error) -> bool {
    matches!(message, Message::DelRoute(_) | Message::DelNeighbour(_))
        && matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT))
}

fn route_to(address: IpAddr, node: Ipv4Addr, device: u32) -> RouteMessage {
    match address {
        IpAddr::V4(address) => messages::route_via(address, node, device),
        IpAddr::V6(address) => messages::route_via(address, messages::hop_of(node), device),
    }
}

fn route_step(address: IpAddr, former: Option<Ipv4Addr>, node: Option<Ipv4Addr>, device: u32) -> Request {
    match (former, node) {
        (_, Some(node)) => (Message::NewRoute(route_to(address, node, device)), Mode::Put),
        (former, None) => {
            let gateway = former.unwrap_or(Ipv4Addr::UNSPECIFIED);
            (Message::DelRoute(route_to(address, gateway, device)), Mode::Plain)
        }
    }
}
