//! [`Lane`]: the stretches of one queue that lie in the log, and what is settled in them.

use std::collections::BTreeMap;

use super::FramePlace;
use super::ranges::RangeSet;
use crate::store::log::segment::SegmentId;

/// Frames that follow each other become one extent up to this many bytes: what is read at once when messages are loaded,
/// and small enough that several queues may do so at a time.
const EXTENT_BYTES_MAX: u64 = 1024 * 1024;

/// A stretch of sequence numbers whose messages lie in a stretch of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Extent {
    /// The lowest number.
    pub(in crate::store) first: u64,
    /// The highest number.
    pub(in crate::store) last: u64,
    /// Which segment.
    pub(in crate::store) segment: SegmentId,
    /// Where its first frame begins.
    pub(in crate::store) at: u64,
    /// Where its last frame ends.
    pub(in crate::store) end: u64,
    /// Unsettled messages in it.
    pub(in crate::store) live: u64,
    /// Bytes of all its records, settled or not.
    pub(in crate::store) bytes: u64,
}

/// Extents in the order of their numbers, which are disjoint.
#[derive(Debug, Default)]
pub(in crate::store) struct Lane {
    extents: BTreeMap<u64, Extent>,
    /// Numbers inside of extents that are settled, or never were messages of this lane.
    settled: RangeSet,
}

impl Lane {
    /// A lane as a checkpoint remembers it.
    pub(in crate::store) fn restored(extents: Vec<Extent>, settled: RangeSet) -> Self {
        Self { extents: extents.into_iter().map(|extent| (extent.first, extent)).collect(), settled }
    }

    /// Adds consecutive messages from a frame, joined to the extent before if that ends nearby.
    pub(in crate::store) fn add(&mut self, place: FramePlace, first: u64, last: u64, bytes: u64) {
        let count = last - first + 1;
        if let Some((_, before)) = self.extents.range_mut(..first).next_back()
            && before.segment == place.segment
            && place.end > before.at
            && place.end - before.at <= EXTENT_BYTES_MAX
        {
            debug_assert!(before.last < first, "messages {first} to {last} are in the log twice");
            self.settled.insert(before.last + 1, first - 1);
            before.last = last;
            before.end = place.end;
            before.live += count;
            before.bytes += bytes;
            return;
        }
        let FramePlace { segment, at, end } = place;
        self.extents.insert(first, Extent { first, last, segment, at, end, live: count, bytes });
    }

    /// Takes out all extents that reach into these numbers.
    pub(in crate::store) fn take_overlapping(&mut self, first: u64, last: u64) -> Vec<Extent> {
        let starts: Vec<u64> = self.overlapping(first, last).map(|extent| extent.first).collect();
        let taken: Vec<Extent> = starts.iter().filter_map(|start| self.extents.remove(start)).collect();
        for extent in &taken {
            self.settled.remove(extent.first, extent.last);
        }
        taken
    }

    /// Settles numbers; tells `released` how many messages that were of which extent. Empty extents go.
    pub(in crate::store) fn settle(&mut self, first: u64, last: u64, mut released: impl FnMut(&Extent, u64)) {
        let starts: Vec<u64> = self.overlapping(first, last).map(|extent| extent.first).collect();
        for start in starts {
            let Some(extent) = self.extents.get_mut(&start) else { continue };
            let settled = self.settled.insert(first.max(extent.first), last.min(extent.last));
            extent.live -= settled.min(extent.live);
            released(extent, settled);
            if extent.live == 0 {
                self.settled.remove(extent.first, extent.last);
                self.extents.remove(&start);
            }
        }
    }

    /// All extents, ascending.
    pub(in crate::store) fn extents(&self) -> impl DoubleEndedIterator<Item = &Extent> {
        self.extents.values()
    }

