//! [`ReadyMessages`]: the messages of a queue that wait for delivery, in the order of their sequence numbers.
//!
//! New messages go to the tail, returned ones back to where they were. Knows no consumers. Called by the queue only.

use std::collections::VecDeque;

use super::Seq;
use crate::wire::message::Message;

/// Below this capacity no memory is given back: a queue in use would allocate again at once.
const CAPACITY_KEPT: usize = 16;

/// A message that waits for delivery.
#[derive(Debug)]
pub(super) struct ReadyMessage {
    pub(super) seq: Seq,
    pub(super) message: Message,
    pub(super) redelivered: bool,
}

/// The waiting messages, ascending by sequence number.
#[derive(Debug, Default)]
pub(super) struct ReadyMessages {
    entries: VecDeque<ReadyMessage>,
}

impl ReadyMessages {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a new message, whose number is larger than all before.
    pub(super) fn push(&mut self, entry: ReadyMessage) {
        debug_assert!(self.entries.back().is_none_or(|last| last.seq < entry.seq));
        self.entries.push_back(entry);
    }

    pub(super) fn pop(&mut self) -> Option<ReadyMessage> {
        let entry = self.entries.pop_front();
        let capacity = self.entries.capacity();
        // A quarter full before half is given back, so that a queue swinging around one length does not reallocate.
        if capacity > CAPACITY_KEPT && self.entries.len() <= capacity / 4 {
            self.entries.shrink_to(CAPACITY_KEPT.max(capacity / 2));
        }
        entry
    }

    /// Puts one message back to its place; moves the fewer of the entries before and behind it.
    pub(super) fn put_back(&mut self, entry: ReadyMessage) {
        let place = self.entries.partition_point(|other| other.seq < entry.seq);
        self.entries.insert(place, entry);
    }

    /// Puts several messages back to their places at the cost of their number and of the entries that lie before the
    /// last of them, or behind the first, whichever are fewer.
    pub(super) fn put_back_all(&mut self, mut returned: Vec<ReadyMessage>) {
        returned.sort_unstable_by_key(|entry| entry.seq);
        let (Some(first), Some(last)) = (returned.first(), returned.last()) else {
            return;
        };
        let behind_first = self.entries.partition_point(|entry| entry.seq < first.seq);
        let before_last = self.entries.partition_point(|entry| entry.seq < last.seq);
        self.entries.reserve(returned.len());
        if before_last <= self.entries.len() - behind_first {
            let before: Vec<_> = self.entries.drain(..before_last).collect();
            merge(
                before.into_iter().rev(),
                returned.into_iter().rev(),
                |left, right| left > right,
                |entry| {
                    self.entries.push_front(entry);
                },
            );
        } else {
            let behind: Vec<_> = self.entries.drain(behind_first..).collect();
            merge(
                behind.into_iter(),
                returned.into_iter(),
                |left, right| left < right,
                |entry| {
                    self.entries.push_back(entry);
                },
            );
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ReadyMessage> {
        self.entries.iter()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }
}

/// Feeds two sorted runs to `put` as one.
fn merge(
    left: impl Iterator<Item = ReadyMessage>,
    right: impl Iterator<Item = ReadyMessage>,
    goes_first: impl Fn(Seq, Seq) -> bool,
    mut put: impl FnMut(ReadyMessage),
) {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    loop {
        let next = match (left.peek(), right.peek()) {
            (Some(one), Some(other)) if goes_first(one.seq, other.seq) => left.next(),
            (_, Some(_)) => right.next(),
            _ => left.next(),
        };
        match next {
            Some(entry) => put(entry),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64) -> ReadyMessage {
        ReadyMessage { seq: Seq(seq), message: Message::new("", "", &[], false, &[]), redelivered: false }
    }

    fn holding(seqs: impl IntoIterator<Item = u64>) -> ReadyMessages {
        let mut ready = ReadyMessages::default();
        seqs.into_iter().for_each(|seq| ready.push(entry(seq)));
        ready
    }

    fn seqs(ready: &ReadyMessages) -> Vec<u64> {
        ready.iter().map(|entry| entry.seq.0).collect()
    }

    #[test]
    fn an_entry_takes_24_bytes() {
        assert_eq!(size_of::<ReadyMessage>(), 24);
        assert_eq!(size_of::<Option<ReadyMessage>>(), 24);
    }

    #[test]
    fn returned_messages_merge_into_their_places_from_either_side() {
        let cases: &[(&[u64], &[u64])] = &[
            (&[], &[2, 1]),
            (&[3, 4], &[1, 2]),
            (&[1, 2], &[4, 3]),
            (&[2, 4, 6, 8], &[1, 3, 9]),
            // Nearer to the front, then nearer to the back.
            (&[1, 4, 5, 6, 7, 8, 9], &[3, 2]),
            (&[1, 2, 3, 4, 5, 7, 9], &[6, 10, 8]),
            (&[5], &[1, 9]),
        ];
        for (ready, returned) in cases {
            let mut sorted = [*ready, *returned].concat();
            sorted.sort_unstable();
            let mut at_once = holding(ready.iter().copied());
            at_once.put_back_all(returned.iter().map(|&seq| entry(seq)).collect());
            assert_eq!(seqs(&at_once), sorted, "{ready:?} and {returned:?}");
            let mut one_by_one = holding(ready.iter().copied());
            returned.iter().for_each(|&seq| one_by_one.put_back(entry(seq)));
            assert_eq!(seqs(&one_by_one), sorted, "{ready:?} and {returned:?}");
        }
    }

    #[test]
    fn memory_is_given_back_when_a_burst_has_drained() {
        let mut ready = holding(0..100_000);
        assert!(ready.capacity() >= 100_000);
        for expected in 0..99_990 {
            assert_eq!(ready.pop().map(|entry| entry.seq), Some(Seq(expected)));
        }
        assert!(ready.capacity() <= 4 * CAPACITY_KEPT, "still {} entries", ready.capacity());
    }

    #[test]
    fn a_queue_that_swings_around_one_length_keeps_its_memory() {
        let mut ready = holding(0..1000);
        let capacity = ready.capacity();
        for seq in 1000..5000 {
            ready.pop();
            ready.push(entry(seq));
            assert_eq!(ready.capacity(), capacity);
        }
    }
}
