//! Turns what waits into frames: each message once, the messages of a queue together.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::frame::FrameBuilder;
use crate::engine::QueueId;
use crate::store::pending::{Pending, PendingQueue};
use crate::wire::message::Message;

/// A frame is closed when its bodies reach this many bytes; a larger message has one of its own.
pub(in crate::store) const FRAME_BYTES: usize = 1024 * 1024;

/// Builders that are kept for the next commit.
const KEPT_MAX: usize = 8;

/// The frames of one commit. Reused from commit to commit.
#[derive(Debug, Default)]
pub(in crate::store) struct Frames {
    builders: Vec<FrameBuilder>,
    used: usize,
    /// Where messages that several queues hold were put: frame and record.
    shared: HashMap<usize, (usize, u32), FixedState>,
}

impl Frames {
    /// Puts the operations and messages of `pending` into frames.
    pub(in crate::store) fn fill(&mut self, pending: &mut Pending) {
        self.clear();
        let ops = pending.ops();
        let mut queues: Vec<(QueueId, &PendingQueue)> =
            pending.queues.iter().map(|(&id, queue)| (id, queue)).collect();
        queues.sort_unstable_by_key(|(id, _)| *id);
        // With one queue no message can be there twice, so none needs to be remembered.
        let may_share = queues.len() > 1;
        for (id, queue) in queues {
            // The frames of a queue's messages ascend as their numbers do.
            let mut at = (0, 0);
            for (flags, entry) in queue.messages() {
                let Some(message) = &entry.message else { continue };
                let from = if at.0 == flags { at.1 } else { 0 };
                let (frame, record) = self.place(message, may_share, from);
                self.builders[frame].hold(id, entry.seq, record, flags);
                at = (flags, frame);
            }
        }
        // Last: what a client publishes must be there before what it acknowledges with it is settled.
        if !ops.is_empty() {
            let last = self.used.checked_sub(1).unwrap_or_else(|| self.open());
            ops.iter().for_each(|op| op.encode(&mut self.builders[last].ops));
        }
    }

    /// Where the message is, in frame `from` or a later one; it is put into the last one if it is not there yet.
    fn place(&mut self, message: &Message, may_share: bool, from: usize) -> (usize, u32) {
        if may_share
            && let Some(&place) = self.shared.get(&message.identity())
            && place.0 >= from
        {
            return place;
        }
        let last = match self.used.checked_sub(1) {
            Some(last) if self.builders[last].bodies_bytes() < FRAME_BYTES => last,
            _ => self.open(),
        };
        let place = (last, self.builders[last].add(message));
        if may_share {
            self.shared.insert(message.identity(), place);
        }
        place
    }

    fn open(&mut self) -> usize {
        if self.used == self.builders.len() {
            self.builders.push(FrameBuilder::default());
        }
        self.used += 1;
        self.used - 1
    }

    /// The frames, in the order in which they are to be written.
    pub(in crate::store) fn iter(&self) -> impl Iterator<Item = &FrameBuilder> {
        self.builders[..self.used].iter()
    }

    /// Forgets everything, and keeps the memory of a few frames.
    pub(in crate::store) fn clear(&mut self) {
        self.builders.truncate(KEPT_MAX);
        self.builders.retain(|builder| builder.bodies_bytes() <= 2 * FRAME_BYTES);
        self.builders.iter_mut().for_each(FrameBuilder::clear);
        self.used = 0;
        self.shared.clear();
        self.shared.shrink_to(1024);
    }

    /// Gives back all memory.
    pub(in crate::store) fn shrink(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::queue::Seq;
    use crate::store::Kept;

    fn message(size: usize) -> Message {
        Message::new("", "q", &[0, 0], true, &vec![1; size])
    }

    #[test]
    fn a_message_in_twenty_queues_is_stored_once() {
        let mut pending = Pending::default();
        let message = message(1000);
        for queue in 0..20 {
            pending.append(QueueId(queue), Kept::Durably, &mut vec![(Seq(5), message.clone())]);
        }
        let mut frames = Frames::default();
        frames.fill(&mut pending);
        let written: Vec<_> =
            frames.iter().map(|frame| (frame.records().len(), frame.runs().len())).collect();
        assert_eq!(written, [(1, 20)]);
    }

    #[test]
    fn a_shared_message_stays_in_the_frame_it_was_put_into() {
        let mut pending = Pending::default();
        let shared: Vec<_> = (0..5).map(|_| message(FRAME_BYTES / 2)).collect();
        for queue in 0..2 {
            let mut messages =
                shared.iter().cloned().zip(10..).map(|(message, seq)| (Seq(seq), message)).collect();
            pending.append(QueueId(queue), Kept::Durably, &mut messages);
        }
        let mut frames = Frames::default();
        frames.fill(&mut pending);
        let runs: Vec<Vec<_>> = frames
            .iter()
            .map(|frame| frame.runs().iter().map(|run| (run.queue.0, run.first, run.count)).collect())
            .collect();
        assert_eq!(
            runs,
            [vec![(0, 10, 2), (1, 10, 2)], vec![(0, 12, 2), (1, 12, 2)], vec![(0, 14, 1), (1, 14, 1)]]
        );
    }
}
