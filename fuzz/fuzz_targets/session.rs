//! Arbitrary clients against whole sessions: several connections to one broker, without sockets.
//!
//! The first byte says how the rest is read: as the bytes of a stranger, as the bytes of somebody who has logged in, or as
//! a list of operations of three clients that share queues, each well-formed outside and arbitrary inside. Beside "never
//! panics": what the broker writes are frames, and when everybody has left, no connection, consumer, unacknowledged
//! message or byte of a message is left in the books.

#![no_main]

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use warren::Config;
use warren::server::driver::Driver;
use warren::server::{Shared, shared_state};
use warren::store::MemoryStore;
use warren::wire::frame::{Decoded, Frame, decode};

const NAMES: [&str; 8] = ["", "a", "b", "c", "amq.rabbitmq.reply-to", "x", "amq.topic", "amq.gen-1"];
const EXCHANGES: [&str; 8] = ["", "x", "y", "amq.fanout", "amq.topic", "amq.direct", "amq.headers", "none"];
const KINDS: [&str; 4] = ["direct", "fanout", "topic", "headers"];
const GREETING: &[u8] = b"AMQP\0\0\x09\x01";

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else { return };
    let mut config = Config::in_process();
    config.limits.message_bytes_max = 1 << 16;
    let shared = shared_state(&config, Arc::new(MemoryStore));
    let mut broker = Broker { shared, now: *START, clients: Vec::new() };
    match mode % 4 {
        0 => broker.feed_raw(false, rest),
        1 => broker.feed_raw(true, rest),
        _ => broker.operate(rest),
    }
    broker.leave_and_check();
});

struct Broker {
    shared: Arc<Shared>,
    now: Instant,
    clients: Vec<Client>,
}

struct Client {
    driver: Driver,
    unread: Vec<u8>,
    logged_in: bool,
}

impl Client {
    fn new(shared: &Arc<Shared>, now: Instant) -> Self {
        let driver =
            Driver::new(shared, IpAddr::V4(Ipv4Addr::LOCALHOST), now).expect("room for a connection");
        Self { driver, unread: Vec::new(), logged_in: false }
    }

    fn log_in(&mut self, now: Instant) {
        let response = b"\0guest\0guest";
        let capabilities = b"\x16consumer_cancel_notifyt\x01\x12connection.blockedt\x01";
        let table = [b"\x0ccapabilitiesF", &long(capabilities)[..]].concat();
        let start_ok = [&long(&table)[..], b"\x05PLAIN", &long(response), b"\x05en_US"].concat();
        let mut bytes = GREETING.to_vec();
        bytes.extend(method(0, (10, 11), &start_ok));
        bytes.extend(method(0, (10, 31), &[0x07, 0xff, 0, 2, 0, 0, 0, 60]));
        bytes.extend(method(0, (10, 40), b"\x01/\0\0"));
        self.feed(&bytes, now);
        assert!(self.driver.session().is_open());
        self.logged_in = true;
        for channel in 1..=3 {
            self.feed(&method(channel, (20, 10), b"\0"), now);
        }
    }

    fn feed(&mut self, bytes: &[u8], now: Instant) {
        self.unread.extend_from_slice(bytes);
        if !self.unread.is_empty() && self.driver.wants_input() {
            let taken = self.driver.handle_input(&self.unread, now);
            self.unread.drain(..taken);
        }
        self.rest(now);
    }

    /// The end of a round.
    fn rest(&mut self, now: Instant) {
        if self.driver.poll_timeout().is_some_and(|due| due <= now) {
            self.driver.handle_timeout(now);
        }
        self.driver.end_round();
        let bytes = written(&mut self.driver);
        let mut rest = bytes.strip_prefix(GREETING).unwrap_or(&bytes);
        while !rest.is_empty() {
            let Ok(Decoded::Frame { frame, consumed }) = decode(rest, 0) else {
                panic!("the broker wrote what is no frame: {rest:?}");
            };
            if let Frame::Method { payload, .. } = frame {
                warren::wire::method::parse(payload).expect("the broker writes well-formed methods");
            }
            rest = &rest[consumed..];
        }
    }
}

