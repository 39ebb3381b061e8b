//! Which connections are told of when there are more than anybody can look at.
//!
//! An event costs its readers some twenty times what it costs to be read here: it becomes an object, a message, a row in a
//! table. A node with thousands of short connections a second would spend more on telling of them than on setting them up.
//! So new connections draw from a token bucket, and one that finds it empty is passed over, wholly: what is told of a
//! connection has both its beginning and its end. What is passed over is counted by what a metric tells apart, so that
//! metrics miss nothing, and lists of live connections are read from the kernel.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::datapath::events::{ConnectionEvent, EventKind};
use crate::datapath::listing::Direction;
use crate::owner::Tier;

/// Events per second, in the long run: those of 1,000 connections.
const EVENTS_PER_SECOND: u32 = 2_000;

/// Events in a burst after a quiet time.
pub(super) const BURST: u32 = 8_000;

/// Connections passed over that are remembered until they end: about 2 MiB. Their set is emptied when it is full, for an
/// end may have been lost in a full ring; then some ends are told without their beginnings.
const REMEMBERED: usize = 131_072;

/// What events that were passed over have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventClass {
    pub kind: EventKind,
    pub direction: Direction,
    pub tier: Tier,
    /// As in [`ConnectionEvent`].
    pub errno: Option<i32>,
}

pub(super) struct Thinning {
    tokens: f64,
    filled: Instant,
    /// Cookies of live connections.
    passed_over: HashSet<u64>,
    /// Few: errors of refused connections are few.
    counts: HashMap<EventClass, u64>,
}

impl Thinning {
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: f64::from(BURST), filled: now, passed_over: HashSet::new(), counts: HashMap::new() }
    }

    /// To be called before the events of a batch are asked for.
    pub(super) fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).min(Duration::from_secs(60));
        self.tokens = (self.tokens + elapsed.as_secs_f64() * f64::from(EVENTS_PER_SECOND)).min(f64::from(BURST));
        self.filled = now;
    }

    /// Whether `event` is to be told; it is counted if not.
    pub(super) fn admits(&mut self, event: &ConnectionEvent) -> bool {
        let is_admitted = self.decide(event);
        if !is_admitted {
            let ConnectionEvent { kind, errno, ref connection, .. } = *event;
            let class = EventClass { kind, direction: connection.direction, tier: connection.tier, errno };
            *self.counts.entry(class).or_default() += 1;
        }
        is_admitted
    }

    /// What was passed over since this was last asked, by class.
    pub(super) fn take_counts(&mut self) -> Vec<(EventClass, u64)> {
        self.counts.drain().collect()
    }

    pub(super) fn has_counts(&self) -> bool {
        !self.counts.is_empty()
    }

    /// The beginning of a connection pays for its end, too.
    fn decide(&mut self, event: &ConnectionEvent) -> bool {
        let cookie = event.connection.cookie;
        match event.kind {
            EventKind::Opened | EventKind::Accepted => {
                let is_admitted = self.take(2.0);
                if !is_admitted {
                    if self.passed_over.len() >= REMEMBERED {
                        self.passed_over.clear();
                    }
                    self.passed_over.insert(cookie);
                }
                is_admitted
            }
            EventKind::Closed => !self.passed_over.remove(&cookie),
            EventKind::Refused => self.take(1.0),
        }
    }

    fn take(&mut self, tokens: f64) -> bool {
        let is_enough = self.tokens >= tokens;
        if is_enough {
            self.tokens -= tokens;
        }
        is_enough
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

    use super::*;
    use crate::datapath::listing::Connection;
    use crate::owner::EndpointKey;

    pub(in crate::node) fn event(kind: EventKind, cookie: u64) -> ConnectionEvent {
        let nowhere = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        ConnectionEvent {
            kind,
            time_ns: 0,
            connection: Connection {
                cookie,
                owner: EndpointKey { vni: 1, id: 1 },
                direction: Direction::Outbound,
                tier: Tier::Notify,
                state: "ESTABLISHED",
                local: nowhere,
                peer: nowhere,
                underlay_local: nowhere,
                underlay_peer: nowhere,
                bytes_sent: 0,
                bytes_received: 0,
                rtt_us: 0,
                duration_us: 0,
                setup_us: 0,
            },
            errno: None,
        }
    }

    #[test]
    fn a_burst_is_told_and_then_the_rate() {
        let start = Instant::now();
        let mut thinning = Thinning::new(start);
        let told = |thinning: &mut Thinning, cookies: std::ops::Range<u64>| {
            cookies.filter(|&cookie| thinning.admits(&event(EventKind::Opened, cookie))).count()
        };
        assert_eq!(told(&mut thinning, 0..10_000), BURST as usize / 2);
        thinning.fill(start + Duration::from_secs(1));
        assert_eq!(told(&mut thinning, 10_000..20_000), EVENTS_PER_SECOND as usize / 2);
        thinning.fill(start + Duration::from_secs(100));
        assert_eq!(told(&mut thinning, 20_000..30_000), BURST as usize / 2, "no more than a burst is saved up");
    }

    #[test]
    fn beginning_and_end_are_told_together_or_not_at_all() {
        let mut thinning = Thinning::new(Instant::now());
        let begun: Vec<u64> = (0..6_000).filter(|&c| thinning.admits(&event(EventKind::Accepted, c))).collect();
        let ended: Vec<u64> = (0..6_000).filter(|&c| thinning.admits(&event(EventKind::Closed, c))).collect();
        assert_eq!(begun.len(), 4_000);
        assert_eq!(ended, begun);
        assert!(thinning.admits(&event(EventKind::Closed, 9_000)), "one that began before this node was looked at");
        assert!(!thinning.admits(&event(EventKind::Refused, 0)), "it paid nothing in advance");
        assert!(thinning.passed_over.is_empty());
        let class = |kind| EventClass { kind, direction: Direction::Outbound, tier: Tier::Notify, errno: None };
        let counts: HashMap<_, _> = thinning.take_counts().into_iter().collect();
        let expected = [(EventKind::Accepted, 2_000), (EventKind::Closed, 2_000), (EventKind::Refused, 1)];
        assert_eq!(counts, expected.map(|(kind, count)| (class(kind), count)).into());
        assert!(!thinning.has_counts());
    }

    #[test]
    fn its_memory_is_bounded() {
        let mut thinning = Thinning::new(Instant::now());
        for cookie in 0..3 * REMEMBERED as u64 {
            thinning.admits(&event(EventKind::Opened, cookie));
        }
        assert!(thinning.passed_over.len() <= REMEMBERED);
    }
}
