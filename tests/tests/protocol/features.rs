//! What the tests of queue features share: queues with arguments, and queues whose dead letters can be watched.

use amq_protocol::protocol::basic::{self, AMQPProperties};
use amq_protocol::protocol::{confirm, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use warren_tests::eventually;

use crate::peer::{Channel, Message, Peer, table, text};

/// The channel on which dead letters arrive.
const WATCHING: u16 = 99;

/// An exclusive queue with these arguments.
#[track_caller]
pub(crate) fn queue_with(channel: Channel<'_>, arguments: &[(&str, AMQPValue)]) -> String {
    channel.temp_queue_with(table(arguments.iter().cloned()))
}

/// Declares a durable queue with these arguments.
pub(crate) fn durable_with(name: &str, arguments: &[(&str, AMQPValue)]) -> queue::Declare {
    let arguments = table(arguments.iter().cloned());
    queue::Declare { queue: name.into(), durable: true, arguments, ..Default::default() }
}

/// The arguments that send dead letters straight into a queue.
pub(crate) fn dead_letters_to(queue: &str) -> [(&'static str, AMQPValue); 2] {
    [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(queue))]
}

/// An exclusive queue with these arguments, and a channel on which its dead letters are delivered as they come.
#[track_caller]
pub(crate) fn watched_queue<'a>(peer: &'a Peer, arguments: &[(&str, AMQPValue)]) -> (String, Channel<'a>) {
    let watcher = peer.open(WATCHING);
    let dead = watcher.temp_queue();
    watch(watcher, &dead);
    let queue = queue_with(watcher, &[arguments, &dead_letters_to(&dead)].concat());
    (queue, watcher)
}

/// Consumes from a queue without acknowledging.
#[track_caller]
pub(crate) fn watch(channel: Channel<'_>, queue: &str) {
    channel.consume_with(basic::Consume { queue: queue.into(), no_ack: true, ..Default::default() });
}

/// Publishes messages one by one, each confirmed: a queue may tell its count before it has seen what was published.
#[track_caller]
pub(crate) fn publish_confirmed(channel: Channel<'_>, queue: &str, bodies: &[&str]) {
    channel.call(confirm::Select { nowait: false });
    for body in bodies {
        channel.publish("", queue, body);
        channel.expect::<basic::Ack>();
    }
}

/// Waits until there are that many ready messages.
#[track_caller]
pub(crate) fn await_count(channel: Channel<'_>, queue: &str, count: u32) {
    eventually("the queue has that many messages", || (channel.count(queue) == count).then_some(()));
}

/// Waits for the next message of a queue, and takes it without acknowledging.
#[track_caller]
pub(crate) fn await_message(channel: Channel<'_>, queue: &str) -> Message {
    eventually("there is a message", || channel.get_with(queue, true))
}

/// Properties with an expiration, in milliseconds.
pub(crate) fn expiring(after_ms: u32) -> AMQPProperties {
    AMQPProperties::default().with_expiration(after_ms.to_string().into())
}

/// The headers of a message.
#[track_caller]
pub(crate) fn headers(message: &Message) -> &FieldTable {
    message.properties.headers().as_ref().expect("a message with headers")
}
