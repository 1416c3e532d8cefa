//! When a producer with a fixed rate may send how many.
//!
//! A message carries the time it was due, not the time it went out, so that a broker that stalls cannot hide its stall
//! from the latency figures. Called by `producer`.

use crate::clock::SECOND;

/// Waking up more often than this costs more than it tells.
const SHORTEST_NAP_NS: u64 = 100_000;

/// The schedule of one producer.
#[derive(Debug)]
pub(crate) struct Pacer {
    start: u64,
    per_second: f64,
}

impl Pacer {
    pub(crate) fn new(start: u64, per_second: f64) -> Self {
        Self { start, per_second }
    }

    /// How many messages are due by `now` in all.
    pub(crate) fn due(&self, now: u64) -> u64 {
        let elapsed = now.saturating_sub(self.start) as f64 / SECOND as f64;
        whole(elapsed * self.per_second) + u64::from(now >= self.start)
    }

    /// When the message with this index, from 0, is due.
    pub(crate) fn due_at(&self, index: u64) -> u64 {
        self.start + whole(index as f64 / self.per_second * SECOND as f64)
    }

    /// How long to wait for the message with this index.
    pub(crate) fn nap(&self, index: u64, now: u64) -> u64 {
        self.due_at(index).saturating_sub(now).max(SHORTEST_NAP_NS)
    }
}

/// The integer part of a number that is not negative and far below 2^63.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_due_from_its_time_on() {
        let pacer = Pacer::new(1_000, 1_000.0);
        assert_eq!(pacer.due(999), 0);
        assert_eq!(pacer.due(1_000), 1);
        for index in [0, 1, 7, 1_000, 123_456] {
            let at = pacer.due_at(index);
            assert!(pacer.due(at + 1) > index, "message {index} is due at {at}");
            assert!(pacer.due(at.saturating_sub(1_000)) <= index, "message {index} is not due before {at}");
        }
    }

    #[test]
    fn an_overdue_message_still_allows_a_short_nap() {
        let pacer = Pacer::new(0, 10.0);
        assert_eq!(pacer.nap(0, SECOND), SHORTEST_NAP_NS);
        assert_eq!(pacer.nap(10, 0), SECOND);
    }
}
