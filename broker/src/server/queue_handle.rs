//! [`SharedQueue`]: the one place that puts a lock around an engine queue.
//!
//! A connection's task hands over everything it has for a queue in one [`QueueBatch`], under one lock. Deliveries are
//! appended to the consumers' outboxes while the lock is held, so that two tasks cannot deliver out of order; everything
//! else that follows from a batch is returned. No `.await`, no IO and no second queue's lock happens here.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::engine::QueueId;
use crate::engine::definitions::{DefinitionChange, QueueNotes};
use crate::engine::queue::{
    self, AckMode, ConsumeRefused, ConsumerId, ConsumerSpec, Effect, Enqueued, NothingTaken, Queue,
    QueueOptions, Removed, Restored, Seq, Taken,
};
use crate::engine::topology::Handle;
use crate::server::census::ExchangeMeter;
use crate::server::history::HistoryHandle;
use crate::server::outbox::Outbox;
use crate::session::action::{Settlement, SourceId};
use crate::stats::tally::Tally;
use crate::store::{Epoch, Kept};
use crate::wire::message::Message;
use crate::wire::properties::has_expiration;

mod backing;
mod browse;
mod capacity;
mod dead;
mod effects;
mod held;
mod limit;
mod look;
mod paging;
mod staged;
mod targets;
mod timing;

pub(super) use backing::Backing;
pub(super) use browse::Claims;
use capacity::Capacity;
use dead::Dead;
pub(super) use dead::DeadMessage;
use effects::with_delivery_count;
pub(super) use limit::ChannelLimit;
pub(super) use look::QueueLook;
use staged::Staged;
use targets::Targets;
use timing::Timing;
pub(super) use timing::Woken;

/// A queue shared by the connections that use it.
pub(super) type QueueHandle = Arc<SharedQueue>;

#[derive(Debug)]
struct State {
    queue: Queue,
    targets: Targets,
    effects: Vec<Effect>,
    /// Sequence numbers settled by the running call, for the store.
    settled: Staged<Seq>,
    /// Messages enqueued by the running call, for the store.
    appended: Staged<(Seq, Message)>,
    /// The same for messages that returned.
    returned: Staged<(Seq, u16)>,
    /// The store was given messages of this queue.
    kept: bool,
    /// The pager was asked for messages and has not brought them yet.
    loading: bool,
    /// The pager was asked to look at messages that it does not bring.
    surveying: bool,
    /// Its definition says that it was given messages with an expiration of their own.
    has_expirations: bool,
    timing: Timing,
    dead: Option<Box<Dead>>,
    tally: Tally,
    capacity: Capacity,
}

/// An engine queue with its lock, its consumers' outboxes and its store.
pub struct SharedQueue {
    id: QueueId,
    options: Arc<QueueOptions>,
    backing: Backing,
    this: Weak<Self>,
    deleted: AtomicBool,
    /// Mirrors the queue's settings for those who look without the lock.
    may_reject: AtomicBool,
    /// When it was declared or restored, in milliseconds since 1970.
    made_ms: u64,
    state: Mutex<State>,
}

impl std::fmt::Debug for SharedQueue {
    /// Leaves the state out: printing it would need the lock.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedQueue")
            .field("id", &self.id)
            .field("name", &self.options.name)
            .finish_non_exhaustive()
    }
}

impl Handle for QueueHandle {
    type History = HistoryHandle;
    type Meter = Arc<ExchangeMeter>;

    fn id(&self) -> QueueId {
        self.id
    }
}

/// Everything that one connection has for one queue after a round of input.
#[derive(Debug, Default)]
pub struct QueueBatch {
    /// Messages to enqueue, in order.
    pub publishes: Vec<Message>,
    /// The places in `publishes` of those that [`SharedQueue::apply`] refused, ascending.
    pub refused: Vec<usize>,
    /// Slots to settle, by settlement. No slot is named twice, so the order among them means nothing.
    settles: [Vec<u32>; SETTLEMENTS.len()],
    /// Deliveries that have left the outbox: consumer, messages, body bytes.
    pub written: Vec<(ConsumerId, u32, usize)>,
}

