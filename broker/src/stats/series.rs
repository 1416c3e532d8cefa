//! [`Series`]: some numbers over time, kept at one interval for a certain time.
//!
//! A number that stays the same costs nothing: only samples that differ from the one before are kept, so ten thousand idle queues
//! are ten thousand single entries.

use std::collections::VecDeque;

use super::rates::{Rates, Window};

/// How long samples are kept, and how far they are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// For how long, in milliseconds.
    pub age_ms: u64,
    /// The distance, in milliseconds.
    pub interval_ms: u64,
}

/// Ten minutes at five seconds: what RabbitMQ keeps of everything.
pub const BASIC: Retention = Retention { age_ms: 605_000, interval_ms: 5_000 };

/// What RabbitMQ keeps of the broker as a whole: an hour by minutes, eight hours by ten minutes, and a day by half hours.
pub const GLOBAL: [Retention; 4] = [
    BASIC,
    Retention { age_ms: 3_660_000, interval_ms: 60_000 },
    Retention { age_ms: 29_400_000, interval_ms: 600_000 },
    Retention { age_ms: 86_400_000, interval_ms: 1_800_000 },
];

#[derive(Debug, Clone, Copy)]
struct Sample<const N: usize> {
    at_ms: u64,
    values: [u64; N],
}

/// `N` numbers over time.
#[derive(Debug, Clone)]
pub struct Series<const N: usize> {
    retention: Retention,
    /// Ascending in time, each different from the one before. Each holds until the next.
    samples: VecDeque<Sample<N>>,
    last_ms: u64,
}

impl<const N: usize> Series<N> {
    /// Without samples.
    #[must_use]
    pub fn new(retention: Retention) -> Self {
        Self { retention, samples: VecDeque::new(), last_ms: 0 }
    }

    /// Takes the numbers of a moment, in milliseconds since 1970. One that comes too early after the last is passed over.
    pub fn push(&mut self, at_ms: u64, values: [u64; N]) {
        // Half an interval of tolerance: who samples is woken a little early or late.
        if !self.samples.is_empty() && at_ms < self.last_ms.saturating_add(self.retention.interval_ms / 2) {
            return;
        }
        self.last_ms = at_ms;
        if self.samples.back().is_none_or(|last| last.values != values) {
            self.samples.push_back(Sample { at_ms, values });
        }
        let oldest_ms = at_ms.saturating_sub(self.retention.age_ms);
        // The one that holds at the oldest moment stays.
        while self.samples.get(1).is_some_and(|second| second.at_ms <= oldest_ms) {
            self.samples.pop_front();
        }
    }

    /// How long it keeps samples.
    #[must_use]
    pub fn retention(&self) -> Retention {
        self.retention
    }

    /// How many samples it holds: those that differ from the one before.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether nothing was ever seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// When a number changed last; `None` without samples.
    #[must_use]
    pub fn changed_ms(&self) -> Option<u64> {
        self.samples.back().map(|sample| sample.at_ms)
    }

    /// The numbers at the last sample.
    #[must_use]
    pub fn last(&self) -> Option<&[u64; N]> {
        self.samples.back().map(|sample| &sample.values)
    }

    /// How the number at `place` changes per second now, and, if a window is asked for, how it did before.
    ///
    /// # Panics
    ///
    /// If there is no such place.
    #[must_use]
    pub fn rates(&self, place: usize, window: Option<Window>) -> Rates {
        self.rates_of(|values| values[place], window)
    }

    /// The same for what `number` makes of the numbers, such as a sum of them.
    #[must_use]
    pub fn rates_of(&self, number: impl Fn(&[u64; N]) -> u64, window: Option<Window>) -> Rates {
        let at = |at_ms: u64| self.at(at_ms).map(&number);
        let before_ms = self.last_ms.saturating_sub(self.retention.interval_ms);
        let rate = match (at(before_ms), at(self.last_ms)) {
            (Some(before), Some(now)) => Rates::per_second(before, now, self.retention.interval_ms),
            _ => 0.0,
        };
        let history = window.map(|window| {
            let moments = window.moments(self.last_ms);
            moments.filter_map(|at_ms| Some((at_ms, at(at_ms)?))).collect()
        });
        Rates::new(rate, history)
    }

