//! What a queue is told after a restart about messages that are not in memory.
//!
//! A restored queue knows how many messages it has, but not which of them expire by themselves, nor their sizes. The server reads
//! them once, in pieces, and tells.

use super::deadlines::Deadline;
use super::levels::Level;
use super::{Effect, Queue, Seq, SeqRange};

/// Messages of which the queue does not know enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SurveyWanted {
    /// Their level.
    pub level: u8,
    /// Their numbers.
    pub range: SeqRange,
}

/// What is to be known about one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surveyed {
    /// Which.
    pub seq: Seq,
    /// When it expires by itself: [`Message::expires_ms`](crate::wire::message::Message::expires_ms).
    pub expires_ms: Option<u64>,
    /// The length of its body.
    pub body_bytes: u64,
}

impl Queue {
    /// What is to be looked at next; none when all is known. Limits in bytes are not enforced before.
    #[must_use]
    pub fn survey_wanted(&self) -> Option<SurveyWanted> {
        let unknown = |(level, messages): (u8, &Level)| {
            messages.ready.survey_wanted().map(|range| SurveyWanted { level, range })
        };
        self.levels.iter().find_map(unknown)
    }

    /// Takes in what was found from the beginning of the wanted range up to `up_to`. Some of it may have left the
    /// queue meanwhile. Dispatch afterwards.
    pub fn survey(&mut self, level: u8, up_to: Seq, surveyed: &[Surveyed], effects: &mut Vec<Effect>) {
        for found in self.levels.at_mut(level).ready.survey(up_to, surveyed) {
            let Some(due_ms) = found.expires_ms else { continue };
            let extras = self.extras.get_or_insert_default();
            let deadline = Deadline { due_ms, level, seq: found.seq };
            self.memory_bytes += extras.deadlines.add(deadline, found.body_bytes);
            extras.due_ms = extras.due_ms.min(due_ms);
        }
        self.drop_excess(effects);
    }
}
