//! [`DeadLetters`]: publishes what queues have given up to their dead letter exchanges.
//!
//! One thread for all queues. It takes what a queue has given up, in order, makes dead letters of it
//! (`engine::dead_letter`), routes them, brings them to their queues and settles the originals, all in one round of the store:
//! a crash loses none, and at worst repeats some. What must arrive and has found no queue, or one that refuses it, stays and is
//! tried again every second; while a few hundred messages of a queue wait so, its later ones wait behind them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use parking_lot::{Condvar, Mutex};

use crate::engine::QueueId;
use crate::engine::dead_letter::{self, Burial, Buried};
use crate::engine::exchange::MessageView;
use crate::engine::topology::Routed;
use crate::server::history::{Attempt, HistoryBudget, SharedHistory};
use crate::server::queue_handle::{DeadMessage, QueueBatch, QueueHandle};
use crate::server::random::Chance;
use crate::server::shared::Shared;
use crate::server::vhost::VHost;
use crate::wire::message::Message;

/// Messages of one queue that are published in one round.
const ROUND_MESSAGES: usize = 256;

/// How long to wait before what must arrive is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long to wait for the store when it is behind.
const STORE_PATIENCE: Duration = Duration::from_millis(5);

/// Queues whose dead messages are to be published.
#[derive(Debug, Default)]
pub struct DeadLetters {
    notes: Mutex<Notes>,
    wanted: Condvar,
    /// Told when there is nothing left to do.
    done: Condvar,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Notes {
    queues: VecDeque<QueueHandle>,
    /// Those that hold messages which could not be published, by the time of the next attempt.
    later: VecDeque<(Instant, QueueHandle)>,
    /// Whether the thread is at work.
    busy: bool,
    closing: bool,
}

/// What became of dead messages since the start.
#[derive(Debug, Default)]
struct Counters {
    published: AtomicU64,
    unroutable: AtomicU64,
    refused: AtomicU64,
    cycles: AtomicU64,
}

/// [`Counters`], read at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeadLetterCounts {
    /// Came to all their queues.
    pub published: u64,
    /// Found no queue: gone, or tried again and then counted again.
    pub unroutable: u64,
    /// Refused by a queue: not there, or tried again and then counted again.
    pub refused: u64,
    /// Were kept from a queue that they had died in before.
    pub cycles: u64,
}

impl DeadLetters {
    /// Starts the thread. It ends when the broker is gone.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
        let (dead_letters, broker) = (shared.dead_letters.clone(), Arc::downgrade(shared));
        let run = move || dead_letters.run(&broker);
        thread::Builder::new().name("warren-dead".to_owned()).spawn(run).map(drop)
    }

    /// Asks for a queue's dead messages to be published.
    pub(super) fn call(&self, queue: QueueHandle) {
        self.notes.lock().queues.push_back(queue);
        self.wanted.notify_one();
    }

    /// What became of dead messages since the start.
    pub fn counts(&self) -> DeadLetterCounts {
        let Counters { published, unroutable, refused, cycles } = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DeadLetterCounts {
            published: read(published),
            unroutable: read(unroutable),
            refused: read(refused),
            cycles: read(cycles),
        }
    }

    /// Waits until what queues have given up is published, except for what is tried again later; no longer than `patience`. Says
    /// whether it is. For a thread that may wait.
    pub(super) fn drain(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut notes = self.notes.lock();
        while notes.busy || !notes.queues.is_empty() {
            if self.done.wait_until(&mut notes, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.notes.lock().closing = true;
        self.wanted.notify_all();
    }

    fn run(&self, broker: &Weak<Shared>) {
        while let Some(queue) = self.wait() {
            let Some(shared) = broker.upgrade() else { return };
            while shared.store.backlog_bytes() > shared.backlog_bytes_max() {
                let mut notes = self.notes.lock();
                if notes.closing {
                    return;
                }
                self.wanted.wait_for(&mut notes, STORE_PATIENCE);
            }
            self.serve(&shared, queue);
            shared.check_memory();
        }
    }

    /// The next queue; none at the end.
    fn wait(&self) -> Option<QueueHandle> {
        let mut notes = self.notes.lock();
        notes.busy = false;
        loop {
            if notes.closing {
                return None;
            }
            let now = Instant::now();
            while notes.later.front().is_some_and(|(at, _)| *at <= now) {
                let again = notes.later.pop_front().map(|(_, queue)| queue);
                notes.queues.extend(again);
            }
            if let Some(queue) = notes.queues.pop_front() {
                notes.busy = true;
                return Some(queue);
            }
            self.done.notify_all();
            match notes.later.front() {
                Some(&(at, _)) => drop(self.wanted.wait_until(&mut notes, at)),
                None => self.wanted.wait(&mut notes),
            }
        }
    }

    /// Publishes the next messages of a queue, and notes it again if there are more.
    fn serve(&self, shared: &Shared, queue: QueueHandle) {
        let taken = queue.take_dead(ROUND_MESSAGES);
        let count = taken.len();
        let left = match shared.vhost(&queue.options().vhost) {
            Some(vhost) => Funeral::of(self, shared, &vhost, &queue, taken),
            None => queue.finish_dead(&taken, Vec::new()).then_some(0),
        };
        let Some(failed) = left else { return };
        let mut notes = self.notes.lock();
        // When nothing moved there is no use in going on at once.
        if failed > 0 && (failed == count || failed * 2 > ROUND_MESSAGES) {
            notes.later.push_back((Instant::now() + RETRY, queue));
        } else {
            notes.queues.push_back(queue);
        }
    }
}

/// The publishing of some messages of one queue.
struct Funeral<'a> {
    counters: &'a Counters,
    vhost: &'a VHost,
    queue: &'a QueueHandle,
    now_ms: u64,
    chance: Chance,
    histories: &'a Arc<HistoryBudget>,
    visits: Vec<Visit>,
    index: HashMap<QueueId, usize, FixedState>,
}