impl QueueBatch {
    /// Adds a slot to settle.
    pub fn settle(&mut self, settlement: Settlement, slot: u32) {
        self.settles[place_of(settlement)].push(slot);
    }

    /// Forgets everything, and keeps the memory for the next round if it is little.
    pub fn clear(&mut self) {
        const KEPT_ENTRIES_MAX: usize = 1024;
        self.publishes.clear();
        self.publishes.shrink_to(KEPT_ENTRIES_MAX);
        self.refused.clear();
        self.refused.shrink_to(KEPT_ENTRIES_MAX);
        for slots in &mut self.settles {
            slots.clear();
            slots.shrink_to(KEPT_ENTRIES_MAX);
        }
        self.written.clear();
        self.written.shrink_to(KEPT_ENTRIES_MAX);
    }
}

/// Queue counts as `queue.declare-ok` reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueCounts {
    /// Ready messages.
    pub ready: u32,
    /// Messages delivered and not settled.
    pub unacked: u32,
    /// Consumers.
    pub consumers: u32,
}

/// Why a queue was not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteRefused {
    /// It has consumers and the request said only if unused.
    InUse,
    /// It has ready messages and the request said only if empty.
    NotEmpty,
}

/// What a consumer's end means for its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterConsumer {
    /// Nothing.
    Keep,
    /// The queue is auto-delete and this was its last consumer.
    DeleteQueue,
}

impl SharedQueue {
    /// A new, empty queue.
    pub fn new(id: QueueId, options: Arc<QueueOptions>, backing: Backing) -> QueueHandle {
        let queue = Queue::new(options.clone());
        Self::with_queue(id, options, backing, queue)
    }

    /// A queue as it was before a restart.
    pub fn restore(
        id: QueueId,
        options: Arc<QueueOptions>,
        backing: Backing,
        restored: &[Restored],
        notes: QueueNotes,
    ) -> QueueHandle {
        let queue = Queue::restore(options.clone(), restored);
        let handle = Self::with_queue(id, options, backing, queue);
        {
            let mut state = handle.state.lock();
            (state.kept, state.has_expirations) = (true, notes.has_expirations);
            state.queue.set_paused(notes.paused);
            handle.request_survey(&mut state);
        }
        handle
    }

    fn with_queue(id: QueueId, options: Arc<QueueOptions>, backing: Backing, queue: Queue) -> QueueHandle {
        let made_ms = backing.timers.now_ms();
        let state = State {
            queue,
            targets: Targets::default(),
            effects: Vec::new(),
            settled: Staged::default(),
            appended: Staged::default(),
            returned: Staged::default(),
            kept: false,
            loading: false,
            surveying: false,
            has_expirations: false,
            timing: Timing::default(),
            dead: None,
            tally: Tally::default(),
            capacity: Capacity::new(made_ms),
        };
        let deleted = AtomicBool::new(false);
        let may_reject =
            AtomicBool::new(options.settings.as_ref().is_some_and(|settings| settings.may_reject()));
        let handle = Arc::new_cyclic(|this| Self {
            id,
            options,
            backing,
            this: this.clone(),
            deleted,
            may_reject,
            made_ms,
            state: Mutex::new(state),
        });
        handle.touch();
        handle
    }

    /// Its id, unique while the broker runs.
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// What it was declared with.
    pub fn options(&self) -> &Arc<QueueOptions> {
        &self.options
    }

    /// What the store calls the messages of a level.
    fn store_id(&self, level: u8) -> QueueId {
        self.id.of_level(level)
    }

    fn now_ms(&self) -> u64 {
        self.backing.timers.now_ms()
    }

    /// Whether it was deleted; a handle may outlive its queue.
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Whether it may refuse messages. Others may be in force a moment later.
    pub fn may_reject(&self) -> bool {
        self.may_reject.load(Ordering::Relaxed)
    }

