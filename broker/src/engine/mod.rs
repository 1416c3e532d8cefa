//! The broker's truth, as plain synchronous data structures: inputs in, effects out.
//!
//! Knows no channels, sockets, clocks, locks or disks. The server owns the locks, calls in, and carries the effects
//! out after it has let them go.

mod arena;
pub mod dead_letter;
pub mod definitions;
pub mod exchange;
pub mod policy;
pub mod queue;
pub mod topology;

/// A client connection, as the server numbers them. Never reused while the broker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A queue, as the server numbers them. Never reused; a durable queue keeps its number over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u64);

/// The bits below a level's number in [`QueueId::of_level`].
const LEVEL_SHIFT: u32 = 56;

impl QueueId {
    /// What the store calls the messages of one level of a queue: those of level 0 bear its own number. Every id has room for all
    /// levels; numbers given one after the other do not get so far.
    #[must_use]
    pub fn of_level(self, level: u8) -> Self {
        debug_assert!(self.0 >> LEVEL_SHIFT == 0);
        Self(self.0 | (u64::from(level) << LEVEL_SHIFT))
    }

    /// The level that this is.
    #[must_use]
    pub fn level(self) -> u8 {
        u8::try_from(self.0 >> LEVEL_SHIFT).unwrap_or(u8::MAX)
    }

    /// The queue that this is a level of.
    #[must_use]
    pub fn without_level(self) -> Self {
        Self(self.0 & ((1 << LEVEL_SHIFT) - 1))
    }
}
