//! Durability: what the broker asks of storage, and the stores that give it.
//!
//! The [`Store`] trait is the whole of it. A store never waits for a client and never calls back into a queue; callers
//! hold the queue's lock while they append, so an append only notes what is to be written and returns the epoch in which
//! it will be. Called by `server::queue_handle`.

pub mod folder;
mod memory;

pub use memory::MemoryStore;

use crate::engine::QueueId;
use crate::engine::queue::{Seq, SeqRange};
use crate::wire::message::Message;

/// A point in the order of commits. What was appended at an epoch is safe once the store is durable up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

/// Told how far the store is durable, each time that it advances. Must not block: it runs on the store's own thread.
pub type DurableListener = Box<dyn Fn(Epoch) + Send + Sync>;

/// Keeps persistent messages of durable queues.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Notes that `message` entered `queue` at `seq`, and returns the epoch at which that is durable.
    ///
    /// One message appended to several queues in a row is stored once.
    fn append(&self, queue: QueueId, seq: Seq, message: &Message) -> Epoch;

    /// Notes that these messages of `queue` are done with. What was not written yet never will be.
    fn settle(&self, queue: QueueId, seqs: &[Seq]);

    /// The same for whole ranges, which contain no message that the queue still holds.
    fn settle_ranges(&self, queue: QueueId, ranges: &[SeqRange]);

    /// Notes that `queue` and all it held is gone.
    fn remove_queue(&self, queue: QueueId);

    /// Everything appended up to this epoch is safe.
    fn durable(&self) -> Epoch;

    /// Names the one listener to be told when [`Store::durable`] advances. Called once, before the first append.
    fn on_durable(&self, listener: DurableListener);
}
