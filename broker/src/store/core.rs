//! [`Core`]: what the store's callers, its flusher and its loader share.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};

use super::backup::Asked;
use super::damage::Damage;
use super::events::{EventListener, Events, StoreEvent};
use super::index::Index;
use super::log::segment::SegmentId;
use super::pending::Pending;
use super::{DurableListener, Epoch};

/// How long operations that nobody waits for may gather before they are written. They lose nothing by it: a crash means
/// that messages acknowledged just before are delivered again.
const UNAWAITED_WAIT: Duration = Duration::from_millis(10);

/// What waits for the flusher.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) pending: Pending,
    /// The epoch of what is noted now.
    pub(super) epoch: u64,
    pub(super) closing: bool,
    /// There is something else to look at than `pending`.
    pub(super) nudged: bool,
    /// Somebody wants to copy the log.
    asked: Option<Asked>,
}

/// What is taken from the inbox.
#[derive(Debug)]
pub(super) enum Taken {
    /// What to commit, and as which epoch.
    Batch(Pending, u64),
    /// Time has passed, or somebody nudged.
    Nothing,
    /// The store is to be closed and everything is committed.
    Closing,
}

/// Shared by the store's threads.
pub(super) struct Core {
    /// The folder of the segments.
    pub(super) log: PathBuf,
    /// Held for reading during a round of changes, for writing while a batch is taken.
    pub(super) gate: RwLock<()>,
    inbox: Mutex<Inbox>,
    wake: Condvar,
    durable: AtomicU64,
    backlog: AtomicUsize,
    listener: OnceLock<DurableListener>,
    events: Events,
    /// Where messages are. Locked for moments only.
    pub(super) index: Mutex<Index>,
    /// What was found damaged.
    pub(super) damage: Damage,
    /// Segments that are being copied, and stay until they are; none while nobody copies.
    pub(super) held: Mutex<Option<BTreeSet<SegmentId>>>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Core {
    pub(super) fn new(log: PathBuf, index: Index, damage: Damage) -> Self {
        let inbox = Inbox { epoch: 1, ..Inbox::default() };
        Self {
            log,
            gate: RwLock::new(()),
            inbox: Mutex::new(inbox),
            wake: Condvar::new(),
            durable: AtomicU64::new(0),
            backlog: AtomicUsize::new(0),
            listener: OnceLock::new(),
            events: Events::default(),
            index: Mutex::new(index),
            damage,
            held: Mutex::default(),
        }
    }

    /// Notes something, and wakes the flusher if it must know. Returns the epoch of the note.
    pub(super) fn note<T>(&self, note: impl FnOnce(&mut Pending) -> T) -> Epoch {
        let mut inbox = self.inbox.lock();
        let (awaited, empty, bytes) =
            (inbox.pending.awaited, inbox.pending.is_empty(), inbox.pending.bytes());
        note(&mut inbox.pending);
        let after = inbox.pending.bytes();
        if after >= bytes {
            self.backlog.fetch_add(after - bytes, Ordering::Relaxed);
        } else {
            self.backlog.fetch_sub(bytes - after, Ordering::Relaxed);
        }
        if inbox.pending.awaited != awaited || inbox.pending.is_empty() != empty {
            self.wake.notify_one();
        }
        Epoch(inbox.epoch)
    }

    /// The epoch at which everything noted so far is safe.
    pub(super) fn current(&self) -> Epoch {
        let inbox = self.inbox.lock();
        Epoch(if inbox.pending.is_empty() { inbox.epoch - 1 } else { inbox.epoch })
    }

    /// Everything noted up to this epoch is safe.
    pub(super) fn durable(&self) -> Epoch {
        Epoch(self.durable.load(Ordering::Acquire))
    }

    /// Bytes of messages that wait to be written or are being written.
    pub(super) fn backlog_bytes(&self) -> usize {
        self.backlog.load(Ordering::Relaxed)
    }

    /// Messages of so many bytes have been written.
    pub(super) fn written(&self, bytes: usize) {
        self.backlog.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Everything up to `epoch` is safe; whoever waits for it is told.
    pub(super) fn advance(&self, epoch: u64) {
        self.durable.store(epoch, Ordering::Release);
        if let Some(listener) = self.listener.get() {
            listener(Epoch(epoch));
        }
    }

    /// Sets who is told when the store becomes durable. The first one stays.
    pub(super) fn set_listener(&self, listener: DurableListener) {
        let set = self.listener.set(listener);
        debug_assert!(set.is_ok(), "a store has one listener");
    }

    /// Sets who is told of failures, also of those until now.
    pub(super) fn set_events(&self, listener: EventListener) {
        self.events.listen(listener);
    }

    /// Tells of a failure, or of its end.
    pub(super) fn tell(&self, event: StoreEvent<'_>) {
        self.events.tell(event);
    }

    /// Makes the flusher look around.
    pub(super) fn nudge(&self) {
        self.inbox.lock().nudged = true;
        self.wake.notify_one();
    }

    /// Asks the flusher to hold the log for somebody who copies it. False if somebody else does, or the store is being closed.
    pub(super) fn ask(&self, asked: Asked) -> bool {
        let mut inbox = self.inbox.lock();
        if inbox.closing || inbox.asked.is_some() || self.held.lock().is_some() {
            return false;
        }
        (inbox.asked, inbox.nudged) = (Some(asked), true);
        self.wake.notify_one();
        true
    }

    /// Takes what was asked for, if everything is safe that it is to contain.
    pub(super) fn take_asked(&self) -> Option<Asked> {
        let durable = self.durable();
        self.inbox.lock().asked.take_if(|asked| asked.epoch <= durable)
    }

    /// Whether a segment is to stay because it is being copied.
    pub(super) fn is_held(&self, segment: SegmentId) -> bool {
        self.held.lock().as_ref().is_some_and(|held| held.contains(&segment))
    }

    /// Takes back what nobody waits for any more.
    pub(super) fn forget_asked(&self) {
        self.inbox.lock().asked = None;
    }

    /// Makes the flusher finish.
    pub(super) fn close(&self) {
        self.inbox.lock().closing = true;
        self.wake.notify_one();
    }

    /// Whether the store is to be closed.
    pub(super) fn is_closing(&self) -> bool {
        self.inbox.lock().closing
    }

    /// Waits for `duration`, less if the store is to be closed.
    pub(super) fn pause(&self, duration: Duration) {
        let mut inbox = self.inbox.lock();
        if !inbox.closing {
            self.wake.wait_for(&mut inbox, duration);
        }
    }

    /// Waits for something to do, for `patience` at most if that is given. What somebody waits for is taken at once; what nobody
    /// waits for gathers for a moment first.
    pub(super) fn take(&self, patience: Option<Duration>) -> Taken {
        let mut inbox = self.inbox.lock();
        if inbox.pending.is_empty() && !inbox.closing && !inbox.nudged {
            match patience {
                Some(patience) => drop(self.wake.wait_for(&mut inbox, patience)),
                None => self.wake.wait(&mut inbox),
            }
        }
        if !inbox.pending.is_empty() && !inbox.pending.awaited && !inbox.closing {
            self.wake.wait_for(&mut inbox, UNAWAITED_WAIT);
        }
        inbox.nudged = false;
        if inbox.pending.is_empty() {
            return if inbox.closing { Taken::Closing } else { Taken::Nothing };
        }
        drop(inbox);
        // Rounds that have begun are complete before the batch is taken; the next ones belong to the next batch.
        let _gate = self.gate.write();
        let mut inbox = self.inbox.lock();
        let epoch = inbox.epoch;
        inbox.epoch += 1;
        Taken::Batch(std::mem::take(&mut inbox.pending), epoch)
    }
}
