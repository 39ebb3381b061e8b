//! Latencies: collected in nanoseconds, reported as percentiles in microseconds.

use std::time::Duration;

use serde::Serialize;

/// One sample per operation; kept whole, since a percentile from buckets would hide the differences that matter here.
#[derive(Default)]
pub struct Latencies {
    samples_ns: Vec<u64>,
}

#[derive(Serialize, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LatencySummary {
    #[serde(rename = "p50Us")]
    pub p50_us: f64,
    #[serde(rename = "p99Us")]
    pub p99_us: f64,
    #[serde(rename = "p999Us")]
    pub p999_us: f64,
    pub min_us: f64,
    pub mean_us: f64,
    pub max_us: f64,
}

impl Latencies {
    pub fn with_capacity(count: usize) -> Self {
        Self { samples_ns: Vec::with_capacity(count) }
    }

    pub fn push(&mut self, sample: Duration) {
        self.samples_ns.push(u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX));
    }

    pub fn append(&mut self, mut other: Latencies) {
        self.samples_ns.append(&mut other.samples_ns);
    }

    /// All zero if there is no sample.
    pub fn summarize(mut self) -> LatencySummary {
        self.samples_ns.sort_unstable();
        let sorted = &self.samples_ns;
        let total: u128 = sorted.iter().map(|&sample| u128::from(sample)).sum();
        let mean_ns = if sorted.is_empty() { 0.0 } else { total as f64 / sorted.len() as f64 };
        LatencySummary {
            p50_us: micros(percentile(sorted, 500)),
            p99_us: micros(percentile(sorted, 990)),
            p999_us: micros(percentile(sorted, 999)),
            min_us: micros(sorted.first().copied().unwrap_or(0)),
            mean_us: (mean_ns).round() / 1000.0,
            max_us: micros(sorted.last().copied().unwrap_or(0)),
        }
    }
}

/// Nearest rank: the smallest sample that at least `permille` of a thousand samples do not exceed. Integers all the
/// way, because ceil(0.99 * 100) is 100 in floating point.
fn percentile(sorted: &[u64], permille: usize) -> u64 {
    let rank = (sorted.len() * permille).div_ceil(1000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

fn micros(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary_of(samples_us: impl IntoIterator<Item = u64>) -> LatencySummary {
        let mut latencies = Latencies::default();
        for sample in samples_us {
            latencies.push(Duration::from_micros(sample));
        }
        latencies.summarize()
    }

    #[test]
    fn one_to_a_hundred_in_any_order() {
        let summary = summary_of((1..=100).rev());
        assert_eq!(
            summary,
            LatencySummary { p50_us: 50.0, p99_us: 99.0, p999_us: 100.0, min_us: 1.0, mean_us: 50.5, max_us: 100.0 }
        );
    }

    #[test]
    fn one_to_a_thousand() {
        let summary = summary_of(1..=1000);
        assert_eq!((summary.p50_us, summary.p99_us, summary.p999_us), (500.0, 990.0, 999.0));
    }

    #[test]
    fn few_samples_give_samples_that_occurred() {
        assert_eq!(percentile(&[7], 500), 7);
        assert_eq!(percentile(&[7], 999), 7);
        assert_eq!(percentile(&[1, 2], 500), 1);
        assert_eq!(percentile(&[1, 2, 3], 500), 2);
        assert_eq!(percentile(&[15, 20, 35, 40, 50], 300), 20);
        assert_eq!(percentile(&[15, 20, 35, 40, 50], 400), 20);
        assert_eq!(percentile(&[15, 20, 35, 40, 50], 1000), 50);
    }

    #[test]
    fn one_slow_sample_shows_in_the_tail_only() {
        let summary = summary_of((0..999).map(|_| 10).chain([5000]));
        assert_eq!((summary.p50_us, summary.p99_us, summary.p999_us, summary.max_us), (10.0, 10.0, 10.0, 5000.0));
    }

    #[test]
    fn no_sample_is_zero() {
        assert_eq!(summary_of([]).p999_us, 0.0);
    }

    #[test]
    fn threads_are_joined_before_ranking() {
        let mut all = Latencies::default();
        for part in [[1u64, 3], [2, 4]] {
            let mut latencies = Latencies::default();
            part.iter().for_each(|&us| latencies.push(Duration::from_micros(us)));
            all.append(latencies);
        }
        assert_eq!(all.summarize().p50_us, 2.0);
    }

    #[test]
    fn the_keys_are_those_of_the_readme() {
        let json = serde_json::to_value(summary_of([1])).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["maxUs", "meanUs", "minUs", "p50Us", "p999Us", "p99Us"]);
    }
}
