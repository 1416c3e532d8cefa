//! [`Awaited`]: the messages that must be in one segment because the index says so.

use std::collections::BTreeMap;

use crate::engine::QueueId;
use crate::store::index::{Extent, Index, RangeSet};
use crate::store::log::frame::{Run, UNTIL_RESTART};
use crate::store::log::scan::Found;
use crate::store::log::segment::SegmentId;

/// Numbers of messages by queue.
pub(super) type Numbers = BTreeMap<QueueId, RangeSet>;

/// How many numbers there are.
pub(super) fn count(numbers: &RangeSet) -> u64 {
    numbers.iter().map(|(first, last)| last - first + 1).sum()
}

/// How many numbers there are of all queues.
pub(super) fn count_all(numbers: &Numbers) -> u64 {
    numbers.values().map(count).sum()
}

/// A stretch of the index, and which of its messages have not been seen yet.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) queue: QueueId,
    pub(super) extent: Extent,
    pub(super) unseen: RangeSet,
}

/// What must still turn up in a segment.
#[derive(Debug)]
pub(super) struct Awaited {
    /// Each queue's ascending and disjoint.
    stretches: BTreeMap<QueueId, Vec<Stretch>>,
}

impl Awaited {
    /// All that `index` says of the segment. What was kept until a restart is gone after it, and so not awaited.
    pub(super) fn new(index: &Index, segment: SegmentId) -> Self {
        let mut stretches: BTreeMap<QueueId, Vec<Stretch>> = BTreeMap::new();
        for (id, until_restart, extent) in index.extents_in(segment) {
            let Some(queue) = index.queue(id).filter(|_| !until_restart) else { continue };
            let mut unseen = RangeSet::default();
            unseen.insert(extent.first, extent.last);
            for (first, last) in queue.durable.settled_in(extent.first, extent.last).iter() {
                unseen.remove(first, last);
            }
            stretches.entry(id).or_default().push(Stretch { queue: id, extent, unseen });
        }
        Self { stretches }
    }

    /// The stretches of which the index counts other than it lists: queue, first and last number, counted, listed. To be
    /// asked before anything is seen.
    pub(super) fn miscounted(&self) -> Vec<(QueueId, (u64, u64), u64, u64)> {
        let stretches = self.stretches.values().flatten();
        let differing = stretches.filter(|stretch| stretch.extent.live != count(&stretch.unseen));
        differing
            .map(|stretch| {
                let Extent { first, last, live, .. } = stretch.extent;
                (stretch.queue, (first, last), live, count(&stretch.unseen))
            })
            .collect()
    }

    /// The stretches of which something was not seen.
    pub(super) fn unseen(self) -> Vec<Stretch> {
        let stretches = self.stretches.into_values().flatten();
        stretches.filter(|stretch| count(&stretch.unseen) > 0).collect()
    }

    /// Takes out the numbers of a run that are awaited where its frame lies.
    pub(super) fn see(&mut self, found: &Found, run: &Run) -> Vec<(u64, u64)> {
        if run.flags & UNTIL_RESTART != 0 {
            return Vec::new();
        }
        let Some(stretches) = self.stretches.get_mut(&run.queue) else { return Vec::new() };
        let frame_end = found.at + found.head.frame_bytes() as u64;
        let from = stretches.partition_point(|stretch| stretch.extent.last < run.first);
        let mut seen = Vec::new();
        for stretch in stretches[from..].iter_mut().take_while(|stretch| stretch.extent.first <= run.last()) {
            if stretch.extent.at <= found.at && frame_end <= stretch.extent.end {
                let here: Vec<_> = stretch.unseen.overlapping(run.first, run.last()).collect();
                here.iter().for_each(|&(first, last)| stretch.unseen.remove(first, last));
                seen.extend(here);
            }
        }
        seen
    }
}
