//! [`ReadyMessages`]: the messages of a queue that wait for delivery, in the order of their sequence numbers.
//!
//! In three parts. `front` is in memory and is what deliveries are taken from and returned to. A long backlog continues
//! with a paged range, of which the store has the contents and this has the count, and with a tail in memory again. Whatever
//! was handed out in the life of this queue has a lower number than the paged range, so returned messages never belong
//! into it. Knows no consumers. Called by the queue only.

use super::{Seq, SeqRange};
use crate::wire::message::Message;

use list::{Entry, MessageList};
use paging::Paging;

mod list;
mod numbers;
mod paging;

/// What a message in a queue costs beside itself, in bytes.
const ENTRY_BYTES: usize = size_of::<ReadyMessage>();

/// A message that waits for delivery.
#[derive(Debug)]
pub(super) struct ReadyMessage {
    pub(super) seq: Seq,
    pub(super) message: Message,
    /// How often it came back to the queue; stays at the largest number.
    pub(super) returned: u16,
    /// The store keeps it.
    pub(super) stored: bool,
}

/// What became of a message that was to leave.
#[derive(Debug)]
pub(super) enum Departed {
    /// Here it is.
    FromMemory(ReadyMessage),
    /// It was not in memory, and is not counted any more.
    Paged,
    /// It was not waiting.
    NotThere,
}

/// The number of a message, itself, and how often it came back.
type Looked = (Seq, Message, u16);

/// Some of the waiting messages, in order.
#[derive(Debug)]
pub(super) enum ReadyStretch {
    /// In memory. Looked at up to this number.
    Memory { entries: Vec<Looked>, up_to: Seq },
    /// Not in memory: the numbers of the next ones. The store may keep fewer.
    Paged(Vec<SeqRange>),
    /// None.
    End,
}

impl ReadyMessage {
    fn body_bytes(&self) -> u64 {
        self.message.body().len() as u64
    }
}

/// The waiting messages, ascending by sequence number.
#[derive(Debug, Default)]
pub(super) struct ReadyMessages {
    front: MessageList,
    /// What follows `front`, if part of that is not in memory.
    paging: Option<Box<Paging>>,
    /// Among the never delivered messages in memory with these numbers are none that the store does not keep.
    all_stored: Option<SeqRange>,
    /// How many loads were taken in.
    page_ins: u32,
    /// The bytes of all bodies.
    body_bytes: u64,
}

impl ReadyMessages {
    /// All of them, in memory or not.
    pub(super) fn len(&self) -> u64 {
        let behind = self.paging.as_ref().map_or(0, |paging| paging.len());
        self.front.len() as u64 + behind
    }

    /// The bytes of the bodies of all of them.
    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// The first message, unless that one is not in memory.
    pub(super) fn head(&self) -> Option<&Message> {
        self.front.head()
    }

    /// Whether the first message is not in memory.
    pub(super) fn lacks_head(&self) -> bool {
        self.front.is_empty() && self.paging.is_some()
    }

    /// Takes out a message from wherever it is. The length of its body is needed if it is not in memory.
    pub(super) fn remove(&mut self, seq: Seq, body_bytes: u64) -> Departed {
        let entry = match &mut self.paging {
            Some(paging) if seq > paging.range.last => paging.tail.remove(seq),
            Some(paging) if seq >= paging.range.first => return self.remove_paged(seq, body_bytes),
            Some(paging) => self.front.remove(seq).inspect(|entry| {
                paging.front_bytes -= held_bytes(&entry.message);
            }),
            None => self.front.remove(seq),
        };
        entry.map_or(Departed::NotThere, |entry| {
            self.body_bytes -= entry.body_bytes();
            Departed::FromMemory(entry)
        })
    }

    /// Whether [`ReadyMessages::pop`] would give one.
    pub(super) fn has_next(&self) -> bool {
        !self.front.is_empty()
    }

    /// Adds a new message, whose number is larger than all before.
    pub(super) fn push(&mut self, entry: ReadyMessage) {
        self.body_bytes += entry.body_bytes();
        match &mut self.paging {
            None => self.front.push(entry),
            Some(paging) => paging.push(entry),
        }
    }

