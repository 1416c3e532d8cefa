//! [`Tally`]: what happened to messages, counted since the beginning of whatever counts it.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many numbers a [`Tally`] has.
pub const COUNTS: usize = 10;

/// Counts of messages, in RabbitMQ's terms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Published.
    pub publish: u64,
    /// Published and confirmed.
    pub confirm: u64,
    /// Published as mandatory and returned, because no queue took them.
    pub return_unroutable: u64,
    /// Delivered to consumers that acknowledge.
    pub deliver: u64,
    /// Delivered to consumers that do not.
    pub deliver_no_ack: u64,
    /// Taken with `basic.get`, to be acknowledged.
    pub get: u64,
    /// Taken with `basic.get` and done with that.
    pub get_no_ack: u64,
    /// Times that `basic.get` found nothing.
    pub get_empty: u64,
    /// Acknowledged.
    pub ack: u64,
    /// Those of all handed out that had been before.
    pub redeliver: u64,
}

impl Tally {
    /// Handed out in any way.
    #[must_use]
    pub fn deliver_get(&self) -> u64 {
        self.deliver + self.deliver_no_ack + self.get + self.get_no_ack
    }

    /// Its numbers, in the order of the fields.
    #[must_use]
    pub fn to_array(self) -> [u64; COUNTS] {
        [
            self.publish,
            self.confirm,
            self.return_unroutable,
            self.deliver,
            self.deliver_no_ack,
            self.get,
            self.get_no_ack,
            self.get_empty,
            self.ack,
            self.redeliver,
        ]
    }

    /// The other way round.
    #[must_use]
    pub fn from_array(counts: [u64; COUNTS]) -> Self {
        let [
            publish,
            confirm,
            return_unroutable,
            deliver,
            deliver_no_ack,
            get,
            get_no_ack,
            get_empty,
            ack,
            redeliver,
        ] = counts;
        Self {
            publish,
            confirm,
            return_unroutable,
            deliver,
            deliver_no_ack,
            get,
            get_no_ack,
            get_empty,
            ack,
            redeliver,
        }
    }

    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        let (mut sum, other) = (self.to_array(), other.to_array());
        for (sum, other) in sum.iter_mut().zip(other) {
            *sum = sum.saturating_add(other);
        }
        *self = Self::from_array(sum);
    }
}

/// A tally that one writes and others read at any time.
#[derive(Debug, Default)]
pub struct SharedTally([AtomicU64; COUNTS]);

impl SharedTally {
    /// Tells the others how it stands. Plain stores: there is one writer.
    pub fn store(&self, tally: &Tally) {
        for (shared, count) in self.0.iter().zip(tally.to_array()) {
            shared.store(count, Ordering::Relaxed);
        }
    }

    /// How it stands.
    #[must_use]
    pub fn load(&self) -> Tally {
        Tally::from_array(std::array::from_fn(|place| self.0[place].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_comes_back_from_its_array_and_from_its_readers() {
        let tally = Tally::from_array(std::array::from_fn(|place| 10 + u64::try_from(place).unwrap_or(0)));
        assert_eq!((tally.publish, tally.redeliver, tally.deliver_get()), (10, 19, 13 + 14 + 15 + 16));
        let shared = SharedTally::default();
        shared.store(&tally);
        let mut sum = shared.load();
        assert_eq!(sum, tally);
        sum.add(&tally);
        assert_eq!(sum.ack, 36);
    }
}
