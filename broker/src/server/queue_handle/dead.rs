//! What a shared queue has given up and nobody has published yet.
//!
//! A queue hands dead messages over while it is locked, in order, and asks `server::dead_letters` to come for them. It counts
//! them no more, but what the store keeps of them is settled only when the dead letter is in its new place.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{SharedQueue, State};
use crate::engine::QueueId;
use crate::engine::queue::{DeadLetterStrategy, DeadLettering, DeathReason, Overflow, QueueSettings, Seq};
use crate::wire::message::Message;

/// A message that its queue gave up.
#[derive(Debug)]
pub(in crate::server) struct DeadMessage {
    pub(in crate::server) level: u8,
    pub(in crate::server) seq: Seq,
    /// The store keeps it.
    pub(in crate::server) stored: bool,
    pub(in crate::server) reason: DeathReason,
    pub(in crate::server) message: Message,
    /// Where it is to go, as was set when it died.
    pub(in crate::server) dead_lettering: Arc<DeadLettering>,
    /// Whether it stays until all queues have taken it.
    pub(in crate::server) must_arrive: bool,
    /// The queues that have taken it when others refused it.
    pub(in crate::server) taken_by: Vec<QueueId>,
}

impl DeadMessage {
    pub(super) fn new(
        (level, seq): (u8, Seq),
        stored: bool,
        reason: DeathReason,
        message: Message,
        (dead_lettering, must_arrive): (Arc<DeadLettering>, bool),
    ) -> Self {
        Self { level, seq, stored, reason, message, dead_lettering, must_arrive, taken_by: Vec::new() }
    }
}

/// The dead messages of one queue.
#[derive(Debug, Default)]
pub(super) struct Dead {
    waiting: VecDeque<DeadMessage>,
    /// Somebody was asked to come for them and is not done.
    called: bool,
    /// Messages that died while they were not in memory, by level, and are to be loaded.
    to_load: Vec<(u8, Seq)>,
}

impl Dead {
    /// Where a queue's messages go now when they die, and whether they must arrive.
    pub(super) fn destination(settings: &QueueSettings) -> Option<(Arc<DeadLettering>, bool)> {
        let dead_lettering = settings.dead_lettering.clone()?;
        // As in RabbitMQ: a queue that drops messages to stay short promises nothing.
        let must_arrive = dead_lettering.strategy == DeadLetterStrategy::AtLeastOnce
            && settings.overflow == Overflow::RejectPublish;
        Some((dead_lettering, must_arrive))
    }
}

impl SharedQueue {
    /// Takes over messages that were given up by the running call.
    pub(super) fn hand_over_dead(&self, state: &mut State, dead: impl IntoIterator<Item = DeadMessage>) {
        let waiting = &mut state.dead.get_or_insert_default().waiting;
        let mut bytes = 0;
        waiting.extend(dead.into_iter().inspect(|dead| bytes += dead.message.memory_bytes()));
        self.backing.memory.change(0, bytes);
        self.call_for_dead(state);
    }

    /// The next dead messages, at most `max`. [`SharedQueue::finish_dead`] is to follow.
    pub(in crate::server) fn take_dead(&self, max: usize) -> Vec<DeadMessage> {
        let mut state = self.state.lock();
        let Some(dead) = &mut state.dead else { return Vec::new() };
        let count = dead.waiting.len().min(max);
        dead.waiting.drain(..count).collect()
    }

    /// Forgets dead messages that are in their new places, in the round in which they came there. The others wait on, before
    /// those that have come since. Says whether there are more.
    pub(in crate::server) fn finish_dead(&self, done: &[DeadMessage], left: Vec<DeadMessage>) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let deleted = state.queue.is_deleted();
        if !deleted {
            for dead in done.iter().filter(|dead| dead.stored) {
                state.settled.push(dead.level, dead.seq);
            }
            state.settled.drain(|level, settled| self.backing.store.settle(self.store_id(level), settled));
        }
        let bytes = |all: &[DeadMessage]| all.iter().map(|dead| dead.message.memory_bytes()).sum::<usize>();
        self.backing.memory.change(bytes(done), 0);
        if deleted {
            // What was to be tried again goes with its queue.
            self.backing.memory.change(bytes(&left), 0);
        }
        let Some(dead) = &mut state.dead else { return false };
        if !deleted {
            for message in left.into_iter().rev() {
                dead.waiting.push_front(message);
            }
        }
        if !dead.waiting.is_empty() {
            return true;
        }
        dead.called = false;
        dead.waiting = VecDeque::new();
        if dead.to_load.is_empty() {
            // Most queues seldom give up anything.
            state.dead = None;
        }
        false
    }

    /// Notes messages that died while they were not in memory; they are loaded with the next load.
    pub(super) fn note_dead_to_load(state: &mut State, messages: Vec<(u8, Seq)>) {
        state.dead.get_or_insert_default().to_load.extend(messages);
    }

    /// What died while it was not in memory, in order.
    pub(super) fn take_dead_to_load(&self) -> Vec<(u8, Seq)> {
        let mut state = self.state.lock();
        let mut messages =
            state.dead.as_mut().map(|dead| std::mem::take(&mut dead.to_load)).unwrap_or_default();
        messages.sort_unstable();
        messages
    }

    fn call_for_dead(&self, state: &mut State) {
        let Some(dead) = &mut state.dead else { return };
        if !std::mem::replace(&mut dead.called, true)
            && let Some(this) = self.this.upgrade()
        {
            self.backing.dead_letters.call(this);
        }
    }
}
