//! [`Numbers`]: a set of sequence numbers, kept as ranges. Called by `Paging` only.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::engine::queue::{Seq, SeqRange};

/// Numbers that were added and not removed.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// The last number of each range by its first; disjoint and not adjacent.
    ranges: BTreeMap<Seq, Seq>,
}

impl Numbers {
    pub(super) fn contains(&self, seq: Seq) -> bool {
        self.ranges.range(..=seq).next_back().is_some_and(|(_, last)| *last >= seq)
    }

    /// Adds numbers of which none is in it yet; no if the first one is.
    pub(super) fn add(&mut self, range: SeqRange) -> bool {
        if self.contains(range.first) {
            return false;
        }
        let SeqRange { mut first, mut last } = range;
        let before = self.ranges.range(..first).next_back().map(|(first, last)| (*first, *last));
        if let Some((other, _)) = before.filter(|(_, other_last)| other_last.0 + 1 == first.0) {
            first = other;
        }
        if let Some(other_last) = last.0.checked_add(1).and_then(|next| self.ranges.remove(&Seq(next))) {
            last = other_last;
        }
        self.ranges.insert(first, last);
        true
    }

    /// Removes all numbers up to this one.
    pub(super) fn remove_up_to(&mut self, seq: Seq) {
        while let Some(entry) = self.ranges.first_entry().filter(|entry| *entry.key() <= seq) {
            let last = entry.remove();
            if last > seq {
                self.ranges.insert(Seq(seq.0 + 1), last);
            }
        }
    }

    /// Removes a number; no if it is not in it.
    pub(super) fn remove(&mut self, seq: Seq) -> bool {
        let range = self.ranges.range(..=seq).next_back().map(|(first, last)| (*first, *last));
        let Some((first, last)) = range.filter(|(_, last)| *last >= seq) else { return false };
        self.ranges.remove(&first);
        if first < seq {
            self.ranges.insert(first, Seq(seq.0 - 1));
        }
        if seq < last {
            self.ranges.insert(Seq(seq.0 + 1), last);
        }
        true
    }

    /// The parts of a range that are not in it, the first `max` of them.
    pub(super) fn gaps(&self, within: SeqRange, max: usize) -> Vec<SeqRange> {
        let mut gaps = Vec::new();
        let mut next = within.first;
        let around = self.ranges.range(..=within.first).next_back();
        let behind = self.ranges.range((Bound::Excluded(within.first), Bound::Unbounded));
        for (&first, &last) in around.into_iter().chain(behind) {
            if first > within.last || gaps.len() == max {
                break;
            }
            if first > next {
                gaps.push(SeqRange { first: next, last: Seq(first.0 - 1) });
            }
            next = next.max(Seq(last.0.saturating_add(1)));
        }
        if next <= within.last && gaps.len() < max {
            gaps.push(SeqRange { first: next, last: within.last });
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange { first: Seq(first), last: Seq(last) }
    }

    #[test]
    fn numbers_join_to_ranges_in_any_order() {
        let mut numbers = Numbers::default();
        for seq in [5, 3, 4, 9, 8, 1] {
            assert!(numbers.add(range(seq, seq)));
            assert!(!numbers.add(range(seq, seq)), "{seq} is there");
        }
        let ranges: Vec<_> = numbers.ranges.iter().map(|(first, last)| (first.0, last.0)).collect();
        assert_eq!(ranges, [(1, 1), (3, 5), (8, 9)]);
        assert!(numbers.remove(Seq(4)) && !numbers.remove(Seq(4)) && !numbers.remove(Seq(2)));
        assert_eq!(numbers.gaps(range(3, 5), usize::MAX), [range(4, 4)]);
        assert!(numbers.add(range(4, 4)));
        let found: Vec<u64> = (0..12).filter(|&seq| numbers.contains(Seq(seq))).collect();
        assert_eq!(found, [1, 3, 4, 5, 8, 9]);
        assert_eq!(
            numbers.gaps(range(0, 10), usize::MAX),
            [range(0, 0), range(2, 2), range(6, 7), range(10, 10)]
        );
        assert_eq!(numbers.gaps(range(4, 8), usize::MAX), [range(6, 7)]);
        assert_eq!(numbers.gaps(range(0, 10), 2), [range(0, 0), range(2, 2)]);
    }

    #[test]
    fn a_range_is_cut_where_it_is_removed() {
        let mut numbers = Numbers::default();
        assert!(numbers.add(range(2, 9)) && numbers.add(range(20, 21)));
        numbers.remove_up_to(Seq(4));
        assert_eq!(numbers.gaps(range(0, 30), usize::MAX), [range(0, 4), range(10, 19), range(22, 30)]);
        numbers.remove_up_to(Seq(21));
        assert_eq!(numbers.gaps(range(0, 30), usize::MAX), [range(0, 30)]);
    }
}
