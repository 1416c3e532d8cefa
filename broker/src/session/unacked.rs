//! [`UnackedDeliveries`]: what one channel was delivered and has not settled, by delivery tag.
//!
//! It assigns the tags and finds deliveries by them. It knows no queues and no transaction; called by the channel.
//! Settling in order is O(1), out of order O(log n); its memory follows the number of outstanding deliveries even if the
//! oldest one is never settled.

use std::collections::VecDeque;

use super::action::{DeliveryRef, NO_SLOT};

/// A delivery tag: per channel, from 1, never reused while the channel lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DeliveryTag(pub(super) u64);

/// One outstanding delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unacked {
    pub(super) tag: DeliveryTag,
    pub(super) reference: DeliveryRef,
}

/// Which deliveries a settling method names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selection {
    /// Exactly this one.
    One(u64),
    /// This one, which must be outstanding, and all before it; 0 names all there are.
    UpTo(u64),
}

/// The tag is not outstanding in this channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnknownTag(pub(super) u64);

/// The outstanding deliveries of one channel.
#[derive(Debug, Default)]
pub(super) struct UnackedDeliveries {
    last_tag: u64,
    /// Sorted by tag. A settled entry becomes a tombstone (its slot is [`NO_SLOT`]) until it reaches an end of the
    /// deque or the tombstones outnumber the living.
    entries: VecDeque<Unacked>,
    tombstones: usize,
}

/// Below this many entries nothing is compacted.
const COMPACT_ENTRIES_MIN: usize = 32;

/// An empty deque larger than this gives its memory back.
const KEEP_ENTRIES: usize = 64;

impl UnackedDeliveries {
    /// Assigns the next tag and, if the delivery has to be settled, remembers it.
    pub(super) fn deliver(&mut self, reference: DeliveryRef) -> DeliveryTag {
        self.last_tag += 1;
        let tag = DeliveryTag(self.last_tag);
        if reference.slot != NO_SLOT {
            self.entries.push_back(Unacked { tag, reference });
        }
        tag
    }