    /// Carries out a batch and offers ready messages to consumers. Returns the epoch at which all stored messages of the
    /// batch are durable.
    pub fn apply(&self, batch: &mut QueueBatch) -> Epoch {
        let now_ms = self.now_ms();
        self.with_state(|state| {
            let State { queue, targets, effects, appended, has_expirations, .. } = state;
            let deleted = queue.is_deleted();
            state.tally.publish += batch.publishes.len() as u64;
            for (place, message) in batch.publishes.drain(..).enumerate() {
                let stored = self.options.durable && message.is_persistent() && !deleted;
                if stored && has_expiration(message.properties()) && !*has_expirations {
                    *has_expirations = true;
                    self.note(QueueNotes { has_expirations: true, paused: queue.is_paused() });
                }
                let kept = stored.then(|| message.clone());
                match (queue.enqueue(message, now_ms, targets, effects), kept) {
                    (Enqueued::Accepted { level, seq }, Some(message)) => {
                        appended.push(level, (seq, message));
                    }
                    (Enqueued::Accepted { .. }, None) => {}
                    (Enqueued::Refused, _) => batch.refused.push(place),
                }
            }
            state.tally.publish -= batch.refused.len() as u64;
            state.tally.ack += batch.settles[place_of(Settlement::Ack)].len() as u64;
            let mut epoch = Epoch::default();
            state.kept |= !state.appended.is_empty();
            state.appended.drain(|level, appended| {
                let appended = self.backing.store.append(self.store_id(level), Kept::Durably, appended);
                epoch = epoch.max(appended);
            });
            // One call for each kind: to return messages costs as much for one as for all.
            for (settlement, slots) in SETTLEMENTS.into_iter().zip(&batch.settles) {
                if !slots.is_empty() {
                    state.queue.settle(settlement, slots, &mut state.effects);
                }
            }
            for &(consumer, messages, body_bytes) in &batch.written {
                state.queue.written(consumer, messages, body_bytes);
            }
            state.queue.dispatch(now_ms, &mut state.targets, &mut state.effects);
            epoch
        })
    }

    /// Makes the queue's definition say what a start is to know, durably before messages that are appended afterwards.
    #[cold]
    fn note(&self, notes: QueueNotes) {
        let DefinitionChange { key, value } = DefinitionChange::queue_noted(self.id, &self.options, notes);
        self.backing.store.define(key, value);
    }

    /// Adds a consumer whose deliveries go to `outbox` under the name `source`. Deliveries begin with the next
    /// [`SharedQueue::apply`]. `None` if the queue is gone.
    pub fn add_consumer(
        &self,
        spec: ConsumerSpec,
        outbox: Arc<Outbox>,
        source: SourceId,
        limit: Option<Arc<ChannelLimit>>,
    ) -> Option<Result<ConsumerId, ConsumeRefused>> {
        self.with_state(|state| {
            if state.queue.is_deleted() {
                return None;
            }
            let added = state.queue.add_consumer(spec);
            if let Ok(consumer) = added {
                state.targets.insert(consumer, outbox, source, limit);
            }
            Some(added)
        })
    }

    /// Removes a consumer. What it has not acknowledged stays outstanding.
    pub fn remove_consumer(&self, consumer: ConsumerId) -> AfterConsumer {
        self.with_state(|state| {
            if state.queue.is_deleted() {
                return AfterConsumer::Keep;
            }
            state.targets.remove(consumer);
            let removed = state.queue.remove_consumer(consumer);
            if removed.last {
                self.note_use(state);
            }
            // Single active consumer: the next in line takes over at once.
            state.queue.dispatch(self.now_ms(), &mut state.targets, &mut state.effects);
            if removed.last && self.options.auto_delete {
                AfterConsumer::DeleteQueue
            } else {
                AfterConsumer::Keep
            }
        })
    }

    /// Puts a consumer under its channel's limit, counting what it has outstanding. No for one that needs no
    /// acknowledgements: the limit is not about it.
    pub fn limit_consumer(&self, consumer: ConsumerId, limit: &Arc<ChannelLimit>) -> bool {
        self.with_state(|state| {
            let Some(unacked) = state.queue.unacked_of(consumer) else { return false };
            let Some(target) = state.targets.get_mut(consumer) else { return false };
            limit.adopt(unacked);
            target.limit = Some(limit.clone());
            true
        })
    }

