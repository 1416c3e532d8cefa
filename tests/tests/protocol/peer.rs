//! [`Peer`]: a client that hides nothing. It sends what it is told to and says what comes back, in order, channel by
//! channel. It waits for one thing only: the next frame, up to a deadline.

mod channel;
mod methods;
mod wire;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::{AMQPValue, FieldTable};

pub(crate) use channel::{Channel, Message, passive};
pub(crate) use methods::{Method, Request};
pub(crate) use wire::{Frame, content_header, encode_properties};

/// How long a frame may take. It only decides how soon a broken broker is reported.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The greeting of AMQP 0-9-1.
pub(crate) const GREETING: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// All that a client can say it understands.
pub(crate) const ALL_CAPABILITIES: &[&str] = &[
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "authentication_failure_close",
];

/// How to connect.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// What the client says it understands.
    pub(crate) capabilities: &'static [&'static str],
    /// Asked for in `tune-ok`, the server's offer if none.
    pub(crate) channel_max: Option<u16>,
    /// Asked for in `tune-ok`, the server's offer if none.
    pub(crate) frame_max: Option<u32>,
    /// Asked for in `tune-ok`, in seconds.
    pub(crate) heartbeat: u16,
    /// Name and password.
    pub(crate) user: (String, String),
    pub(crate) vhost: String,
}

impl Default for Options {
    fn default() -> Self {
        let guest = "guest".to_owned();
        Self {
            capabilities: ALL_CAPABILITIES,
            channel_max: None,
            frame_max: None,
            heartbeat: 0,
            user: (guest.clone(), guest),
            vhost: "/".to_owned(),
        }
    }
}

/// A method, with its content if it carries one.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) method: AMQPClass,
    pub(crate) content: Option<Content>,
}

/// A content as it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Content {
    /// Announced in the header.
    pub(crate) body_bytes: u64,
    /// Flags and values.
    pub(crate) properties: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// Payload sizes of the body frames.
    pub(crate) body_frames: Vec<usize>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Peer {
    inner: RefCell<Inner>,
}

#[derive(Debug)]
struct Inner {
    stream: TcpStream,
    /// Read but not taken.
    input: Vec<u8>,
    frame_max: u32,
    /// Complete, but of other channels than those asked for.
    waiting: HashMap<u16, VecDeque<Incoming>>,
    /// Methods whose content is not complete.
    partial: HashMap<u16, Incoming>,
    heartbeats: usize,
}

