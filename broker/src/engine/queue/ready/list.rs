//! [`MessageList`]: waiting messages in memory, in the order of their sequence numbers.
//!
//! New ones go to the end, returned ones back to where they were; one that leaves from between others leaves its place behind
//! for a while. Knows nothing of paging. Called by `ReadyMessages` only.

use std::collections::VecDeque;

use super::{Looked, ReadyMessage, held_bytes};
use crate::engine::queue::{Seq, SeqRange};
use crate::wire::message::Message;

/// Below this capacity no memory is given back: a queue in use would allocate again at once.
const CAPACITY_KEPT: usize = 16;

/// Entries that one look goes over: nobody is to wait long for a queue's lock.
const LOOK_MAX: usize = 4096;

/// A message, or the place of one that has left from between others.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seq: Seq,
    /// None if it has left.
    pub(super) message: Option<Message>,
    returned: u16,
    pub(super) stored: bool,
}

impl Entry {
    fn into_ready(self) -> Option<ReadyMessage> {
        let Self { seq, message, returned, stored } = self;
        message.map(|message| ReadyMessage { seq, message, returned, stored })
    }

    /// What it occupies in memory.
    pub(super) fn held_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, held_bytes)
    }

    /// The length of its body.
    pub(super) fn body_bytes(&self) -> u64 {
        self.message.as_ref().map_or(0, |message| message.body().len() as u64)
    }
}

impl From<ReadyMessage> for Entry {
    fn from(entry: ReadyMessage) -> Self {
        let ReadyMessage { seq, message, returned, stored } = entry;
        Self { seq, message: Some(message), returned, stored }
    }
}

/// Messages, ascending by sequence number. The first one has not left.
#[derive(Debug, Default)]
pub(super) struct MessageList {
    entries: VecDeque<Entry>,
    /// How many places have no message.
    left: usize,
}

impl MessageList {
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.left
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The first message.
    pub(super) fn head(&self) -> Option<&Message> {
        self.entries.front()?.message.as_ref()
    }

    /// Adds a message whose number is larger than all before.
    pub(super) fn push(&mut self, entry: ReadyMessage) {
        debug_assert!(self.entries.back().is_none_or(|last| last.seq < entry.seq));
        self.entries.push_back(entry.into());
    }

    pub(super) fn pop(&mut self) -> Option<ReadyMessage> {
        let entry = self.entries.pop_front();
        if self.left > 0 {
            self.drop_places_in_front();
        }
        self.give_back();
        entry?.into_ready()
    }

    /// Takes out the message with this number, wherever it is. What that costs does not depend on how many there are, over all
    /// but the search: its place is left until there are more such places than messages.
    pub(super) fn remove(&mut self, seq: Seq) -> Option<ReadyMessage> {
        let place = self.place_of(seq);
        let entry = self.entries.get_mut(place).filter(|entry| entry.seq == seq)?;
        let (returned, stored) = (entry.returned, entry.stored);
        let message = entry.message.take()?;
        self.left += 1;
        self.drop_places_in_front();
        if self.left > CAPACITY_KEPT && self.left > self.entries.len() / 2 {
            self.close_up();
        }
        Some(ReadyMessage { seq, message, returned, stored })
    }

    /// Does away with the places of messages that have left.
    pub(super) fn close_up(&mut self) {
        if self.left > 0 {
            self.entries.retain(|entry| entry.message.is_some());
            self.left = 0;
            self.give_back();
        }
    }

