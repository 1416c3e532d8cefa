//! A scripted peer of a [`Driver`], and a store whose durability the test moves on by hand.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::{
    AMQPClass, basic, channel, confirm, connection, exchange, gen_class, parse_class, queue, tx,
};
use amq_protocol::types::{AMQPValue, FieldTable};
use parking_lot::Mutex;

use crate::config::{Config, MemoryLimit};
use crate::engine::QueueId;
use crate::engine::queue::{Seq, SeqRange};
use crate::server::driver::Driver;
use crate::server::{Shared, shared_state};
use crate::store::{DurableListener, Epoch, Kept, Store};
use crate::wire::frame::{Decoded, Frame, decode};
use crate::wire::message::Message;

/// What the store was told, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logged {
    Append(QueueId),
    Settle(QueueId),
}

/// A store in which everything is durable only once the test says so.
#[derive(Default)]
pub(super) struct ManualStore {
    log: Mutex<Vec<Logged>>,
    appended: AtomicU64,
    durable: AtomicU64,
    listener: Mutex<Option<DurableListener>>,
}

impl std::fmt::Debug for ManualStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ManualStore")
    }
}

impl ManualStore {
    /// Everything appended so far is durable now.
    pub(super) fn advance(&self) {
        let epoch = self.appended.load(Ordering::SeqCst);
        self.durable.store(epoch, Ordering::SeqCst);
        if let Some(listener) = &*self.listener.lock() {
            listener(Epoch(epoch));
        }
    }

    pub(super) fn take_log(&self) -> Vec<Logged> {
        std::mem::take(&mut self.log.lock())
    }
}

impl Store for ManualStore {
    fn append(&self, queue: QueueId, _: Kept, messages: &mut Vec<(Seq, Message)>) -> Epoch {
        messages.drain(..).for_each(|_| self.log.lock().push(Logged::Append(queue)));
        Epoch(self.appended.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn settle(&self, queue: QueueId, _: &[Seq]) {
        self.log.lock().push(Logged::Settle(queue));
    }

    fn settle_ranges(&self, queue: QueueId, _: &[SeqRange]) {
        self.log.lock().push(Logged::Settle(queue));
    }

    fn delivered(&self, _: QueueId, _: Seq) {}

    fn returned(&self, _: QueueId, _: &[(Seq, u16)]) {}

    fn remove_queue(&self, _: QueueId) {}

    fn define(&self, _: Vec<u8>, _: Option<Vec<u8>>) {}

    fn current(&self) -> Epoch {
        Epoch(self.appended.load(Ordering::SeqCst))
    }

    fn durable(&self) -> Epoch {
        Epoch(self.durable.load(Ordering::SeqCst))
    }

    fn on_durable(&self, listener: DurableListener) {
        *self.listener.lock() = Some(listener);
    }
}

pub(super) struct Broker {
    pub(super) store: Arc<ManualStore>,
    pub(super) shared: Arc<Shared>,
}

impl Broker {
    pub(super) fn new() -> Self {
        Self::with_memory_limit(1 << 30)
    }

    pub(super) fn with_memory_limit(bytes: u64) -> Self {
        let store = Arc::new(ManualStore::default());
        let mut config = Config::in_process();
        config.limits.memory = MemoryLimit::Bytes(bytes);
        config.limits.heartbeat = Duration::ZERO;
        Self { shared: shared_state(&config, store.clone()), store }
    }
}

impl Broker {
    /// Lets time pass for the broker's timers, and does what is due then.
    pub(super) fn pass(&self, time: Duration) {
        self.shared.timers.pass(&self.shared, time);
    }

    /// Publishes what queues have given up, also what is to be tried again later.
    pub(super) fn bury(&self) {
        self.shared.dead_letters.run_due(&self.shared);
    }

    /// The number of a queue.
    pub(super) fn queue_id(&self, name: &str) -> QueueId {
        let vhost = self.shared.vhost("/").expect("the vhost that is always there");
        let find = |registry: &crate::server::vhost::Registry| {
            registry.topology.find_queue(name).map(|queue| queue.id())
        };
        vhost.read(find).expect("a queue of this name")
    }

    /// Whether there is a queue of this name.
    pub(super) fn has_queue(&self, name: &str) -> bool {
        let vhost = self.shared.vhost("/").expect("the vhost that is always there");
        vhost.read(|registry| registry.topology.find_queue(name).is_some())
    }
}

/// A frame that the broker sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sent {
    Method(u16, AMQPClass),
    Header(u16),
    Body(u16, Vec<u8>),
}

pub(super) struct Peer {
    pub(super) driver: Driver,
    pub(super) now: Instant,
}

impl Peer {
    /// A peer that has said nothing.
    pub(super) fn new(broker: &Broker) -> Self {
        let now = Instant::now();
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self { driver: Driver::new(&broker.shared, loopback, now).expect("room for a connection"), now }
    }

