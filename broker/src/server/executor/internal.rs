//! Messages of the broker's own, from threads that are no connection's.

use crate::engine::exchange::MessageView;
use crate::server::executor::batch::Batch;
use crate::server::executor::publish::{gather, text};
use crate::server::executor::routes::Route;
use crate::server::history::Attempt;
use crate::server::random::Chance;
use crate::server::shared::Shared;
use crate::server::vhost::VHost;
use crate::wire::message::Message;

/// Routes messages by their own exchange and key, which may be internal, and brings them to their queues. No lock may be held.
pub(in crate::server) fn publish_internally(
    shared: &Shared,
    vhost: &VHost,
    messages: impl Iterator<Item = Message>,
) {
    let mut batch = Batch::default();
    let mut chance = Chance::new();
    for message in messages {
        loop {
            let view = MessageView::new(message.properties(), chance.next_bits());
            let (exchange, key) = (text(message.exchange()), text(message.routing_key()));
            let routed = vhost.read(|registry| registry.topology.route_internally(exchange, &[key], &view));
            let route = routed.map(Route::new).unwrap_or_default();
            if route.keep(&message, Attempt::Again, &shared.histories).is_ok() {
                gather(&mut batch, &route, message);
                break;
            }
        }
    }
    if !batch.is_empty() {
        let round = shared.store.round();
        // Nobody waits for a confirm of these.
        let _ = batch.apply();
        drop(round);
        shared.check_memory();
    }
}
