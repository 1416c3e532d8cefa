//! A scripted peer for tests: it encodes methods with amq-protocol, feeds the bytes to a [`Connection`], whole or one by
//! one, and parses what comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::{AMQPClass, channel, connection, gen_class, parse_class};
use amq_protocol::types::{AMQPValue, FieldTable};

use super::action::{Action, Reply};
use super::config::SessionConfig;
use super::connection::Connection;
use crate::clock::Clock;
use crate::wire::frame::{Decoded, Frame, decode};

/// A small generator of numbers that depend on the seed alone (xorshift64*).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % bound
    }
}

/// A frame that the session sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Received {
    Method(u16, AMQPClass),
    Header(u16, u64, Vec<u8>),
    Body(u16, Vec<u8>),
    Heartbeat,
}

/// How the bytes arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed {
    Whole,
    ByteByByte,
}

pub(super) struct TestPeer {
    pub(super) connection: Connection,
    pub(super) now: Instant,
    pub(super) feed: Feed,
    unread: Vec<u8>,
}

pub(super) fn config() -> SessionConfig {
    let mut server_properties = FieldTable::default();
    server_properties.insert("product".into(), AMQPValue::LongString("Warren".into()));
    SessionConfig {
        clock: Clock::new(Instant::now(), 1_000_000),
        server_properties,
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat_s: 60,
        handshake_timeout: Duration::from_secs(10),
        message_bytes_max: 1 << 20,
        consumers_per_channel_max: 3,
        random: || [0; 16],
    }
}

/// Client properties that announce everything we have a use for.
pub(super) fn capable() -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in ["authentication_failure_close", "consumer_cancel_notify", "connection.blocked"] {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("connection_name".into(), AMQPValue::LongString("test".into()));
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties
}

pub(super) fn start_ok(mechanism: &str, response: &[u8], client_properties: FieldTable) -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::StartOk(connection::StartOk {
        client_properties,
        mechanism: mechanism.into(),
        response: response.into(),
        locale: "en_US".into(),
    }))
}

pub(super) fn tune_ok(channel_max: u16, frame_max: u32, heartbeat: u16) -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::TuneOk(connection::TuneOk {
        channel_max,
        frame_max,
        heartbeat,
    }))
}

pub(super) fn open(vhost: &str) -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::Open(connection::Open { virtual_host: vhost.into() }))
}

pub(super) fn open_channel() -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}))
}

pub(super) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap();
    [&[kind], &channel.to_be_bytes()[..], &size.to_be_bytes(), payload, &[0xCE]].concat()
}

pub(super) fn encode(method: &AMQPClass) -> Vec<u8> {
    gen_class(method)(WriteContext::from(Vec::new())).unwrap().into_inner().0
}

pub(super) fn header(body_bytes: u64, properties: &[u8]) -> Vec<u8> {
    [&[0, 60, 0, 0], &body_bytes.to_be_bytes()[..], properties].concat()
}

impl TestPeer {
    /// Before the greeting.
    pub(super) fn new(config: SessionConfig) -> Self {
        let now = Instant::now();
        let connection = Connection::new(Arc::new(config), now);
        Self { connection, now, feed: Feed::Whole, unread: Vec::new() }
    }

    /// Up to and with `connection.open-ok`.
    pub(super) fn connected_with(config: SessionConfig, properties: FieldTable, tune: AMQPClass) -> Self {
        let mut peer = Self::new(config);
        peer.send_bytes(b"AMQP\0\0\x09\x01");
        let actions = peer.send(0, &start_ok("PLAIN", b"\0guest\0guest", properties));
        assert!(matches!(actions[..], [Action::Authenticate(_)]), "{actions:?}");
        assert!(peer.connection.handle_reply(None, Ok(Reply::Authenticated)).is_none());
        peer.send(0, &tune);
        let actions = peer.send(0, &open("/"));
        assert!(matches!(actions[..], [Action::OpenVhost { .. }]), "{actions:?}");
        assert!(peer.connection.handle_reply(None, Ok(Reply::VhostOpened)).is_none());
        peer.received();
        peer
    }

    pub(super) fn connected() -> Self {
        Self::connected_with(config(), capable(), tune_ok(2047, 131_072, 0))
    }

    /// Up to and with an open channel 1.
    pub(super) fn with_channel() -> Self {
        let mut peer = Self::connected();
        peer.send(1, &open_channel());
        peer.received();
        peer
    }

