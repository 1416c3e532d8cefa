//! [`Pager`]: moves the bodies of long backlogs out of memory, and back when consumers come near them.
//!
//! Two threads, because one waits for the disk to have written while the other must go on reading: consumers can always
//! drain. Queues ask for loads while they are locked, so asking only leaves a note. What leaves memory and what is loaded is
//! the queues' decision (`engine::queue`); where it lies is the store's.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::server::queue_handle::{QueueHandle, SharedQueue};
use crate::server::shared::Shared;
use crate::store::Epoch;

/// What a queue keeps in memory in front of its paged messages, and what is loaded at once, in bytes. Less when many queues
/// are paged.
const FRONT_BYTES: usize = 1024 * 1024;

/// And never less than this.
const FRONT_BYTES_MIN: usize = 16 * 1024;

/// Transient messages of one queue that are handed to the store in one go, in bytes.
const STAGED_BYTES: usize = 8 * 1024 * 1024;

/// How long to wait for the store to write, before looking again whether there still is too much in memory.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before messages that could not be read are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Notes for the two threads.
#[derive(Debug)]
pub struct Pager {
    notes: Mutex<Notes>,
    to_load: Condvar,
    to_unload: Condvar,
    crowded: AtomicBool,
    front_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Notes {
    loads: VecDeque<Weak<SharedQueue>>,
    /// The store has become durable up to here.
    durable: Epoch,
    closing: bool,
}

impl Default for Pager {
    fn default() -> Self {
        Self {
            notes: Mutex::new(Notes::default()),
            to_load: Condvar::new(),
            to_unload: Condvar::new(),
            crowded: AtomicBool::new(false),
            front_bytes: AtomicUsize::new(FRONT_BYTES),
        }
    }
}

impl Pager {
    /// Starts the threads. They end when the broker is gone.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
        let (pager, broker) = (shared.pager.clone(), Arc::downgrade(shared));
        let loader = move || pager.load_all();
        thread::Builder::new().name("warren-load".to_owned()).spawn(loader)?;
        let pager = shared.pager.clone();
        let unloader = move || pager.unload_all(&broker);
        thread::Builder::new().name("warren-page".to_owned()).spawn(unloader).map(drop)
    }

    /// Asks for the next messages of a queue. It gets them, or finds out that it needs none.
    pub(super) fn request(&self, queue: Weak<SharedQueue>) {
        self.notes.lock().loads.push_back(queue);
        self.to_load.notify_one();
    }

    /// How much a queue keeps in memory in front of its paged messages, and loads at once.
    pub(super) fn front_bytes(&self) -> usize {
        self.front_bytes.load(Ordering::Relaxed)
    }

    /// There is too much in memory.
    pub(super) fn crowd(&self) {
        if !self.crowded.swap(true, Ordering::Relaxed) {
            let _notes = self.notes.lock();
            self.to_unload.notify_one();
        }
    }

    /// The store has become durable up to here.
    pub(super) fn advance(&self, durable: Epoch) {
        self.notes.lock().durable = durable;
        self.to_unload.notify_one();
    }

    /// Ends the threads.
    pub(super) fn close(&self) {
        self.notes.lock().closing = true;
        self.to_load.notify_all();
        self.to_unload.notify_all();
    }

    fn load_all(&self) {
        let mut failed: Vec<Weak<SharedQueue>> = Vec::new();
        loop {
            let queue = {
                let mut notes = self.notes.lock();
                while notes.loads.is_empty() && !notes.closing && failed.is_empty() {
                    self.to_load.wait(&mut notes);
                }
                if notes.loads.is_empty() && !notes.closing {
                    self.to_load.wait_for(&mut notes, RETRY);
                    notes.loads.extend(failed.drain(..));
                }
                if notes.closing {
                    return;
                }
                notes.loads.pop_front()
            };
            let Some(queue) = queue.as_ref().and_then(Weak::upgrade) else { continue };
            if let Err(error) = queue.load_requested() {
                let name = &queue.options().name;
                tracing::error!(queue = %name, %error, "cannot read messages back; trying again every second");
                failed.push(Arc::downgrade(&queue));
            }
        }
    }

    fn unload_all(&self, broker: &Weak<Shared>) {
        loop {
            {
                let mut notes = self.notes.lock();
                while !self.crowded.load(Ordering::Relaxed) && !notes.closing {
                    self.to_unload.wait(&mut notes);
                }
                if notes.closing {
                    return;
                }
            }
            let Some(shared) = broker.upgrade() else { return };
            // Before looking, so that nobody who finds too much meanwhile is passed over.
            self.crowded.store(false, Ordering::Relaxed);
            self.make_room(&shared);
            if shared.memory.held_bytes() > shared.memory.paging().from_bytes {
                // Publishers may be held back already, and then nobody else says so again.
                drop(shared);
                let mut notes = self.notes.lock();
                if !notes.closing {
                    self.to_unload.wait_for(&mut notes, RETRY);
                }
                self.crowded.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Pages out, the largest queues first, until there is room or nothing more can go.
    fn make_room(&self, shared: &Shared) {
        let room = shared.memory.paging();
        loop {
            let held = shared.memory.held_bytes();
            if held <= room.until_bytes || self.notes.lock().closing {
                return;
            }
            let chosen = self.choose(shared, held - room.until_bytes, room.from_bytes);
            let front = self.front_bytes();
            let staged: Vec<_> =
                chosen.iter().map(|queue| (queue, queue.stage_page_out(front, STAGED_BYTES))).collect();
            let epoch = staged.iter().map(|(_, staged)| staged.epoch).max().unwrap_or_default();
            if !self.wait_durable(shared, epoch) {
                return;
            }
            // Dropped here, with no lock held.
            let removed = staged.iter().flat_map(|(queue, staged)| queue.page_out(staged, front));
            let out: u64 = removed.map(|removed| u64::from(removed.ready)).sum();
            shared.check_memory();
            if out == 0 {
                return;
            }
        }
    }

    /// The fewest queues that can make so much room.
    fn choose(&self, shared: &Shared, wanted: usize, limit: usize) -> Vec<QueueHandle> {
        let mut queues: Vec<(usize, QueueHandle)> =
            shared.queues().into_iter().map(|queue| (queue.memory_bytes(), queue)).collect();
        queues.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let large = queues.iter().filter(|(bytes, _)| *bytes > FRONT_BYTES_MIN).count();
        let front = (limit / 4 / large.max(1)).clamp(FRONT_BYTES_MIN, FRONT_BYTES);
        self.front_bytes.store(front, Ordering::Relaxed);
        let mut room = 0;
        let needed = |(bytes, queue): (usize, QueueHandle)| {
            let spare = bytes.saturating_sub(front);
            let more = room < wanted && spare > 0;
            room += spare;
            more.then_some(queue)
        };
        queues.into_iter().map_while(needed).collect()
    }

    fn wait_durable(&self, shared: &Shared, epoch: Epoch) -> bool {
        let deadline = Instant::now() + WRITE_PATIENCE;
        let mut notes = self.notes.lock();
        while shared.store.durable() < epoch {
            if notes.closing || self.to_unload.wait_until(&mut notes, deadline).timed_out() {
                return false;
            }
        }
        true
    }
}
