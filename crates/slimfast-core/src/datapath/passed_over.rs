//! Counts of the connections that the programs told nobody of (`bpf/thinning.bpf.h`).

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::bpf_error;
use super::events::EventKind;
use super::listing::Direction;
use super::records::{read_record, sf_passed_over};
use crate::error::Result;
use crate::owner::Tier;

/// Of a class of connections in `sf_passed_over`: 2 * is_inbound + is_preload.
const CLASSES: [(Direction, Tier); 4] = [
    (Direction::Outbound, Tier::Notify),
    (Direction::Outbound, Tier::Preload),
    (Direction::Inbound, Tier::Notify),
    (Direction::Inbound, Tier::Preload),
];

/// SF_ERRNOS.
const ERRNOS: usize = (size_of::<sf_passed_over>() / size_of::<u64>()) / CLASSES.len() - 2;

/// What events that were passed over have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventClass {
    pub kind: EventKind,
    pub direction: Direction,
    pub tier: Tier,
    /// As in [`ConnectionEvent`](super::events::ConnectionEvent).
    pub errno: Option<i32>,
}

/// Reads what has been added since the last look.
pub(super) struct PassedOver {
    map: MapHandle,
    /// Summed over the CPUs.
    seen: sf_passed_over,
}

impl PassedOver {
    /// `map` is the map `passed_over`. What it holds already is another reader's.
    pub(super) fn new(map: MapHandle) -> Result<Self> {
        let seen = read(&map)?;
        Ok(Self { map, seen })
    }

    pub(super) fn take(&mut self) -> Result<Vec<(EventClass, u64)>> {
        let now = read(&self.map)?;
        let new = difference(&now, &self.seen);
        self.seen = now;
        Ok(new)
    }
}

fn read(map: &MapHandle) -> Result<sf_passed_over> {
    let values = map
        .lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY)
        .map_err(|error| bpf_error("read how many connections were passed over", &error))?;
    let mut sum = sf_passed_over::default();
    for of_cpu in values.unwrap_or_default().iter().filter_map(|bytes| read_record::<sf_passed_over>(bytes)) {
        add(&mut sum.begun, &of_cpu.begun);
        add(&mut sum.ended, &of_cpu.ended);
        add(&mut sum.refused, &of_cpu.refused);
    }
    Ok(sum)
}

fn add(sums: &mut [u64], counts: &[u64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}

fn difference(now: &sf_passed_over, before: &sf_passed_over) -> Vec<(EventClass, u64)> {
    let begun = |direction| match direction {
        Direction::Outbound => EventKind::Opened,
        Direction::Inbound => EventKind::Accepted,
    };
    let mut new = Vec::new();
    for (index, &(direction, tier)) in CLASSES.iter().enumerate() {
        let mut note = |kind, errno, count: u64| {
            if count > 0 {
                new.push((EventClass { kind, direction, tier, errno }, count));
            }
        };
        note(begun(direction), None, now.begun[index] - before.begun[index]);
        note(EventKind::Closed, None, now.ended[index] - before.ended[index]);
        let errnos = index * ERRNOS..(index + 1) * ERRNOS;
        for (errno, of_class) in (0i32..).zip(errnos) {
            note(EventKind::Refused, Some(errno), now.refused[of_class] - before.refused[of_class]);
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_by_class() {
        let mut before = sf_passed_over { begun: [5, 6, 7, 8], ..sf_passed_over::default() };
        before.refused[libc::EPERM as usize] = 1;
        let mut now = before;
        now.begun[1] += 2;
        now.begun[2] += 3;
        now.ended[3] += 4;
        now.refused[ERRNOS + libc::ECONNREFUSED as usize] += 5;
        let class = |kind, direction, tier, errno| EventClass { kind, direction, tier, errno };
        assert_eq!(
            difference(&now, &before),
            [
                (class(EventKind::Opened, Direction::Outbound, Tier::Preload, None), 2),
                (class(EventKind::Refused, Direction::Outbound, Tier::Preload, Some(libc::ECONNREFUSED)), 5),
                (class(EventKind::Accepted, Direction::Inbound, Tier::Notify, None), 3),
                (class(EventKind::Closed, Direction::Inbound, Tier::Preload, None), 4),
            ]
        );
        assert!(difference(&now, &now).is_empty());
    }
}