    /// A peer with channel 1 open.
    pub(super) fn open(broker: &Broker) -> Self {
        let mut peer = Self::new(broker);
        peer.greet("guest");
        let tune = connection::TuneOk { channel_max: 100, frame_max: 131_072, heartbeat: 0 };
        peer.send(&method(0, &AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune))));
        let open = connection::Open { virtual_host: "/".into() };
        peer.send(&method(0, &AMQPClass::Connection(connection::AMQPMethod::Open(open))));
        peer.send(&method(1, &open_channel()));
        let last = peer.sent().pop();
        assert!(
            matches!(last, Some(Sent::Method(1, AMQPClass::Channel(channel::AMQPMethod::OpenOk(_))))),
            "{last:?}"
        );
        peer
    }

    /// Up to and with the credentials.
    pub(super) fn greet(&mut self, password: &str) {
        let mut capabilities = FieldTable::default();
        capabilities.insert("authentication_failure_close".into(), AMQPValue::Boolean(true));
        let mut client_properties = FieldTable::default();
        client_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
        self.send(b"AMQP\0\0\x09\x01");
        self.send(&method(
            0,
            &AMQPClass::Connection(connection::AMQPMethod::StartOk(connection::StartOk {
                client_properties,
                mechanism: "PLAIN".into(),
                response: format!("\0guest\0{password}").into(),
                locale: "en_US".into(),
            })),
        ));
    }

    /// One round of the connection's task, with this input.
    pub(super) fn send(&mut self, input: &[u8]) {
        self.driver.handle_events();
        self.send_without_events(input);
    }

    /// The same with whatever is in the outbox left there.
    pub(super) fn send_without_events(&mut self, input: &[u8]) {
        let consumed = self.driver.handle_input(input, self.now);
        assert_eq!(consumed, input.len(), "tests send whole frames");
        self.driver.end_round();
    }

    /// One round without input.
    pub(super) fn work(&mut self) {
        self.driver.handle_events();
        self.driver.end_round();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.driver.handle_timeout(self.now);
        self.driver.end_round();
    }

    /// Works, and reads everything that the broker has written.
    pub(super) fn sent(&mut self) -> Vec<Sent> {
        self.work();
        let mut bytes = Vec::new();
        while !self.driver.out().is_empty() {
            let mut slices = [std::io::IoSlice::new(&[]); 16];
            let used = self.driver.out().fill_slices(&mut slices);
            let taken: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.iter().copied()).collect();
            self.driver.out().advance(taken.len());
            bytes.extend(taken);
        }
        let mut rest = &bytes[..];
        let mut sent = Vec::new();
        while !rest.is_empty() {
            let Ok(Decoded::Frame { frame, consumed }) = decode(rest, 0) else {
                panic!("not a frame: {rest:?}")
            };
            sent.push(match frame {
                Frame::Method { channel, payload } => {
                    Sent::Method(channel, parse_class(payload).expect("a well-formed method").1)
                }
                Frame::Header { channel, .. } => Sent::Header(channel),
                Frame::Body { channel, payload } => Sent::Body(channel, payload.to_vec()),
                Frame::Heartbeat { .. } => panic!("heartbeats are off"),
            });
            rest = &rest[consumed..];
        }
        sent
    }

    pub(super) fn declare_queue(&mut self, name: &str, durable: bool) {
        self.send(&method(1, &declare(name, durable)));
        self.declared_message_count();
    }

    /// Declares a transient queue with arguments.
    pub(super) fn declare_with(&mut self, name: &str, arguments: &[(&str, AMQPValue)]) {
        self.send(&method(1, &declare_with(name, false, arguments)));
        self.declared_message_count();
    }

    /// Declares a durable queue with arguments.
    pub(super) fn declare_durable_with(&mut self, name: &str, arguments: &[(&str, AMQPValue)]) {
        self.send(&method(1, &declare_with(name, true, arguments)));
        self.declared_message_count();
    }

    pub(super) fn declare_exclusive_queue(&mut self, name: &str) {
        let declare = queue::Declare {
            queue: name.into(),
            passive: false,
            durable: false,
            exclusive: true,
            auto_delete: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.send(&method(1, &AMQPClass::Queue(queue::AMQPMethod::Declare(declare))));
        self.declared_message_count();
    }

    pub(super) fn declare_exchange(&mut self, name: &str) {
        let declare = exchange::Declare {
            exchange: name.into(),
            kind: "fanout".into(),
            passive: false,
            durable: false,
            auto_delete: false,
            internal: false,
            nowait: true,
            arguments: FieldTable::default(),
        };
        self.send(&method(1, &AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare))));
    }

    pub(super) fn delete_exchange(&mut self, name: &str) {
        let delete = exchange::Delete { exchange: name.into(), if_unused: false, nowait: true };
        self.send(&method(1, &AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete))));
    }

    /// What the `declare-ok` that must have come says of ready messages.
    pub(super) fn declared_message_count(&mut self) -> u32 {
        let sent = self.sent();
        let Some(Sent::Method(1, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)))) = sent.last() else {
            panic!("{sent:?}")
        };
        ok.message_count
    }

    /// Starts a consumer called `tag`.
    pub(super) fn consume(&mut self, queue: &str, no_ack: bool) {
        self.send(&method(1, &consume(queue, no_ack)));
    }

    /// Starts a consumer of this tag that acknowledges.
    pub(super) fn consume_as(&mut self, queue: &str, tag: &str) {
        self.send(&method(1, &consume_as(queue, tag, false)));
    }

    pub(super) fn confirm_select(&mut self) {
        self.send(&method(1, &select_confirms()));
        self.sent();
    }

    pub(super) fn select_transactions(&mut self) {
        self.send(&method(1, &AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}))));
        self.sent();
    }
}

