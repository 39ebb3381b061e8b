//! Owns sets of ports and the text form that the kernel gives them: "80,7000-7015". Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The ports from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// `count` ports from `first` on; none may be 0 or beyond 65535.
    pub fn block(first: u16, count: u16) -> Result<Self> {
        let last = first.checked_add(count.saturating_sub(1));
        match (first, count, last) {
            (1.., 1.., Some(last)) => Ok(PortRange { first, last }),
            _ => Err(Error::invalid(
                "frontPortFirst",
                format!("{count} ports from {first} on are no range within 1-65535"),
            )),
        }
    }

    pub fn first(self) -> u16 {
        self.first
    }

    pub fn last(self) -> u16 {
        self.last
    }

    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    pub fn ports(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// Reads the kernel's form. `None` when it is malformed.
pub fn parse_ranges(text: &str) -> Option<Vec<PortRange>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Vec::new());
    }
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some(PortRange { first, last })
    };
    text.split(',').map(range).collect()
}

/// Writes the kernel's form.
pub fn format_ranges(ranges: &[PortRange]) -> String {
    let parts: Vec<String> = ranges.iter().map(PortRange::to_string).collect();
    parts.join(",")
}

/// All ports of both, sorted, with neighbours joined.
pub(super) fn union(a: &[PortRange], b: &[PortRange]) -> Vec<PortRange> {
    let mut all: Vec<PortRange> = a.iter().chain(b).copied().collect();
    all.sort_by_key(|range| range.first);
    let mut joined: Vec<PortRange> = Vec::new();
    for range in all {
        match joined.last_mut() {
            Some(previous) if u32::from(range.first) <= u32::from(previous.last) + 1 => {
                previous.last = previous.last.max(range.last);
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// The ports of `from` that are not in `taken`, sorted, with neighbours joined.
pub(super) fn difference(from: &[PortRange], taken: &[PortRange]) -> Vec<PortRange> {
    let mut left = Vec::new();
    let taken = union(taken, &[]);
    for range in union(from, &[]) {
        // One past the last port does not fit into u16.
        let mut next = u32::from(range.first);
        for hole in taken.iter().filter(|hole| hole.last >= range.first && hole.first <= range.last) {
            if u32::from(hole.first) > next {
                left.push(PortRange { first: next as u16, last: hole.first - 1 });
            }
            next = next.max(u32::from(hole.last) + 1);
        }
        if next <= u32::from(range.last) {
            left.push(PortRange { first: next as u16, last: range.last });
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(text: &str) -> Vec<PortRange> {
        parse_ranges(text).expect("well-formed")
    }

    #[test]
    fn reads_and_writes_the_kernels_form() {
        for text in ["", "80", "80,443", "7000-7015", "1,3-5,65535"] {
            assert_eq!(format_ranges(&ranges(text)), text);
        }
        assert_eq!(ranges(" 80, 90-91 \n"), [PortRange { first: 80, last: 80 }, PortRange { first: 90, last: 91 }]);
        for text in ["x", "1-", "-1", "5-4", "70000", "1,,2", "1-2-3"] {
            assert_eq!(parse_ranges(text), None, "{text}");
        }
    }

    #[test]
    fn blocks_stay_within_the_ports() {
        assert_eq!(PortRange::block(7000, 16).expect("valid").to_string(), "7000-7015");
        assert_eq!(PortRange::block(65535, 1).expect("valid").to_string(), "65535");
        for (first, count) in [(0, 1), (1, 0), (65535, 2), (60000, 60000)] {
            assert!(matches!(PortRange::block(first, count), Err(Error::Invalid { .. })), "{first} {count}");
        }
    }

    #[test]
    fn union_joins_neighbours() {
        let cases = [
            ("", "7000-7015", "7000-7015"),
            ("8080", "7000-7015", "7000-7015,8080"),
            ("7016", "7000-7015", "7000-7016"),
            ("7005-7020", "7000-7015", "7000-7020"),
            ("1-65535", "7000-7015", "1-65535"),
            ("65535", "65534", "65534-65535"),
        ];
        for (a, b, expected) in cases {
            assert_eq!(format_ranges(&union(&ranges(a), &ranges(b))), expected, "{a} + {b}");
        }
    }

    #[test]
    fn difference_takes_out_only_what_is_named() {
        let cases = [
            ("7000-7015", "", "7000-7015"),
            ("7000-7015", "7000-7015", ""),
            ("7000-7015,8080", "7000-7015", "8080"),
            ("6999-7016", "7000-7015", "6999,7016"),
            ("7000-7015", "7003,7005-7006", "7000-7002,7004,7007-7015"),
            ("65530-65535", "65535", "65530-65534"),
            ("1-65535", "1,65535", "2-65534"),
            ("80", "81", "80"),
        ];
        for (from, taken, expected) in cases {
            assert_eq!(format_ranges(&difference(&ranges(from), &ranges(taken))), expected, "{from} - {taken}");
        }
    }

    #[test]
    fn taking_back_what_was_added_restores_the_former_set() {
        for before in ["", "80", "7000", "7003-7020", "6990-7001,7014", "7000-7015", "6999,7016"] {
            let (before, block) = (ranges(before), [PortRange { first: 7000, last: 7015 }]);
            let added = difference(&block, &before);
            let after = union(&before, &added);
            assert_eq!(union(&difference(&after, &added), &[]), union(&before, &[]));
        }
    }
}
