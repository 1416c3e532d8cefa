//! [`Shared`]: what all connections of one broker have in common.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::{Config, DiskFreeLimit};
use crate::engine::{ConnectionId, QueueId};
use crate::error::AmqpError;
use crate::server::access::AccessControl;
use crate::server::admission::{Admission, AdmissionLimits};
use crate::server::alarms::{Alarm, Alarms, Connected};
use crate::server::backups::Backups;
use crate::server::census::Census;
use crate::server::dead_letters::DeadLetters;
use crate::server::durable_waiters::DurableWaiters;
use crate::server::events::Events;
use crate::server::history::HistoryBudget;
use crate::server::memory_gauge::{AlarmChange, MemoryGauge};
use crate::server::outbox::Outbox;
use crate::server::pager::Pager;
use crate::server::queue_handle::{Backing, QueueHandle};
use crate::server::queue_limit::QueueLimit;
use crate::server::reload::Running;
use crate::server::sessions::Sessions;
use crate::server::timers::Timers;
use crate::server::vhost::VHost;
use crate::session::action::Event;
use crate::session::config::SessionConfig;
use crate::store::{Epoch, Store};

/// The most that may wait to be written, in bytes. Two seconds of a slow disk.
const BACKLOG_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What recent history exchanges may hold is this part of the memory limit. Consumers cannot drain it, so it must not raise the
/// memory alarm by itself.
const HISTORIES_PART: usize = 8;

/// The broker's state: vhosts, users, the store, and who is connected.
#[derive(Debug)]
pub struct Shared {
    /// What sessions are told of the broker and its bounds.
    session_config: RwLock<Arc<SessionConfig>>,
    /// Tells the time of day.
    pub clock: Clock,
    /// What the broker runs with.
    pub(super) running: Running,
    /// Users, virtual hosts and permissions.
    pub(super) access: AccessControl,
    /// Who is connected as whom and where.
    pub(super) sessions: Sessions,
    /// The backup that is being made.
    pub(super) backups: Backups,
    /// How many connections there may be.
    pub(super) admission: Arc<Admission>,
    /// How many queues there may be.
    pub(super) queue_limit: QueueLimit,
    /// Who is connected, and what is counted.
    pub(super) census: Arc<Census>,
    /// Where persistent messages go.
    pub store: Arc<dyn Store>,
    /// What the queues hold.
    pub memory: Arc<MemoryGauge>,
    /// What recent history exchanges may hold.
    pub histories: Arc<HistoryBudget>,
    /// Where to tell what happens.
    pub events: Arc<Events>,
    /// Moves bodies out of memory and back.
    pub pager: Arc<Pager>,
    /// Tells the time, and wakes queues.
    pub timers: Arc<Timers>,
    /// Publishes what queues give up.
    pub dead_letters: Arc<DeadLetters>,
    disk_free_limit: Mutex<DiskFreeLimit>,
    /// Held while a vhost comes or goes, so that one of the same name does not come while it goes. Before all other locks.
    pub(super) vhost_changes: Mutex<()>,
    vhosts: RwLock<HashMap<String, Arc<VHost>>>,
    connected: Mutex<Connected>,
    /// Notified when the last connection is gone.
    last_gone: Notify,
    /// Notified when an operator wants the broker to stop.
    pub(super) stop_requested: Notify,
    waiters: Arc<DurableWaiters>,
    next_id: AtomicU64,
}

