//! [`Connection`]: a client that does one thing after the other and waits for each. Every wait has a deadline. What the
//! broker closes is an `Err`; anything else that is not as it should be is a panic.

use std::collections::VecDeque;
use std::fmt;
use std::io::{Read, Write};
use std::iter;
use std::net::{Ipv4Addr, TcpStream};

use warren_tests::DEADLINE;

use crate::message::{Id, Messages, Mode, properties};
use crate::rules::Rules;
use crate::wire::{self, Arguments, Content, Decoder, Ids, Incoming, Settle, ids, method, short};

/// The reason that the broker gave for closing a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) code: u16,
    pub(crate) text: String,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

/// A message as it came.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) content: Content,
}

impl Delivery {
    /// Of a basic.deliver, with the consumer's tag.
    pub(crate) fn of_deliver(incoming: Incoming) -> (String, Self) {
        let mut arguments = Arguments(&incoming.arguments);
        let consumer = arguments.short();
        let (tag, redelivered) = (arguments.u64(), arguments.u8() != 0);
        (consumer, Self { tag, redelivered, content: incoming.content })
    }
}

/// How a queue is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Durable,
    Transient,
    Exclusive,
    DurableExclusive,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    decoder: Decoder,
    waiting: VecDeque<Incoming>,
}

impl Connection {
    /// Logged in as guest, without heartbeats.
    pub(crate) fn open(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the broker accepts connections");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut connection = Self { stream, decoder: Decoder::default(), waiting: VecDeque::new() };
        let start_ok = [b"\0\0\0\0", &b"\x05PLAIN"[..], b"\0\0\0\x0c\0guest\0guest", b"\x05en_US"].concat();
        let limits = [&2047_u16.to_be_bytes()[..], &131_072_u32.to_be_bytes(), &0_u16.to_be_bytes()].concat();
        connection.send(b"AMQP\0\0\x09\x01");
        connection.send(&method(0, (10, 11), &start_ok));
        connection.send(&method(0, (10, 31), &limits));
        connection.call(0, (10, 40), b"\x01/\0\0", (10, 41)).expect("the broker lets guest in");
        // What it said before is the same every time.
        connection.waiting.clear();
        connection
    }

    /// Opens a channel.
    pub(crate) fn channel(&mut self, channel: u16) {
        self.call(channel, (20, 10), b"\0", (20, 11)).expect("a channel opens");
    }

    /// Closes a channel; what it held is requeued.
    pub(crate) fn close_channel(&mut self, channel: u16) {
        self.call(channel, (20, 40), &[0; 7], (20, 41)).expect("a channel closes");
        self.waiting.retain(|incoming| incoming.channel != channel);
    }

    /// Has the publishes of a channel confirmed.
    pub(crate) fn confirm(&mut self, channel: u16) {
        self.call(channel, (85, 10), b"\0", (85, 11)).expect("a channel confirms");
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads what it is sent");
    }

    /// Sends a method and waits for its answer.
    pub(crate) fn call(
        &mut self,
        channel: u16,
        ids: Ids,
        arguments: &[u8],
        answer: Ids,
    ) -> Result<Vec<u8>, Closed> {
        self.send(&method(channel, ids, arguments));
        self.wait(channel, &[answer]).map(|incoming| incoming.arguments)
    }

    /// Waits for one of these methods on a channel.
    pub(crate) fn wait(&mut self, channel: u16, wanted: &[Ids]) -> Result<Incoming, Closed> {
        let is_wanted = |incoming: &Incoming| {
            incoming.channel == channel
                && (wanted.contains(&incoming.ids) || incoming.ids == ids::CHANNEL_CLOSE)
        };
        let incoming = match self.waiting.iter().position(is_wanted) {
            Some(at) => self.waiting.remove(at).unwrap(),
            None => loop {
                let incoming = self.receive();
                if is_wanted(&incoming) {
                    break incoming;
                }
                self.waiting.push_back(incoming);
            },
        };
        if wanted.contains(&incoming.ids) {
            return Ok(incoming);
        }
        self.send(&method(channel, (20, 41), b""));
        self.waiting.retain(|incoming| incoming.channel != channel);
        Err(reason(&incoming))
    }

