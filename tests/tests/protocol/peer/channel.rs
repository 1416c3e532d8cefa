//! [`Channel`]: what tests say on a channel, and what they expect to hear there.

use amq_protocol::protocol::basic::{self, AMQPProperties, parse_properties};
use amq_protocol::protocol::{AMQPClass, channel, exchange, queue};
use amq_protocol::types::{FieldTable, ShortString};

use super::{Content, Incoming, Method, Peer, Request, wire};

/// A channel of a peer. It remembers nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Channel<'a> {
    pub(super) peer: &'a Peer,
    pub(super) id: u16,
}

/// A delivered, fetched or returned message.
#[derive(Debug)]
pub(crate) struct Message {
    /// 0 if it was returned.
    pub(crate) delivery_tag: u64,
    /// Empty if it was not delivered to a consumer.
    pub(crate) consumer_tag: String,
    pub(crate) redelivered: bool,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    /// Ready messages left, for `get-ok`.
    pub(crate) message_count: u32,
    pub(crate) properties: AMQPProperties,
    pub(crate) content: Content,
}

impl Message {
    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.content.body).expect("a text")
    }

    fn new(content: Content) -> Self {
        let properties = match parse_properties(content.properties.as_slice()) {
            Ok(([], properties)) => properties,
            other => panic!("no properties in {:?}: {other:?}", content.properties),
        };
        Self {
            delivery_tag: 0,
            consumer_tag: String::new(),
            redelivered: false,
            exchange: String::new(),
            routing_key: String::new(),
            message_count: 0,
            properties,
            content,
        }
    }
}

