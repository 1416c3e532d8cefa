//! The way of a message from an exchange to queues: bindings, exchange-to-exchange bindings, alternate exchanges.
//!
//! Duplicates are removed once, by sorting the queues' dense numbers: n log n for a fanout to n queues, nothing allocated
//! for up to 16, and no marks to keep in step between publishers.

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use super::{DEFAULT_EXCHANGE, Handle, History, Topology};
use crate::engine::exchange::{ExchangeKind, HashOn, Matched, MessageView, Target};
use crate::error::AmqpError;

/// Where a message goes.
#[derive(Debug)]
pub struct Routed<Q: Handle> {
    /// Each queue once.
    pub queues: Vec<Q>,
    /// The recent histories that the message enters, each once.
    pub histories: Vec<History<Q::History>>,
    /// Of the exchange that it was published to.
    pub meter: Q::Meter,
}

impl<Q: Handle> Topology<Q> {
    /// Finds where a client's message goes. `routing_keys` are its own and then those of its CC and BCC headers. 404 if the
    /// exchange is missing, 403 if it is internal.
    pub fn route(
        &self,
        exchange: &str,
        routing_keys: &[&str],
        message: &MessageView<'_>,
    ) -> Result<Routed<Q>, AmqpError> {
        let number = self.publishable(exchange)?;
        Ok(self.route_from(number, routing_keys, message))
    }

    /// The same for a message of the broker's own, which internal exchanges accept too. `None` if the exchange is missing.
    #[must_use]
    pub fn route_internally(
        &self,
        exchange: &str,
        routing_keys: &[&str],
        message: &MessageView<'_>,
    ) -> Option<Routed<Q>> {
        let &number = self.exchange_names.get(exchange)?;
        Some(self.route_from(number, routing_keys, message))
    }

    /// Whether clients may publish to the exchange: the check that [`Self::route`] begins with.
    pub fn check_publish(&self, exchange: &str) -> Result<(), AmqpError> {
        self.publishable(exchange).map(|_| ())
    }

    /// Whether routes from this exchange may depend on more than the routing key, be it on the message or on chance: a cache
    /// by key may not keep them.
    #[must_use]
    pub fn varies_by_message(&self, exchange: &str) -> bool {
        let Some(&start) = self.exchange_names.get(exchange) else { return false };
        let mut seen = HashSet::new();
        let mut pending = vec![start];
        while let Some(number) = pending.pop() {
            let entry = &self.exchanges[number];
            match entry.options.kind {
                ExchangeKind::Headers | ExchangeKind::Random | ExchangeKind::LocalRandom => return true,
                ExchangeKind::ConsistentHash if entry.options.hash_on != HashOn::RoutingKey => return true,
                _ => {}
            }
            let alternate = self.alternate_of(number);
            if entry.to_exchanges.is_empty() && alternate.is_none() || !seen.insert(number) {
                continue;
            }
            pending.extend(alternate);
            pending.extend(entry.to_exchanges.iter().filter_map(|&binding| {
                match self.bindings.arena[binding].spec.target {
                    Target::Exchange(exchange) => Some(exchange),
                    Target::Queue(_) => None,
                }
            }));
        }
        false
    }

    fn publishable(&self, exchange: &str) -> Result<u32, AmqpError> {
        let number = self.exchange_number(exchange)?;
        if self.exchanges[number].options.internal {
            return Err(AmqpError::access_refused(format!(
                "cannot publish to internal exchange '{exchange}' in vhost '{}'",
                self.vhost
            )));
        }
        Ok(number)
    }

