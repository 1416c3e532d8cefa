//! Figures: latency histograms, medians of seconds and of rounds.
//!
//! It refuses to format (that is `report`'s). Called by `producer`, `consumer`, `sampler` and `compare`.

use std::ops::Range;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::SECOND;

/// Latencies above this are recorded as this.
const LATENCY_MAX_NS: u64 = 600 * SECOND;
/// The finest difference kept.
const LATENCY_STEP_NS: u64 = 1_000;

/// A histogram over the messages that were sent while figures were being taken.
pub(crate) struct Latency {
    histogram: Histogram<u64>,
    window: Range<u64>,
    /// A run of equal values not yet in the histogram: messages of one batch share both their times.
    run_value: u64,
    run_length: u64,
}

impl Latency {
    /// Counts messages whose send time lies in `window`.
    pub(crate) fn new(window: Range<u64>) -> Self {
        let histogram = Histogram::new_with_bounds(LATENCY_STEP_NS, LATENCY_MAX_NS, 3)
            .expect("the bounds are constants that hdrhistogram accepts");
        Self { histogram, window, run_value: 0, run_length: 0 }
    }

    #[inline]
    pub(crate) fn record(&mut self, sent: u64, now: u64) {
        if !self.window.contains(&sent) {
            return;
        }
        let value = now.saturating_sub(sent);
        if value != self.run_value {
            self.flush();
            self.run_value = value;
        }
        self.run_length += 1;
    }

    fn flush(&mut self) {
        if self.run_length > 0 {
            self.histogram.saturating_record_n(self.run_value, self.run_length);
            self.run_length = 0;
        }
    }

    /// Adds what another thread recorded.
    pub(crate) fn merge(&mut self, mut other: Self) {
        other.flush();
        self.histogram.add(&other.histogram).expect("both histograms were made with the same bounds");
    }

    /// The percentiles, or `None` when nothing was recorded.
    pub(crate) fn summary(mut self) -> Option<LatencySummary> {
        self.flush();
        let at = |quantile| self.histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        (!self.histogram.is_empty()).then(|| LatencySummary {
            count: self.histogram.len(),
            mean_us: self.histogram.mean() / 1_000.0,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: self.histogram.max() as f64 / 1_000.0,
        })
    }
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LatencySummary {
    pub(crate) count: u64,
    pub(crate) mean_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_9_us: f64,
    pub(crate) max_us: f64,
}

/// The spread of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` for an empty series.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_series() {
        let spread = Spread::of([5.0, 1.0, 3.0]).unwrap();
        assert_eq!(spread, Spread { median: 3.0, min: 1.0, max: 5.0 });
        assert!((Spread::of([4.0, 1.0, 2.0, 9.0]).unwrap().median - 3.0).abs() < 1e-9);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn percentiles_count_every_message_of_a_run() {
        let mut latency = Latency::new(0..u64::MAX);
        for _ in 0..990 {
            latency.record(0, 50_000);
        }
        for _ in 0..10 {
            latency.record(0, 9_000_000);
        }
        let mut all = Latency::new(0..u64::MAX);
        all.merge(latency);
        let summary = all.summary().unwrap();
        assert_eq!(summary.count, 1_000);
        assert!((summary.p50_us - 50.0).abs() < 0.6, "{summary:?}");
        assert!((summary.p99_9_us - 9_000.0).abs() < 10.0, "{summary:?}");
        assert!((summary.max_us - 9_000.0).abs() < 10.0, "{summary:?}");
    }

    #[test]
    fn messages_sent_outside_the_window_are_left_out() {
        let mut latency = Latency::new(100..200);
        for sent in [99, 100, 199, 200] {
            latency.record(sent, 5_000);
        }
        assert_eq!(latency.summary().unwrap().count, 2);
    }
}