impl Broker {
    fn feed_raw(&mut self, logged_in: bool, input: &[u8]) {
        let mut client = Client::new(&self.shared, self.now);
        if logged_in {
            client.log_in(self.now);
        }
        // Cut where the input says, so that frames arrive in pieces.
        let cut = input.first().map_or(0, |byte| usize::from(*byte) * 4).min(input.len());
        let (front, back) = input.split_at(cut);
        client.feed(front, self.now);
        client.feed(back, self.now);
        client.driver.handle_events();
        client.rest(self.now);
        self.clients.push(client);
    }

    fn operate(&mut self, input: &[u8]) {
        for _ in 0..3 {
            let mut client = Client::new(&self.shared, self.now);
            client.log_in(self.now);
            self.clients.push(client);
        }
        let mut script = Script(input);
        while let Some(head) = script.byte() {
            let at = usize::from(head) % 3;
            let channel = u16::from(head >> 2 & 3);
            let Some(operation) = script.byte() else { break };
            match operation % 32 {
                0..=2 => {
                    self.clients[at].driver.handle_events();
                    self.clients[at].feed(&[], self.now);
                }
                3 => {
                    self.clients[at].driver.disconnect();
                    self.clients[at] = Client::new(&self.shared, self.now);
                    self.clients[at].log_in(self.now);
                }
                4 => {
                    self.now += Duration::from_secs(u64::from(script.byte().unwrap_or(1)));
                    for client in &mut self.clients {
                        client.rest(self.now);
                    }
                }
                5 => self.clients[at].driver.shrink(),
                // Not taken in before the next one: what one read brings.
                6 => {
                    let bytes = operate_on(channel, script.byte().unwrap_or(0), &mut script);
                    self.clients[at].unread.extend(bytes);
                }
                operation => {
                    let bytes = operate_on(channel, operation, &mut script);
                    self.clients[at].feed(&bytes, self.now);
                }
            }
        }
    }

    fn leave_and_check(mut self) {
        for client in &mut self.clients {
            client.driver.disconnect();
        }
        assert_eq!(self.shared.connection_count(), 0);
        let vhost = self.shared.vhost("/").expect("the default vhost");
        vhost.read(|registry| {
            assert!(registry.replies.is_empty(), "an address for replies outlived its consumer");
            for view in registry.topology.queues() {
                assert!(view.owner.is_none(), "an exclusive queue outlived its connection");
                let counts = view.queue.counts();
                assert_eq!((counts.unacked, counts.consumers), (0, 0));
                assert_eq!(view.queue.purge().ready, counts.ready);
            }
        });
        assert_eq!(self.shared.memory.held_bytes(), 0, "bytes of messages that are in no queue");
    }
}

/// What is left of the input, read as numbers and names.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn flags(&mut self) -> u8 {
        self.byte().unwrap_or(0)
    }

    fn one_of<'b>(&mut self, names: &[&'b str]) -> &'b str {
        names[usize::from(self.flags()) % names.len()]
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.flags() % 64).min(self.0.len());
        let (front, rest) = self.0.split_at(length);
        self.0 = rest;
        front
    }
}

