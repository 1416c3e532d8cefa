//! Was every message delivered once, in order?
//!
//! Each producer numbers its messages per queue from 0. One consumer of a queue must see every number in turn
//! (`SoleOrder`). Several consumers of a queue share the numbers: each must see its own part ascending, and together they
//! must see each number once (`SharedOrder`). It refuses to guess: a late message is reordered, one that never came is
//! lost, one that came again is doubled. Called by `consumer`, and by `run` for the verdict.

use std::collections::BTreeMap;

use serde::Serialize;

/// A number above this is not ours: it would make the bitmap larger than memory.
const SEQUENCE_MAX: u64 = 1 << 33;

/// How the deliveries of a queue relate to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    Sole,
    Shared,
}

/// What was wrong, in messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
    }
}

/// Everything one consumer saw of one queue, by producer.
pub(crate) struct QueueRecord {
    audience: Audience,
    by_producer: Vec<Order>,
}

enum Order {
    Sole(SoleOrder),
    Shared(SharedOrder),
}

impl QueueRecord {
    pub(crate) fn new(audience: Audience) -> Self {
        Self { audience, by_producer: Vec::new() }
    }

    /// Notes a delivery. Says no when the number cannot be one of ours.
    #[inline]
    pub(crate) fn observe(&mut self, producer: u16, sequence: u64) -> bool {
        if sequence > SEQUENCE_MAX {
            return false;
        }
        let producer = usize::from(producer);
        if producer >= self.by_producer.len() {
            let audience = self.audience;
            self.by_producer.resize_with(producer + 1, || match audience {
                Audience::Sole => Order::Sole(SoleOrder::default()),
                Audience::Shared => Order::Shared(SharedOrder::default()),
            });
        }
        match &mut self.by_producer[producer] {
            Order::Sole(order) => order.observe(sequence),
            Order::Shared(order) => order.observe(sequence),
        }
        true
    }
}

/// Judges a queue by the records of all its consumers. `sent` holds the count of each producer, or is `None` when the
/// messages were sent by an earlier run, in which case the end of a sequence cannot be missed.
pub(crate) fn judge(records: Vec<QueueRecord>, sent: Option<&[u64]>) -> Faults {
    let mut faults = Faults::default();
    let mut shared: Vec<SharedOrder> = Vec::new();
    let mut known = 0;
    for record in records {
        known = known.max(record.by_producer.len());
        for (producer, order) in record.by_producer.into_iter().enumerate() {
            match order {
                Order::Sole(order) => {
                    faults.add(order.judge(sent.map(|sent| sent.get(producer).copied().unwrap_or(0))));
                }
                Order::Shared(order) => {
                    if producer >= shared.len() {
                        shared.resize_with(producer + 1, SharedOrder::default);
                    }
                    shared[producer].merge(order);
                }
            }
        }
    }
    for (producer, order) in shared.into_iter().enumerate() {
        faults.add(order.judge(sent.map(|sent| sent.get(producer).copied().unwrap_or(0))));
    }
    // Of producers nobody heard of, everything is lost.
    faults.lost += sent.map_or(0, |sent| sent.iter().skip(known).sum());
    faults
}

/// A sequence of which nobody else sees a part.
#[derive(Default)]
struct SoleOrder {
    next: u64,
    /// Numbers below `next` that have not come, as start and end of each gap.
    gaps: BTreeMap<u64, u64>,
    doubled: u64,
    reordered: u64,
}

impl SoleOrder {
    #[inline]
    fn observe(&mut self, sequence: u64) {
        if sequence == self.next {
            self.next += 1;
        } else {
            self.observe_odd(sequence);
        }
    }

    #[cold]
    fn observe_odd(&mut self, sequence: u64) {
        if sequence > self.next {
            self.gaps.insert(self.next, sequence);
            self.next = sequence + 1;
            return;
        }
        let gap = self.gaps.range(..=sequence).next_back().map(|(&start, &end)| (start, end));
        match gap {
            Some((start, end)) if sequence < end => {
                self.reordered += 1;
                self.gaps.remove(&start);
                if start < sequence {
                    self.gaps.insert(start, sequence);
                }
                if sequence + 1 < end {
                    self.gaps.insert(sequence + 1, end);
                }
            }
            _ => self.doubled += 1,
        }
    }

    fn judge(self, sent: Option<u64>) -> Faults {
        let gaps: u64 = self.gaps.iter().map(|(start, end)| end - start).sum();
        let tail = sent.map_or(0, |sent| sent.saturating_sub(self.next));
        Faults { lost: gaps + tail, doubled: self.doubled, reordered: self.reordered }
    }
}

/// A sequence of which several consumers see disjoint parts.
#[derive(Default)]
struct SharedOrder {
    last: Option<u64>,
    seen: Bitmap,
    doubled: u64,
    reordered: u64,
}

