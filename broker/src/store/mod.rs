//! Durability: what the broker asks of storage, and the stores that give it.
//!
//! The [`Store`] trait is the whole of it. A store never waits for a client and never calls back into a queue; callers
//! hold the queue's lock while they append, so an append only notes what is to be written and returns the epoch in which
//! it will be. Called by `server::queue_handle`.
//!
//! [`LogStore`] writes a log and keeps an index of it in sled; `ARCHITECTURE.md` says why it is built that way.

pub mod backup;
mod checkpoint;
mod core;
mod damage;
mod events;
mod flusher;
pub mod folder;
mod housekeeping;
mod index;
pub mod inspect;
mod load;
mod log;
mod log_store;
mod memory;
mod pending;
mod recovery;

use std::io;

use crate::engine::QueueId;
use crate::engine::queue::{Seq, SeqRange};
use crate::wire::message::Message;

pub use self::events::{EventListener, StoreEvent};
pub use flusher::{FlushError, SyncMode};
pub use log_store::{LogStore, OpenError, Restored, RestoredQueue};
pub use memory::MemoryStore;
pub use recovery::RecoveryError;

/// The folder of the segments, below the data folder.
const LOG_FOLDER: &str = "log";

/// The folder of what was damaged, below the data folder.
const DAMAGED_FOLDER: &str = "damaged";

/// A point in the order of commits. What was appended at an epoch is safe once the store is durable up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

/// Told how far the store is durable, each time that it advances. Must not block: it runs on the store's own thread.
pub type DurableListener = Box<dyn Fn(Epoch) + Send + Sync>;

/// How long the store is to keep a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Until it is settled.
    Durably,
    /// The same, but not over a restart: a transient message that only has to leave memory.
    UntilRestart,
}

/// A message read back.
#[derive(Debug)]
pub struct LoadedMessage {
    /// Its number.
    pub seq: Seq,
    /// Itself.
    pub message: Message,
    /// How often it returned to its queue.
    pub returned: u16,
}

/// Messages read back.
#[derive(Debug, Default)]
pub struct Loaded {
    /// In the order of their numbers.
    pub messages: Vec<LoadedMessage>,
    /// Everything up to here was read.
    pub up_to: Option<Seq>,
    /// Messages that should have been there, and are damaged. They are set aside and settled.
    pub damaged: Vec<Seq>,
}

/// Kept until a round of changes is complete, see [`Store::round`].
#[derive(Debug)]
pub struct Round<'a> {
    _gate: Option<parking_lot::RwLockReadGuard<'a, ()>>,
}

impl Round<'_> {
    /// For a store to which rounds mean nothing.
    #[must_use]
    pub fn unguarded() -> Self {
        Self { _gate: None }
    }
}

/// Keeps persistent messages of durable queues, and what is defined.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// While the caller holds this, everything it notes goes into one commit: a message that is published to many queues is
    /// written once. For one round of a connection's work; must not be held while waiting for anything.
    fn round(&self) -> Round<'_> {
        Round::unguarded()
    }

    /// Notes that messages entered `queue`, and returns the epoch at which that is durable. Drains `messages`, whose numbers
    /// ascend from call to call of the same kind.
    fn append(&self, queue: QueueId, kept: Kept, messages: &mut Vec<(Seq, Message)>) -> Epoch;

    /// Notes that these messages of `queue` are done with. What was not written yet never will be.
    fn settle(&self, queue: QueueId, seqs: &[Seq]);

    /// The same for whole ranges, which contain no message that the queue still holds.
    fn settle_ranges(&self, queue: QueueId, ranges: &[SeqRange]);

    /// Notes that all messages of `queue` up to this one were delivered at least once.
    fn delivered(&self, queue: QueueId, up_to: Seq);

    /// Notes that messages returned to `queue`, and how often each did by now.
    fn returned(&self, queue: QueueId, counts: &[(Seq, u16)]);

    /// Notes that `queue` and all it held is gone.
    fn remove_queue(&self, queue: QueueId);

    /// Notes that a definition has a new value, or none any more. Durable no later than what is appended afterwards.
    fn define(&self, key: Vec<u8>, value: Option<Vec<u8>>);

    /// Everything appended up to this epoch is safe.
    fn durable(&self) -> Epoch;

    /// The epoch at which everything noted so far is safe.
    fn current(&self) -> Epoch;

    /// The same for somebody who waits for it: also what nobody would wait for otherwise is made durable soon.
    fn barrier(&self) -> Epoch {
        self.current()
    }

    /// Names the one listener to be told when [`Store::durable`] advances. Called once, before the first append.
    fn on_durable(&self, listener: DurableListener);

    /// Whether messages can leave memory and be loaded again.
    fn can_page(&self) -> bool {
        false
    }

    /// Reads messages of `queue` from number `from` to at most `to`, about `bytes_max` bytes of them and at least one. They
    /// must have been written: the epoch of their append is durable.
    ///
    /// # Errors
    ///
    /// If the data folder cannot be read, or nothing can ever be loaded. Damaged messages are no error, see
    /// [`Loaded::damaged`].
    fn load(&self, queue: QueueId, from: Seq, to: Seq, bytes_max: usize) -> io::Result<Loaded> {
        let _ = (queue, from, to, bytes_max);
        Err(io::Error::new(io::ErrorKind::Unsupported, "this store loads nothing"))
    }

    /// Holds everything that is safe now where it is, to be copied while work goes on: no confirm that was given before is missing in
    /// it. Waits for the commit that is being written, so it is for a thread that may wait.
    ///
    /// # Errors
    ///
    /// If there is nothing to copy, somebody else copies, or nothing can be written.
    fn hold(&self) -> Result<backup::Held, backup::HoldError> {
        Err(backup::HoldError::Nothing)
    }

    /// Passes over up to `count` messages of `queue`, from number `from` to at most `to`, without reading any. Says how many, and the
    /// number to go on with. They must have been written.
    fn skip(&self, queue: QueueId, from: Seq, to: Seq, count: u64) -> (u64, Seq) {
        let _ = (queue, to, count);
        (0, from)
    }

    /// Bytes that wait to be written. Publishers are to be slowed down when it is a lot.
    fn backlog_bytes(&self) -> usize {
        0
    }
}
