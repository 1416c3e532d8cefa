//! The firehose: copies of what is published and delivered in a vhost that is traced, as RabbitMQ's `rabbit_trace` makes them.
//!
//! The copies go the way of all messages of this connection, right behind what they are about, and are never stored. Where
//! nothing is traced a message costs one look at a flag.

use std::time::Instant;

use amq_protocol::types::{AMQPValue, FieldArray, FieldTable};

use crate::engine::exchange::MessageView;
use crate::server::events::NODE;
use crate::server::executor::Executor;
use crate::server::executor::publish::{cc_keys, gather, text};
use crate::server::executor::routes::Route;
use crate::server::history::Attempt;
use crate::server::vhost::REPLY_TO_PREFIX;
use crate::session::action::{ChannelId, Delivery};
use crate::wire::message::{Message, MessageParts};
use crate::wire::properties;

/// Where the copies go.
const TRACE_EXCHANGE: &str = "amq.rabbitmq.trace";

/// The longest routing key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// A message whose publishing is traced.
#[derive(Debug)]
pub(super) struct Traced {
    message: Message,
    keys: Vec<String>,
}

impl Executor {
    /// Whether the messages of this connection are to be copied.
    #[inline]
    pub(super) fn is_traced(&self) -> bool {
        self.vhost.as_ref().is_some_and(|vhost| vhost.is_traced())
    }

    /// To be called before a message is routed if [`Executor::is_traced`].
    #[cold]
    pub(super) fn begin_trace(&mut self, message: &Message, more_keys: &[String]) -> Traced {
        self.batch.routed = Some(Vec::new());
        let own = text(message.routing_key()).to_owned();
        let keys = [own].into_iter().chain(more_keys.iter().cloned()).collect();
        Traced { message: message.clone(), keys }
    }

    /// To be called when the message has been routed, or could not be.
    #[cold]
    pub(super) fn trace_published(&mut self, channel: ChannelId, traced: Traced, was_routed: bool) {
        let routed = self.batch.routed.take().unwrap_or_default();
        if !was_routed {
            return;
        }
        let exchange = text(traced.message.exchange());
        let mut headers = headers_of(&traced.message, &traced.keys);
        let names = routed.iter().map(|queue| queue.options().name.as_str());
        // Whoever knows the address of a direct reply could answer in the responder's place.
        let names = names.filter(|name| !name.starts_with(REPLY_TO_PREFIX)).map(long_string);
        insert(&mut headers, "routed_queues", AMQPValue::FieldArray(names.collect::<Vec<_>>().into()));
        self.trace(channel, &format!("publish.{exchange}"), headers, &traced.message);
    }

    /// To be called for each delivery if [`Executor::is_traced`].
    #[cold]
    pub(super) fn trace_delivered(
        &mut self,
        channel: ChannelId,
        queue: &str,
        redelivered: bool,
        message: &Message,
    ) {
        if message.exchange() == TRACE_EXCHANGE.as_bytes() || queue.starts_with(REPLY_TO_PREFIX) {
            return;
        }
        let mut keys = vec![text(message.routing_key()).to_owned()];
        keys.extend(cc_keys(message));
        let mut headers = headers_of(message, &keys);
        insert(&mut headers, "redelivered", AMQPValue::LongInt(redelivered.into()));
        self.trace(channel, &format!("deliver.{queue}"), headers, message);
    }

    /// The same for a delivery to a consumer.
    #[cold]
    pub(super) fn trace_handed_over(&mut self, delivery: &Delivery) {
        let Some(source) = self.sources.get_mut(delivery.reference.source) else { return };
        let (channel, queue) = (source.channel, source.queue.clone());
        self.trace_delivered(channel, &queue.options().name, delivery.redelivered, &delivery.message);
    }

    fn trace(&mut self, channel: ChannelId, key: &str, mut headers: FieldTable, message: &Message) {
        let Some(vhost) = self.vhost.clone() else { return };
        let user = self.user_name();
        for (name, value) in [
            ("vhost", long_string(vhost.name())),
            ("connection", long_string(&self.connection_name())),
            ("channel", AMQPValue::LongInt(channel.0.into())),
            ("user", long_string(user)),
        ] {
            insert(&mut headers, name, value);
        }
        // Nothing but a header table is written, so there is nothing to fail.
        let Ok(properties) = properties::with_headers(&[0, 0], &headers) else { return };
        let key = &key[..key.floor_char_boundary(KEY_BYTES_MAX)];
        let arrived_ms = self.shared.clock.at(Instant::now());
        let copy = copy_of(message, key, &properties, arrived_ms);
        let random = self.chance.next_bits();
        loop {
            let view = MessageView::new(&properties, random);
            let routed =
                vhost.read(|registry| registry.topology.route_internally(TRACE_EXCHANGE, &[key], &view));
            let route = routed.map(Route::new).unwrap_or_default();
            if route.keep(&copy, Attempt::Again, &self.shared.histories).is_ok() {
                gather(&mut self.batch, &route, copy);
                return;
            }
        }
    }
}

/// What both kinds of copies say of their original.
fn headers_of(message: &Message, keys: &[String]) -> FieldTable {
    let keys: Vec<AMQPValue> = keys.iter().map(|key| long_string(key)).collect();
    let mut headers = FieldTable::default();
    insert(&mut headers, "exchange_name", long_string(text(message.exchange())));
    insert(&mut headers, "routing_keys", AMQPValue::FieldArray(FieldArray::from(keys)));
    insert(&mut headers, "properties", AMQPValue::FieldTable(properties::to_table(message.properties())));
    insert(&mut headers, "node", long_string(NODE));
    headers
}

/// A transient message with the body of another; a large one is shared.
fn copy_of(message: &Message, key: &str, properties: &[u8], arrived_ms: u64) -> Message {
    let short = |text: &str| u8::try_from(text.len()).unwrap_or(u8::MAX);
    let parts = MessageParts {
        exchange_bytes: short(TRACE_EXCHANGE),
        routing_key_bytes: short(key),
        properties_bytes: u32::try_from(properties.len()).expect("a header table measures less than 4 GiB"),
        arrived_ms,
        ..MessageParts::default()
    };
    let prefix = [TRACE_EXCHANGE.as_bytes(), key.as_bytes(), properties].concat();
    match message.large_body() {
        Some(body) => Message::with_large_body(parts, &prefix, body.clone()),
        None => Message::from_parts(parts, &[&prefix, message.body()].concat()),
    }
}

fn insert(table: &mut FieldTable, name: &str, value: AMQPValue) {
    table.insert(name.into(), value);
}

fn long_string(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}