impl Peer {
    /// A socket, and nothing said.
    pub(crate) fn dial(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the broker accepts connections");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket takes a timeout");
        stream.set_nodelay(true).expect("a socket takes nodelay");
        let inner = Inner {
            stream,
            input: Vec::new(),
            frame_max: 0,
            waiting: HashMap::new(),
            partial: HashMap::new(),
            heartbeats: 0,
        };
        Self { inner: RefCell::new(inner) }
    }

    /// An open connection.
    pub(crate) fn connect(address: SocketAddr, options: &Options) -> Self {
        let peer = Self::authenticated(address, options);
        peer.control().call(connection::Open { virtual_host: options.vhost.as_str().into() });
        peer
    }

    /// A connection that has not opened a vhost.
    pub(crate) fn authenticated(address: SocketAddr, options: &Options) -> Self {
        let peer = Self::dial(address);
        let (user, password) = &options.user;
        peer.log_in_as(options.capabilities, user, password);
        let tune = peer.control().expect::<connection::Tune>();
        peer.tune(&connection::TuneOk {
            channel_max: options.channel_max.unwrap_or(tune.channel_max),
            frame_max: options.frame_max.unwrap_or(tune.frame_max),
            heartbeat: options.heartbeat,
        });
        peer
    }

    /// Greets and answers `connection.start`, as guest.
    pub(crate) fn log_in(&self, capabilities: &[&str]) -> connection::Start {
        self.log_in_as(capabilities, "guest", "guest")
    }

    /// The same as somebody else.
    pub(crate) fn log_in_as(&self, capabilities: &[&str], user: &str, password: &str) -> connection::Start {
        self.send_bytes(GREETING);
        let start = self.control().expect::<connection::Start>();
        let response = format!("\0{user}\0{password}");
        self.control().send(start_ok("PLAIN", response.as_bytes(), capabilities));
        start
    }

    /// Sends `tune-ok` and keeps to it.
    pub(crate) fn tune(&self, tune_ok: &connection::TuneOk) {
        self.inner.borrow_mut().frame_max = tune_ok.frame_max;
        self.control().send(tune_ok.clone());
    }

    /// Opens a channel.
    pub(crate) fn open(&self, id: u16) -> Channel<'_> {
        let channel = self.channel(id);
        channel.call(amq_protocol::protocol::channel::Open {});
        channel
    }

    /// A channel, whatever the server thinks of it.
    pub(crate) fn channel(&self, id: u16) -> Channel<'_> {
        Channel { peer: self, id }
    }

    /// Channel 0: the connection itself.
    pub(crate) fn control(&self) -> Channel<'_> {
        self.channel(0)
    }

    /// The negotiated limit.
    pub(crate) fn frame_max(&self) -> u32 {
        self.inner.borrow().frame_max
    }

    /// Sends anything at all.
    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        self.inner.borrow_mut().stream.write_all(bytes).expect("the broker reads what it is sent");
    }

    /// The next method of this channel; none if the connection ends before.
    pub(crate) fn next(&self, channel: u16) -> Option<Incoming> {
        self.inner.borrow_mut().next(channel)
    }

    /// Whatever the broker sends until it closes the socket, beyond complete methods already taken.
    pub(crate) fn read_to_end(&self) -> Vec<u8> {
        let mut inner = self.inner.borrow_mut();
        while inner.fill() {}
        std::mem::take(&mut inner.input)
    }

    /// Whether something came on this channel on the way to what was asked for.
    pub(crate) fn has_heard(&self, channel: u16) -> bool {
        self.inner.borrow().waiting.get(&channel).is_some_and(|waiting| !waiting.is_empty())
    }

    /// What came, but was not asked for: for the messages of failures.
    fn left_over(&self) -> String {
        format!("{:?}", self.inner.borrow().waiting)
    }

    /// Heartbeats received so far.
    pub(crate) fn heartbeats(&self) -> usize {
        self.inner.borrow().heartbeats
    }

    /// Waits for `count` heartbeats in all.
    pub(crate) fn await_heartbeats(&self, count: usize) {
        let mut inner = self.inner.borrow_mut();
        while inner.heartbeats < count {
            let frame = inner.read_frame().expect("the broker keeps the connection");
            inner.take(frame);
        }
    }

    /// Expects the socket to be closed, without another method.
    pub(crate) fn expect_end(&self) {
        if let Some(incoming) = self.next(0) {
            panic!("expected the socket to be closed, got {incoming:?}");
        }
    }

    /// Expects `connection.close`, answers it, and expects the socket to be closed.
    #[track_caller]
    pub(crate) fn expect_close(&self, code: u16, text: &str, method: (u16, u16)) {
        let close = self.control().expect::<connection::Close>();
        let got = (close.reply_code, close.reply_text.as_str(), (close.class_id, close.method_id));
        assert_eq!(got, (code, text, method), "connection.close");
        self.control().send(connection::CloseOk {});
        self.expect_end();
    }

    /// Closes the connection as a client should. Who closes the socket first is not laid down; RabbitMQ leaves it to the
    /// client.
    pub(crate) fn close(&self) {
        self.control().call(connection::Close {
            reply_code: 200,
            reply_text: "bye".into(),
            ..connection::Close::default()
        });
    }
}

impl Inner {
    fn next(&mut self, channel: u16) -> Option<Incoming> {
        loop {
            if let Some(incoming) = self.waiting.get_mut(&channel).and_then(VecDeque::pop_front) {
                return Some(incoming);
            }
            let frame = self.read_frame()?;
            self.take(frame);
            if channel != 0 && self.is_closing() {
                return None;
            }
        }
    }

