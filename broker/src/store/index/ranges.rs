//! [`RangeSet`]: a set of numbers kept as disjoint ranges, so that what is settled in order costs next to nothing.

use std::collections::BTreeMap;

/// Numbers as ranges, first to last, both included; ranges that touch are one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::store) struct RangeSet {
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    /// Adds the numbers from `first` to `last`; returns how many were not there before.
    pub(in crate::store) fn insert(&mut self, first: u64, last: u64) -> u64 {
        if first > last {
            return 0;
        }
        let added = last - first + 1 - self.count_in(first, last);
        let (mut from, mut to) = (first, last);
        // The range that ends just before may be joined; so may all that begin up to one behind the end.
        if let Some((&start, &end)) = self.ranges.range(..=first).next_back()
            && end.saturating_add(1) >= first
        {
            from = start;
            to = to.max(end);
        }
        while let Some((&start, &end)) = self.ranges.range(from..=to.saturating_add(1)).next() {
            self.ranges.remove(&start);
            to = to.max(end);
        }
        self.ranges.insert(from, to);
        added
    }

    /// Removes the numbers from `first` to `last`.
    pub(in crate::store) fn remove(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        if let Some((&start, &end)) = self.ranges.range(..first).next_back()
            && end >= first
        {
            self.ranges.insert(start, first - 1);
            if end > last {
                self.ranges.insert(last + 1, end);
                return;
            }
        }
        while let Some((&start, &end)) = self.ranges.range(first..=last).next() {
            self.ranges.remove(&start);
            if end > last {
                self.ranges.insert(last + 1, end);
            }
        }
    }

    /// How many of the numbers from `first` to `last` are in it.
    pub(in crate::store) fn count_in(&self, first: u64, last: u64) -> u64 {
        self.overlapping(first, last).map(|(start, end)| end - start + 1).sum()
    }

    /// Its parts between `first` and `last`, ascending, cut off there.
    pub(in crate::store) fn overlapping(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, u64)> {
        let before = self.ranges.range(..first).next_back().filter(|&(_, &end)| end >= first);
        let rest = if first <= last { Some(self.ranges.range(first..=last)) } else { None };
        before
            .into_iter()
            .chain(rest.into_iter().flatten())
            .filter(move |_| first <= last)
            .map(move |(&start, &end)| (start.max(first), end.min(last)))
    }

    /// All ranges, ascending.
    pub(in crate::store) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ranges.iter().map(|(&start, &end)| (start, end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u64, u64),
        Remove(u64, u64),
        Count(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        (0..3, 0_u64..40, 0_u64..10).prop_map(|(kind, first, length)| match kind {
            0 => Step::Insert(first, first + length),
            1 => Step::Remove(first, first + length),
            _ => Step::Count(first, first + length),
        })
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_set(steps in prop::collection::vec(step(), 1..60)) {
            let (mut ranges, mut plain) = (RangeSet::default(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Insert(first, last) => {
                        let new = (first..=last).filter(|&number| plain.insert(number)).count();
                        prop_assert_eq!(ranges.insert(first, last), new as u64);
                    }
                    Step::Remove(first, last) => {
                        ranges.remove(first, last);
                        plain.retain(|number| !(first..=last).contains(number));
                    }
                    Step::Count(first, last) => {
                        prop_assert_eq!(ranges.count_in(first, last), plain.range(first..=last).count() as u64);
                    }
                }
                let listed: Vec<u64> = ranges.iter().flat_map(|(first, last)| first..=last).collect();
                prop_assert_eq!(listed, plain.iter().copied().collect::<Vec<_>>());
                let joined = ranges.iter().zip(ranges.iter().skip(1)).all(|(one, next)| one.1 + 1 < next.0);
                prop_assert!(joined, "ranges that touch are one: {:?}", ranges);
            }
        }
    }

    #[test]
    fn numbers_settled_in_order_are_one_range() {
        let mut ranges = RangeSet::default();
        (0..1000).for_each(|number| assert_eq!(ranges.insert(number, number), 1));
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(0, 999)]);
    }
}
