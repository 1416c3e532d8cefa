//! Queues in listings.
//!
//! Names are collected under the virtual host's lock, numbers under each queue's own for a moment, and everything else without any:
//! a listing of ten thousand queues stops nobody.

use std::collections::HashMap;
use std::sync::Arc;

use super::Admin;
use super::connections::ConsumerView;
use super::measures::{Measure, Past, Windows, lengths, message_stats};
use crate::engine::policy::{AppliedPolicies, Policies};
use crate::engine::queue::{QueueCounters, QueueOptions};
use crate::engine::{ConnectionId, QueueId};
use crate::server::census::{ConnectionRecord, QueueSeries, TALLY_AT};
use crate::server::queue_handle::{QueueHandle, QueueLook};
use crate::server::vhost::VHost;

/// A queue.
#[derive(Debug, Clone)]
pub struct QueueView {
    /// Virtual host, name, and what it was declared with.
    pub options: Arc<QueueOptions>,
    /// The policies that apply to it.
    pub policies: AppliedPolicies,
    /// The connection that it belongs to, by name, if it is exclusive and its connection still listed.
    pub owner: Option<String>,
    /// Messages in all, ready, and unacknowledged.
    pub lengths: [Measure; 3],
    /// What happened to its messages since it was declared or the broker started; empty if nothing did.
    pub message_stats: Vec<Measure>,
    /// How messages ended that nobody consumed.
    pub ends: QueueCounters,
    /// Of the bodies of ready messages.
    pub ready_bytes: u64,
    /// Of the bodies of unacknowledged messages.
    pub unacked_bytes: u64,
    /// What its messages occupy in memory.
    pub memory_bytes: u64,
    /// Whether it gives nobody messages, because an operator wanted it so.
    pub paused: bool,
    /// How many consumers it has.
    pub consumer_count: u32,
    /// In what share of the last five seconds every ready message found a consumer at once, in millionths; 0 without consumers.
    pub consumer_capacity: u32,
    /// Its consumers, if they were asked for.
    pub consumers: Vec<ConsumerView>,
    /// Since when nothing happened in it, to five seconds, in milliseconds since 1970.
    pub idle_since_ms: u64,
}

/// What is collected under the lock.
struct Found {
    queue: QueueHandle,
    owner: Option<ConnectionId>,
    policies: Arc<Policies>,
}

impl Admin {
    /// All queues of a virtual host, or of all, in no particular order.
    #[must_use]
    pub fn queues(&self, vhost: Option<&str>, windows: Windows) -> Vec<QueueView> {
        let found: Vec<Found> =
            self.vhosts_named(vhost).iter().flat_map(|vhost| find(vhost, |_| true)).collect();
        self.view(found, windows)
    }

    /// One queue, with its consumers. Waits for their connections, but not long.
    #[must_use]
    pub fn queue(&self, vhost: &str, name: &str, windows: Windows) -> Option<QueueView> {
        let vhost = self.shared.vhost(vhost)?;
        let queue = vhost.read(|registry| registry.topology.find_queue(name).cloned())?;
        let found = find(&vhost, |other| other == queue.id());
        let mut view = self.view(found, windows).pop()?;
        if view.consumer_count > 0 {
            let consumers = self.consumers(Some(vhost.name()));
            view.consumers =
                consumers.into_iter().filter(|consumer| consumer.queue_id == queue.id()).collect();
        }
        Some(view)
    }

    /// Whether there is a queue of this name.
    #[must_use]
    pub fn has_queue(&self, vhost: &str, name: &str) -> bool {
        let vhost = self.shared.vhost(vhost);
        vhost.is_some_and(|vhost| vhost.read(|registry| registry.topology.find_queue(name).is_some()))
    }

    pub(super) fn vhosts_named(&self, name: Option<&str>) -> Vec<Arc<VHost>> {
        match name {
            Some(name) => self.shared.vhost(name).into_iter().collect(),
            None => self.shared.vhosts(),
        }
    }

    fn view(&self, found: Vec<Found>, windows: Windows) -> Vec<QueueView> {
        let looks: Vec<QueueLook> = found.iter().map(|found| found.queue.look()).collect();
        let names: HashMap<ConnectionId, String> = match found.iter().any(|found| found.owner.is_some()) {
            true => {
                let name = |record: Arc<ConnectionRecord>| (record.id, record.name.clone());
                self.shared.census.records().into_iter().map(name).collect()
            }
            false => HashMap::new(),
        };
        self.shared.census.seen(|seen| {
            let past = |id: QueueId| seen.queues.get(&id);
            let views = found.into_iter().zip(looks).map(|(found, look)| {
                let owner = found.owner.and_then(|owner| names.get(&owner).cloned());
                view_of(&found, &look, owner, past(found.queue.id()), windows)
            });
            views.collect()
        })
    }
}

fn find(vhost: &VHost, wanted: impl Fn(QueueId) -> bool) -> Vec<Found> {
    vhost.read(|registry| {
        let policies = Arc::new(registry.topology.all_policies());
        let found = registry.topology.queues().filter(|view| wanted(view.queue.id()));
        found
            .map(|view| Found { queue: view.queue.clone(), owner: view.owner, policies: policies.clone() })
            .collect()
    })
}

fn view_of(
    found: &Found,
    look: &QueueLook,
    owner: Option<String>,
    past: Option<&QueueSeries>,
    windows: Windows,
) -> QueueView {
    let options = found.queue.options().clone();
    let series: Option<&dyn Past> = past.map(|series| series as _);
    let mut stats = message_stats(&look.tally, TALLY_AT, series, windows.messages);
    // Those are counted where messages are published.
    stats.retain(|measure| !["confirm", "return_unroutable", "drop_unroutable"].contains(&measure.name));
    QueueView {
        policies: found.policies.of_queue(&options),
        options,
        owner,
        lengths: lengths((look.ready.into(), look.unacked.into()), series, windows.lengths),
        message_stats: stats,
        ends: look.ends,
        ready_bytes: look.ready_bytes,
        unacked_bytes: look.unacked_bytes,
        memory_bytes: look.memory_bytes.try_into().unwrap_or(u64::MAX),
        paused: look.paused,
        consumer_count: look.consumers,
        consumer_capacity: look.capacity,
        consumers: Vec::new(),
        idle_since_ms: past.and_then(QueueSeries::changed_ms).unwrap_or(look.made_ms),
    }
}
