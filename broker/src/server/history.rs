//! [`SharedHistory`]: the recent messages of one exchange behind their lock, and [`HistoryBudget`], the bound on all of them together.
//!
//! A message enters when it is routed and a new binding reads all under the vhost's lock. The version tells the two apart: a message
//! whose route is older than the newest binding is routed again, so that each binding gets each message exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use amq_protocol::types::AMQPValue;
use parking_lot::Mutex;

use crate::engine::exchange::RecentHistory;
use crate::engine::topology::History;
use crate::server::memory_gauge::MemoryGauge;
use crate::wire::message::Message;
use crate::wire::properties::Properties;

/// The header that keeps a message out of the history.
const NO_STORE: &str = "x-recent-history-no-store";

/// The handle that the topology gives to routes.
pub(super) type HistoryHandle = Arc<SharedHistory>;

/// What a route found was too old: it is to be found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stale;

/// Which time the message comes: when it was routed again, some of its histories have it already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    Again,
}

/// What the histories of one broker hold together. New messages push out the oldest of their own exchange once it is too much.
#[derive(Debug)]
pub struct HistoryBudget {
    held_bytes: AtomicUsize,
    /// They may hold this part of the memory limit.
    part: usize,
    memory: Arc<MemoryGauge>,
}

impl HistoryBudget {
    pub(super) fn new(part: usize, memory: Arc<MemoryGauge>) -> Self {
        Self { held_bytes: AtomicUsize::new(0), part, memory }
    }

    fn bytes_max(&self) -> usize {
        self.memory.limit_bytes() / self.part
    }

    fn change(&self, before: usize, after: usize) {
        self.held_bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        self.memory.change(before, after);
    }
}

#[derive(Debug, Default)]
struct State {
    kept: RecentHistory,
    /// The newest binding that has read the history.
    version: u64,
    /// Known from the first message on.
    budget: Option<Arc<HistoryBudget>>,
}

/// The messages that an exchange keeps. Its lock comes after the registry's and before the queues'.
#[derive(Debug, Default)]
pub struct SharedHistory {
    state: Mutex<State>,
}

impl SharedHistory {
    /// Keeps a message for new bindings, unless its publisher asks not to.
    pub(super) fn keep(
        history: &History<HistoryHandle>,
        message: &Message,
        attempt: Attempt,
        budget: &Arc<HistoryBudget>,
    ) -> Result<(), Stale> {
        let mut state = history.handle.state.lock();
        if state.version > history.version {
            return Err(Stale);
        }
        if attempt == Attempt::Again && state.kept.contains(message) || is_not_to_be_kept(message) {
            return Ok(());
        }
        state.budget.get_or_insert_with(|| budget.clone());
        let before = state.kept.memory_bytes();
        let others = budget.held_bytes.load(Ordering::Relaxed).saturating_sub(before);
        state.kept.push(message.clone(), history.messages_max, budget.bytes_max().saturating_sub(others));
        budget.change(before, state.kept.memory_bytes());
        Ok(())
    }

    /// What a binding that was just made is to get, the oldest first. From now on routes that do not know it are too old.
    pub(super) fn read(&self, version: u64) -> Vec<Message> {
        let mut state = self.state.lock();
        state.version = version;
        state.kept.iter().cloned().collect()
    }
}

impl Drop for SharedHistory {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if let Some(budget) = &state.budget {
            budget.change(state.kept.memory_bytes(), 0);
        }
    }
}

fn is_not_to_be_kept(message: &Message) -> bool {
    let Ok(properties) = Properties::parse(message.properties()) else { return false };
    properties.has_header(NO_STORE.as_bytes())
        && properties
            .headers()
            .is_some_and(|headers| matches!(headers.inner().get(NO_STORE), Some(AMQPValue::Boolean(true))))
}
