//! [`Targets`]: where a queue's consumers are, and their deliveries on the way there.
//!
//! Deliveries are staged by connection, not by consumer: consumers that share a channel must see messages in the queue's
//! order (AMQP 0-9-1, section 4.7), and each outbox is locked once a dispatch. Called by the queue handle only.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use slab::Slab;

use super::STAGED_KEPT_MAX;
use super::limit::{ChannelLimit, Ticket};
use crate::engine::queue::{ChannelGate, ConsumerId};
use crate::server::outbox::Outbox;
use crate::session::action::{Event, SourceId};

/// Where a consumer's deliveries go.
#[derive(Debug)]
pub(super) struct Target {
    consumer: ConsumerId,
    pub(super) source: SourceId,
    pub(super) limit: Option<Arc<ChannelLimit>>,
    /// Its last place in the limit's line.
    ticket: Ticket,
    /// Its connection's place in [`Targets::connections`].
    connection: usize,
}

/// A connection with consumers on the queue.
#[derive(Debug)]
struct Connection {
    outbox: Arc<Outbox>,
    consumers: u32,
    /// Deliveries of the running dispatch.
    staged: Vec<Event>,
}

/// The consumers' targets, by the index of their ids.
#[derive(Debug, Default)]
pub(super) struct Targets {
    targets: Vec<Option<Target>>,
    connections: Slab<Connection>,
    /// By the address of the outbox, which stays the same while a connection is held here.
    by_outbox: HashMap<usize, usize, FixedState>,
    /// Connections with staged deliveries.
    staged: Vec<usize>,
}

impl Targets {
    pub(super) fn insert(
        &mut self,
        consumer: ConsumerId,
        outbox: Arc<Outbox>,
        source: SourceId,
        limit: Option<Arc<ChannelLimit>>,
    ) {
        let connections = &mut self.connections;
        let connection = *self
            .by_outbox
            .entry(address(&outbox))
            .or_insert_with(|| connections.insert(Connection { outbox, consumers: 0, staged: Vec::new() }));
        connections[connection].consumers += 1;
        let at = consumer.index();
        if at >= self.targets.len() {
            self.targets.resize_with(at + 1, || None);
        }
        self.targets[at] = Some(Target { consumer, source, limit, ticket: Ticket::default(), connection });
    }

    pub(super) fn get_mut(&mut self, consumer: ConsumerId) -> Option<&mut Target> {
        self.targets.get_mut(consumer.index())?.as_mut().filter(|target| target.consumer == consumer)
    }

    /// Removes a consumer; what is staged for it is delivered first.
    pub(super) fn remove(&mut self, consumer: ConsumerId) {
        let target = self
            .targets
            .get_mut(consumer.index())
            .and_then(|slot| slot.take_if(|it| it.consumer == consumer));
        let Some(Target { limit, ticket, connection: at, .. }) = target else { return };
        if let Some(limit) = limit {
            limit.leave_line(ticket);
        }
        let connection = &mut self.connections[at];
        connection.consumers -= 1;
        if connection.consumers == 0 {
            self.flush();
            let connection = self.connections.remove(at);
            self.by_outbox.remove(&address(&connection.outbox));
        }
        while self.targets.last().is_some_and(Option::is_none) {
            self.targets.pop();
        }
        if self.targets.is_empty() {
            *self = Self::default();
        }
    }

    /// Notes what a consumer is to be told, made from the name its connection has for it, until [`Targets::flush`].
    pub(super) fn stage(&mut self, consumer: ConsumerId, event: impl FnOnce(SourceId) -> Event) {
        let Some(target) = self.get_mut(consumer) else { return };
        let (at, event) = (target.connection, event(target.source));
        let connection = &mut self.connections[at];
        if connection.staged.is_empty() {
            self.staged.push(at);
        }
        connection.staged.push(event);
    }

    /// Tells a consumer's connection that it holds a delivery for too long. At once: it may not read its deliveries.
    pub(super) fn time_out(&mut self, consumer: ConsumerId, timeout_ms: u64) {
        let Some(target) = self.get_mut(consumer) else { return };
        let (at, source) = (target.connection, target.source);
        self.connections[at].outbox.push_news(Event::TimedOut { source, timeout_ms });
    }

    /// Hands over everything staged, each outbox under one lock of it.
    pub(super) fn flush(&mut self) {
        for at in self.staged.drain(..) {
            let connection = &mut self.connections[at];
            connection.outbox.push_all(connection.staged.drain(..));
            connection.staged.shrink_to(STAGED_KEPT_MAX);
        }
        self.staged.shrink_to(STAGED_KEPT_MAX);
    }
}

impl ChannelGate for Targets {
    fn try_acquire(&mut self, consumer: ConsumerId) -> bool {
        match self.get_mut(consumer) {
            Some(Target { source, limit: Some(limit), ticket, .. }) => limit.try_acquire(*source, ticket),
            _ => true,
        }
    }
}

fn address(outbox: &Arc<Outbox>) -> usize {
    Arc::as_ptr(outbox).addr()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::queue::{AckMode, ConsumerSpec, Queue, QueueDeclare, QueueOptions};
    use crate::server::outbox::Waiting;

    fn consumers(count: usize) -> Vec<ConsumerId> {
        let options = QueueOptions::from_declare(Arc::from("/"), QueueDeclare::default()).unwrap();
        let mut queue = Queue::new(Arc::new(options));
        let spec = ConsumerSpec { ack_mode: AckMode::Automatic, prefetch: 0, exclusive: false, priority: 0 };
        (0..count).map(|_| queue.add_consumer(spec).unwrap()).collect()
    }

    fn taken(outbox: &Outbox) -> Vec<u32> {
        let mut waiting = Waiting::default();
        outbox.take(&mut waiting);
        let source = |event| match event {
            Event::ConsumerCancelled(source) => source.0,
            other => panic!("{other:?}"),
        };
        waiting.deliveries.into_iter().map(source).collect()
    }

    #[test]
    fn what_is_staged_for_one_connection_keeps_its_order_across_consumers() {
        let (here, there) = (Arc::new(Outbox::default()), Arc::new(Outbox::default()));
        let ids = consumers(3);
        let mut targets = Targets::default();
        for (number, outbox) in [(0, &here), (1, &there), (2, &here)] {
            targets.insert(ids[number], outbox.clone(), SourceId(u32::try_from(number).unwrap()), None);
        }
        for number in [0, 1, 2, 0, 2, 1] {
            targets.stage(ids[number], Event::ConsumerCancelled);
        }
        targets.flush();
        assert_eq!((taken(&here), taken(&there)), (vec![0, 2, 0, 2], vec![1, 1]));
    }

    #[test]
    fn a_connection_is_forgotten_with_its_last_consumer() {
        let outbox = Arc::new(Outbox::default());
        let ids = consumers(2);
        let mut targets = Targets::default();
        for id in &ids {
            targets.insert(*id, outbox.clone(), SourceId(7), None);
        }
        targets.remove(ids[0]);
        targets.stage(ids[0], Event::ConsumerCancelled);
        targets.stage(ids[1], Event::ConsumerCancelled);
        assert_eq!(Arc::strong_count(&outbox), 2);
        targets.remove(ids[1]);
        assert_eq!((taken(&outbox), Arc::strong_count(&outbox)), (vec![7], 1));
        targets.remove(ids[1]);
    }
}
