//! What a connection declared and has not given up since, in an order in which it can be declared again.

use lapin::Channel;

use super::{Binding, DeclaredQueue, Exchange, Queue, declare_binding, declare_exchange, declare_queue};
use crate::Error;

/// The record. Declaring a thing once more replaces what is known of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topology {
    exchanges: Vec<Exchange>,
    queues: Vec<(Queue, DeclaredQueue)>,
    bindings: Vec<Binding>,
}

impl Topology {
    pub(crate) fn note_exchange(&mut self, exchange: Exchange) {
        self.exchanges.retain(|known| known.name != exchange.name);
        self.exchanges.push(exchange);
    }

    pub(crate) fn note_queue(&mut self, queue: Queue, declared: DeclaredQueue) {
        if !queue.name.is_empty() {
            self.queues.retain(|(known, _)| known.name != queue.name);
        }
        self.queues.push((queue, declared));
    }

    pub(crate) fn note_binding(&mut self, binding: Binding) {
        self.forget_binding(&binding);
        self.bindings.push(binding);
    }

    pub(crate) fn forget_exchange(&mut self, name: &str) {
        self.exchanges.retain(|known| known.name != name);
        self.bindings.retain(|known| known.exchange != name);
    }

    pub(crate) fn forget_queue(&mut self, queue: &DeclaredQueue) {
        self.queues.retain(|(_, known)| !known.is(queue));
        self.bindings.retain(|known| !known.queue.is(queue));
    }

    pub(crate) fn forget_binding(&mut self, binding: &Binding) {
        self.bindings.retain(|known| !known.is(binding));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exchanges.is_empty() && self.queues.is_empty() && self.bindings.is_empty()
    }

    /// Declares all of it. Queues that the broker names get new names, which their owners see.
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] for the first thing that the broker does not accept, and [`Error::Lost`].
    pub(crate) async fn restore(&self, channel: &Channel) -> Result<(), Error> {
        for exchange in &self.exchanges {
            declare_exchange(channel, exchange).await?;
        }
        for (queue, declared) in &self.queues {
            declare_queue(channel, queue, declared).await?;
        }
        for binding in &self.bindings {
            declare_binding(channel, binding).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(queue: &DeclaredQueue, key: &str) -> Binding {
        let (exchange, key) = ("x".to_owned(), key.to_owned());
        Binding { exchange, queue: queue.clone(), key, arguments: Vec::new() }
    }

    #[test]
    fn what_is_declared_twice_is_noted_once() {
        let mut topology = Topology::default();
        let queue = DeclaredQueue::new("q");
        for _ in 0..2 {
            topology.note_exchange(Exchange::direct("x"));
            topology.note_queue(Queue::new("q"), queue.clone());
            topology.note_binding(binding(&queue, "a"));
        }
        topology.note_binding(binding(&queue, "b"));
        let sizes = (topology.exchanges.len(), topology.queues.len(), topology.bindings.len());
        assert_eq!(sizes, (1, 1, 2));
    }

    #[test]
    fn queues_without_a_name_are_each_their_own_until_they_are_forgotten() {
        let mut topology = Topology::default();
        let (one, two) = (DeclaredQueue::new("amq.gen-1"), DeclaredQueue::new("amq.gen-2"));
        topology.note_queue(Queue::exclusive(), one.clone());
        topology.note_queue(Queue::exclusive(), two.clone());
        topology.note_binding(binding(&one, ""));
        topology.note_binding(binding(&two, ""));
        one.rename("amq.gen-3");
        topology.forget_queue(&one);
        assert_eq!((topology.queues.len(), topology.bindings.len()), (1, 1));
        assert!(topology.bindings[0].queue.is(&two));
    }

    #[test]
    fn an_exchange_takes_its_bindings_along() {
        let mut topology = Topology::default();
        topology.note_exchange(Exchange::topic("x"));
        topology.note_binding(binding(&DeclaredQueue::new("q"), "k"));
        topology.forget_exchange("x");
        assert!(topology.exchanges.is_empty() && topology.bindings.is_empty());
    }
}