    /// Takes the first message, unless that one is not in memory.
    pub(super) fn pop(&mut self) -> Option<ReadyMessage> {
        let entry = self.front.pop()?;
        self.body_bytes -= entry.body_bytes();
        if let Some(paging) = &mut self.paging {
            paging.front_bytes -= held_bytes(&entry.message);
        }
        Some(entry)
    }

    /// Puts one message back to its place.
    pub(super) fn put_back(&mut self, entry: ReadyMessage) {
        self.body_bytes += entry.body_bytes();
        if let Some(paging) = &mut self.paging {
            paging.count_returned(&entry);
        }
        self.front.put_back(entry);
    }

    /// Puts several messages back to their places.
    pub(super) fn put_back_all(&mut self, returned: Vec<ReadyMessage>) {
        self.body_bytes += returned.iter().map(ReadyMessage::body_bytes).sum::<u64>();
        if let Some(paging) = &mut self.paging {
            returned.iter().for_each(|entry| paging.count_returned(entry));
        }
        self.front.put_back_all(returned);
    }

    /// Looks at up to `max` messages behind `after`, or else from the first one, and passes over `skip` of those in memory.
    pub(super) fn look(&self, after: Option<Seq>, skip: &mut u64, max: usize) -> ReadyStretch {
        if let Some((entries, up_to)) = self.front.look(after, skip, max) {
            return ReadyStretch::Memory { entries, up_to };
        }
        let Some(paging) = &self.paging else { return ReadyStretch::End };
        let ranges = paging.ranges_behind(after);
        if !ranges.is_empty() {
            return ReadyStretch::Paged(ranges);
        }
        match paging.tail.look(after, skip, max) {
            Some((entries, up_to)) => ReadyStretch::Memory { entries, up_to },
            None => ReadyStretch::End,
        }
    }

    /// Puts a message back that was removed, if nothing has left memory since. Tells what it occupies now.
    pub(super) fn return_claimed(&mut self, entry: ReadyMessage) -> usize {
        let (body_bytes, held) = (entry.body_bytes(), held_bytes(&entry.message));
        if !entry.stored {
            // It may lie among those of which that was noted while it was away.
            self.all_stored = None;
        }
        match &mut self.paging {
            Some(paging) if entry.seq > paging.range.last => paging.tail.put_back(entry),
            Some(paging) if entry.seq >= paging.range.first => {
                if paging.take_back(entry.seq, body_bytes) {
                    self.body_bytes += body_bytes;
                }
                return 0;
            }
            _ => {
                self.put_back(entry);
                return held;
            }
        }
        self.body_bytes += body_bytes;
        held
    }

    /// What those in memory occupy.
    pub(super) fn held_bytes(&self) -> usize {
        self.iter().map(Entry::held_bytes).sum()
    }

    fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.front.iter().chain(self.paging.iter().flat_map(|paging| paging.tail.iter()))
    }

    /// The numbers of all of them, in as few ranges as contain no number of an outstanding message.
    pub(super) fn ranges(&self) -> Vec<SeqRange> {
        let mut ranges = Vec::new();
        self.front.add_ranges(&mut ranges);
        if let Some(paging) = &self.paging {
            paging.add_ranges(&mut ranges);
        }
        ranges
    }

    /// Whether the store keeps any of them.
    pub(super) fn any_stored(&self) -> bool {
        self.paging.is_some() || self.iter().any(|entry| entry.stored)
    }
}

/// What a message occupies in memory while a queue holds it.
pub(super) fn held_bytes(message: &Message) -> usize {
    message.memory_bytes() + ENTRY_BYTES
}

/// Adds a range that lies behind all of `ranges`, to the last of them if there is no gap.
fn add_range(ranges: &mut Vec<SeqRange>, added: SeqRange) {
    match ranges.last_mut() {
        Some(range) if range.last.0 + 1 == added.first.0 => range.last = added.last,
        _ => ranges.push(added),
    }
}
