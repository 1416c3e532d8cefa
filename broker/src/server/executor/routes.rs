//! [`RouteCache`]: the queues that an exchange and a routing key lead to, remembered by one connection.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::engine::topology::{History, Routed};
use crate::limits::ROUTE_CACHE_ENTRIES_MAX;
use crate::server::census::ExchangeMeter;
use crate::server::history::{Attempt, HistoryBudget, HistoryHandle, SharedHistory, Stale};
use crate::server::queue_handle::QueueHandle;
use crate::wire::message::Message;

/// Where messages with one exchange and routing key go.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// Each queue once.
    pub(super) queues: Vec<QueueHandle>,
    /// Whether any of them survives a restart.
    pub(super) durable: bool,
    /// The recent histories that the messages enter.
    histories: Vec<History<HistoryHandle>>,
    /// Whether any of them may refuse a message.
    pub(super) may_reject: bool,
    /// Of the exchange that it begins at; none for a route that leads from nowhere.
    meter: Option<Arc<ExchangeMeter>>,
}

impl Route {
    pub(super) fn new(routed: Routed<QueueHandle>) -> Self {
        let Routed { queues, histories, meter } = routed;
        let durable = queues.iter().any(|queue| queue.options().durable);
        let may_reject = queues.iter().any(|queue| queue.may_reject());
        Self { queues, durable, histories, may_reject, meter: Some(meter) }
    }

    /// Counts a message that took it.
    pub(super) fn count_one(&self) {
        if let Some(meter) = &self.meter {
            meter.count(1, self.queues.len() as u64);
        }
    }

    /// Enters a message in the histories on its way; the route is too old if one of them has a newer binding.
    #[inline]
    pub(super) fn keep(
        &self,
        message: &Message,
        attempt: Attempt,
        budget: &Arc<HistoryBudget>,
    ) -> Result<(), Stale> {
        self.histories.iter().try_for_each(|history| SharedHistory::keep(history, message, attempt, budget))
    }
}

/// Routes of one vhost, valid for one generation of its topology. Holds nothing until the first publish.
#[derive(Debug, Default)]
pub(super) struct RouteCache {
    generation: u64,
    entries: Vec<Entry>,
    /// Places in `entries` by name. A plain map would need an owned key to look one up.
    index: HashTable<usize>,
    hasher: RandomState,
    /// The route asked for last: most connections publish to one place.
    last: usize,
    /// Queue handles in all entries together.
    handles: usize,
    /// Entries that were taken since the exchanges were told.
    taken: Vec<usize>,
}

/// A fanout exchange with many keys leads to all its queues under each of them.
const HANDLES_MAX: usize = 65_536;

#[derive(Debug)]
struct Entry {
    exchange: Box<[u8]>,
    routing_key: Box<[u8]>,
    route: Route,
    /// How often it was taken since its exchange was told.
    messages: u64,
}

impl Entry {
    fn is_for(&self, exchange: &[u8], routing_key: &[u8]) -> bool {
        *self.routing_key == *routing_key && *self.exchange == *exchange
    }
}

impl RouteCache {
    /// The route, if it is known in this generation.
    pub(super) fn find(&mut self, generation: u64, exchange: &[u8], routing_key: &[u8]) -> Option<usize> {
        if self.generation != generation {
            self.clear();
            self.generation = generation;
            return None;
        }
        if self.entries.get(self.last).is_some_and(|entry| entry.is_for(exchange, routing_key)) {
            return Some(self.last);
        }
        let hash = self.hasher.hash_one((exchange, routing_key));
        let found = self.index.find(hash, |&at| self.entries[at].is_for(exchange, routing_key));
        self.last = *found?;
        Some(self.last)
    }

    /// Remembers a route of the generation last asked for.
    pub(super) fn insert(&mut self, exchange: &[u8], routing_key: &[u8], route: Route) -> usize {
        let handles = route.queues.len();
        if self.entries.len() >= ROUTE_CACHE_ENTRIES_MAX || self.handles + handles > HANDLES_MAX {
            self.clear();
        }
        self.handles += handles;
        self.last = self.entries.len();
        self.entries.push(Entry {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            route,
            messages: 0,
        });
        let Self { entries, hasher, index, last, .. } = self;
        let hash_of = |&at: &usize| hasher.hash_one((&*entries[at].exchange, &*entries[at].routing_key));
        index.insert_unique(hash_of(last), *last, hash_of);
        *last
    }

    /// A route found or inserted just now.
    pub(super) fn get(&self, at: usize) -> &Route {
        &self.entries[at].route
    }

    /// Counts a message that took a route. Its exchange is told with the rest of the round, because many count there.
    #[inline]
    pub(super) fn count(&mut self, at: usize) {
        let entry = &mut self.entries[at];
        if entry.messages == 0 {
            self.taken.push(at);
        }
        entry.messages += 1;
    }

