//! [`Backing`]: what all queues of a broker have in common.

use std::sync::Arc;

use crate::server::dead_letters::DeadLetters;
use crate::server::memory_gauge::MemoryGauge;
use crate::server::pager::Pager;
use crate::server::timers::Timers;
use crate::store::Store;

/// What queues share: where messages go, and what counts and moves them.
#[derive(Debug, Clone)]
pub struct Backing {
    /// Keeps what must survive, and what must leave memory.
    pub store: Arc<dyn Store>,
    /// Counts what is in memory.
    pub memory: Arc<MemoryGauge>,
    /// Brings back what left memory.
    pub pager: Arc<Pager>,
    /// Tells the time, and wakes queues.
    pub timers: Arc<Timers>,
    /// Publishes what queues give up.
    pub dead_letters: Arc<DeadLetters>,
}