    /// Whether the broker has said that it ends the connection.
    fn is_closing(&self) -> bool {
        let is_close = |incoming: &Incoming| {
            matches!(incoming.method, AMQPClass::Connection(connection::AMQPMethod::Close(_)))
        };
        self.waiting.get(&0).is_some_and(|waiting| waiting.iter().any(is_close))
    }

    /// Files a frame under its channel, once it completes something.
    fn take(&mut self, frame: Frame) {
        let Frame { kind, channel, payload } = frame;
        match kind {
            wire::METHOD => {
                assert!(!self.partial.contains_key(&channel), "a method inside a content on {channel}");
                let method = wire::parse_method(&payload);
                let incoming = Incoming { method, content: None };
                if wire::carries_content(&incoming.method) {
                    self.partial.insert(channel, incoming);
                } else {
                    self.waiting.entry(channel).or_default().push_back(incoming);
                }
                return;
            }
            wire::HEADER => {
                let incoming = self.partial.get_mut(&channel).expect("a header follows a method");
                assert!(incoming.content.is_none(), "one header only");
                assert_eq!(payload[..4], [0, 60, 0, 0], "class basic, weight 0");
                incoming.content = Some(Content {
                    body_bytes: u64::from_be_bytes(payload[4..12].try_into().expect("eight bytes")),
                    properties: payload[12..].to_vec(),
                    ..Content::default()
                });
            }
            wire::BODY => {
                let incoming = self.partial.get_mut(&channel).expect("a body follows a method");
                let content = incoming.content.as_mut().expect("a body follows a header");
                content.body_frames.push(payload.len());
                content.body.extend_from_slice(&payload);
            }
            wire::HEARTBEAT => {
                assert_eq!((channel, payload.len()), (0, 0), "heartbeats are empty and on channel 0");
                self.heartbeats += 1;
                return;
            }
            other => panic!("a frame of unknown type {other}"),
        }
        let content = self.partial[&channel].content.as_ref().expect("just filled");
        if content.body.len() as u64 >= content.body_bytes {
            assert_eq!(content.body.len() as u64, content.body_bytes, "the body is as long as announced");
            let incoming = self.partial.remove(&channel).expect("just looked at");
            self.waiting.entry(channel).or_default().push_back(incoming);
        }
    }

    fn read_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, taken)) = wire::decode_frame(&self.input) {
                assert!(
                    self.frame_max == 0 || u32::try_from(taken).is_ok_and(|bytes| bytes <= self.frame_max),
                    "a frame of {taken} bytes, frame_max is {}",
                    self.frame_max
                );
                self.input.drain(..taken);
                return Some(frame);
            }
            if !self.fill() {
                assert!(self.input.is_empty(), "the socket ended inside a frame: {:?}", self.input);
                return None;
            }
        }
    }

    /// Reads once; false at the end.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(count) => {
                    self.input.extend_from_slice(&chunk[..count]);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A broker that closes with our bytes unread resets the connection.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
                Err(error) => panic!(
                    "nothing from the broker within {DEADLINE:?} ({error}); waiting on other channels: {:?}",
                    self.waiting
                ),
            }
        }
    }
}

/// `connection.start-ok` of a client that understands `capabilities`.
pub(crate) fn start_ok(mechanism: &str, response: &[u8], capabilities: &[&str]) -> connection::StartOk {
    let capabilities = table(capabilities.iter().map(|name| (*name, AMQPValue::Boolean(true))));
    connection::StartOk {
        client_properties: table([("capabilities", AMQPValue::FieldTable(capabilities))]),
        mechanism: mechanism.into(),
        response: response.into(),
        locale: "en_US".into(),
    }
}

/// A field table.
pub(crate) fn table<'a>(entries: impl IntoIterator<Item = (&'a str, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert(key.into(), value);
    }
    table
}

/// A long string in a table.
pub(crate) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
