//! Looking at ready messages where they are, and taking chosen ones out of wherever they are.
//!
//! A look changes nothing and costs no more than the few messages that it gives: whoever wants more looks again behind the last of
//! them. Of messages that are not in memory it gives the numbers, and the server reads them. A message that is taken out is
//! claimed: nobody else gets it, the store still has it, and in the end it is done with or back in its place. Called by the
//! server's queue handle.

use std::fmt;
use std::str::FromStr;

use super::ready::{Departed, ReadyMessage, ReadyStretch, held_bytes};
use super::{Effect, Queue, Seq, SeqRange};
use crate::wire::message::Message;

/// Names a message of a queue as long as that queue exists, also after it was delivered and came back, and over restarts if it is
/// one that survives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// Its level.
    pub level: u8,
    /// Its number in that level.
    pub seq: Seq,
}

impl fmt::Display for MessageId {
    /// The number; with the level in front of it, as in `3-17`, if that is not 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            0 => write!(f, "{}", self.seq.0),
            level => write!(f, "{level}-{}", self.seq.0),
        }
    }
}

/// A text that names no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMessageId;

impl FromStr for MessageId {
    type Err = NoMessageId;

    fn from_str(text: &str) -> Result<Self, NoMessageId> {
        let (level, seq) = text.split_once('-').unwrap_or(("0", text));
        let level = level.parse().map_err(|_| NoMessageId)?;
        seq.parse().map(|seq| Self { level, seq: Seq(seq) }).map_err(|_| NoMessageId)
    }
}

/// What is to be known of a message by its id.
#[derive(Debug)]
pub enum Found {
    /// It is ready and in memory.
    Memory(Browsed),
    /// It is not in memory: if the store keeps it, it is ready.
    Paged {
        /// Messages before this number count as delivered.
        delivered_end: Seq,
    },
    /// It is not ready.
    NotThere,
}

/// A ready message that was looked at.
#[derive(Debug, Clone)]
pub struct Browsed {
    /// Which.
    pub id: MessageId,
    /// The message.
    pub message: Message,
    /// How often it came back to the queue.
    pub returned: u16,
    /// Whether it was delivered before.
    pub redelivered: bool,
}

/// Some messages that follow each other.
#[derive(Debug)]
pub enum Stretch {
    /// They are in memory. The next look is to go on behind `up_to`, also if there are none.
    Memory {
        /// In the order of delivery.
        messages: Vec<Browsed>,
        /// The last that was looked at.
        up_to: MessageId,
    },
    /// They are in the store. What is kept there of these numbers are the messages.
    Paged {
        /// Their level.
        level: u8,
        /// Ascending, at least one.
        ranges: Vec<SeqRange>,
        /// Those before this number count as delivered.
        delivered_end: Seq,
    },
    /// There are no more.
    End,
}

/// What a look gives.
#[derive(Debug)]
pub struct View {
    /// How many messages were passed over, of those that were to be.
    pub skipped: u64,
    /// What follows.
    pub stretch: Stretch,
}

/// A message that was taken out and belongs to whoever asked for it, until [`Queue::settle_claimed`] or [`Queue::put_back`].
#[derive(Debug)]
#[must_use = "the queue waits for what becomes of it"]
pub struct Claimed {
    level: u8,
    entry: ReadyMessage,
}

impl Claimed {
    /// The message.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.entry.message
    }
}

impl Queue {
    /// Looks at messages in the order of delivery: behind `after`, there or not, or else from the head; passes over up to `skip` of
    /// them and gives up to `max`. In paged messages nothing is passed over, because only the store can count them.
    #[must_use]
    pub fn browse(&self, after: Option<MessageId>, skip: u64, max: usize) -> View {
        let mut left = skip;
        let highest = after.map_or(u8::MAX, |after| after.level).min(self.levels.highest());
        for level in (0..=highest).rev() {
            let place = self.levels.at(level);
            let behind = after.filter(|after| after.level == level).map(|after| after.seq);
            let delivered_end = place.restored_delivered;
            let stretch = match place.ready.look(behind, &mut left, max) {
                ReadyStretch::Memory { entries, up_to } => {
                    let browsed = |(seq, message, returned)| Browsed {
                        id: MessageId { level, seq },
                        message,
                        returned,
                        redelivered: returned > 0 || seq < delivered_end,
                    };
                    let messages = entries.into_iter().map(browsed).collect();
                    Stretch::Memory { messages, up_to: MessageId { level, seq: up_to } }
                }
                ReadyStretch::Paged(ranges) => Stretch::Paged { level, ranges, delivered_end },
                ReadyStretch::End => continue,
            };
            return View { skipped: skip - left, stretch };
        }
        View { skipped: skip - left, stretch: Stretch::End }
    }

    /// Looks for one message.
    #[must_use]
    pub fn find(&self, id: MessageId) -> Found {
        if id.level > self.levels.highest() {
            return Found::NotThere;
        }
        let before = id.seq.0.checked_sub(1).map(Seq);
        let place = self.levels.at(id.level);
        let delivered_end = place.restored_delivered;
        match place.ready.look(before, &mut 0, 1) {
            ReadyStretch::Memory { entries, .. } => match entries.into_iter().next() {
                Some((seq, message, returned)) if seq == id.seq => Found::Memory(Browsed {
                    id,
                    message,
                    returned,
                    redelivered: returned > 0 || seq < delivered_end,
                }),
                _ => Found::NotThere,
            },
            ReadyStretch::Paged(ranges) if ranges[0].first <= id.seq && id.seq <= ranges[0].last => {
                Found::Paged { delivered_end }
            }
            ReadyStretch::Paged(_) | ReadyStretch::End => Found::NotThere,
        }
    }

    /// Takes a message out that was looked at, if it still waits. Until it is settled or put back no messages leave memory.
    pub fn claim(&mut self, chosen: &Browsed) -> Option<Claimed> {
        let Browsed { id: MessageId { level, seq }, ref message, returned, .. } = *chosen;
        if self.deleted || level > self.levels.highest() {
            return None;
        }
        let body_bytes = message.body().len() as u64;
        let entry = match self.levels.at_mut(level).ready.remove(seq, body_bytes) {
            Departed::FromMemory(entry) => {
                self.memory_bytes -= held_bytes(&entry.message);
                entry
            }
            Departed::Paged => ReadyMessage { seq, message: message.clone(), returned, stored: true },
            Departed::NotThere => return None,
        };
        if let Some(extras) = &mut self.extras {
            self.memory_bytes -= extras.deadlines.remove(level, seq, &entry.message);
        }
        self.claimed += 1;
        Some(Claimed { level, entry })
    }

    /// Claimed messages are done with.
    pub fn settle_claimed(&mut self, claimed: impl IntoIterator<Item = Claimed>, effects: &mut Vec<Effect>) {
        for Claimed { level, entry } in claimed {
            self.claimed -= 1;
            if entry.stored && !self.deleted {
                effects.push(Effect::Settled { level, seq: entry.seq });
            }
        }
    }

    /// Claimed messages wait again in their old places, as if nothing had been. Dispatch afterwards.
    pub fn put_back(&mut self, claimed: impl IntoIterator<Item = Claimed>) {
        for Claimed { level, entry } in claimed {
            self.claimed -= 1;
            if self.deleted {
                continue;
            }
            self.note_deadline(level, entry.seq, &entry.message);
            self.memory_bytes += self.levels.put(level).ready.return_claimed(entry);
        }
    }
}
