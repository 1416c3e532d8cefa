//! What an operator is told of a shared queue's outstanding messages. The lock is held for some thousand slots or a few hundred
//! references at a time.

use std::collections::BinaryHeap;

use super::SharedQueue;
use crate::engine::queue::{Held, HeldSince};

/// Slots whose times are looked at under one lock.
const TIMES_SLICE: usize = 4096;

/// Messages that are looked at under one lock.
const MESSAGES_SLICE: usize = 256;

impl SharedQueue {
    /// The `count` messages that are outstanding for longest, the oldest first: those behind `after`, delivered at `until_ms`
    /// or before. Messages that come and go meanwhile are there or not.
    pub(in crate::server) fn oldest_held(
        &self,
        after: Option<HeldSince>,
        until_ms: u64,
        count: usize,
    ) -> Vec<HeldSince> {
        let wanted =
            |since: &HeldSince| since.delivered_ms <= until_ms && after.is_none_or(|after| *since > after);
        let mut oldest = BinaryHeap::with_capacity(count + 1);
        let (mut first, now_ms) = (0, self.now_ms());
        loop {
            let state = self.state.lock();
            for since in state.queue.held_since(first, TIMES_SLICE, now_ms).filter(wanted) {
                oldest.push(since);
                if oldest.len() > count {
                    oldest.pop();
                }
            }
            let slots = state.queue.slot_count();
            drop(state);
            match u32::try_from(first as usize + TIMES_SLICE) {
                Ok(next) if (next as usize) < slots => first = next,
                _ => return oldest.into_sorted_vec(),
            }
        }
    }

    /// Looks at outstanding messages. Those that were settled meanwhile are left out.
    pub(in crate::server) fn held(&self, chosen: &[HeldSince]) -> Vec<Held> {
        let look = |some: &[HeldSince]| {
            let state = self.state.lock();
            some.iter().filter_map(|&since| state.queue.held(since)).collect::<Vec<_>>()
        };
        chosen.chunks(MESSAGES_SLICE).flat_map(look).collect()
    }
}
