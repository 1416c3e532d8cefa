//! How the messages of a queue expire, wherever they are in it.
//!
//! A message is due when the queue's time to live has passed since it arrived, or at the time that it names itself, whichever is
//! first. Messages that name a time are in an index; of the others the first one of each level tells, because they lie in the
//! order of arrival. The server calls [`Queue::tick`] when [`Queue::next_due_ms`] says so.

use super::deadlines::Deadline;
use super::ready::Departed;
use super::{ChannelGate, DeathReason, Effect, Queue, Seq};
use crate::wire::message::Message;

/// The message that is due first.
#[derive(Debug, Clone, Copy)]
enum Soonest {
    /// The first of a level.
    Head(u8),
    /// One that names its time, and the length of its body.
    Named(Deadline, u64),
}

impl Queue {
    /// When [`Queue::tick`] is to be called next, in milliseconds since 1970; may be early, never late. None if there is nothing
    /// to wait for.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        let due_ms = self.extras.as_ref()?.due_ms;
        let due_ms = (due_ms != u64::MAX).then_some(due_ms);
        due_ms.into_iter().chain(self.timeout_due_ms()).min()
    }

    /// Gives up what is due, at most `max` messages in the order in which they became so, tells of consumers that
    /// hold messages too long, and dispatches. Yes if more is due. Expired messages that are not in memory and are to be
    /// dead-lettered come from [`Queue::expired_paged`].
    pub fn tick(
        &mut self,
        now_ms: u64,
        max: usize,
        gate: &mut (impl ChannelGate + ?Sized),
        effects: &mut Vec<Effect>,
    ) -> bool {
        self.time_out(now_ms, effects);
        if self.extras.is_some() && self.expire_due(now_ms, max, effects) {
            return true;
        }
        self.dispatch(now_ms, gate, effects);
        false
    }

    /// Messages that have expired while they were not in memory: level and number of each. They are not in the queue any more,
    /// but to be dead-lettered: the server loads them and calls [`Queue::bury_loaded`]. Gives each once.
    pub fn expired_paged(&mut self) -> Vec<(u8, Seq)> {
        self.extras.as_mut().map_or_else(Vec::new, |extras| std::mem::take(&mut extras.to_bury))
    }

    /// Hands over messages that were named by [`Queue::expired_paged`], now that they are loaded. They are settled if they need
    /// not be dead-lettered any more.
    pub fn bury_loaded(&mut self, level: u8, messages: Vec<(Seq, Message)>, effects: &mut Vec<Effect>) {
        if self.deleted {
            return;
        }
        let dead_letters = self.set(|settings| settings.dead_lettering.clone()).is_some();
        let reason = DeathReason::Expired;
        effects.extend(messages.into_iter().map(|(seq, message)| match dead_letters {
            true => Effect::Dead { level, seq, stored: true, reason, message },
            false => Effect::Settled { level, seq },
        }));
    }

    /// Gives up at most `max` messages that are due. Yes if more is due.
    pub(super) fn expire_due(&mut self, now_ms: u64, max: usize, effects: &mut Vec<Effect>) -> bool {
        if self.extras.as_ref().is_none_or(|extras| extras.due_ms > now_ms) {
            return false;
        }
        for _ in 0..max {
            match self.soonest() {
                Some((due_ms, message)) if due_ms <= now_ms => self.expire(message, effects),
                _ => break,
            }
        }
        self.refresh_due() <= now_ms
    }

    /// Gives up the first message of a level if it is due by its age. Nearly always it was before; but transactions bring messages
    /// that arrived earlier than those in front of them.
    #[inline]
    pub(super) fn gave_up_head(&mut self, level: u8, now_ms: u64, effects: &mut Vec<Effect>) -> bool {
        if self.extras.is_none() {
            return false;
        }
        let due_ms = self.levels.at(level).ready.head().and_then(|head| self.due_by_age(head));
        let due = due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        if due {
            self.expire(Soonest::Head(level), effects);
        }
        due
    }

    /// When the queue's time to live will have passed for a message.
    pub(super) fn due_by_age(&self, message: &Message) -> Option<u64> {
        let ttl_ms = self.set(|settings| settings.message_ttl_ms)?;
        Some(message.arrived_ms().saturating_add(ttl_ms))
    }

    /// A message becomes ready: notes when it is due.
    pub(super) fn note_deadline(&mut self, level: u8, seq: Seq, message: &Message) {
        let expires_ms = message.expires_ms();
        if self.extras.is_none() && expires_ms.is_none() {
            return;
        }
        let by_age = self.due_by_age(message);
        let extras = self.extras.get_or_insert_default();
        if let Some(due_ms) = expires_ms {
            let body_bytes = message.body().len() as u64;
            self.memory_bytes += extras.deadlines.add(Deadline { due_ms, level, seq }, body_bytes);
        }
        let soonest = by_age.into_iter().chain(expires_ms).min();
        extras.due_ms = soonest.map_or(extras.due_ms, |due_ms| due_ms.min(extras.due_ms));
    }

    /// No message is ready any more.
    pub(super) fn forget_deadlines(&mut self) {
        if let Some(extras) = &mut self.extras {
            self.memory_bytes -= extras.deadlines.clear();
            extras.due_ms = u64::MAX;
        }
    }

    /// Finds out anew when the next message is due.
    pub(super) fn refresh_due(&mut self) -> u64 {
        let due_ms = self.soonest().map_or(u64::MAX, |(due_ms, _)| due_ms);
        if let Some(extras) = &mut self.extras {
            extras.due_ms = due_ms;
        }
        due_ms
    }

    /// Which message is due first, and when. Those that are not in memory count only if they name their time.
    fn soonest(&self) -> Option<(u64, Soonest)> {
        let extras = self.extras.as_ref()?;
        let named = extras.deadlines.first();
        let named = named.map(|(deadline, bytes)| (deadline.due_ms, Soonest::Named(deadline, bytes)));
        let ttl_ms = extras.settings.as_ref().and_then(|settings| settings.message_ttl_ms);
        let heads = ttl_ms.into_iter().flat_map(|ttl_ms| {
            let due = move |head: &Message| head.arrived_ms().saturating_add(ttl_ms);
            self.levels.iter().filter_map(move |(level, messages)| {
                Some((due(messages.ready.head()?), Soonest::Head(level)))
            })
        });
        heads.chain(named).min_by_key(|(due_ms, _)| *due_ms)
    }

    fn expire(&mut self, message: Soonest, effects: &mut Vec<Effect>) {
        let (level, entry) = match message {
            Soonest::Head(level) => (level, self.pop(level)),
            Soonest::Named(deadline, body_bytes) => {
                let Deadline { level, seq, .. } = deadline;
                if let Some(extras) = &mut self.extras {
                    self.memory_bytes -= extras.deadlines.remove_first();
                }
                match self.levels.at_mut(level).ready.remove(seq, body_bytes) {
                    Departed::FromMemory(entry) => (level, Some(entry)),
                    Departed::Paged => return self.expire_paged(level, seq, effects),
                    Departed::NotThere => return,
                }
            }
        };
        if let Some(entry) = entry {
            self.give_up(level, entry, DeathReason::Expired, effects);
        }
    }

    fn expire_paged(&mut self, level: u8, seq: Seq, effects: &mut Vec<Effect>) {
        if !self.count_death(DeathReason::Expired) {
            effects.push(Effect::Settled { level, seq });
        } else if let Some(extras) = &mut self.extras {
            extras.to_bury.push((level, seq));
        }
    }
}