    /// How many are outstanding.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.tombstones
    }

    /// Removes what `selection` names and hands each to `each`, oldest first. Nothing changes if the tag is unknown.
    pub(super) fn take(
        &mut self,
        selection: Selection,
        mut each: impl FnMut(Unacked),
    ) -> Result<(), UnknownTag> {
        match selection {
            Selection::UpTo(0) => self.take_front(self.entries.len(), &mut each),
            Selection::UpTo(tag) => {
                let at = self.find(tag)?;
                self.take_front(at + 1, &mut each);
            }
            Selection::One(tag) => {
                let at = self.find(tag)?;
                each(self.entries[at]);
                self.entries[at].reference.slot = NO_SLOT;
                self.tombstones += 1;
            }
        }
        self.tidy();
        Ok(())
    }

    /// Makes deliveries that were taken outstanding again: a transaction was rolled back. The work follows what was taken,
    /// not what is outstanding: their tombstones come back to life where they lie.
    pub(super) fn restore(&mut self, taken: impl IntoIterator<Item = Unacked>) {
        let mut taken: Vec<Unacked> = taken.into_iter().collect();
        taken.sort_unstable_by_key(|entry| entry.tag);
        taken.retain(|entry| {
            let Ok(at) = self.position(entry.tag.0) else { return true };
            self.entries[at] = *entry;
            self.tombstones -= 1;
            false
        });
        let Some(last) = taken.last() else { return };
        if self.entries.front().is_none_or(|first| last.tag < first.tag) {
            for entry in taken.into_iter().rev() {
                self.entries.push_front(entry);
            }
        } else {
            // Compaction removed tombstones in between: most of what was here had been taken. Two sorted runs are merged.
            self.entries.extend(taken);
            self.entries.make_contiguous().sort_by_key(|entry| entry.tag);
        }
    }

    /// Where the living entry with `tag` is.
    fn find(&self, tag: u64) -> Result<usize, UnknownTag> {
        let at = self.position(tag)?;
        if self.entries[at].reference.slot == NO_SLOT { Err(UnknownTag(tag)) } else { Ok(at) }
    }

    /// Where the entry with `tag` is, be it living or a tombstone. Tags mostly lie without gaps, so that the difference to
    /// the first one is tried before searching.
    fn position(&self, tag: u64) -> Result<usize, UnknownTag> {
        let unknown = UnknownTag(tag);
        let first = self.entries.front().ok_or(unknown)?.tag.0;
        let guess = usize::try_from(tag.checked_sub(first).ok_or(unknown)?).map_err(|_| unknown)?;
        match self.entries.get(guess) {
            Some(entry) if entry.tag.0 == tag => Ok(guess),
            _ => self.entries.binary_search_by_key(&tag, |entry| entry.tag.0).map_err(|_| unknown),
        }
    }

    fn take_front(&mut self, count: usize, each: &mut impl FnMut(Unacked)) {
        for entry in self.entries.drain(..count) {
            if entry.reference.slot == NO_SLOT {
                self.tombstones -= 1;
            } else {
                each(entry);
            }
        }
    }

    fn tidy(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.reference.slot == NO_SLOT) {
            self.entries.pop_front();
            self.tombstones -= 1;
        }
        if self.entries.len() > COMPACT_ENTRIES_MIN && self.tombstones > self.entries.len() / 2 {
            self.entries.retain(|entry| entry.reference.slot != NO_SLOT);
            self.tombstones = 0;
            self.entries.shrink_to(2 * self.entries.len());
        }
        if self.entries.is_empty() && self.entries.capacity() > KEEP_ENTRIES {
            self.entries.shrink_to(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::action::SourceId;
    use super::super::testing::Random;
    use super::*;

    fn reference(slot: u32) -> DeliveryRef {
        DeliveryRef { source: SourceId(1), slot }
    }

    fn filled(count: u32) -> UnackedDeliveries {
        let mut unacked = UnackedDeliveries::default();
        for slot in 1..=count {
            assert_eq!(unacked.deliver(reference(slot)), DeliveryTag(u64::from(slot)));
        }
        unacked
    }

    fn take(unacked: &mut UnackedDeliveries, selection: Selection) -> Result<Vec<u64>, UnknownTag> {
        let mut taken = Vec::new();
        unacked.take(selection, |entry| taken.push(entry.tag.0))?;
        Ok(taken)
    }

    #[test]
    fn one_and_up_to_remove_what_they_name_oldest_first() {
        let mut unacked = filled(6);
        assert_eq!(take(&mut unacked, Selection::One(3)), Ok(vec![3]));
        assert_eq!(take(&mut unacked, Selection::UpTo(4)), Ok(vec![1, 2, 4]));
        assert_eq!(take(&mut unacked, Selection::UpTo(0)), Ok(vec![5, 6]));
        assert_eq!(take(&mut unacked, Selection::UpTo(0)), Ok(vec![]));
        assert_eq!(unacked.len(), 0);
    }

    #[test]
    fn a_tag_that_is_not_outstanding_is_unknown_and_changes_nothing() {
        let mut unacked = filled(3);
        assert_eq!(take(&mut unacked, Selection::One(2)), Ok(vec![2]));
        for tag in [2, 4, u64::MAX] {
            assert_eq!(take(&mut unacked, Selection::One(tag)), Err(UnknownTag(tag)));
            assert_eq!(take(&mut unacked, Selection::UpTo(tag)), Err(UnknownTag(tag)));
        }
        assert_eq!(take(&mut unacked, Selection::One(0)), Err(UnknownTag(0)));
        assert_eq!(unacked.len(), 2);
    }

    #[test]
    fn deliveries_without_acknowledgement_use_up_a_tag_but_cannot_be_settled() {
        let mut unacked = filled(1);
        assert_eq!(unacked.deliver(reference(NO_SLOT)), DeliveryTag(2));
        assert_eq!(unacked.deliver(reference(9)), DeliveryTag(3));
        assert_eq!(take(&mut unacked, Selection::One(2)), Err(UnknownTag(2)));
        assert_eq!(take(&mut unacked, Selection::One(3)), Ok(vec![3]));
    }

    #[test]
    fn restored_deliveries_return_to_their_place() {
        let mut unacked = filled(4);
        let mut taken = Vec::new();
        for tag in [3, 1] {
            unacked.take(Selection::One(tag), |entry| taken.push(entry)).expect("outstanding");
        }
        assert_eq!(take(&mut unacked, Selection::One(3)), Err(UnknownTag(3)));
        unacked.restore(taken);
        assert_eq!(take(&mut unacked, Selection::UpTo(3)), Ok(vec![1, 2, 3]));
    }

    #[test]
    fn restoring_looks_at_nothing_but_what_was_taken() {
        let mut unacked = filled(10);
        assert_eq!(take(&mut unacked, Selection::One(5)), Ok(vec![5]));
        // The gap that 5 leaves would be gone had everything been gone through.
        unacked.restore([]);
        assert_eq!((unacked.entries.len(), unacked.len()), (10, 9));
        let mut taken = Vec::new();
        for selection in [Selection::One(8), Selection::UpTo(2)] {
            unacked.take(selection, |entry| taken.push(entry)).expect("outstanding");
        }
        unacked.restore(taken);
        assert_eq!((unacked.entries.len(), unacked.len()), (10, 9));
        assert_eq!(take(&mut unacked, Selection::UpTo(0)), Ok(vec![1, 2, 3, 4, 6, 7, 8, 9, 10]));
    }

    #[test]
    fn random_rollbacks_agree_with_a_naive_model() {
        for seed in 1..200 {
            let mut random = Random::new(seed);
            let count = u32::try_from(1 + random.below(200)).expect("small");
            let mut unacked = filled(count);
            let mut model: Vec<u64> = (1..=u64::from(count)).collect();
            for _ in 0..8 {
                let mut taken = Vec::new();
                for _ in 0..random.below(150) {
                    let Some(tag) = model.get(random.below(model.len().max(1))).copied() else { break };
                    let is_range = random.below(40) == 0;
                    let selection = if is_range { Selection::UpTo(tag) } else { Selection::One(tag) };
                    unacked.take(selection, |entry| taken.push(entry)).expect("outstanding");
                    model.retain(|living| if is_range { *living > tag } else { *living != tag });
                    if random.below(10) == 0 {
                        model.push(unacked.deliver(reference(1)).0);
                    }
                }
                if random.below(2) == 0 {
                    model.extend(taken.iter().map(|entry| entry.tag.0));
                    model.sort_unstable();
                    unacked.restore(taken);
                }
                assert_eq!(unacked.len(), model.len(), "seed {seed}");
            }
            assert_eq!(take(&mut unacked, Selection::UpTo(0)), Ok(model), "seed {seed}");
        }
    }

    #[test]
    fn memory_follows_the_outstanding_ones_even_if_the_first_is_never_settled() {
        let mut unacked = filled(1);
        for tag in 2..=100_000_u64 {
            unacked.deliver(reference(7));
            assert_eq!(take(&mut unacked, Selection::One(tag)), Ok(vec![tag]));
            assert!(unacked.entries.capacity() <= 4 * COMPACT_ENTRIES_MIN);
        }
        assert_eq!(unacked.len(), 1);
    }

    #[test]
    fn random_settling_agrees_with_a_naive_model() {
        for seed in 1..60 {
            let mut random = Random::new(seed);
            let mut unacked = UnackedDeliveries::default();
            let mut model: Vec<u64> = Vec::new();
            let mut last = 0_u64;
            for _ in 0..3000 {
                match random.below(5) {
                    0 | 1 => {
                        last += 1;
                        let slot = if random.below(4) == 0 { NO_SLOT } else { 5 };
                        assert_eq!(unacked.deliver(reference(slot)), DeliveryTag(last));
                        if slot != NO_SLOT {
                            model.push(last);
                        }
                    }
                    2 | 3 => {
                        let tag = last.saturating_sub(random.below(40) as u64);
                        let expected =
                            if model.contains(&tag) { Ok(vec![tag]) } else { Err(UnknownTag(tag)) };
                        model.retain(|living| *living != tag);
                        assert_eq!(take(&mut unacked, Selection::One(tag)), expected, "seed {seed}");
                    }
                    _ => {
                        let tag = last.saturating_sub(20 + random.below(60) as u64);
                        let expected = if tag == 0 || model.contains(&tag) {
                            let bound = if tag == 0 { u64::MAX } else { tag };
                            let (gone, rest) = model.iter().partition(|living| **living <= bound);
                            model = rest;
                            Ok(gone)
                        } else {
                            Err(UnknownTag(tag))
                        };
                        assert_eq!(take(&mut unacked, Selection::UpTo(tag)), expected, "seed {seed}");
                    }
                }
                assert_eq!(unacked.len(), model.len(), "seed {seed}");
            }
        }
    }
}