    pub(super) fn send(&mut self, channel: u16, method: &AMQPClass) -> Vec<Action> {
        self.send_bytes(&frame(1, channel, &encode(method)))
    }

    /// Feeds bytes and gathers the actions, none of which is answered.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) -> Vec<Action> {
        let mut actions = Vec::new();
        let step = if self.feed == Feed::Whole { bytes.len().max(1) } else { 1 };
        for piece in bytes.chunks(step) {
            self.unread.extend_from_slice(piece);
            loop {
                let (consumed, action) = self.connection.handle_input(&self.unread, self.now);
                self.unread.drain(..consumed);
                if let Some(Action::OpenChannel { channel, .. }) = action {
                    let after = self.connection.handle_reply(Some(channel), Ok(Reply::ChannelOpened));
                    actions.extend(after);
                } else {
                    actions.extend(action);
                }
                actions.extend(std::iter::from_fn(|| self.connection.poll_action()));
                if consumed == 0 || self.unread.is_empty() {
                    break;
                }
            }
        }
        actions
    }

    /// A whole `basic.publish` with these property bytes.
    pub(super) fn publish(
        &mut self,
        channel: u16,
        (exchange, routing_key): (&str, &str),
        properties: &[u8],
        body: &[u8],
    ) -> Vec<Action> {
        self.send_bytes(&publish_frames(channel, (exchange, routing_key), properties, body))
    }

    /// All that was sent since the last call.
    pub(super) fn received(&mut self) -> Vec<Received> {
        let bytes = self.take_bytes();
        let mut rest = &bytes[..];
        let mut received = Vec::new();
        while !rest.is_empty() {
            let Ok(Decoded::Frame { frame, consumed }) = decode(rest, 0) else {
                panic!("not a frame: {rest:?}")
            };
            received.push(match frame {
                Frame::Method { channel, payload } => {
                    let (rest, method) = parse_class(payload).expect("a well-formed method");
                    assert!(rest.is_empty());
                    Received::Method(channel, method)
                }
                Frame::Header { channel, payload } => {
                    let size = u64::from_be_bytes(payload[4..12].try_into().unwrap());
                    Received::Header(channel, size, payload[12..].to_vec())
                }
                Frame::Body { channel, payload } => Received::Body(channel, payload.to_vec()),
                Frame::Heartbeat { .. } => Received::Heartbeat,
            });
            rest = &rest[consumed..];
        }
        received
    }

    /// The methods among what was sent since the last call.
    pub(super) fn methods(&mut self) -> Vec<AMQPClass> {
        let method = |received| if let Received::Method(_, method) = received { Some(method) } else { None };
        self.received().into_iter().filter_map(method).collect()
    }

    /// The one close frame among what was sent: channel, code, text, class and method.
    pub(super) fn close(&mut self) -> (u16, u16, String, (u16, u16)) {
        let received = self.received();
        let mut closes = received.iter().filter_map(|received| match received {
            Received::Method(0, AMQPClass::Connection(connection::AMQPMethod::Close(close))) => {
                let text = close.reply_text.as_str().to_owned();
                Some((0, close.reply_code, text, (close.class_id, close.method_id)))
            }
            Received::Method(channel, AMQPClass::Channel(channel::AMQPMethod::Close(close))) => {
                let text = close.reply_text.as_str().to_owned();
                Some((*channel, close.reply_code, text, (close.class_id, close.method_id)))
            }
            _ => None,
        });
        let close = closes.next().unwrap_or_else(|| panic!("no close frame in {received:?}"));
        assert_eq!(closes.next(), None, "more than one close frame");
        close
    }

    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        let out = self.connection.out();
        let mut bytes = Vec::new();
        while !out.is_empty() {
            let mut slices = [std::io::IoSlice::new(&[]); 16];
            let used = out.fill_slices(&mut slices);
            let taken: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.iter().copied()).collect();
            out.advance(taken.len());
            bytes.extend(taken);
        }
        bytes
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.connection.handle_timeout(self.now, true);
    }
}

pub(super) fn publish_frames(
    channel: u16,
    (exchange, routing_key): (&str, &str),
    properties: &[u8],
    body: &[u8],
) -> Vec<u8> {
    use amq_protocol::protocol::basic;
    let publish = AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        mandatory: true,
        immediate: false,
    }));
    let mut bytes = frame(1, channel, &encode(&publish));
    bytes.extend(frame(2, channel, &header(body.len() as u64, properties)));
    for piece in body.chunks(10_000) {
        bytes.extend(frame(3, channel, piece));
    }
    bytes
}