/// What one queue is to get.
struct Visit {
    target: QueueHandle,
    batch: QueueBatch,
    /// Which of the messages those in the batch are.
    messages: Vec<usize>,
}

impl<'a> Funeral<'a> {
    /// Publishes the messages; if the queue has more or some are left, says how many are.
    fn of(
        dead_letters: &'a DeadLetters,
        shared: &'a Shared,
        vhost: &'a VHost,
        queue: &'a QueueHandle,
        mut messages: Vec<DeadMessage>,
    ) -> Option<usize> {
        let counters = &dead_letters.counters;
        let now_ms = shared.timers.now_ms();
        let mut funeral = Funeral {
            counters,
            vhost,
            queue,
            now_ms,
            chance: Chance::new(),
            histories: &shared.histories,
            visits: Vec::new(),
            index: HashMap::default(),
        };
        let _round = shared.store.round();
        let mut failed: Vec<bool> =
            messages.iter().enumerate().map(|(at, dead)| !funeral.route(at, dead)).collect();
        funeral.visit(&mut messages, &mut failed);
        let (mut done, mut left) = (Vec::new(), Vec::new());
        for (dead, failed) in messages.into_iter().zip(failed) {
            if !failed {
                counters.published.fetch_add(1, Ordering::Relaxed);
            }
            if failed && dead.must_arrive { left.push(dead) } else { done.push(dead) }
        }
        let count = left.len();
        queue.finish_dead(&done, left).then_some(count)
    }

    /// Notes a message for the queues that are to get it; no if there are none.
    fn route(&mut self, at: usize, dead: &DeadMessage) -> bool {
        let burial = Burial {
            queue: &self.queue.options().name,
            reason: dead.reason,
            dead_lettering: &dead.dead_lettering,
            now_ms: self.now_ms,
        };
        let Buried { message, more_keys } = dead_letter::bury(&dead.message, &burial);
        let targets = self.targets(&message, &more_keys);
        if targets.is_empty() {
            self.counters.unroutable.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        for target in targets {
            if dead.taken_by.contains(&target.id()) {
                continue;
            }
            let name = &target.options().name;
            if dead_letter::is_cycle(&message, dead.reason, name) {
                self.note_cycle(name, dead);
                continue;
            }
            let visits = &mut self.visits;
            let place = *self.index.entry(target.id()).or_insert_with(|| {
                visits.push(Visit { target, batch: QueueBatch::default(), messages: Vec::new() });
                visits.len() - 1
            });
            visits[place].batch.publishes.push(message.clone());
            visits[place].messages.push(at);
        }
        true
    }

    /// The queues that a message is to get to. It enters the histories on its way.
    fn targets(&mut self, message: &Message, more_keys: &[String]) -> Vec<QueueHandle> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let mut keys = vec![text(message.routing_key())];
        keys.extend(more_keys.iter().map(String::as_str));
        let mut attempt = Attempt::First;
        loop {
            let view = MessageView::new(message.properties(), self.chance.next_bits());
            let exchange = text(message.exchange());
            let routed =
                self.vhost.read(|registry| registry.topology.route_internally(exchange, &keys, &view));
            let Some(Routed { queues, histories, .. }) = routed else { return Vec::new() };
            let keep = |history| SharedHistory::keep(history, message, attempt, self.histories);
            if histories.iter().try_for_each(keep).is_ok() {
                return queues;
            }
            attempt = Attempt::Again;
        }
    }

    /// Brings the messages to their queues; those that any of them refuses have failed.
    fn visit(&mut self, messages: &mut [DeadMessage], failed: &mut [bool]) {
        for Visit { target, batch, messages: places } in &mut self.visits {
            target.apply(batch);
            if target.is_deleted() {
                // Perhaps before they came.
                batch.refused = (0..places.len()).collect();
            }
            for &refused in &batch.refused {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                failed[places[refused]] = true;
            }
        }
        // Only when all have spoken is it known who must get a message again.
        for Visit { target, batch, messages: places } in &self.visits {
            for (at, &place) in places.iter().enumerate() {
                if failed[place] && batch.refused.binary_search(&at).is_err() {
                    messages[place].taken_by.push(target.id());
                }
            }
        }
    }

    fn note_cycle(&self, target: &str, dead: &DeadMessage) {
        if self.counters.cycles.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                queue = %self.queue.options().name, target, reason = dead.reason.as_str(),
                "a dead letter would go round for ever and is dropped; this is said once"
            );
        }
    }
}

#[cfg(test)]
impl DeadLetters {
    /// Publishes all there is without a thread, also what is to be tried again later.
    pub(super) fn run_due(&self, shared: &Shared) {
        let again: Vec<QueueHandle> = self.notes.lock().later.drain(..).map(|(_, queue)| queue).collect();
        for queue in again {
            self.serve(shared, queue);
        }
        loop {
            let Some(queue) = self.notes.lock().queues.pop_front() else { return };
            self.serve(shared, queue);
        }
    }
}
