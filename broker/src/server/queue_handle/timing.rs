//! What a shared queue does at certain times, and how it names the next of them.
//!
//! A queue is woken by `server::timers` and tells it, at the end of each call that changed something, when the next thing is
//! due, if that is sooner than it has said before. Queues that nothing is ever due in look at one number and leave.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{DeleteRefused, SharedQueue, State};
use crate::engine::queue::{Queue, QueueSettings, Removed};

/// Messages that expire in one go, while others wait for the queue.
const TICK_MESSAGES: usize = 1000;

/// When something of a queue is due.
#[derive(Debug, Default)]
pub(super) struct Timing {
    /// What the timers were told.
    armed: Option<Armed>,
    /// When the queue was last used, if it expires.
    used_ms: u64,
}

/// A moment that the timers know, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Armed {
    /// When something is due, or was.
    due_ms: u64,
    /// When the queue is to be woken for it: not in the past, or it would come before all other queues every time.
    at_ms: u64,
}

/// What follows when a queue was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Woken {
    /// Nothing more.
    Done,
    /// It was unused for too long and is to be deleted.
    Expired,
}

impl SharedQueue {
    /// Somebody asked for the queue: if it expires when it is unused, its time begins anew.
    pub(in crate::server) fn touch(&self) {
        self.with_state(|state| self.note_use(state));
    }

    /// Does what is due at `at_ms`, a moment that it named itself.
    pub(in crate::server) fn wake(&self, at_ms: u64) -> Woken {
        let now_ms = self.now_ms();
        self.with_state(|state| {
            // It may have named another moment since; then the timers have that one as well.
            state.timing.armed.take_if(|armed| armed.at_ms == at_ms);
            state.queue.tick(now_ms, TICK_MESSAGES, &mut state.targets, &mut state.effects);
            let expired = self.expiry(state).is_some_and(|expiry| expiry <= now_ms);
            if expired { Woken::Expired } else { Woken::Done }
        })
    }

    /// Other settings are in force from now on.
    pub(in crate::server) fn apply_settings(&self, settings: Option<Arc<QueueSettings>>) {
        let now_ms = self.now_ms();
        let may_reject = settings.as_ref().is_some_and(|settings| settings.may_reject());
        self.with_state(|state| {
            let expires_ms = |queue: &Queue| queue.settings().and_then(|settings| settings.expires_ms);
            let before = expires_ms(&state.queue);
            state.queue.apply_settings(settings, now_ms, &mut state.effects);
            if before != expires_ms(&state.queue) {
                self.note_use(state);
            }
            state.queue.dispatch(now_ms, &mut state.targets, &mut state.effects);
            self.may_reject.store(may_reject, Ordering::Relaxed);
            self.request_survey(state);
        });
    }

    /// Deletes the queue if it is still unused for too long.
    ///
    /// # Errors
    ///
    /// If it was used meanwhile.
    pub(in crate::server) fn delete_expired(&self) -> Result<Removed, DeleteRefused> {
        let now_ms = self.now_ms();
        self.delete_if(|state| match self.expiry(state) {
            Some(expiry) if expiry <= now_ms => Ok(()),
            _ => Err(DeleteRefused::InUse),
        })
    }

    /// Begins the time anew after which the queue expires.
    pub(super) fn note_use(&self, state: &mut State) {
        if state.queue.settings().is_some_and(|settings| settings.expires_ms.is_some()) {
            state.timing.used_ms = self.now_ms();
        }
    }

    /// Tells the timers of the next moment, if that is sooner than what they know.
    pub(super) fn arm(&self, state: &mut State) {
        let Some(due_ms) = self.due_ms(state) else { return };
        let before = state.timing.armed;
        if before.is_none_or(|armed| due_ms < armed.due_ms) && !state.queue.is_deleted() {
            let at_ms = due_ms.max(self.now_ms());
            state.timing.armed = Some(Armed { due_ms, at_ms });
            self.backing.timers.arm(self.this.clone(), self.id, before.map(|armed| armed.at_ms), at_ms);
        }
    }

    /// Takes back what the timers were told.
    pub(super) fn disarm(&self, state: &mut State) {
        if let Some(armed) = state.timing.armed.take() {
            self.backing.timers.disarm(self.id, armed.at_ms);
        }
    }

    fn due_ms(&self, state: &State) -> Option<u64> {
        match (state.queue.next_due_ms(), self.expiry(state)) {
            (Some(messages), Some(queue)) => Some(messages.min(queue)),
            (messages, queue) => messages.or(queue),
        }
    }

    /// When the queue is to be deleted unless somebody uses it until then.
    fn expiry(&self, state: &State) -> Option<u64> {
        let expires_ms = state.queue.settings()?.expires_ms?;
        let unused = state.queue.consumer_count() == 0 && !self.deleted.load(Ordering::Relaxed);
        unused.then(|| state.timing.used_ms.saturating_add(expires_ms))
    }
}
