//! The way of a message from an exchange to queues: bindings, exchange-to-exchange bindings, alternate exchanges.
//!
//! Duplicates are removed once, by sorting the queues' dense numbers: n log n for a fanout to n queues, nothing allocated
//! for up to 16, and no marks to keep in step between publishers.

use std::cell::LazyCell;

use amq_protocol::types::FieldTable;
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use super::{DEFAULT_EXCHANGE, Handle, Topology};
use crate::engine::exchange::{ExchangeKind, Matched, Target};
use crate::error::AmqpError;

impl<Q: Handle> Topology<Q> {
    /// Appends the queues that a message goes to, each once. `headers` is called at most once, and only for a headers
    /// exchange. 404 if the exchange is missing, 403 if it is internal.
    pub fn route(
        &self,
        exchange: &str,
        routing_key: &str,
        headers: impl FnOnce() -> FieldTable,
        targets: &mut Vec<Q>,
    ) -> Result<(), AmqpError> {
        self.route_all(exchange, &[routing_key], headers, targets)
    }

    /// The same for a message with several routing keys: its own and those of its CC and BCC headers.
    pub fn route_all(
        &self,
        exchange: &str,
        routing_keys: &[&str],
        headers: impl FnOnce() -> FieldTable,
        targets: &mut Vec<Q>,
    ) -> Result<(), AmqpError> {
        let number = self.publishable(exchange)?;
        self.route_from(number, routing_keys, headers, targets);
        Ok(())
    }

    /// Routes a message of the broker's own, which internal exchanges accept too. Returns whether the exchange exists.
    pub fn route_internally(
        &self,
        exchange: &str,
        routing_keys: &[&str],
        headers: impl FnOnce() -> FieldTable,
        targets: &mut Vec<Q>,
    ) -> bool {
        let Some(&number) = self.exchange_names.get(exchange) else { return false };
        self.route_from(number, routing_keys, headers, targets);
        true
    }

    /// Whether clients may publish to the exchange: the check that [`Self::route`] begins with.
    pub fn check_publish(&self, exchange: &str) -> Result<(), AmqpError> {
        self.publishable(exchange).map(|_| ())
    }

    /// Whether routes from this exchange may depend on more than the routing key: a cache by key may not keep them.
    #[must_use]
    pub fn depends_on_headers(&self, exchange: &str) -> bool {
        let Some(&start) = self.exchange_names.get(exchange) else { return false };
        let mut seen = HashSet::new();
        let mut pending = vec![start];
        while let Some(number) = pending.pop() {
            let entry = &self.exchanges[number];
            if entry.options.kind == ExchangeKind::Headers {
                return true;
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

    fn route_from<F: FnOnce() -> FieldTable>(
        &self,
        start: u32,
        routing_keys: &[&str],
        headers: F,
        targets: &mut Vec<Q>,
    ) {
        let headers = LazyCell::new(headers);
        let mut matched = Matched::default();
        self.collect(start, routing_keys, &headers, &mut matched);
        let unrouted =
            matched.queues.is_empty() && self.exchanges[start].options.alternate_exchange.is_some();
        if unrouted || !matched.exchanges.is_empty() {
            self.follow(start, routing_keys, &headers, &mut matched);
        }
        matched.queues.sort_unstable();
        matched.queues.dedup();
        targets.extend(matched.queues.iter().map(|&queue| self.queues[queue].queue.clone()));
    }

    /// Follows the exchanges that `start` has matched, and so on from there, each exchange once. Every exchange on the
    /// way that reaches no queue through bindings, its own or further ones, hands over to its alternate exchange.
    ///
    /// What an exchange reaches is settled before any alternate exchange is asked, so that the outcome does not depend
    /// on the order of bindings even where they form cycles. RabbitMQ is stricter: there an alternate exchange gets only
    /// what matched no binding at all, and a message that another exchange then drops is lost.
    fn follow<F: FnOnce() -> FieldTable>(
        &self,
        start: u32,
        routing_keys: &[&str],
        headers: &LazyCell<FieldTable, F>,
        matched: &mut Matched,
    ) {
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
                self.collect(next, routing_keys, headers, matched);
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
    fn collect<F: FnOnce() -> FieldTable>(
        &self,
        exchange: u32,
        routing_keys: &[&str],
        headers: &LazyCell<FieldTable, F>,
        matched: &mut Matched,
    ) {
        if exchange == DEFAULT_EXCHANGE {
            let named = routing_keys.iter().filter_map(|&key| self.queue_names.get(key).copied());
            matched.queues.extend(named);
        } else {
            self.exchanges[exchange].routes.collect(routing_keys, headers, matched);
        }
    }

    /// The exchange's alternate exchange, if it exists.
    fn alternate_of(&self, exchange: u32) -> Option<u32> {
        let name = self.exchanges[exchange].options.alternate_exchange.as_deref()?;
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