pub(super) fn open_channel() -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}))
}

pub(super) fn close_channel() -> AMQPClass {
    let close = channel::Close { reply_code: 200, reply_text: "bye".into(), class_id: 0, method_id: 0 };
    AMQPClass::Channel(channel::AMQPMethod::Close(close))
}

pub(super) fn close_connection() -> AMQPClass {
    let close = connection::Close { reply_code: 200, reply_text: "bye".into(), class_id: 0, method_id: 0 };
    AMQPClass::Connection(connection::AMQPMethod::Close(close))
}

pub(super) fn declare(name: &str, durable: bool) -> AMQPClass {
    declare_with(name, durable, &[])
}

pub(super) fn declare_with(name: &str, durable: bool, arguments: &[(&str, AMQPValue)]) -> AMQPClass {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue: name.into(),
        passive: false,
        durable,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: table,
    }))
}

pub(super) fn declare_passively(name: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue: name.into(),
        passive: true,
        durable: false,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: FieldTable::default(),
    }))
}

pub(super) fn select_confirms() -> AMQPClass {
    AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: true }))
}

pub(super) fn commit() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {}))
}

pub(super) fn ack(delivery_tag: u64) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple: false }))
}

pub(super) fn reject(delivery_tag: u64) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue: false }))
}

pub(super) fn cancel(consumer_tag: &str) -> AMQPClass {
    let cancel = basic::Cancel { consumer_tag: consumer_tag.into(), nowait: false };
    AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel))
}

pub(super) fn bind(queue: &str, exchange: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue: queue.into(),
        exchange: exchange.into(),
        routing_key: "".into(),
        nowait: true,
        arguments: FieldTable::default(),
    }))
}

pub(super) fn consume(queue: &str, no_ack: bool) -> AMQPClass {
    consume_as(queue, "tag", no_ack)
}

fn consume_as(queue: &str, consumer_tag: &str, no_ack: bool) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Consume(basic::Consume {
        queue: queue.into(),
        consumer_tag: consumer_tag.into(),
        no_local: false,
        no_ack,
        exclusive: false,
        nowait: true,
        arguments: FieldTable::default(),
    }))
}

pub(super) fn delete(queue: &str) -> AMQPClass {
    let delete = queue::Delete { queue: queue.into(), if_unused: false, if_empty: false, nowait: true };
    AMQPClass::Queue(queue::AMQPMethod::Delete(delete))
}

pub(super) fn get(queue: &str) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Get(basic::Get { queue: queue.into(), no_ack: true }))
}

/// A method as a frame.
pub(super) fn method(channel: u16, method: &AMQPClass) -> Vec<u8> {
    let payload = gen_class(method)(WriteContext::from(Vec::new())).expect("a Vec takes every write");
    frame(1, channel, &payload.into_inner().0)
}

/// A publish to the default exchange as frames.
pub(super) fn publish(channel: u16, routing_key: &str, properties: &[u8], body: &[u8]) -> Vec<u8> {
    publish_frames(channel, ("", routing_key), false, properties, body)
}

/// A publish without properties to an exchange.
pub(super) fn publish_to(channel: u16, exchange: &str, routing_key: &str, body: &[u8]) -> Vec<u8> {
    publish_frames(channel, (exchange, routing_key), false, &[0, 0], body)
}

/// A mandatory one without properties.
pub(super) fn publish_mandatory(channel: u16, routing_key: &str, body: &[u8]) -> Vec<u8> {
    publish_frames(channel, ("", routing_key), true, &[0, 0], body)
}

fn publish_frames(
    channel: u16,
    (exchange, routing_key): (&str, &str),
    mandatory: bool,
    properties: &[u8],
    body: &[u8],
) -> Vec<u8> {
    let publish = basic::Publish {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        mandatory,
        immediate: false,
    };
    let mut bytes = method(channel, &AMQPClass::Basic(basic::AMQPMethod::Publish(publish)));
    let size = (body.len() as u64).to_be_bytes();
    bytes.extend(frame(2, channel, &[&[0, 60, 0, 0], &size[..], properties].concat()));
    for piece in body.chunks(20_000) {
        bytes.extend(frame(3, channel, piece));
    }
    bytes
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("tests send small frames");
    [&[kind], &channel.to_be_bytes()[..], &size.to_be_bytes(), payload, &[0xCE]].concat()
}
