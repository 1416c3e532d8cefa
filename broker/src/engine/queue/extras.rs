//! [`Extras`]: what a queue has beside messages and consumers once it has settings or messages with a deadline.
//!
//! Boxed by the queue, so that the many queues without any of it stay small. Called by the queue only.

use std::sync::Arc;

use super::{QueueCounters, QueueSettings};

/// Settings in force and what follows from them.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) settings: Option<Arc<QueueSettings>>,
    pub(super) counters: QueueCounters,
}

impl Extras {
    /// For a queue with these settings; none if there is nothing to keep.
    pub(super) fn with(settings: Option<Arc<QueueSettings>>) -> Option<Box<Self>> {
        settings.map(|settings| Box::new(Self { settings: Some(settings), ..Self::default() }))
    }
}
