//! [`Extras`]: what a queue has beside messages and consumers once it has settings or messages with a deadline.
//!
//! Boxed by the queue, so that the many queues without any of it stay small. Called by the queue only.

use std::sync::Arc;

use super::deadlines::Deadlines;
use super::timeouts::DeliveryTimes;
use super::{QueueCounters, QueueSettings, Seq};

/// Settings in force and what follows from them.
#[derive(Debug)]
pub(super) struct Extras {
    pub(super) settings: Option<Arc<QueueSettings>>,
    pub(super) counters: QueueCounters,
    pub(super) deadlines: Deadlines,
    /// No message is due before; `u64::MAX` if none ever is.
    pub(super) due_ms: u64,
    /// Expired while they were not in memory, and to be dead-lettered.
    pub(super) to_bury: Vec<(u8, Seq)>,
    pub(super) delivery_times: DeliveryTimes,
}

impl Default for Extras {
    fn default() -> Self {
        Self {
            settings: None,
            counters: QueueCounters::default(),
            deadlines: Deadlines::default(),
            due_ms: u64::MAX,
            to_bury: Vec::new(),
            delivery_times: DeliveryTimes::default(),
        }
    }
}

impl Extras {
    /// For a queue with these settings; none if there is nothing to keep.
    pub(super) fn with(settings: Option<Arc<QueueSettings>>) -> Option<Box<Self>> {
        settings.map(|settings| Box::new(Self { settings: Some(settings), ..Self::default() }))
    }
}
