//! What a queue does with messages beyond its limits, and how it takes over other limits.
//!
//! Limits are about ready messages; their bytes are those of the bodies. A message that a consumer takes at once is never too
//! much. In a queue with priorities the least urgent messages are dropped first; RabbitMQ drops the most urgent ones.

use std::sync::Arc;

use super::deliver::EXPIRED_PER_CALL;
use super::ready::held_bytes;
use super::{ChannelGate, DeathReason, Effect, Enqueued, Overflow, Queue, QueueSettings, Seq};
use crate::wire::message::Message;

impl Queue {
    /// The settings in force, if there are any.
    #[must_use]
    pub fn settings(&self) -> Option<&Arc<QueueSettings>> {
        self.extras.as_ref()?.settings.as_ref()
    }

    /// Other settings are in force from now on: limits apply at once, times to live to all messages. Dispatch afterwards.
    pub fn apply_settings(
        &mut self,
        settings: Option<Arc<QueueSettings>>,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        if self.deleted || (settings.is_none() && self.extras.is_none()) {
            return;
        }
        self.extras.get_or_insert_default().settings = settings;
        self.begin_delivery_times(now_ms);
        self.refresh_due();
        // What is due does not count, unless there is too much to do for now.
        if !self.expire_due(now_ms, EXPIRED_PER_CALL, effects) {
            self.drop_excess(effects);
        }
    }

    /// Adds a message to a queue that may have limits, or one that may expire.
    pub(super) fn enqueue_checked(
        &mut self,
        message: Message,
        expires_ms: Option<u64>,
        now_ms: u64,
        gate: &mut (impl ChannelGate + ?Sized),
        effects: &mut Vec<Effect>,
    ) -> Enqueued {
        let body_bytes = message.body().len() as u64;
        let due_ms = self.due_by_age(&message).into_iter().chain(expires_ms).min();
        let due = due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        if due || self.exceeds(1, body_bytes) {
            self.dispatch(now_ms, gate, effects);
            if self.levels.len() == 0
                && !self.paused
                && (due || self.exceeds(1, body_bytes))
                && let Some(turn) = self.consumers.next(gate)
            {
                let (level, entry) = self.number(message);
                let seq = entry.seq;
                self.memory_bytes += held_bytes(&entry.message);
                let mut delivered = None;
                self.deliver(level, entry, &turn, now_ms, &mut delivered, effects);
                effects.extend(delivered.map(|(level, up_to)| Effect::Delivered { level, up_to }));
                return Enqueued::Accepted { level, seq };
            }
            if self.exceeds(1, body_bytes) && self.refuses() {
                self.refuse(message, effects);
                return Enqueued::Refused;
            }
        }
        let (level, entry) = self.number(message);
        let seq = entry.seq;
        self.memory_bytes += held_bytes(&entry.message);
        if due {
            self.give_up(level, entry, DeathReason::Expired, effects);
        } else {
            self.note_deadline(level, seq, &entry.message);
            self.levels.put(level).ready.push(entry);
            self.drop_excess(effects);
        }
        Enqueued::Accepted { level, seq }
    }

    fn refuses(&self) -> bool {
        self.set(|settings| Some(settings.overflow)).is_some_and(|overflow| overflow != Overflow::DropHead)
    }

    fn refuse(&mut self, message: Message, effects: &mut Vec<Effect>) {
        let extras = self.extras.get_or_insert_default();
        extras.counters.refused += 1;
        let dies = extras.settings.as_ref().is_some_and(|settings| {
            settings.overflow == Overflow::RejectPublishDlx && settings.dead_lettering.is_some()
        });
        if dies {
            extras.counters.dead_lettered += 1;
            let (level, reason) = (self.levels.level_of(message.priority()), DeathReason::MaxLength);
            effects.push(Effect::Dead { level, seq: Seq(0), stored: false, reason, message });
        }
    }

    /// Whether so many more messages with so many bytes would be too much.
    fn exceeds(&self, more: u64, more_bytes: u64) -> bool {
        let Some(settings) = self.settings() else { return false };
        let too_long = settings.max_length.is_some_and(|max| self.levels.len() + more > max);
        let too_large = |max| self.levels.body_bytes() + more_bytes > max && self.survey_wanted().is_none();
        too_long || settings.max_length_bytes.is_some_and(too_large)
    }

    /// Whether messages are to be dropped.
    pub(super) fn has_excess(&self) -> bool {
        self.exceeds(0, 0) && !self.refuses()
    }

    /// Drops the oldest messages of the lowest priority until the limits hold, or the next one is not in memory.
    pub(super) fn drop_excess(&mut self, effects: &mut Vec<Effect>) {
        while self.has_excess() {
            let level = self.levels.bottom();
            let Some(entry) = self.pop(level) else { return };
            self.give_up(level, entry, DeathReason::MaxLength, effects);
        }
    }
}