    fn drop_places_in_front(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.message.is_none()) {
            self.entries.pop_front();
            self.left -= 1;
        }
    }

    /// Puts one message back to its place; moves the fewer of the entries before and behind it.
    pub(super) fn put_back(&mut self, entry: ReadyMessage) {
        let place = self.place_of(entry.seq);
        self.entries.insert(place, entry.into());
    }

    /// Puts several messages back to their places at the cost of their number and of the entries that lie before the
    /// last of them, or behind the first, whichever are fewer.
    pub(super) fn put_back_all(&mut self, mut returned: Vec<ReadyMessage>) {
        returned.sort_unstable_by_key(|entry| entry.seq);
        let (Some(first), Some(last)) = (returned.first(), returned.last()) else {
            return;
        };
        let behind_first = self.place_of(first.seq);
        let before_last = self.place_of(last.seq);
        self.entries.reserve(returned.len());
        let returned = returned.into_iter().map(Entry::from);
        if before_last <= self.entries.len() - behind_first {
            let before: Vec<_> = self.entries.drain(..before_last).collect();
            merge(
                before.into_iter().rev(),
                returned.rev(),
                |left, right| left > right,
                |entry| {
                    self.entries.push_front(entry);
                },
            );
        } else {
            let behind: Vec<_> = self.entries.drain(behind_first..).collect();
            merge(
                behind.into_iter(),
                returned,
                |left, right| left < right,
                |entry| {
                    self.entries.push_back(entry);
                },
            );
        }
    }

    /// Number, message and returns of up to `max` messages behind `after`, or else from the first one, and the last number that was
    /// looked at; passes over `skip` of them before. None if it came to the end without finding any.
    pub(super) fn look(&self, after: Option<Seq>, skip: &mut u64, max: usize) -> Option<(Vec<Looked>, Seq)> {
        let mut place = after.map_or(0, |after| self.entries.partition_point(|entry| entry.seq <= after));
        if self.left == 0 {
            let step = usize::try_from(*skip).unwrap_or(usize::MAX).min(self.entries.len() - place);
            place += step;
            *skip -= step as u64;
        }
        let (mut found, mut up_to) = (Vec::new(), None);
        for entry in self.entries.range(place..).take(LOOK_MAX) {
            if found.len() == max {
                break;
            }
            up_to = Some(entry.seq);
            let Some(message) = &entry.message else { continue };
            if *skip > 0 {
                *skip -= 1;
            } else {
                found.push((entry.seq, message.clone(), entry.returned));
            }
        }
        let at_end = up_to == self.entries.back().map(|last| last.seq);
        up_to.filter(|_| !at_end || !found.is_empty()).map(|up_to| (found, up_to))
    }

    /// The messages in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.message.is_some())
    }

    /// The number at this place.
    pub(super) fn seq_at(&self, place: usize) -> Option<Seq> {
        self.entries.get(place).map(|entry| entry.seq)
    }

    /// The first number.
    pub(super) fn first(&self) -> Option<Seq> {
        self.entries.front().map(|entry| entry.seq)
    }

    /// The entries from this place on.
    pub(super) fn iter_from(&self, place: usize) -> impl Iterator<Item = &Entry> {
        self.entries.range(place..)
    }

    /// The entries from this place on, to change what is noted about them.
    pub(super) fn iter_mut_from(&mut self, place: usize) -> impl Iterator<Item = &mut Entry> {
        self.entries.range_mut(place..)
    }

    /// Where the first entry with this number or a larger one is.
    pub(super) fn place_of(&self, seq: Seq) -> usize {
        self.entries.partition_point(|entry| entry.seq < seq)
    }

    /// Takes off the first `count`, after [`MessageList::close_up`].
    pub(super) fn split_front(&mut self, count: usize) -> Self {
        debug_assert_eq!(self.left, 0);
        let entries = self.entries.drain(..count).collect();
        self.give_back();
        Self { entries, left: 0 }
    }

    /// Takes off everything from this place on, after [`MessageList::close_up`].
    pub(super) fn split_back(&mut self, place: usize) -> Self {
        debug_assert_eq!(self.left, 0);
        let entries = self.entries.split_off(place);
        self.give_back();
        Self { entries, left: 0 }
    }

    /// Adds `later`, all of whose numbers are larger, at the cost of the shorter of the two.
    pub(super) fn append(&mut self, mut later: Self) {
        let left = self.left + later.left;
        if self.entries.len() < later.entries.len() {
            while let Some(entry) = self.entries.pop_back() {
                later.entries.push_front(entry);
            }
            *self = later;
        } else {
            self.entries.append(&mut later.entries);
        }
        self.left = left;
    }

    /// Adds the numbers to `ranges`, which end before them. A gap is a message that is outstanding or done.
    pub(super) fn add_ranges(&self, ranges: &mut Vec<SeqRange>) {
        for entry in self.iter() {
            super::add_range(ranges, SeqRange { first: entry.seq, last: entry.seq });
        }
    }

    /// A quarter full before half is given back, so that a queue swinging around one length does not reallocate.
    fn give_back(&mut self) {
        let capacity = self.entries.capacity();
        if capacity > CAPACITY_KEPT && self.entries.len() <= capacity / 4 {
            self.entries.shrink_to(CAPACITY_KEPT.max(capacity / 2));
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }
}

/// Feeds two sorted runs to `put` as one.
fn merge(
    left: impl Iterator<Item = Entry>,
    right: impl Iterator<Item = Entry>,
    goes_first: impl Fn(Seq, Seq) -> bool,
    mut put: impl FnMut(Entry),
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
        ReadyMessage {
            seq: Seq(seq),
            message: Message::new("", "", &[], false, &[]),
            returned: 0,
            stored: false,
        }
    }

    fn holding(seqs: impl IntoIterator<Item = u64>) -> MessageList {
        let mut ready = MessageList::default();
        seqs.into_iter().for_each(|seq| ready.push(entry(seq)));
        ready
    }

    fn seqs(ready: &MessageList) -> Vec<u64> {
        ready.iter().map(|entry| entry.seq.0).collect()
    }

    #[test]
    fn an_entry_takes_24_bytes() {
        assert_eq!(size_of::<ReadyMessage>(), 24);
        assert_eq!(size_of::<Entry>(), 24);
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
