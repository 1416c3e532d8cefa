//! [`Index`]: where in the log each message lies that is not settled yet.
//!
//! Not per message, but per [`Extent`]: a stretch of one queue's sequence numbers that lies in a stretch of one segment. So
//! a backlog of millions takes little memory, and a start little time. Fed with frames by the flusher and by recovery, in
//! the order of the log; whoever loads messages only looks. Knows no files.

mod lane;
mod ranges;

use std::collections::{BTreeMap, HashMap};

use crate::engine::QueueId;

use super::log::frame::{Head, MOVED, Meta, UNTIL_RESTART};
use super::log::ops::Op;
use super::log::segment::SegmentId;

pub(super) use lane::{Extent, Lane};
pub(super) use ranges::RangeSet;

/// What a segment still holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SegmentUse {
    /// The size of its file.
    pub(super) bytes: u64,
    /// Unsettled messages in it, each counted for every queue that holds it.
    pub(super) live: u64,
}

/// What the log says of one queue.
#[derive(Debug, Default)]
pub(super) struct QueueIndex {
    /// What survives a restart.
    pub(super) durable: Lane,
    /// What only had to leave memory. Its numbers lie between those of the other lane.
    pub(super) until_restart: Lane,
    /// All messages up to here were delivered at least once.
    pub(super) delivered: Option<u64>,
    /// How often messages returned to the queue, of those that did.
    pub(super) returned: BTreeMap<u64, u16>,
    /// The highest sequence number seen: the next start goes on behind it.
    pub(super) highest: Option<u64>,
}

impl QueueIndex {
    fn saw(&mut self, seq: u64) {
        self.highest = self.highest.max(Some(seq));
    }

    /// Unsettled messages from `first` to `last`.
    pub(super) fn live_in(&self, first: u64, last: u64) -> u64 {
        self.durable.live_in(first, last) + self.until_restart.live_in(first, last)
    }
}

/// All queues and segments.
#[derive(Debug, Default)]
pub(super) struct Index {
    queues: HashMap<QueueId, QueueIndex>,
    segments: BTreeMap<SegmentId, SegmentUse>,
}

/// Where a frame lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct FramePlace {
    /// In which segment.
    pub(super) segment: SegmentId,
    /// Where it begins.
    pub(super) at: u64,
    /// Where it ends.
    pub(super) end: u64,
}

/// Whether a frame is new or read back at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// It was just written.
    Written,
    /// It was written before this start: what was kept until a restart only is gone.
    Replayed,
}

impl Index {
    /// Takes in the messages of a frame.
    pub(super) fn add_messages(&mut self, place: FramePlace, head: &Head, meta: &Meta, source: Source) {
        debug_assert_eq!(place.end - place.at, head.frame_bytes() as u64);
        self.segment_mut(place.segment).bytes = place.end;
        for run in &meta.runs {
            let until_restart = run.flags & UNTIL_RESTART != 0;
            if until_restart && source == Source::Replayed {
                continue;
            }
            let records = run.record as usize..run.record as usize + run.count as usize;
            let bytes = meta.records[records].iter().map(|record| u64::from(record.len)).sum();
            let queue = self.queues.entry(run.queue).or_default();
            queue.saw(run.last());
            let lane = if until_restart { &mut queue.until_restart } else { &mut queue.durable };
            if run.flags & MOVED != 0 {
                for extent in lane.take_overlapping(run.first, run.last()) {
                    release(&mut self.segments, &extent, extent.live);
                }
            }
            lane.add(place, run.first, run.last(), bytes);
            self.segment_mut(place.segment).live += u64::from(run.count);
        }
    }

    /// Takes in an operation. Definitions are not its business.
    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Settled { queue, ranges } => {
                for &(first, last) in ranges {
                    self.settle(*queue, first, last);
                }
            }
            Op::QueueRemoved { queue } => self.remove_queue(*queue),
            Op::Delivered { queue, up_to } => {
                let queue = self.queues.entry(*queue).or_default();
                queue.saw(*up_to);
                queue.delivered = queue.delivered.max(Some(*up_to));
            }
            Op::Returned { queue, counts } => {
                let queue = self.queues.entry(*queue).or_default();
                queue.returned.extend(counts.iter().copied());
            }
            Op::Define { .. } => {}
        }
    }

    fn settle(&mut self, queue: QueueId, first: u64, last: u64) {
        let Some(queue) = self.queues.get_mut(&queue) else { return };
        for lane in [&mut queue.durable, &mut queue.until_restart] {
            lane.settle(first, last, |extent, settled| release(&mut self.segments, extent, settled));
        }
        while let Some((&seq, _)) = queue.returned.range(first..=last).next() {
            queue.returned.remove(&seq);
        }
    }

    /// Forgets a queue.
    pub(super) fn remove_queue(&mut self, queue: QueueId) {
        let Some(queue) = self.queues.remove(&queue) else { return };
        for lane in [&queue.durable, &queue.until_restart] {
            for extent in lane.extents() {
                release(&mut self.segments, extent, extent.live);
            }
        }
    }

    /// Puts back a queue as a checkpoint remembers it.
    pub(super) fn restore_queue(&mut self, id: QueueId, queue: QueueIndex) {
        for extent in queue.durable.extents() {
            self.segment_mut(extent.segment).live += extent.live;
        }
        self.queues.insert(id, queue);
    }

    /// A queue's part of it.
    pub(super) fn queue(&self, id: QueueId) -> Option<&QueueIndex> {
        self.queues.get(&id)
    }

    /// All queues that the log has heard of.
    pub(super) fn queues(&self) -> impl Iterator<Item = (QueueId, &QueueIndex)> {
        self.queues.iter().map(|(&id, queue)| (id, queue))
    }

    /// All segments, oldest first.
    pub(super) fn segments(&self) -> impl Iterator<Item = (SegmentId, SegmentUse)> {
        self.segments.iter().map(|(&id, &held)| (id, held))
    }

    /// Enters a segment, or its size.
    pub(super) fn set_segment_bytes(&mut self, id: SegmentId, bytes: u64) {
        self.segment_mut(id).bytes = bytes;
    }

    /// The size of a segment's file.
    pub(super) fn segment_bytes(&self, id: SegmentId) -> u64 {
        self.segments.get(&id).map_or(0, |held| held.bytes)
    }

    /// Forgets a segment, whose file is gone.
    pub(super) fn remove_segment(&mut self, id: SegmentId) {
        self.segments.remove(&id);
    }

    /// The live stretches of one segment, with their queue and whether they are kept until a restart only.
    pub(super) fn extents_in(&self, segment: SegmentId) -> Vec<(QueueId, bool, Extent)> {
        let mut found = Vec::new();
        for (&id, queue) in &self.queues {
            for (until_restart, lane) in [(false, &queue.durable), (true, &queue.until_restart)] {
                let here = lane.extents().filter(|extent| extent.segment == segment);
                found.extend(here.map(|extent| (id, until_restart, extent.clone())));
            }
        }
        found.sort_by_key(|(id, until_restart, extent)| (*id, *until_restart, extent.first));
        found
    }

    fn segment_mut(&mut self, id: SegmentId) -> &mut SegmentUse {
        self.segments.entry(id).or_default()
    }
}

fn release(segments: &mut BTreeMap<SegmentId, SegmentUse>, extent: &Extent, count: u64) {
    if let Some(segment) = segments.get_mut(&extent.segment) {
        debug_assert!(segment.live >= count, "more is settled in {:?} than it held", extent.segment);
        segment.live = segment.live.saturating_sub(count);
    }
}
