//! The broker's truth, as plain synchronous data structures: inputs in, effects out.
//!
//! Knows no channels, sockets, clocks, locks or disks. The server owns the locks, calls in, and carries the effects
//! out after it has let them go.

mod arena;
pub mod dead_letter;
pub mod definitions;
pub mod exchange;
pub mod queue;
pub mod topology;

/// A client connection, as the server numbers them. Never reused while the broker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A queue, as the server numbers them. Never reused; a durable queue keeps its number over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u64);
