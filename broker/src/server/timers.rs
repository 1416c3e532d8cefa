//! [`Timers`]: wakes queues when something in them is due: messages that expire, deliveries nobody acknowledges, or the queue
//! itself.
//!
//! One thread, and at most one entry for each queue: the earliest moment at which there is something to do. Queues leave
//! entries while they are locked, so that is all that happens then. An entry that turns out to be too early costs one look;
//! that is cheaper than moving it with every message. What is done at the moment is the queue's to know.

use std::collections::BTreeMap;
use std::io;
#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::clock::Clock;
use crate::engine::QueueId;
use crate::server::queue_handle::{SharedQueue, Woken};
use crate::server::shared::Shared;

/// The longest sleep; what is later is looked at again after it.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// When which queue is to be woken.
#[derive(Debug)]
pub struct Timers {
    clock: Clock,
    notes: Mutex<Notes>,
    changed: Condvar,
    /// Tests move the time on.
    #[cfg(test)]
    ahead_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct Notes {
    /// By moment, in milliseconds since 1970.
    due: BTreeMap<(u64, QueueId), Weak<SharedQueue>>,
    closing: bool,
}

impl Timers {
    /// Nothing is due, and nothing will be done before [`Timers::start`].
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            notes: Mutex::default(),
            changed: Condvar::new(),
            #[cfg(test)]
            ahead_ms: AtomicU64::new(0),
        }
    }

    /// Starts the thread. It ends when the broker is gone.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
        let (timers, broker) = (shared.timers.clone(), Arc::downgrade(shared));
        let run = move || timers.run(&broker);
        thread::Builder::new().name("warren-timers".to_owned()).spawn(run).map(drop)
    }

    /// Now, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        let now_ms = self.clock.at(Instant::now());
        #[cfg(test)]
        let now_ms = now_ms + self.ahead_ms.load(Ordering::Relaxed);
        now_ms
    }

    /// Wakes the queue at `due_ms`, instead of at the moment it named before.
    pub(super) fn arm(&self, queue: Weak<SharedQueue>, id: QueueId, before: Option<u64>, due_ms: u64) {
        let mut notes = self.notes.lock();
        if let Some(before) = before {
            notes.due.remove(&(before, id));
        }
        notes.due.insert((due_ms, id), queue);
        if notes.due.first_key_value().is_some_and(|(&first, _)| first == (due_ms, id)) {
            self.changed.notify_one();
        }
    }

    /// Does not wake the queue any more, which asked for it at `due_ms`.
    pub(super) fn disarm(&self, id: QueueId, due_ms: u64) {
        // Dropped after the lock: it may be the last that is left of the queue.
        let _queue = self.notes.lock().due.remove(&(due_ms, id));
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.notes.lock().closing = true;
        self.changed.notify_all();
    }

    fn run(&self, broker: &Weak<Shared>) {
        while let Some((due_ms, queue)) = self.wait() {
            let Some(shared) = broker.upgrade() else { return };
            wake(&shared, &queue, due_ms);
        }
    }

    /// The next queue to wake, and the moment it named; none at the end.
    fn wait(&self) -> Option<(u64, Weak<SharedQueue>)> {
        let mut notes = self.notes.lock();
        loop {
            if notes.closing {
                return None;
            }
            let now_ms = self.now_ms();
            match notes.due.first_key_value().map(|(&(due_ms, _), _)| due_ms) {
                None => self.changed.wait(&mut notes),
                Some(due_ms) if due_ms > now_ms => {
                    let sleep = Duration::from_millis(due_ms - now_ms).min(SLEEP_MAX);
                    self.changed.wait_for(&mut notes, sleep);
                }
                Some(due_ms) => return notes.due.pop_first().map(|(_, queue)| (due_ms, queue)),
            }
        }
    }
}

/// Lets a queue do what is due, and the broker what follows from it.
fn wake(shared: &Shared, queue: &Weak<SharedQueue>, due_ms: u64) {
    let Some(queue) = queue.upgrade() else { return };
    if queue.wake(due_ms) == Woken::Expired
        && let Some(vhost) = shared.vhost(&queue.options().vhost)
    {
        // It may have been used meanwhile: then it stays, and has named another moment.
        let deleted = vhost.delete_queue(&queue, SharedQueue::delete_expired);
        if let Ok(removed) = &deleted {
            tracing::info!(queue = %queue.options().name, messages = removed.ready, "a queue was unused for its time and is deleted");
        }
    }
    shared.check_memory();
}

#[cfg(test)]
impl Timers {
    /// Lets time pass, and does what is due by then without a thread.
    pub(super) fn pass(&self, shared: &Shared, time: Duration) {
        self.oversleep(time);
        self.run_due(shared);
    }

    /// Lets time pass and does nothing.
    pub(super) fn oversleep(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.ahead_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Does what is due without a thread.
    pub(super) fn run_due(&self, shared: &Shared) {
        loop {
            let now_ms = self.now_ms();
            let next = {
                let mut notes = self.notes.lock();
                let due = notes.due.first_key_value().is_some_and(|(&(due_ms, _), _)| due_ms <= now_ms);
                if due { notes.due.pop_first() } else { None }
            };
            let Some(((due_ms, _), queue)) = next else { return };
            wake(shared, &queue, due_ms);
        }
    }

    /// How many queues wait to be woken.
    pub(super) fn armed(&self) -> usize {
        self.notes.lock().due.len()
    }
}
