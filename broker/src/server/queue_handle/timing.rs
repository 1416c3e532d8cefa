//! What a shared queue does at certain times, and how it names the next of them.
//!
//! A queue is woken by `server::timers` and tells it, at the end of each call that changed something, when the next thing is
//! due, if that is sooner than it has said before. Queues that nothing is ever due in look at one number and leave.

use std::sync::atomic::Ordering;

use super::{DeleteRefused, SharedQueue, State};
use crate::engine::queue::Removed;

/// When something of a queue is due.
#[derive(Debug, Default)]
pub(super) struct Timing {
    /// What the timers were told, in milliseconds since 1970.
    armed_ms: Option<u64>,
    /// When the queue was last used, if it expires.
    used_ms: u64,
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
        if self.expires_ms().is_some() {
            self.with_state(|state| self.note_use(state));
        }
    }

    /// Does what is due at `due_ms`, a moment that it named itself.
    pub(in crate::server) fn wake(&self, due_ms: u64) -> Woken {
        let now_ms = self.backing.timers.now_ms();
        self.with_state(|state| {
            // It may have named another moment since; then the timers have that one as well.
            if state.timing.armed_ms == Some(due_ms) {
                state.timing.armed_ms = None;
            }
            let expired = self.expiry(state).is_some_and(|expiry| expiry <= now_ms);
            if expired { Woken::Expired } else { Woken::Done }
        })
    }

    /// Deletes the queue if it is still unused for too long.
    ///
    /// # Errors
    ///
    /// If it was used meanwhile.
    pub(in crate::server) fn delete_expired(&self) -> Result<Removed, DeleteRefused> {
        let now_ms = self.backing.timers.now_ms();
        self.delete_if(|state| match self.expiry(state) {
            Some(expiry) if expiry <= now_ms => Ok(()),
            _ => Err(DeleteRefused::InUse),
        })
    }

    /// Begins the time anew after which the queue expires.
    pub(super) fn note_use(&self, state: &mut State) {
        if self.expires_ms().is_some() {
            state.timing.used_ms = self.backing.timers.now_ms();
        }
    }

    /// Tells the timers of the next moment, if that is sooner than what they know.
    pub(super) fn arm(&self, state: &mut State) {
        let Some(due_ms) = self.due_ms(state) else { return };
        let before = state.timing.armed_ms;
        if before.is_none_or(|armed_ms| due_ms < armed_ms) && !state.queue.is_deleted() {
            state.timing.armed_ms = Some(due_ms);
            self.backing.timers.arm(self.this.clone(), self.id, before, due_ms);
        }
    }

    /// Takes back what the timers were told.
    pub(super) fn disarm(&self, state: &mut State) {
        if let Some(armed_ms) = state.timing.armed_ms.take() {
            self.backing.timers.disarm(self.id, armed_ms);
        }
    }

    fn due_ms(&self, state: &State) -> Option<u64> {
        self.expiry(state)
    }

    fn expires_ms(&self) -> Option<u64> {
        self.options.settings.as_ref()?.expires_ms
    }

    /// When the queue is to be deleted unless somebody uses it until then.
    fn expiry(&self, state: &State) -> Option<u64> {
        let expires_ms = self.expires_ms()?;
        let unused = state.queue.consumer_count() == 0 && !self.deleted.load(Ordering::Relaxed);
        unused.then(|| state.timing.used_ms.saturating_add(expires_ms))
    }
}
