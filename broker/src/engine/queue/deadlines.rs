//! [`Deadlines`]: which ready messages of a queue expire by themselves, and when.
//!
//! Every message with an expiration of its own is in it as long as it is ready, in memory or not. Times to live that hold for the
//! whole queue need no index: the oldest message tells. Called by the queue only.

use std::collections::BTreeMap;

use super::Seq;
use crate::wire::message::Message;

/// What an entry occupies, with the slack of a tree.
const ENTRY_BYTES: usize = 48;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deadline {
    /// In milliseconds since 1970.
    pub(super) due_ms: u64,
    pub(super) level: u8,
    pub(super) seq: Seq,
}

/// The length of each message's body by its deadline: it must be known when a message leaves that is not in memory.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    body_bytes: BTreeMap<Deadline, u32>,
}

impl Deadlines {
    /// Adds a message; tells what that occupies.
    pub(super) fn add(&mut self, deadline: Deadline, body_bytes: u64) -> usize {
        let body_bytes = u32::try_from(body_bytes).unwrap_or(u32::MAX);
        if self.body_bytes.insert(deadline, body_bytes).is_none() { ENTRY_BYTES } else { 0 }
    }

    /// Removes a message, if it is there; tells what it occupied.
    pub(super) fn remove(&mut self, level: u8, seq: Seq, message: &Message) -> usize {
        if self.body_bytes.is_empty() {
            return 0;
        }
        let Some(due_ms) = message.expires_ms() else { return 0 };
        let removed = self.body_bytes.remove(&Deadline { due_ms, level, seq });
        if removed.is_some() { ENTRY_BYTES } else { 0 }
    }

    /// The soonest one, and the length of its message's body.
    pub(super) fn first(&self) -> Option<(Deadline, u64)> {
        self.body_bytes.first_key_value().map(|(deadline, body_bytes)| (*deadline, u64::from(*body_bytes)))
    }

    /// Removes the soonest one; tells what it occupied.
    pub(super) fn remove_first(&mut self) -> usize {
        if self.body_bytes.pop_first().is_some() { ENTRY_BYTES } else { 0 }
    }

    /// Removes all; tells what they occupied.
    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(&mut self.body_bytes).len() * ENTRY_BYTES
    }
}