    fn route_from(&self, start: u32, routing_keys: &[&str], message: &MessageView<'_>) -> Routed<Q> {
        let mut matched = Matched::default();
        self.collect(start, routing_keys, message, &mut matched);
        let unrouted = matched.queues.is_empty() && self.exchanges[start].alternate_exchange().is_some();
        if unrouted || !matched.exchanges.is_empty() {
            self.follow(start, routing_keys, message, &mut matched);
        }
        matched.queues.sort_unstable();
        matched.queues.dedup();
        let histories = matched.histories.iter().filter_map(|&kept| self.exchanges[kept].history.clone());
        Routed {
            queues: matched.queues.iter().map(|&queue| self.queues[queue].queue.clone()).collect(),
            histories: histories.collect(),
            meter: self.exchanges[start].meter.clone(),
        }
    }

    /// Follows the exchanges that `start` has matched, and so on from there, each exchange once. Every exchange on the
    /// way that reaches no queue through bindings, its own or further ones, hands over to its alternate exchange.
    ///
    /// What an exchange reaches is settled before any alternate exchange is asked, so that the outcome does not depend
    /// on the order of bindings even where they form cycles. RabbitMQ is stricter: there an alternate exchange gets only
    /// what matched no binding at all, and a message that another exchange then drops is lost.
    fn follow(&self, start: u32, routing_keys: &[&str], message: &MessageView<'_>, matched: &mut Matched) {
        // Whether an exchange reaches a queue, for all that have been looked at.
        let mut reaches = HashMap::new();
        reaches.insert(start, !matched.queues.is_empty());
        let mut edges: Vec<Edge> = matched.exchanges.iter().map(|&to| Edge { to, from: start }).collect();
        let mut fresh = vec![start];
        loop {
            while let Some(next) = matched.exchanges.pop() {
                if reaches.contains_key(&next) {
                    continue;
                }
                let (pending, queues_before) = (matched.exchanges.len(), matched.queues.len());
                self.collect(next, routing_keys, message, matched);
                reaches.insert(next, matched.queues.len() > queues_before);
                fresh.push(next);
                edges.extend(matched.exchanges[pending..].iter().map(|&to| Edge { to, from: next }));
            }
            spread_backwards(&mut edges, &mut reaches);
            edges.clear();
            let unrouted = fresh.drain(..).filter(|exchange| !reaches[exchange]);
            matched.exchanges.extend(unrouted.filter_map(|exchange| self.alternate_of(exchange)));
            if matched.exchanges.is_empty() {
                return;
            }
        }
    }

    /// What one exchange's own bindings lead to. Every queue is bound to the default exchange by its name.
    fn collect(
        &self,
        exchange: u32,
        routing_keys: &[&str],
        message: &MessageView<'_>,
        matched: &mut Matched,
    ) {
        if exchange == DEFAULT_EXCHANGE {
            let named = routing_keys.iter().filter_map(|&key| self.queue_names.get(key).copied());
            matched.queues.extend(named);
        } else {
            let entry = &self.exchanges[exchange];
            entry.routes.collect(exchange, routing_keys, message, matched);
            if entry.history.is_some() {
                matched.histories.push(exchange);
            }
        }
    }

    /// The exchange's alternate exchange, if it exists.
    fn alternate_of(&self, exchange: u32) -> Option<u32> {
        let name = self.exchanges[exchange].alternate_exchange()?;
        self.exchange_names.get(name).copied()
    }
}

/// A binding between two exchanges that the message follows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    to: u32,
    from: u32,
}

/// Marks every exchange from which one that reaches a queue can be reached. Linear in the edges but for sorting them.
fn spread_backwards(edges: &mut Vec<Edge>, reaches: &mut HashMap<u32, bool>) {
    edges.sort_unstable();
    edges.dedup();
    let mut found: Vec<u32> = edges.iter().map(|edge| edge.to).filter(|to| reaches[to]).collect();
    found.dedup();
    while let Some(to) = found.pop() {
        let first = edges.partition_point(|edge| edge.to < to);
        for edge in edges[first..].iter().take_while(|edge| edge.to == to) {
            let reached = reaches.entry(edge.from).or_default();
            if !std::mem::replace(reached, true) {
                found.push(edge.from);
            }
        }
    }
}