impl SharedOrder {
    #[inline]
    fn observe(&mut self, sequence: u64) {
        let late = self.last.is_some_and(|last| sequence <= last);
        if self.seen.set(sequence) {
            self.doubled += 1;
        } else if late {
            self.reordered += 1;
        }
        self.last = self.last.max(Some(sequence));
    }

    fn merge(&mut self, other: Self) {
        self.last = self.last.max(other.last);
        self.doubled += other.doubled + self.seen.merge(&other.seen);
        self.reordered += other.reordered;
    }

    fn judge(self, sent: Option<u64>) -> Faults {
        let expected = sent.unwrap_or_else(|| self.last.map_or(0, |last| last + 1));
        let lost = expected.saturating_sub(self.seen.count());
        Faults { lost, doubled: self.doubled, reordered: self.reordered }
    }
}

/// A set of numbers, one bit each.
#[derive(Default)]
struct Bitmap(Vec<u64>);

impl Bitmap {
    /// Adds a number; says whether it was there.
    fn set(&mut self, number: u64) -> bool {
        let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
        let bit = 1 << (number % 64);
        if word >= self.0.len() {
            // A vector that doubles: growing by a word each time would copy it over and over.
            self.0.resize((word + 1).next_power_of_two(), 0);
        }
        let present = self.0[word] & bit != 0;
        self.0[word] |= bit;
        present
    }

    /// Adds all of another set; says how many were in both.
    fn merge(&mut self, other: &Self) -> u64 {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        let mut both = 0;
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            both += u64::from((*mine & theirs).count_ones());
            *mine |= theirs;
        }
        both
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(audience: Audience, numbers: impl IntoIterator<Item = u64>) -> QueueRecord {
        let mut record = QueueRecord::new(audience);
        for number in numbers {
            assert!(record.observe(0, number));
        }
        record
    }

    fn faults(lost: u64, doubled: u64, reordered: u64) -> Faults {
        Faults { lost, doubled, reordered }
    }

    #[test]
    fn a_sole_consumer_is_judged_number_by_number() {
        let cases: [(&[u64], u64, Faults); 8] = [
            (&[0, 1, 2, 3], 4, faults(0, 0, 0)),
            (&[], 4, faults(4, 0, 0)),
            (&[0, 1, 2], 4, faults(1, 0, 0)),
            (&[0, 3], 4, faults(2, 0, 0)),
            (&[1, 0, 2, 3], 4, faults(0, 0, 1)),
            (&[0, 1, 1, 2, 3, 0], 4, faults(0, 2, 0)),
            (&[3, 1, 1, 0], 4, faults(1, 1, 2)),
            (&[5, 2, 0, 4], 6, faults(2, 0, 3)),
        ];
        for (numbers, sent, expected) in cases {
            let got = judge(vec![record(Audience::Sole, numbers.iter().copied())], Some(&[sent]));
            assert_eq!(got, expected, "{numbers:?} of {sent}");
        }
    }

    #[test]
    fn consumers_that_share_a_queue_are_judged_together() {
        let cases: [(&[u64], &[u64], Faults); 5] = [
            (&[0, 2, 4], &[1, 3, 5], faults(0, 0, 0)),
            (&[0, 1, 2, 3, 4, 5], &[], faults(0, 0, 0)),
            (&[0, 2, 4], &[1, 2, 3], faults(1, 1, 0)),
            (&[2, 0, 4], &[1, 3, 5], faults(0, 0, 1)),
            (&[0, 0, 2, 4], &[1, 5], faults(1, 1, 0)),
        ];
        for (first, second, expected) in cases {
            let records = vec![
                record(Audience::Shared, first.iter().copied()),
                record(Audience::Shared, second.iter().copied()),
            ];
            assert_eq!(judge(records, Some(&[6])), expected, "{first:?} {second:?}");
        }
    }

    #[test]
    fn producers_are_judged_apart_and_a_silent_one_is_missed() {
        let mut record = QueueRecord::new(Audience::Sole);
        for (producer, sequence) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            assert!(record.observe(producer, sequence));
        }
        assert_eq!(judge(vec![record], Some(&[2, 2, 5])), faults(5, 0, 0));
        assert_eq!(judge(vec![], Some(&[3, 4])), faults(7, 0, 0));
    }

    #[test]
    fn without_a_count_only_gaps_are_lost() {
        for audience in [Audience::Sole, Audience::Shared] {
            assert_eq!(judge(vec![record(audience, [0, 1, 3])], None), faults(1, 0, 0));
        }
    }

    #[test]
    fn numbers_nobody_sends_are_refused() {
        let mut record = QueueRecord::new(Audience::Shared);
        assert!(!record.observe(0, SEQUENCE_MAX + 1));
    }
}
