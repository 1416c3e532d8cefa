//! How the messages of a queue expire, wherever they are in it.
//!
//! A message is due when the queue's time to live has passed since it arrived, or at the time that it names itself, whichever is
//! first. The server calls [`Queue::tick`] when [`Queue::next_due_ms`] says so.

use super::{ChannelGate, Effect, Queue, Seq};
use crate::wire::message::Message;

impl Queue {
    /// When [`Queue::tick`] is to be called next, in milliseconds since 1970; may be early, never late. None if there is nothing
    /// to wait for.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        None
    }

    /// Gives up what is due, at most `max` messages in the order in which they became so, tells of consumers that
    /// hold messages too long, and dispatches. Yes if more is due. Expired messages that are not in memory and are to be
    /// dead-lettered come from [`Queue::expired_paged`].
    pub fn tick(
        &mut self,
        now_ms: u64,
        max: usize,
        gate: &mut (impl ChannelGate + ?Sized),
        effects: &mut Vec<Effect>,
    ) -> bool {
        let _ = max;
        self.dispatch(now_ms, gate, effects);
        false
    }

    /// Messages that have expired while they were not in memory: level and number of each. They are not in the queue any more,
    /// but to be dead-lettered: the server loads them and calls [`Queue::bury_loaded`]. Gives each once.
    pub fn expired_paged(&mut self) -> Vec<(u8, Seq)> {
        Vec::new()
    }

    /// Hands over messages that were named by [`Queue::expired_paged`], now that they are loaded.
    pub fn bury_loaded(&mut self, level: u8, messages: Vec<(Seq, Message)>, effects: &mut Vec<Effect>) {
        let _ = (level, messages, effects);
    }
}