impl Channel<'_> {
    /// Sends a method.
    pub(crate) fn send(self, method: impl Method) {
        self.peer.send_bytes(&wire::encode_method(self.id, &method.wrap()));
    }

    /// Sends the payload of a method frame.
    pub(crate) fn send_payload(self, payload: &[u8]) {
        self.send_frame(wire::METHOD, payload);
    }

    /// Sends a frame of any kind.
    pub(crate) fn send_frame(self, kind: u8, payload: &[u8]) {
        self.peer.send_bytes(&wire::encode_frame(kind, self.id, payload));
    }

    /// The next method, whatever it is.
    #[track_caller]
    pub(crate) fn next(self) -> Incoming {
        match self.peer.next(self.id) {
            Some(incoming) => incoming,
            None => panic!("the connection ended; left over: {}", self.peer.left_over()),
        }
    }

    /// Expects a method.
    #[track_caller]
    pub(crate) fn expect<M: Method>(self) -> M {
        let wanted = std::any::type_name::<M>();
        let incoming = self.next();
        let shown = format!("{incoming:?}");
        M::unwrap_from(incoming.method).unwrap_or_else(|| panic!("expected {wanted}, got {shown}"))
    }

    /// Sends a request and expects its answer.
    #[track_caller]
    pub(crate) fn call<R: Request>(self, request: R) -> R::Ok {
        self.send(request);
        self.expect()
    }

    /// Expects nothing before the answer to something harmless.
    #[track_caller]
    pub(crate) fn expect_nothing(self) {
        self.call(channel::Flow { active: true });
    }

    /// Expects nothing that `queue` may still send: it is asked, and then the channel.
    #[track_caller]
    pub(crate) fn expect_nothing_from(self, queue: &str) {
        self.count(queue);
        self.expect_nothing();
    }

    /// Expects `channel.close` and answers it.
    #[track_caller]
    pub(crate) fn expect_close(self, code: u16, text: &str, method: (u16, u16)) {
        let close = self.expect::<channel::Close>();
        let got = (close.reply_code, close.reply_text.as_str(), (close.class_id, close.method_id));
        assert_eq!(got, (code, text, method), "channel.close");
        self.send(channel::CloseOk {});
    }

    /// Closes the channel.
    #[track_caller]
    pub(crate) fn close(self) {
        self.call(channel::Close { reply_code: 200, ..channel::Close::default() });
    }

    /// Declares an exclusive queue that the server names.
    #[track_caller]
    pub(crate) fn temp_queue(self) -> String {
        self.temp_queue_with(FieldTable::default())
    }

    /// The same with arguments.
    #[track_caller]
    pub(crate) fn temp_queue_with(self, arguments: FieldTable) -> String {
        self.call(queue::Declare { exclusive: true, arguments, ..queue::Declare::default() }).queue.into()
    }

    /// Declares a queue that other connections can use.
    #[track_caller]
    pub(crate) fn queue(self, name: &str) {
        // Durable, because newer RabbitMQ refuses queues that are neither durable nor exclusive.
        self.call(queue::Declare { queue: name.into(), durable: true, ..queue::Declare::default() });
    }

    /// Declares an exchange.
    #[track_caller]
    pub(crate) fn exchange(self, name: &str, kind: &str) {
        self.call(exchange::Declare { exchange: name.into(), kind: kind.into(), ..Default::default() });
    }

    /// Binds a queue.
    #[track_caller]
    pub(crate) fn bind(self, queue: &str, exchange: &str, routing_key: &str) {
        self.bind_with(queue, exchange, routing_key, FieldTable::default());
    }

    /// The same with arguments.
    #[track_caller]
    pub(crate) fn bind_with(self, queue: &str, exchange: &str, routing_key: &str, arguments: FieldTable) {
        self.call(queue::Bind {
            queue: queue.into(),
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            arguments,
            ..Default::default()
        });
    }

    /// Binds an exchange to another.
    #[track_caller]
    pub(crate) fn bind_exchange(self, destination: &str, source: &str, routing_key: &str) {
        self.call(exchange::Bind {
            destination: destination.into(),
            source: source.into(),
            routing_key: routing_key.into(),
            ..Default::default()
        });
    }

    /// Publishes without properties.
    pub(crate) fn publish(self, exchange: &str, routing_key: &str, body: &str) {
        self.publish_with(exchange, routing_key, &AMQPProperties::default(), body.as_bytes());
    }

    /// Publishes a message that comes back if no queue takes it.
    pub(crate) fn publish_mandatory(self, exchange: &str, routing_key: &str, body: &str) {
        let publish = basic::Publish {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            mandatory: true,
            immediate: false,
        };
        self.send_content(publish, &wire::encode_properties(&AMQPProperties::default()), body.as_bytes());
    }

    /// Publishes.
    pub(crate) fn publish_with(
        self,
        exchange: &str,
        routing_key: &str,
        properties: &AMQPProperties,
        body: &[u8],
    ) {
        let publish = basic::Publish {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            ..basic::Publish::default()
        };
        self.send_content(publish, &wire::encode_properties(properties), body);
    }

    /// Sends a method with its content, the body in frames as large as allowed.
    pub(crate) fn send_content(self, publish: basic::Publish, properties: &[u8], body: &[u8]) {
        let mut bytes = wire::encode_method(self.id, &publish.wrap());
        let header = wire::content_header(body.len() as u64, properties);
        bytes.extend(wire::encode_frame(wire::HEADER, self.id, &header));
        let piece_bytes = self.peer.frame_max().saturating_sub(8).max(1) as usize;
        for piece in body.chunks(piece_bytes) {
            bytes.extend(wire::encode_frame(wire::BODY, self.id, piece));
        }
        self.peer.send_bytes(&bytes);
    }

    /// Starts a consumer with manual acknowledgement.
    #[track_caller]
    pub(crate) fn consume(self, queue: &str, consumer_tag: &str) {
        self.consume_with(basic::Consume {
            queue: queue.into(),
            consumer_tag: consumer_tag.into(),
            ..basic::Consume::default()
        });
    }

    /// Starts a consumer and returns its tag.
    #[track_caller]
    pub(crate) fn consume_with(self, consume: basic::Consume) -> String {
        self.call(consume).consumer_tag.into()
    }

    /// Sets the prefetch limit.
    #[track_caller]
    pub(crate) fn qos(self, prefetch_count: u16, global: bool) {
        self.call(basic::Qos { prefetch_count, global });
    }

    /// Fetches a message to be acknowledged.
    #[track_caller]
    pub(crate) fn get(self, queue: &str) -> Option<Message> {
        self.get_with(queue, false)
    }

    /// Fetches a message.
    #[track_caller]
    pub(crate) fn get_with(self, queue: &str, no_ack: bool) -> Option<Message> {
        self.send(basic::Get { queue: queue.into(), no_ack });
        let incoming = self.next();
        match incoming.method {
            AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)) => Some(Message {
                delivery_tag: ok.delivery_tag,
                redelivered: ok.redelivered,
                exchange: ok.exchange.into(),
                routing_key: ok.routing_key.into(),
                message_count: ok.message_count,
                ..Message::new(incoming.content.expect("get-ok carries a content"))
            }),
            AMQPClass::Basic(basic::AMQPMethod::GetEmpty(_)) => None,
            other => panic!("expected an answer to basic.get, got {other:?}"),
        }
    }

    /// Takes all ready messages and returns their bodies.
    #[track_caller]
    pub(crate) fn drain(self, queue: &str) -> Vec<String> {
        std::iter::from_fn(|| self.get_with(queue, true)).map(|message| message.text().to_owned()).collect()
    }

    /// Expects a delivery.
    #[track_caller]
    pub(crate) fn expect_deliver(self) -> Message {
        let incoming = self.next();
        let AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)) = incoming.method else {
            panic!("expected a delivery, got {incoming:?}");
        };
        Message {
            delivery_tag: deliver.delivery_tag,
            consumer_tag: deliver.consumer_tag.into(),
            redelivered: deliver.redelivered,
            exchange: deliver.exchange.into(),
            routing_key: deliver.routing_key.into(),
            ..Message::new(incoming.content.expect("deliver carries a content"))
        }
    }

    /// Expects that many deliveries and returns their bodies.
    #[track_caller]
    pub(crate) fn expect_bodies(self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.expect_deliver().text().to_owned()).collect()
    }

    /// Expects a message to come back for want of a queue.
    #[track_caller]
    pub(crate) fn expect_return(self) -> Message {
        let incoming = self.next();
        let AMQPClass::Basic(basic::AMQPMethod::Return(returned)) = incoming.method else {
            panic!("expected a returned message, got {incoming:?}");
        };
        assert_eq!((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"));
        Message {
            exchange: returned.exchange.into(),
            routing_key: returned.routing_key.into(),
            ..Message::new(incoming.content.expect("return carries a content"))
        }
    }

    /// Acknowledges one delivery.
    pub(crate) fn ack(self, delivery_tag: u64) {
        self.send(basic::Ack { delivery_tag, multiple: false });
    }

    /// Acknowledges all deliveries up to this one.
    pub(crate) fn ack_up_to(self, delivery_tag: u64) {
        self.send(basic::Ack { delivery_tag, multiple: true });
    }

    /// Gives one delivery back.
    pub(crate) fn requeue(self, delivery_tag: u64) {
        self.send(basic::Reject { delivery_tag, requeue: true });
    }

    /// Ready messages in a queue.
    #[track_caller]
    pub(crate) fn count(self, queue: &str) -> u32 {
        self.look_at(queue).message_count
    }

    /// Asks for a queue without creating it.
    #[track_caller]
    pub(crate) fn look_at(self, queue: &str) -> queue::DeclareOk {
        self.call(passive(queue))
    }
}

/// A question for a queue.
pub(crate) fn passive(queue: &str) -> queue::Declare {
    queue::Declare { queue: ShortString::from(queue), passive: true, ..queue::Declare::default() }
}
