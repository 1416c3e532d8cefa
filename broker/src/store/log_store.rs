//! [`LogStore`]: the store of a broker with a data folder.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use super::backup::{self, Held, HoldError};
use super::core::Core;
use super::damage::Damage;
use super::events::{EventListener, StoreEvent};
use super::flusher::{FlushError, Flusher, SyncMode};
use super::pending::Pending;
use super::recovery::{self, RecoveryError};
use super::{DAMAGED_FOLDER, DurableListener, Epoch, Kept, LOG_FOLDER, Loaded, Round, Store, load};
use crate::engine::QueueId;
use crate::engine::queue::{Seq, SeqRange};
use crate::wire::message::Message;

/// Why a store does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be read.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// Its thread cannot be started.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] io::Error),
}

/// A queue's messages as they were found at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoredQueue {
    /// The first number that was never used.
    pub next_seq: Seq,
    /// All messages up to here were delivered at least once.
    pub delivered: Option<Seq>,
    /// The lowest and highest number of its messages, and how many there are.
    pub messages: Option<(SeqRange, u64)>,
}

/// What is known at a start of what was stored.
#[derive(Debug, Default)]
pub struct Restored {
    /// Definitions by key.
    pub definitions: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Queues that hold messages or did.
    pub queues: BTreeMap<QueueId, RestoredQueue>,
    /// What was found damaged, in words.
    pub findings: Vec<String>,
}

/// Writes a log, from a thread of its own, and reads it back.
#[derive(Debug)]
pub struct LogStore {
    core: Arc<Core>,
    thread: Mutex<Option<JoinHandle<Result<(), FlushError>>>>,
}

impl LogStore {
    /// Opens the store in a data folder, which the caller has locked, and tells what is in it.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if files cannot be read or made. Damaged ones are no error, see [`Restored::findings`].
    pub fn open(data: &Path, sync: SyncMode) -> Result<(Self, Restored), OpenError> {
        let damage = Damage::new(data.join(DAMAGED_FOLDER));
        let recovered = recovery::recover(data, &damage)?;
        for finding in &recovered.findings {
            tracing::error!("{finding}");
        }
        let restored = Restored {
            definitions: recovered.definitions.clone(),
            queues: recovered.index.queues().map(|(id, queue)| (id, restored_queue(queue))).collect(),
            findings: recovered.findings,
        };
        let core = Arc::new(Core::new(data.join(LOG_FOLDER), recovered.index, damage));
        let mut flusher =
            Flusher::new(core.clone(), sync, recovered.end, recovered.definitions, recovered.checkpoints);
        if recovered.forgot {
            // Later starts do not look at it again.
            flusher.checkpoint_at_close();
        }
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run(flusher))
            .map_err(OpenError::Thread)?;
        Ok((Self { core, thread: Mutex::new(Some(thread)) }, restored))
    }

    /// Names the one listener to be told of failures, on the store's own thread. Called once. What failed since the folder was opened it is
    /// told at once.
    pub fn on_event(&self, listener: EventListener) {
        self.core.set_events(listener);
    }

    /// Forgets the messages of all queues but these: nothing defines the others any more.
    pub fn retain_queues(&self, known: &BTreeSet<QueueId>) {
        let unknown: Vec<QueueId> = self
            .core
            .index
            .lock()
            .queues()
            .map(|(id, _)| id)
            .filter(|id| !known.contains(&id.without_level()))
            .collect();
        for queue in unknown {
            self.remove_queue(queue);
        }
    }

    /// Keeps a copy of damaged bytes that the store itself cannot judge.
    pub fn set_aside(&self, kind: &str, bytes: &[u8]) {
        let name = format!("{:016x}.{kind}", u64::from(crc32c::crc32c(bytes)));
        self.core.damage.keep(&name, bytes);
    }

    /// How often something damaged was found since the start.
    pub fn damage_count(&self) -> u64 {
        self.core.damage.count()
    }

    /// Writes everything noted so far, makes it last, and ends the store's thread. A second call does nothing.
    ///
    /// # Errors
    ///
    /// [`FlushError`] if something cannot be made to last.
    pub fn close(&self) -> Result<(), FlushError> {
        let Some(thread) = self.thread.lock().take() else { return Ok(()) };
        self.core.close();
        thread
            .join()
            .unwrap_or_else(|_| Err(FlushError::Write(io::Error::other("the store's thread panicked"))))
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store could not be closed");
        }
    }
}

/// Runs the flusher. If it panics nothing is written any more, and the broker must not go on as if it were.
fn run(flusher: Flusher) -> Result<(), FlushError> {
    let core = flusher.core.clone();
    panic::catch_unwind(AssertUnwindSafe(|| flusher.run())).unwrap_or_else(|_| {
        core.tell(StoreEvent::Panicked);
        Err(FlushError::Write(io::Error::other("the store's thread panicked")))
    })
}

fn restored_queue(queue: &super::index::QueueIndex) -> RestoredQueue {
    let extents = || queue.durable.extents();
    let ends = extents().next().zip(extents().next_back());
    let messages = ends.map(|(first, last)| {
        let range = SeqRange { first: Seq(first.first), last: Seq(last.last) };
        (range, extents().map(|extent| extent.live).sum())
    });
    RestoredQueue {
        next_seq: Seq(queue.highest.map_or(0, |seq| seq + 1)),
        delivered: queue.delivered.map(Seq),
        messages,
    }
}

impl Store for LogStore {
    fn round(&self) -> Round<'_> {
        Round { _gate: Some(self.core.gate.read()) }
    }

    fn append(&self, queue: QueueId, kept: Kept, messages: &mut Vec<(Seq, Message)>) -> Epoch {
        self.core.note(|pending| pending.append(queue, kept, messages))
    }

    fn settle(&self, queue: QueueId, seqs: &[Seq]) {
        self.core.note(|pending| seqs.iter().for_each(|&seq| pending.settle(queue, seq)));
    }

    fn settle_ranges(&self, queue: QueueId, ranges: &[SeqRange]) {
        self.core.note(|pending| ranges.iter().for_each(|&range| pending.settle_range(queue, range)));
    }

    fn delivered(&self, queue: QueueId, up_to: Seq) {
        self.core.note(|pending| pending.delivered(queue, up_to));
    }

    fn returned(&self, queue: QueueId, counts: &[(Seq, u16)]) {
        self.core.note(|pending| counts.iter().for_each(|&(seq, count)| pending.returned(queue, seq, count)));
    }

    fn remove_queue(&self, queue: QueueId) {
        self.core.note(|pending| pending.remove_queue(queue));
    }

    fn define(&self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.core.note(|pending| pending.define(key, value));
    }

    fn durable(&self) -> Epoch {
        self.core.durable()
    }

    fn current(&self) -> Epoch {
        self.core.current()
    }

    fn barrier(&self) -> Epoch {
        self.core.note(Pending::hurry)
    }

    fn on_durable(&self, listener: DurableListener) {
        self.core.set_listener(listener);
    }

    fn can_page(&self) -> bool {
        true
    }

    fn load(&self, queue: QueueId, from: Seq, to: Seq, bytes_max: usize) -> io::Result<Loaded> {
        load::load(&self.core, queue, from, to, bytes_max)
    }

    fn hold(&self) -> Result<Held, HoldError> {
        backup::hold(&self.core)
    }

    fn skip(&self, queue: QueueId, from: Seq, to: Seq, count: u64) -> (u64, Seq) {
        load::skip(&self.core, queue, from, to, count)
    }

    fn backlog_bytes(&self) -> usize {
        self.core.backlog_bytes()
    }
}

#[cfg(test)]
pub(in crate::store) mod tests;