    fn receive(&mut self) -> Incoming {
        let incoming = self.next();
        assert_ne!(incoming.ids, ids::CONNECTION_CLOSE, "the broker closed: {}", reason(&incoming));
        incoming
    }

    fn next(&mut self) -> Incoming {
        let mut chunk = [0; 64 * 1024];
        loop {
            if let Some(incoming) = self.decoder.next() {
                return incoming;
            }
            let count = self.stream.read(&mut chunk).unwrap_or_else(|error| panic!("nothing came: {error}"));
            assert_ne!(count, 0, "the broker closed the socket");
            self.decoder.feed(&chunk[..count]);
        }
    }

    /// Declares a queue; its ready messages.
    pub(crate) fn declare(&mut self, channel: u16, queue: &str, lifetime: Lifetime) -> Result<u32, Closed> {
        self.declare_by(channel, queue, lifetime, Rules::NONE)
    }

    /// The same for a queue with rules.
    pub(crate) fn declare_by(
        &mut self,
        channel: u16,
        queue: &str,
        lifetime: Lifetime,
        rules: Rules,
    ) -> Result<u32, Closed> {
        let flags = match lifetime {
            Lifetime::Durable => 0b10,
            Lifetime::Transient => 0,
            Lifetime::Exclusive => 0b100,
            Lifetime::DurableExclusive => 0b110,
        };
        self.declare_with(channel, queue, flags, &rules.arguments())
    }

    /// The ready messages of a queue that exists.
    pub(crate) fn count(&mut self, channel: u16, queue: &str) -> Result<u32, Closed> {
        self.declare_with(channel, queue, 1, &[0; 4])
    }

    fn declare_with(&mut self, channel: u16, queue: &str, flags: u8, table: &[u8]) -> Result<u32, Closed> {
        let arguments = [b"\0\0", &short(queue)[..], &[flags], table].concat();
        let answer = self.call(channel, (50, 10), &arguments, (50, 11))?;
        let mut answer = Arguments(&answer);
        assert_eq!(answer.short(), queue);
        Ok(answer.u32())
    }

    /// Declares an exchange.
    pub(crate) fn declare_exchange(
        &mut self,
        channel: u16,
        name: &str,
        kind: &str,
        lifetime: Lifetime,
    ) -> Result<(), Closed> {
        let flags = u8::from(lifetime == Lifetime::Durable) << 1;
        let arguments = [b"\0\0", &short(name)[..], &short(kind), &[flags], b"\0\0\0\0"].concat();
        self.call(channel, (40, 10), &arguments, (40, 11)).map(drop)
    }

    /// Whether an exchange exists. The channel closes if not.
    pub(crate) fn find_exchange(&mut self, channel: u16, name: &str) -> Result<(), Closed> {
        let arguments = [b"\0\0", &short(name)[..], b"\0\x01\0\0\0\0"].concat();
        self.call(channel, (40, 10), &arguments, (40, 11)).map(drop)
    }

    /// Binds a queue to an exchange.
    pub(crate) fn bind(
        &mut self,
        channel: u16,
        queue: &str,
        exchange: &str,
        key: &str,
    ) -> Result<(), Closed> {
        let arguments = [b"\0\0", &short(queue)[..], &short(exchange), &short(key), b"\0\0\0\0\0"].concat();
        self.call(channel, (50, 20), &arguments, (50, 21)).map(drop)
    }

    /// Starts a consumer with manual acknowledgements, called by its channel's number.
    pub(crate) fn consume(&mut self, channel: u16, queue: &str) {
        self.send(&Self::consume_bytes(channel, queue));
        self.wait(channel, &[ids::CONSUME_OK]).expect("a queue can be consumed");
    }

    pub(crate) fn consume_bytes(channel: u16, queue: &str) -> Vec<u8> {
        let arguments = [b"\0\0", &short(queue)[..], &short(&channel.to_string()), b"\0\0\0\0\0"].concat();
        method(channel, (60, 20), &arguments)
    }

    /// Limits the deliveries without an acknowledgement of later consumers of a channel.
    pub(crate) fn prefetch(&mut self, channel: u16, count: u16) {
        let arguments = [&[0; 4][..], &count.to_be_bytes(), &[0]].concat();
        self.call(channel, (60, 10), &arguments, (60, 11)).expect("a prefetch can be set");
    }

