//! [`Tally`]: what happened to messages, counted since the beginning of whatever counts it.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many numbers a [`Tally`] has.
pub const COUNTS: usize = 11;

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
    /// Published and dropped, because no queue took them and nobody wanted them back.
    pub drop_unroutable: u64,
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
            self.drop_unroutable,
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
            drop_unroutable,
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
            drop_unroutable,
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

/// One of the numbers of a tally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the fields of Tally")]
pub enum Count {
    Publish,
    Confirm,
    ReturnUnroutable,
    Deliver,
    DeliverNoAck,
    Get,
    GetNoAck,
    GetEmpty,
    Ack,
    Redeliver,
    DropUnroutable,
}

impl Count {
    /// Its place among the fields.
    const fn place(self) -> usize {
        match self {
            Self::Publish => 0,
            Self::Confirm => 1,
            Self::ReturnUnroutable => 2,
            Self::Deliver => 3,
            Self::DeliverNoAck => 4,
            Self::Get => 5,
            Self::GetNoAck => 6,
            Self::GetEmpty => 7,
            Self::Ack => 8,
            Self::Redeliver => 9,
            Self::DropUnroutable => 10,
        }
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

    /// Counts on. No more than an addition in memory: there is one writer.
    #[inline]
    pub fn count(&self, which: Count, more: u64) {
        let count = &self.0[which.place()];
        count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
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
    fn what_is_counted_one_by_one_is_found_under_its_name() {
        use Count as C;
        let all = [C::Publish, C::Confirm, C::ReturnUnroutable, C::Deliver, C::DeliverNoAck];
        let more = [C::Get, C::GetNoAck, C::GetEmpty, C::Ack, C::Redeliver, C::DropUnroutable];
        let shared = SharedTally::default();
        for (more, which) in (1..).zip(all.into_iter().chain(more)) {
            shared.count(which, more);
            shared.count(which, 100);
        }
        let expected = Tally {
            publish: 101,
            confirm: 102,
            return_unroutable: 103,
            deliver: 104,
            deliver_no_ack: 105,
            get: 106,
            get_no_ack: 107,
            get_empty: 108,
            ack: 109,
            redeliver: 110,
            drop_unroutable: 111,
        };
        assert_eq!(shared.load(), expected);
    }

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
