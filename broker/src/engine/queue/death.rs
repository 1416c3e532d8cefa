//! How messages leave a queue that no consumer has acknowledged, and what counts them.

use super::ready::{ReadyMessage, held_bytes};
use super::{DeathReason, Effect, Queue, QueueCounters, QueueKind, QueueSettings};

impl Queue {
    /// How messages ended until now.
    #[must_use]
    pub fn counters(&self) -> QueueCounters {
        self.extras.as_ref().map_or_else(QueueCounters::default, |extras| extras.counters)
    }

    /// A message that the queue had in memory is its own no more.
    pub(super) fn give_up(
        &mut self,
        level: u8,
        entry: ReadyMessage,
        reason: DeathReason,
        effects: &mut Vec<Effect>,
    ) {
        let ReadyMessage { seq, message, stored, .. } = entry;
        self.memory_bytes -= held_bytes(&message);
        if self.count_death(reason) {
            effects.push(Effect::Dead { level, seq, stored, reason, message });
        } else if stored {
            effects.push(Effect::Settled { level, seq });
        }
    }

    /// Counts a message that is given up; whether it is to be dead-lettered.
    pub(super) fn count_death(&mut self, reason: DeathReason) -> bool {
        let extras = self.extras.get_or_insert_default();
        let counters = &mut extras.counters;
        match reason {
            DeathReason::Expired => counters.expired += 1,
            DeathReason::Rejected => counters.rejected += 1,
            DeathReason::MaxLength => counters.dropped += 1,
            DeathReason::DeliveryLimit => counters.delivery_limited += 1,
        }
        let dead_letters = extras.settings.as_ref().is_some_and(|settings| settings.dead_lettering.is_some());
        extras.counters.dead_lettered += u64::from(dead_letters);
        dead_letters
    }

    /// Whether a message that came back so often may not do so once more.
    pub(super) fn returns_too_often(&self, returned: u16) -> bool {
        let limit = self.set(|settings| settings.delivery_limit);
        limit.is_some_and(|limit| u32::from(returned) >= limit)
    }

    /// Whether consumers are told how often a message came back.
    pub(super) fn counts_returns(&self) -> bool {
        self.options.kind == QueueKind::Quorum || self.set(|settings| settings.delivery_limit).is_some()
    }

    /// One of the settings in force.
    pub(super) fn set<T>(&self, of: impl FnOnce(&QueueSettings) -> Option<T>) -> Option<T> {
        self.extras.as_ref().and_then(|extras| of(extras.settings.as_ref()?))
    }
}