    /// Tells exchanges what was published to them. Messages with a thousand keys mostly go to one exchange, which is told once.
    pub(super) fn tell_counts(&mut self) {
        let mut told: Option<(Arc<ExchangeMeter>, u64, u64)> = None;
        for at in self.taken.drain(..) {
            let entry = &mut self.entries[at];
            let messages = std::mem::take(&mut entry.messages);
            let Some(meter) = &entry.route.meter else { continue };
            let routed = messages * entry.route.queues.len() as u64;
            match &mut told {
                Some((last, all, all_routed)) if Arc::ptr_eq(last, meter) => {
                    *all += messages;
                    *all_routed += routed;
                }
                _ => {
                    if let Some((last, all, all_routed)) = told.replace((meter.clone(), messages, routed)) {
                        last.count(all, all_routed);
                    }
                }
            }
        }
        if let Some((last, all, all_routed)) = told {
            last.count(all, all_routed);
        }
    }

    /// Forgets everything, and with it the handles of deleted queues. The memory goes too.
    pub(super) fn clear(&mut self) {
        self.tell_counts();
        self.taken = Vec::new();
        self.entries = Vec::new();
        self.index = HashTable::new();
        self.last = 0;
        self.handles = 0;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::clock::Clock;
    use crate::engine::QueueId;
    use crate::engine::queue::{QueueDeclare, QueueOptions};
    use crate::server::memory_gauge::MemoryGauge;
    use crate::server::queue_handle::{Backing, SharedQueue};
    use crate::server::timers::Timers;
    use crate::store::MemoryStore;

    fn routed(queues: Vec<QueueHandle>) -> Routed<QueueHandle> {
        Routed { queues, histories: Vec::new(), meter: Arc::default() }
    }

    #[test]
    fn exchange_and_routing_key_are_told_apart() {
        let mut cache = RouteCache::default();
        assert_eq!(cache.find(1, b"a", b"bc"), None);
        let first = cache.insert(b"a", b"bc", Route::default());
        assert_eq!(cache.find(1, b"ab", b"c"), None);
        assert_eq!(cache.find(1, b"a", b"bc"), Some(first));
    }

    #[test]
    fn another_generation_forgets_everything() {
        let mut cache = RouteCache::default();
        cache.find(1, b"", b"q");
        cache.insert(b"", b"q", Route::default());
        assert!(cache.find(1, b"", b"q").is_some());
        assert_eq!(cache.find(2, b"", b"q"), None);
        assert_eq!(cache.find(2, b"", b"q"), None);
    }

    #[test]
    fn exchanges_are_told_once_a_round_and_before_a_route_is_forgotten() {
        let meter = Arc::new(ExchangeMeter::default());
        let route = || Route { meter: Some(meter.clone()), ..Route::default() };
        let mut cache = RouteCache::default();
        let places = [cache.insert(b"e", b"a", route()), cache.insert(b"e", b"b", route())];
        for at in [0, 1, 0] {
            cache.count(places[at]);
        }
        assert_eq!(meter.numbers(), [0, 0]);
        cache.tell_counts();
        cache.tell_counts();
        assert_eq!(meter.numbers(), [3, 0]);
        cache.count(places[1]);
        cache.clear();
        assert_eq!(meter.numbers(), [4, 0]);
        let again = cache.insert(b"e", b"a", route());
        cache.count(again);
        cache.tell_counts();
        assert_eq!(meter.numbers(), [5, 0]);
    }

    #[test]
    fn it_is_emptied_at_its_bound() {
        let mut cache = RouteCache::default();
        for number in 0..=ROUTE_CACHE_ENTRIES_MAX {
            cache.insert(b"", number.to_string().as_bytes(), Route::default());
        }
        assert_eq!(cache.entries.len(), 1);
    }

    #[test]
    fn it_is_emptied_before_it_holds_too_many_handles() {
        let options = QueueOptions::from_declare(Arc::from("/"), QueueDeclare::default()).unwrap();
        let backing = Backing {
            store: Arc::new(MemoryStore),
            memory: Arc::new(MemoryGauge::new(1 << 20)),
            pager: Arc::default(),
            timers: Arc::new(Timers::new(Clock::new(Instant::now(), 0))),
            dead_letters: Arc::default(),
        };
        let queue = SharedQueue::new(QueueId(1), Arc::new(options), backing);
        let wide = || Route::new(routed(vec![queue.clone(); HANDLES_MAX / 4]));
        let mut cache = RouteCache::default();
        for number in 0..4 {
            cache.insert(b"", &[number], wide());
        }
        assert_eq!(cache.entries.len(), 4);
        let last = cache.insert(b"", b"more", Route::new(routed(vec![queue.clone()])));
        assert_eq!((last, cache.entries.len(), cache.handles), (0, 1, 1));
        cache.clear();
        assert_eq!((cache.handles, Arc::strong_count(&queue)), (0, 1));
    }
}
