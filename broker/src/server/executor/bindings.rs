//! Binding and unbinding, and what a new binding from a recent history exchange gets at once.

use std::sync::Arc;
use std::time::Instant;

use amq_protocol::types::FieldTable;

use crate::engine::exchange::MessageView;
use crate::engine::topology::{Destination, Outcome, Routed};
use crate::error::AmqpError;
use crate::server::executor::Executor;
use crate::server::executor::batch::Batch;
use crate::server::executor::publish::{cc_keys, gather, text};
use crate::server::executor::routes::Route;
use crate::server::history::Attempt;
use crate::server::random::random_bytes;
use crate::server::vhost::Registry;
use crate::session::action::{BindingChange, TopologyReply};
use crate::wire::message::Message;

impl Executor {
    /// Makes or removes a binding.
    pub(super) fn bind(
        &self,
        change: BindingChange,
        destination: Destination<'_>,
        source: &str,
        routing_key: &str,
        arguments: &FieldTable,
    ) -> Result<TopologyReply, AmqpError> {
        let by = self.connection;
        self.vhost()?.write_as(self.user_name(), |registry| match change {
            BindingChange::Bind => {
                let outcome = registry.topology.bind(destination, source, routing_key, arguments, by)?;
                if outcome == Outcome::Changed {
                    self.give_history(registry, source, destination);
                }
                Ok(())
            }
            BindingChange::Unbind => {
                registry.topology.unbind(destination, source, routing_key, arguments, by).map(drop)
            }
        })?;
        self.shared.check_memory();
        Ok(TopologyReply::Done)
    }

    /// Gives what a recent history exchange keeps to the destination of a new binding, before anything can come by that binding:
    /// the vhost is locked. As in RabbitMQ the messages arrive anew, so that a queue's time to live begins now.
    fn give_history(&self, registry: &Registry, source: &str, destination: Destination<'_>) {
        let Some(history) = registry.topology.history(source) else { return };
        let now_ms = self.shared.clock.at(Instant::now());
        let mut batch = Batch::default();
        for kept in history.handle.read(history.version) {
            let (exchange, key) = (text(kept.exchange()), text(kept.routing_key()));
            let message = kept.republished(exchange, key, kept.properties(), now_ms);
            let route = route_to(registry, destination, &message);
            // Nothing is stale while the vhost is locked.
            let _ = route.keep(&message, Attempt::First, &self.shared.histories);
            gather(&mut batch, &route, message);
        }
        if !batch.is_empty() {
            // Nobody waits for a confirm of these.
            let _ = batch.apply();
        }
    }
}

/// The way of a message that comes to the end of a binding.
fn route_to(registry: &Registry, destination: Destination<'_>, message: &Message) -> Route {
    let routed = match destination {
        Destination::Queue(name) => {
            let queues = registry.topology.find_queue(name).cloned().into_iter().collect();
            Some(Routed { queues, histories: Vec::new(), meter: Arc::default() })
        }
        Destination::Exchange(name) => {
            let more_keys = cc_keys(message);
            let keys: Vec<&str> = [text(message.routing_key())]
                .into_iter()
                .chain(more_keys.iter().map(String::as_str))
                .collect();
            let random = u64::from_ne_bytes(random_bytes());
            registry.topology.route_internally(name, &keys, &MessageView::new(message.properties(), random))
        }
    };
    routed.map(Route::new).unwrap_or_default()
}
