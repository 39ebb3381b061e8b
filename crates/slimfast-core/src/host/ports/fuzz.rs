//! Sets of ports as a sysctl has them, which any program on the host may have written.

use super::PortRange;
use super::range::{difference, format_ranges, parse_ranges, union};

/// What is parsed is written as it was meant, and sums and differences have the ports that they should, each once.
pub(crate) fn ranges(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (one, other) = text.split_once('\n').unwrap_or((text, ""));
    let (Some(one), Some(other)) = (parse_ranges(one), parse_ranges(other)) else { return };
    assert_eq!(parse_ranges(&format_ranges(&one)).as_ref(), Some(&one));
    let (sum, rest) = (union(&one, &other), difference(&one, &other));
    for ranges in [&sum, &rest] {
        let are_apart = |pair: &[PortRange]| u32::from(pair[0].last()) + 1 < u32::from(pair[1].first());
        assert!(ranges.windows(2).all(are_apart), "{}", format_ranges(ranges));
    }
    // Only at the ends of ranges can anything change.
    let ends = one.iter().chain(&other).flat_map(|range| [range.first(), range.last()]);
    for port in ends.flat_map(|end| [end.saturating_sub(1), end, end.saturating_add(1)]) {
        let is_in = |ranges: &[PortRange]| ranges.iter().any(|range| range.contains(port));
        assert_eq!(is_in(&sum), is_in(&one) || is_in(&other), "{port} in the sum");
        assert_eq!(is_in(&rest), is_in(&one) && !is_in(&other), "{port} in the difference");
    }
}