    /// Offers ready messages to a consumer whose turn it is to use its channel's credit, and to others that can take some.
    pub fn serve(&self, consumer: ConsumerId) {
        self.with_state(|state| {
            state.queue.gate_opened(consumer);
            state.queue.dispatch(self.now_ms(), &mut state.targets, &mut state.effects);
        });
    }

    /// Takes the message at the head, for `basic.get`.
    ///
    /// # Errors
    ///
    /// If it is not in memory and cannot be read.
    pub fn take(&self, ack_mode: AckMode) -> io::Result<Option<Taken>> {
        loop {
            let taken = self.with_state(|state| {
                self.note_use(state);
                let taken = state.queue.take(ack_mode, self.now_ms(), &mut state.effects);
                look::count_taken(&mut state.tally, &taken, ack_mode);
                let mut taken = taken?;
                if taken.delivery_count > 0 {
                    taken.message = with_delivery_count(&taken.message, taken.delivery_count);
                }
                let level = taken.level;
                state.effects.extend(taken.settled.map(|seq| Effect::Settled { level, seq }));
                state.effects.extend(taken.delivered.map(|up_to| Effect::Delivered { level, up_to }));
                Ok(taken)
            });
            match taken {
                Ok(taken) => return Ok(Some(taken)),
                Err(NothingTaken::Empty) => return Ok(None),
                // Each load brings a message, or makes the paged range smaller.
                Err(NothingTaken::PagedOut) => self.load_now()?,
            }
        }
    }

    /// Removes all ready messages; they are the caller's to drop.
    pub fn purge(&self) -> Removed {
        self.with_state(|state| state.queue.purge(&mut state.effects))
    }

    /// Deletes the queue unless a condition forbids it; its consumers are told. Its messages are the caller's to drop.
    pub fn delete(&self, if_unused: bool, if_empty: bool) -> Result<Removed, DeleteRefused> {
        self.delete_if(|state| {
            if if_unused && state.queue.consumer_count() > 0 {
                Err(DeleteRefused::InUse)
            } else if if_empty && state.queue.ready_count() > 0 {
                Err(DeleteRefused::NotEmpty)
            } else {
                Ok(())
            }
        })
    }

    fn delete_if(
        &self,
        check: impl FnOnce(&State) -> Result<(), DeleteRefused>,
    ) -> Result<Removed, DeleteRefused> {
        self.with_state(|state| {
            check(state)?;
            self.disarm(state);
            let removed = state.queue.delete(&mut state.effects);
            self.deleted.store(true, Ordering::Release);
            if state.kept {
                for level in 0..=self.options.highest_level() {
                    self.backing.store.remove_queue(self.store_id(level));
                }
            }
            Ok(removed)
        })
    }

    /// Its counts now.
    pub fn counts(&self) -> QueueCounts {
        let state = self.state.lock();
        QueueCounts {
            ready: state.queue.ready_count(),
            unacked: state.queue.unacked_count(),
            consumers: state.queue.consumer_count(),
        }
    }

    /// Runs `call` under the lock, then hands its effects to the outboxes and the store, and accounts for memory.
    fn with_state<T>(&self, call: impl FnOnce(&mut State) -> T) -> T {
        let mut guard = self.state.lock();
        let before = guard.queue.memory_bytes();
        let result = call(&mut guard);
        self.apply_effects(&mut guard);
        self.backing.memory.change(before, guard.queue.memory_bytes());
        self.request_load(&mut guard);
        let waits = guard.queue.waits_for_consumers();
        guard.capacity.note(waits, || self.now_ms());
        self.arm(&mut guard);
        result
    }
}

/// Entries that the scratch lists of an idle queue may keep: a queue is to cost little.
const STAGED_KEPT_MAX: usize = 16;

/// What the slot lists of a batch are for. Returned messages come last, just before the deliveries.
const SETTLEMENTS: [queue::Settlement; 3] =
    [queue::Settlement::Ack, queue::Settlement::Discard, queue::Settlement::Requeue];

/// The session and the engine do not know each other, hence a word of each for the same thing.
fn place_of(settlement: Settlement) -> usize {
    match settlement {
        Settlement::Ack => 0,
        Settlement::Discard => 1,
        Settlement::Requeue => 2,
    }
}