    /// The numbers that held at a moment.
    fn at(&self, at_ms: u64) -> Option<&[u64; N]> {
        let behind = self.samples.partition_point(|sample| sample.at_ms <= at_ms);
        self.samples.get(behind.checked_sub(1)?).map(|sample| &sample.values)
    }
}

/// The same numbers at several intervals.
#[derive(Debug, Clone)]
pub struct Tiers<const N: usize>(Vec<Series<N>>);

impl<const N: usize> Tiers<N> {
    /// Without samples. The finest comes first.
    #[must_use]
    pub fn new(retentions: &[Retention]) -> Self {
        Self(retentions.iter().copied().map(Series::new).collect())
    }

    /// Takes the numbers of a moment.
    pub fn push(&mut self, at_ms: u64, values: [u64; N]) {
        for series in &mut self.0 {
            series.push(at_ms, values);
        }
    }

    /// As [`Series::rates_of`], from the finest samples that go back far enough.
    #[must_use]
    pub fn rates_of(&self, number: impl Fn(&[u64; N]) -> u64, window: Option<Window>) -> Rates {
        let age_ms = window.map_or(0, Window::age_ms);
        let fits = |series: &&Series<N>| age_ms <= series.retention.age_ms;
        let rate = self.0.first().map(|finest| finest.rates_of(&number, None).rate);
        let series = self.0.iter().find(fits).or(self.0.last());
        let mut rates = series.map(|series| series.rates_of(&number, window)).unwrap_or_default();
        rates.rate = rate.unwrap_or_default();
        rates
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn series(values: &[u64]) -> Series<1> {
        let mut series = Series::new(BASIC);
        for (tick, &value) in (0..).zip(values) {
            series.push(1_000_000 + tick * 5_000, [value]);
        }
        series
    }

    #[test]
    fn the_rate_is_that_of_the_last_interval() {
        assert_eq!(series(&[0, 100, 150]).rates(0, None).rate, 10.0);
        assert_eq!(series(&[50, 100, 75]).rates(0, None).rate, -5.0);
        assert_eq!(series(&[7]).rates(0, None).rate, 0.0);
        assert_eq!(series(&[]).rates(0, None), Rates::default());
    }

    #[test]
    fn what_stays_the_same_is_kept_once_and_its_rate_is_zero() {
        let same = series(&[5, 5, 5, 5]);
        assert_eq!((same.samples.len(), same.changed_ms()), (1, Some(1_000_000)));
        assert_eq!(same.rates(0, None).rate, 0.0);
        let history = same.rates(0, Window::new(10, 5)).history.unwrap();
        assert_eq!(history.samples, [(1_015_000, 5), (1_010_000, 5), (1_005_000, 5)]);
    }

    #[test]
    fn old_samples_go_but_for_the_one_that_still_holds() {
        let mut series = series(&[1, 2]);
        series.push(1_000_000 + 605_000 + 4_999, [3]);
        assert_eq!(series.samples.len(), 3);
        series.push(1_000_000 + 605_000 + 10_000, [4]);
        let kept: Vec<u64> = series.samples.iter().map(|sample| sample.values[0]).collect();
        assert_eq!(kept, [2, 3, 4]);
    }

    #[test]
    fn samples_come_newest_first_and_not_from_before_the_first() {
        let history = series(&[0, 10, 30]).rates(0, Window::new(60, 5)).history.unwrap();
        assert_eq!(history.samples, [(1_010_000, 30), (1_005_000, 10), (1_000_000, 0)]);
        assert_eq!((history.average, history.average_rate), (40.0 / 3.0, 3.0));
    }

    #[test]
    fn coarser_tiers_go_back_further() {
        let mut tiers: Tiers<1> = Tiers::new(&GLOBAL);
        for tick in 0..1_000 {
            tiers.push(10_000_000 + tick * 5_000, [tick]);
        }
        let count = |age_s, incr_s| {
            tiers
                .rates_of(|values| values[0], Window::new(age_s, incr_s))
                .history
                .map(|history| history.samples.len())
        };
        assert_eq!((count(600, 5), count(3_600, 60)), (Some(121), Some(61)));
        assert_eq!(tiers.rates_of(|values| values[0], None).rate, 0.2);
    }
}