    /// Ends the consumer of a channel. Its deliveries stay unacknowledged.
    pub(crate) fn cancel(&mut self, channel: u16) {
        let arguments = [&short(&channel.to_string())[..], &[0]].concat();
        self.call(channel, (60, 30), &arguments, (60, 31)).expect("a consumer can be cancelled");
    }

    /// The next delivery to the consumer of a channel.
    pub(crate) fn delivery(&mut self, channel: u16) -> Delivery {
        let incoming = self.wait(channel, &[ids::BASIC_DELIVER]).unwrap_or_else(|closed| panic!("{closed}"));
        Delivery::of_deliver(incoming).1
    }

    /// Takes one message, without an acknowledgement or with an automatic one.
    pub(crate) fn get(
        &mut self,
        channel: u16,
        queue: &str,
        no_ack: bool,
    ) -> Result<Option<Delivery>, Closed> {
        let arguments = [b"\0\0", &short(queue)[..], &[u8::from(no_ack)]].concat();
        self.send(&method(channel, (60, 70), &arguments));
        let incoming = self.wait(channel, &[(60, 71), (60, 72)])?;
        if incoming.ids == (60, 72) {
            return Ok(None);
        }
        let mut arguments = Arguments(&incoming.arguments);
        let (tag, redelivered) = (arguments.u64(), arguments.u8() != 0);
        Ok(Some(Delivery { tag, redelivered, content: incoming.content }))
    }

    /// Settles deliveries.
    pub(crate) fn settle(&mut self, channel: u16, tag: u64, settle: Settle) {
        self.send(&settle.bytes(channel, tag));
    }

    /// Publishes on a channel that confirms and has nothing else under way, and waits for the confirm.
    pub(crate) fn publish(
        &mut self,
        channel: u16,
        route: (&str, &str),
        messages: Messages,
        id: Id,
        mode: Mode,
    ) {
        let mut bytes = Vec::new();
        wire::publish(&mut bytes, channel, route, &properties(id, mode), messages.body(id));
        self.send(&bytes);
        let answer = self
            .wait(channel, &[ids::BASIC_ACK, ids::BASIC_NACK])
            .unwrap_or_else(|closed| panic!("publish of {id} to {route:?}: {closed}"));
        assert_eq!(answer.ids, ids::BASIC_ACK, "{id} is confirmed");
    }

    /// Waits until this many publishes of a channel are confirmed.
    pub(crate) fn wait_for_confirms(&mut self, channel: u16, count: u64) {
        let mut confirmed = 0;
        while confirmed < count {
            let answer = self.wait(channel, &[ids::BASIC_ACK]).unwrap_or_else(|closed| panic!("{closed}"));
            confirmed = confirmed.max(Arguments(&answer.arguments).u64());
        }
    }

    /// Whether this method came before a broker died.
    pub(crate) fn has_received(&mut self, wanted: Ids) -> bool {
        let mut chunk = [0; 64 * 1024];
        while let Ok(count @ 1..) = self.stream.read(&mut chunk) {
            self.decoder.feed(&chunk[..count]);
        }
        iter::from_fn(|| self.decoder.next()).any(|incoming| incoming.ids == wanted)
    }

    /// Waits until a broker that shuts down closes the connection, and lets it.
    pub(crate) fn say_goodbye(mut self) {
        let close = loop {
            let incoming = self.next();
            if incoming.ids == ids::CONNECTION_CLOSE {
                break reason(&incoming);
            }
        };
        assert_eq!(close.code, 320, "{close}");
        self.send(&method(0, (10, 51), b""));
    }

    /// The socket and what was received of it, for a client that does many things at once.
    pub(crate) fn into_parts(self) -> (TcpStream, Decoder) {
        assert!(self.waiting.is_empty(), "nothing waits to be looked at: {:?}", self.waiting);
        (self.stream, self.decoder)
    }
}

/// The code and text of a close.
pub(crate) fn reason(close: &Incoming) -> Closed {
    let mut arguments = Arguments(&close.arguments);
    Closed { code: arguments.u16(), text: arguments.short() }
}
