//! [`VHost`]: one virtual host's topology behind its lock, and what routes leave behind in caches.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::engine::definitions::DefinitionChange;
use crate::engine::exchange::ExchangeKind;
use crate::engine::policy::PolicyKind;
use crate::engine::queue::Removed;
use crate::engine::topology::{Outcome, PolicyChange, Topology};
use crate::server::census::{Census, count};
use crate::server::events::{EVENT_EXCHANGE, EVENT_VHOST, Events, INTERNAL_USER, fields};
use crate::server::queue_handle::{DeleteRefused, QueueHandle, SharedQueue};
use crate::store::Store;

/// What the reply addresses of clients begin with.
pub(super) const REPLY_TO_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// A virtual host. The first lock in the order registry, queue, outbox.
#[derive(Debug)]
pub struct VHost {
    name: Arc<str>,
    store: Arc<dyn Store>,
    registry: RwLock<Registry>,
    /// Changes whenever a route may have changed. Read without the lock by route caches.
    generation: AtomicU64,
    /// Held from the change of a policy until the last queue has heard of it. Taken before all other locks.
    policy_change: Mutex<()>,
    /// What is published and delivered here is told to `amq.rabbitmq.trace`.
    traced: AtomicBool,
    events: Arc<Events>,
    census: Arc<Census>,
}

/// What the vhost's lock protects.
#[derive(Debug)]
pub struct Registry {
    /// Exchanges, bindings and queue names.
    pub topology: Topology<QueueHandle>,
    /// Direct reply queues by their full address; no topology request ever sees them.
    pub replies: HashMap<String, QueueHandle>,
    /// The vhost was deleted: what connections still do in it until they have gone is not kept.
    deleted: bool,
}

impl VHost {
    /// A vhost with the pre-declared exchanges only. What of it is durable goes to `store`.
    #[must_use]
    pub fn new(name: &str, store: Arc<dyn Store>, events: Arc<Events>, census: Arc<Census>) -> Self {
        let mut registry =
            Registry { topology: Topology::new(name), replies: HashMap::new(), deleted: false };
        if events.has_exchange() && name == EVENT_VHOST {
            registry.topology.predeclare_exchange(EVENT_EXCHANGE, ExchangeKind::Topic, true);
        }
        Self {
            name: name.into(),
            store,
            registry: RwLock::new(registry),
            generation: AtomicU64::new(1),
            policy_change: Mutex::new(()),
            traced: AtomicBool::new(false),
            events,
            census,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The generation of its routes. A route read before a lookup under the lock belongs to this generation or a newer
    /// one, so a cache that remembers this value never keeps a stale route for longer than one look.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether messages are traced. One relaxed load, for every message.
    #[inline]
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.traced.load(Ordering::Relaxed)
    }

    /// Turns tracing on or off. It takes effect with the next message of each connection.
    pub fn set_traced(&self, traced: bool) {
        self.traced.store(traced, Ordering::Relaxed);
    }

    /// Looks, without changing anything.
    pub fn read<T>(&self, look: impl FnOnce(&Registry) -> T) -> T {
        look(&self.registry.read())
    }

    /// Deletes a queue and its name together, so that nobody finds the one without the other. Its messages are dropped by the
    /// caller, when the vhost is free for others again.
    ///
    /// # Errors
    ///
    /// If `delete` refuses.
    pub(super) fn delete_queue(
        &self,
        queue: &QueueHandle,
        delete: impl FnOnce(&SharedQueue) -> Result<Removed, DeleteRefused>,
    ) -> Result<Removed, DeleteRefused> {
        self.delete_queue_as(INTERNAL_USER, queue, delete)
    }

    /// The same on behalf of a user.
    ///
    /// # Errors
    ///
    /// If `delete` refuses.
    pub(super) fn delete_queue_as(
        &self,
        user: &str,
        queue: &QueueHandle,
        delete: impl FnOnce(&SharedQueue) -> Result<Removed, DeleteRefused>,
    ) -> Result<Removed, DeleteRefused> {
        self.write_as(user, |registry| {
            if queue.is_deleted() {
                return Ok(Removed::default());
            }
            let removed = delete(queue)?;
            registry.topology.remove_queue(&queue.options().name);
            count(&self.census.churn.queues_deleted);
            Ok(removed)
        })
    }

    /// Changes the policies and tells the queues which it concerns. Outside of the registry's lock, because a queue may have many
    /// messages to drop; one change after the other, so that each queue ends up with the settings of the last one.
    ///
    /// # Errors
    ///
    /// If `change` refuses.
    pub(super) fn change_policies<E>(
        &self,
        change: impl FnOnce(&mut Topology<QueueHandle>) -> Result<PolicyChange<QueueHandle>, E>,
    ) -> Result<Outcome, E> {
        let _turn = self.policy_change.lock();
        let PolicyChange { outcome, queues } = self.write(|registry| change(&mut registry.topology))?;
        for (queue, settings) in queues {
            queue.apply_settings(settings);
        }
        // Once more: routes that were looked up meanwhile may not know yet which queues refuse messages.
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok(outcome)
    }

    /// Deletes all that is in it, and keeps nothing of what is still declared in it. Queues go one by one, so that nothing waits for
    /// all of them.
    pub(super) fn delete(&self) {
        let queues: Vec<QueueHandle> =
            self.read(|registry| registry.topology.queues().map(|view| view.queue.clone()).collect());
        for queue in queues {
            // Without conditions there is nothing to refuse.
            let _ = self.delete_queue(&queue, |queue| queue.delete(false, false));
        }
        self.write(|registry| {
            let late: Vec<QueueHandle> = registry.topology.queues().map(|view| view.queue.clone()).collect();
            for queue in late {
                let _ = queue.delete(false, false);
                registry.topology.remove_queue(&queue.options().name);
            }
            let exchanges: Vec<String> =
                registry.topology.exchanges().map(|view| view.options.name.clone()).collect();
            for exchange in exchanges {
                // Those that were always there refuse, and are not kept anyway.
                let _ = registry.topology.delete_exchange(&exchange, false);
            }
            for kind in [PolicyKind::User, PolicyKind::Operator] {
                let policies: Vec<_> = registry.topology.policies(kind).to_vec();
                for policy in policies {
                    // It applies to nothing that is left.
                    let _ = registry.topology.delete_policy(kind, policy.name());
                }
            }
            registry.deleted = true;
        });
    }

    /// Changes the registry, and the generation if a route may have changed. What is durable about it is in the store's hands,
    /// in one commit, before anybody else can see it.
    pub fn write<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        self.write_as(INTERNAL_USER, change)
    }

    /// The same on behalf of a user, who is named in events.
    pub(super) fn write_as<T>(&self, user: &str, change: impl FnOnce(&mut Registry) -> T) -> T {
        let _round = self.store.round();
        let mut registry = self.registry.write();
        let before = (registry.topology.generation(), registry.replies.len());
        let was_deleted = registry.deleted;
        let events = self.events.wanted();
        registry.topology.gather_news(events.is_some());
        let result = change(&mut registry);
        for DefinitionChange { key, value } in registry.topology.take_changes() {
            if !was_deleted {
                self.store.define(key, value);
            }
        }
        if let Some(events) = events {
            for news in registry.topology.take_news() {
                let (key, headers) = fields::of_news(&self.name, user, &news);
                events.tell(key, headers);
            }
        }
        if before != (registry.topology.generation(), registry.replies.len()) {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        result
    }
}