    /// The extents that reach into these numbers, ascending.
    pub(in crate::store) fn overlapping(&self, first: u64, last: u64) -> impl Iterator<Item = &Extent> {
        let before = self.extents.range(..first).next_back().map(|(_, extent)| extent);
        let rest = if first <= last { Some(self.extents.range(first..=last)) } else { None };
        let rest = rest.into_iter().flatten().map(|(_, extent)| extent);
        before.into_iter().filter(move |extent| first <= last && extent.last >= first).chain(rest)
    }

    /// What is settled in it.
    pub(in crate::store) fn settled(&self) -> &RangeSet {
        &self.settled
    }

    /// What is settled from `first` to `last`.
    pub(in crate::store) fn settled_in(&self, first: u64, last: u64) -> RangeSet {
        let mut found = RangeSet::default();
        for (from, to) in self.settled.overlapping(first, last) {
            found.insert(from, to);
        }
        found
    }

    /// Unsettled messages from `first` to `last`.
    pub(in crate::store) fn live_in(&self, first: u64, last: u64) -> u64 {
        let live = |extent: &Extent| {
            if first <= extent.first && extent.last <= last {
                return extent.live;
            }
            let (from, to) = (first.max(extent.first), last.min(extent.last));
            to - from + 1 - self.settled.count_in(from, to)
        };
        self.overlapping(first, last).map(live).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(at: u64) -> FramePlace {
        FramePlace { segment: SegmentId(1), at, end: at + 100 }
    }

    fn spans(lane: &Lane) -> Vec<(u64, u64, u64)> {
        lane.extents().map(|extent| (extent.first, extent.last, extent.live)).collect()
    }

    #[test]
    fn neighbouring_frames_become_one_extent_and_holes_between_are_no_messages() {
        let mut lane = Lane::default();
        lane.add(place(0), 0, 9, 100);
        lane.add(place(100), 10, 19, 100);
        lane.add(place(200), 25, 29, 50);
        assert_eq!(spans(&lane), [(0, 29, 25)]);
        assert_eq!(lane.live_in(15, 27), 8);
        let mut released = 0;
        lane.settle(18, 26, |_, count| released += count);
        assert_eq!(released, 4);
        assert_eq!(spans(&lane), [(0, 29, 21)]);
    }

    #[test]
    fn frames_far_apart_stay_apart() {
        let mut lane = Lane::default();
        lane.add(place(0), 0, 9, 100);
        lane.add(place(EXTENT_BYTES_MAX), 10, 19, 100);
        lane.add(FramePlace { segment: SegmentId(2), at: 0, end: 100 }, 20, 29, 100);
        assert_eq!(spans(&lane), [(0, 9, 10), (10, 19, 10), (20, 29, 10)]);
    }

    #[test]
    fn an_extent_goes_with_its_last_message_and_leaves_nothing_behind() {
        let mut lane = Lane::default();
        lane.add(place(0), 0, 9, 100);
        lane.add(place(EXTENT_BYTES_MAX), 10, 19, 100);
        let mut released = 0;
        for seq in [3, 3, 0, 1, 2, 9, 8, 7] {
            lane.settle(seq, seq, |_, count| released += count);
        }
        assert_eq!((released, spans(&lane)), (7, vec![(0, 9, 3), (10, 19, 10)]));
        lane.settle(0, 9, |_, count| released += count);
        assert_eq!((released, spans(&lane)), (10, vec![(10, 19, 10)]));
        assert_eq!(lane.settled().iter().count(), 0);
    }

    #[test]
    fn moved_messages_leave_their_old_extent() {
        let mut lane = Lane::default();
        lane.add(place(0), 0, 9, 100);
        lane.settle(2, 7, |_, _| {});
        let taken = lane.take_overlapping(0, 1);
        assert_eq!(taken.len(), 1);
        let new = FramePlace { segment: SegmentId(2), at: 0, end: 100 };
        lane.add(new, 0, 1, 20);
        assert_eq!(lane.take_overlapping(8, 9).len(), 0);
        lane.add(new, 8, 9, 20);
        assert_eq!(spans(&lane), [(0, 9, 4)]);
        assert_eq!(lane.live_in(0, 9), 4);
    }
}