/// The frames of one operation.
fn operate_on(channel: u16, operation: u8, script: &mut Script<'_>) -> Vec<u8> {
    let tag = |script: &mut Script<'_>| u64::from(script.flags() % 16).to_be_bytes();
    match operation {
        7..=11 => publish(channel, script),
        12 => method(channel, (20, 10), b"\0"),
        13 => method(channel, (20, 40), b"\0\0\0\0\0\0\0"),
        14 => method(channel, (20, 41), b""),
        15 | 16 => {
            let (name, flags) = (short(script.one_of(&NAMES)), [script.flags() & 0x1e]);
            let table = if script.flags() & 1 == 0 {
                Vec::new()
            } else {
                b"\x18x-single-active-consumert\x01".to_vec()
            };
            method(channel, (50, 10), &[b"\0\0", &name[..], &flags, &long(&table)].concat())
        }
        17 => {
            let (queue, exchange) = (short(script.one_of(&NAMES)), short(script.one_of(&EXCHANGES)));
            let key = short(script.one_of(&NAMES));
            method(channel, (50, 20), &[b"\0\0", &queue[..], &exchange, &key, b"\0", &long(b"")].concat())
        }
        18 | 19 => {
            let (queue, tag) = (short(script.one_of(&NAMES)), short(script.one_of(&NAMES)));
            let flags = [script.flags() & 0x0f];
            method(channel, (60, 20), &[b"\0\0", &queue[..], &tag, &flags, &long(b"")].concat())
        }
        20 => method(channel, (60, 30), &[&short(script.one_of(&NAMES))[..], &[script.flags() & 1]].concat()),
        21 => method(channel, (60, 80), &[&tag(script)[..], &[script.flags() & 1]].concat()),
        22 => method(channel, (60, 120), &[&tag(script)[..], &[script.flags() & 3]].concat()),
        23 => {
            let queue = short(script.one_of(&NAMES));
            method(channel, (60, 70), &[b"\0\0", &queue[..], &[script.flags() & 1]].concat())
        }
        24 => method(channel, (90, 10 + 10 * u16::from(script.flags() % 3)), b""),
        25 => method(channel, (85, 10), b"\0"),
        26 => method(channel, (60, 10), &[0, 0, 0, 0, 0, script.flags() % 8, script.flags() & 1]),
        27 => method(channel, (60, 110), b"\x01"),
        28 => {
            let (name, kind) = (short(script.one_of(&EXCHANGES)), short(script.one_of(&KINDS)));
            let flags = [script.flags() & 0x1e];
            let arguments =
                [b"\x12alternate-exchangeS", &long(script.one_of(&EXCHANGES).as_bytes())[..]].concat();
            method(channel, (40, 10), &[b"\0\0", &name[..], &kind, &flags, &long(&arguments)].concat())
        }
        29 => {
            let (to, from) = (short(script.one_of(&EXCHANGES)), short(script.one_of(&EXCHANGES)));
            let key = short(script.one_of(&NAMES));
            method(channel, (40, 30), &[b"\0\0", &to[..], &from, &key, b"\0", &long(b"")].concat())
        }
        30 => {
            let (ids, queue) = ((50, 30 + 10 * u16::from(script.flags() % 2)), short(script.one_of(&NAMES)));
            method(channel, ids, &[b"\0\0", &queue[..], &[script.flags() & 7]].concat())
        }
        // Anything at all, in a frame.
        _ => frame(script.flags() % 9, channel, script.bytes()),
    }
}

/// A content: properties of all kinds, a body that is as long as announced, or not.
fn publish(channel: u16, script: &mut Script<'_>) -> Vec<u8> {
    let (exchange, key) = (short(script.one_of(&EXCHANGES)), short(script.one_of(&NAMES)));
    let how = script.flags();
    let mut bytes = method(channel, (60, 40), &[b"\0\0", &exchange[..], &key, &[how & 1]].concat());
    let properties = match how >> 1 & 7 {
        0 => script.bytes().to_vec(),
        1 => [&[0x02, 0][..], &short("amq.rabbitmq.reply-to")].concat(),
        2 => {
            let keys = [b"S", &long(script.one_of(&NAMES).as_bytes())[..]].concat();
            let header = if how & 16 == 0 { &b"\x02CCA"[..] } else { &b"\x03BCCA"[..] };
            [&[0x20, 0][..], &long(&[header, &long(&keys)].concat())].concat()
        }
        3 => vec![0x10, 0, 2],
        _ => vec![0, 0],
    };
    let size = if how & 32 == 0 { usize::from(script.flags()) } else { usize::from(script.flags()) * 200 };
    let announced = (size as u64) ^ u64::from(how == 255);
    bytes.extend(frame(2, channel, &[&[0, 60, 0, 0], &announced.to_be_bytes()[..], &properties].concat()));
    if size > 0 {
        bytes.extend(frame(3, channel, &vec![7; size]));
    }
    bytes
}

fn method(channel: u16, (class, method): (u16, u16), arguments: &[u8]) -> Vec<u8> {
    frame(1, channel, &[&class.to_be_bytes(), &method.to_be_bytes(), arguments].concat())
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("inputs are small");
    [&[kind], &channel.to_be_bytes()[..], &size.to_be_bytes(), payload, &[0xCE]].concat()
}

fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("names are short")], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("inputs are small").to_be_bytes(), bytes].concat()
}

fn written(driver: &mut Driver) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !driver.out().is_empty() {
        let mut slices = [IoSlice::new(&[]); 16];
        let used = driver.out().fill_slices(&mut slices);
        let before = bytes.len();
        for slice in &slices[..used] {
            bytes.extend_from_slice(slice);
        }
        driver.out().advance(bytes.len() - before);
    }
    bytes
}
