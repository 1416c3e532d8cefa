//! Looking at a queue: numbers for listings and statistics, each look under one short lock.

use super::{SharedQueue, State};
use crate::engine::queue::{AckMode, ConsumerId, NothingTaken, QueueCounters, Taken};
use crate::server::census::with_tally;
use crate::stats::tally::{COUNTS, Tally};

/// A queue at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) struct QueueLook {
    /// Messages.
    pub(in crate::server) ready: u32,
    pub(in crate::server) unacked: u32,
    pub(in crate::server) consumers: u32,
    /// Of the bodies.
    pub(in crate::server) ready_bytes: u64,
    pub(in crate::server) unacked_bytes: u64,
    /// Whether nobody gets messages.
    pub(in crate::server) paused: bool,
    /// In what share of the last five seconds consumers could take what there was, in millionths.
    pub(in crate::server) capacity: u32,
    /// What its messages occupy.
    pub(in crate::server) memory_bytes: usize,
    /// Since it was declared or restored.
    pub(in crate::server) tally: Tally,
    /// How messages ended that nobody consumed.
    pub(in crate::server) ends: QueueCounters,
    /// When it was declared or restored, in milliseconds since 1970.
    pub(in crate::server) made_ms: u64,
}

impl SharedQueue {
    /// Looks at it.
    pub(in crate::server) fn look(&self) -> QueueLook {
        let state = self.state.lock();
        let State { queue, tally, capacity, .. } = &*state;
        QueueLook {
            ready: queue.ready_count(),
            unacked: queue.unacked_count(),
            consumers: queue.consumer_count(),
            ready_bytes: queue.ready_bytes(),
            unacked_bytes: queue.unacked_bytes(),
            paused: queue.is_paused(),
            capacity: if queue.consumer_count() == 0 { 0 } else { capacity.share() },
            memory_bytes: queue.memory_bytes(),
            tally: *tally,
            ends: queue.counters(),
            made_ms: self.made_ms,
        }
    }

    /// What statistics keep of it. Ends the time that [`QueueLook::capacity`] is of.
    pub(in crate::server) fn sample(&self) -> [u64; 2 + COUNTS] {
        let mut state = self.state.lock();
        state.capacity.look(self.now_ms());
        let counts = (u64::from(state.queue.ready_count()), u64::from(state.queue.unacked_count()));
        with_tally(counts, &state.tally)
    }

    /// Whether a consumer is the one that receives messages, where only one does.
    pub(in crate::server) fn is_active(&self, consumer: ConsumerId) -> bool {
        self.state.lock().queue.is_active(consumer)
    }
}

/// Counts what `basic.get` came to.
pub(super) fn count_taken(tally: &mut Tally, taken: &Result<Taken, NothingTaken>, ack_mode: AckMode) {
    match (taken, ack_mode) {
        (Ok(taken), AckMode::Manual) => {
            tally.get += 1;
            tally.redeliver += u64::from(taken.redelivered);
        }
        (Ok(taken), AckMode::Automatic) => {
            tally.get_no_ack += 1;
            tally.redeliver += u64::from(taken.redelivered);
        }
        (Err(NothingTaken::Empty), _) => tally.get_empty += 1,
        // It is tried again.
        (Err(NothingTaken::PagedOut), _) => {}
    }
}