impl Shared {
    /// A broker with the vhosts that `access` knows and nothing in them.
    pub(super) fn new(
        config: &Config,
        session_config: Arc<SessionConfig>,
        access: AccessControl,
        store: Arc<dyn Store>,
        events: Arc<Events>,
    ) -> Arc<Self> {
        let waiters = Arc::new(DurableWaiters::default());
        let pager = Arc::new(Pager::default());
        let told = (waiters.clone(), pager.clone());
        store.on_durable(Box::new(move |durable| {
            told.0.advance(durable);
            told.1.advance(durable);
        }));
        let census = Arc::new(Census::new(session_config.clock));
        let vhosts: HashMap<String, Arc<VHost>> = access.read(|directory| {
            let new = |name: &str| Arc::new(VHost::new(name, store.clone(), events.clone(), census.clone()));
            directory.vhosts().map(|(name, _)| (name.to_owned(), new(name))).collect()
        });
        let (clock, limits) = (session_config.clock, &config.limits);
        let timers = Arc::new(Timers::new(clock));
        let memory = Arc::new(MemoryGauge::new(0));
        memory.set_limit_bytes(limits.memory_bytes());
        Arc::new(Self {
            session_config: RwLock::new(session_config),
            clock,
            running: Running::new(config),
            access,
            sessions: Sessions::default(),
            backups: Backups::default(),
            census,
            store,
            histories: Arc::new(HistoryBudget::new(HISTORIES_PART, memory.clone())),
            memory,
            pager,
            timers,
            dead_letters: Arc::default(),
            disk_free_limit: Mutex::new(limits.disk_free),
            vhost_changes: Mutex::new(()),
            vhosts: RwLock::new(vhosts),
            connected: Mutex::new(Connected::new(Some(events.clone()))),
            events,
            admission: Arc::new(Admission::new(AdmissionLimits::from(limits))),
            queue_limit: QueueLimit::new(limits.queues_max),
            last_gone: Notify::new(),
            stop_requested: Notify::new(),
            waiters,
            next_id: AtomicU64::new(1),
        })
    }

    /// What new sessions are told.
    pub(super) fn session_config(&self) -> Arc<SessionConfig> {
        self.session_config.read().clone()
    }

    pub(super) fn set_session_config(&self, config: Arc<SessionConfig>) {
        *self.session_config.write() = config;
    }

    /// Free space on the data folder's disk below which publishers wait.
    pub(super) fn disk_free_limit(&self) -> DiskFreeLimit {
        *self.disk_free_limit.lock()
    }

    pub(super) fn set_disk_free_limit(&self, limit: DiskFreeLimit) {
        *self.disk_free_limit.lock() = limit;
    }

    /// A connection is not read while more than this, in bytes, waits to be written and some of it is its own.
    pub fn backlog_bytes_max(&self) -> usize {
        (self.memory.limit_bytes() / 8).min(BACKLOG_BYTES_MAX)
    }

    /// The vhost of this name.
    pub fn vhost(&self, name: &str) -> Option<Arc<VHost>> {
        self.vhosts.read().get(name).cloned()
    }

    /// All vhosts, in no particular order.
    pub fn vhosts(&self) -> Vec<Arc<VHost>> {
        self.vhosts.read().values().cloned().collect()
    }

    /// Adds a vhost that has nothing in it.
    pub(super) fn add_vhost(&self, name: &str) {
        let vhost = VHost::new(name, self.store.clone(), self.events.clone(), self.census.clone());
        self.vhosts.write().insert(name.to_owned(), Arc::new(vhost));
    }

    /// Removes a vhost. Connections may still hold it.
    pub(super) fn remove_vhost(&self, name: &str) -> Option<Arc<VHost>> {
        self.vhosts.write().remove(name)
    }

    /// All queues of all vhosts.
    pub fn queues(&self) -> Vec<QueueHandle> {
        let of = |vhost: Arc<VHost>| {
            vhost.read(|registry| {
                registry.topology.queues().map(|view| view.queue.clone()).collect::<Vec<_>>()
            })
        };
        self.vhosts().into_iter().flat_map(of).collect()
    }

    /// How many queues there are in all vhosts.
    pub(super) fn queue_count(&self) -> usize {
        self.vhosts().iter().map(|vhost| vhost.read(|registry| registry.topology.queue_count())).sum()
    }

    /// What new queues are given.
    pub fn backing(&self) -> Backing {
        let Self { store, memory, pager, timers, dead_letters, .. } = self;
        Backing {
            store: store.clone(),
            memory: memory.clone(),
            pager: pager.clone(),
            timers: timers.clone(),
            dead_letters: dead_letters.clone(),
        }
    }

    /// Ids from here on belong to queues that were restored.
    pub fn skip_queue_ids(&self, highest: QueueId) {
        self.next_id.fetch_max(highest.0.saturating_add(1), Ordering::Relaxed);
    }

    /// An id for somebody who acts without a connection.
    pub(super) fn new_connection_id(&self) -> ConnectionId {
        ConnectionId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// An id for a new queue.
    pub fn new_queue_id(&self) -> QueueId {
        QueueId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Enters a new connection.
    pub fn enter(&self, outbox: &Arc<Outbox>) -> ConnectionId {
        let mut connected = self.connected.lock();
        let id = ConnectionId(self.next_id.fetch_add(1, Ordering::Relaxed));
        connected.outboxes.insert(id, outbox.clone());
        if let Some(reason) = connected.reason() {
            outbox.push_news(Event::Blocked(reason));
        }
        id
    }

    /// Removes a connection that has ended.
    pub fn leave(&self, id: ConnectionId) {
        let outboxes = &mut self.connected.lock().outboxes;
        outboxes.remove(&id);
        if outboxes.len() * 4 < outboxes.capacity() {
            outboxes.shrink_to_fit();
        }
        if outboxes.is_empty() {
            self.last_gone.notify_waiters();
        }
    }

    /// How many connections there are.
    pub fn connection_count(&self) -> usize {
        self.connected.lock().outboxes.len()
    }

    /// What publishers are held back for.
    pub fn alarms(&self) -> Alarms<'_> {
        Alarms(&self.connected)
    }

    /// Tells every connection to end with `error`.
    pub fn close_all(&self, error: &AmqpError) {
        for outbox in self.connected.lock().outboxes.values() {
            outbox.push_news(Event::Close(error.clone()));
        }
    }

    /// Ends every connection without a word.
    pub fn kill_all(&self) {
        for outbox in self.connected.lock().outboxes.values() {
            outbox.kill();
        }
    }

    /// Waits until nobody is connected.
    pub async fn all_gone(&self) {
        loop {
            let gone = self.last_gone.notified();
            tokio::pin!(gone);
            // Registered before the look, so that the last one to leave in between is not missed.
            gone.as_mut().enable();
            if self.connection_count() == 0 {
                return;
            }
            gone.await;
        }
    }

    /// Sees to it that `outbox` hears when `epoch` is durable.
    pub fn wait_durable(&self, epoch: Epoch, outbox: &Arc<Outbox>) {
        self.waiters.wait(epoch, outbox);
        let durable = self.store.durable();
        if durable >= epoch {
            self.waiters.advance(durable);
        }
    }

    /// Raises or clears the memory alarm if what the queues hold asks for it. Cheap when nothing changes.
    pub fn check_memory(&self) {
        if self.memory.held_bytes() > self.memory.paging().from_bytes && self.store.can_page() {
            self.pager.crowd();
        }
        if !self.memory.is_due() {
            return;
        }
        // Under the lock, so that a raise and the clear that follows reach every connection in that order. Again until the
        // alarm fits what is held: somebody may have changed that just before the alarm rose, and seen nothing to clear.
        let mut connected = self.connected.lock();
        loop {
            let held_bytes = self.memory.held_bytes();
            let limit_bytes = self.memory.limit_bytes();
            match self.memory.check() {
                AlarmChange::None => return,
                AlarmChange::Raised => {
                    connected.set(Alarm::Memory, true);
                    tracing::warn!(
                        held_bytes,
                        limit_bytes,
                        "memory alarm: publishers are held back until queues drain; let consumers catch up, or raise \
                         limits.memory (--memory-limit)"
                    );
                }
                AlarmChange::Cleared => {
                    connected.set(Alarm::Memory, false);
                    tracing::info!(held_bytes, limit_bytes, "memory alarm cleared");
                }
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.pager.close();
        self.events.close();
        self.timers.close();
        self.census.close();
        self.dead_letters.close();
    }
}
