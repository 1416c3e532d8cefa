//! [`Peer`]: a socket, and the bytes of AMQP made by hand, so that they can be wrong. Blocking, with a deadline on
//! everything.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use warren_tests::{Broker, DEADLINE};

pub(crate) const GREETING: &[u8] = b"AMQP\0\0\x09\x01";

/// A connection to the broker under test.
pub(crate) struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// A frame as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) channel: u16,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Class and method of a method frame.
    pub(crate) fn ids(&self) -> (u16, u16) {
        match (self.kind, &self.payload[..]) {
            (1, [a, b, c, d, ..]) => (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])),
            _ => (0, 0),
        }
    }
}

/// How the broker closed a channel or the connection (channel 0).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) channel: u16,
    pub(crate) code: u16,
}

impl Peer {
    /// A stranger: connected, and nothing said.
    pub(crate) fn stranger(broker: &Broker) -> Self {
        Self::to_port(broker.port())
    }

    pub(crate) fn to_port(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Logged in, with channel 1 open.
    pub(crate) fn client(broker: &Broker) -> Self {
        Self::tuned(broker.port(), 131_072, 0)
    }

    /// Logged in with these limits, with channel 1 open.
    pub(crate) fn tuned(port: u16, frame_max: u32, heartbeat_s: u16) -> Self {
        let mut peer = Self::to_port(port);
        peer.send(&log_in(frame_max, heartbeat_s));
        peer.wait_for((10, 41));
        peer.open_channel(1);
        peer
    }

    pub(crate) fn open_channel(&mut self, channel: u16) {
        self.send(&method(channel, (20, 10), b"\0"));
        self.wait_for((20, 11));
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends as much as the other side takes; false once it takes no more.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn frame(&mut self) -> Frame {
        self.next_frame().expect("the broker closed the socket")
    }

    /// The next frame, or nothing at the end of the stream.
    pub(crate) fn next_frame(&mut self) -> Option<Frame> {
        while self.whole().is_none() {
            let mut bytes = [0; 65_536];
            let count = match self.stream.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
                read => read.expect("the broker says something before the deadline"),
            };
            if count == 0 {
                return None;
            }
            self.unread.extend_from_slice(&bytes[..count]);
        }
        let length = self.whole()?;
        let bytes: Vec<u8> = self.unread.drain(..length).collect();
        assert_eq!(bytes[length - 1], 0xCE, "a frame ends with its marker");
        let channel = u16::from_be_bytes([bytes[1], bytes[2]]);
        Some(Frame { kind: bytes[0], channel, payload: bytes[7..length - 1].to_vec() })
    }

    /// The length of the frame at the front, if it is whole.
    fn whole(&self) -> Option<usize> {
        let size = u32::from_be_bytes(self.unread.get(3..7)?.try_into().unwrap());
        let length = size as usize + 8;
        (self.unread.len() >= length).then_some(length)
    }

    /// Passes over frames until this method comes.
    pub(crate) fn wait_for(&mut self, ids: (u16, u16)) -> Frame {
        loop {
            let frame = self.frame();
            assert!(
                !matches!(frame.ids(), (10, 50) | (20, 40)),
                "waiting for {ids:?}: {:?}",
                close_in(&frame)
            );
            if frame.ids() == ids {
                return frame;
            }
        }
    }

    /// Passes over frames until the broker closes a channel or the connection.
    pub(crate) fn closed(&mut self) -> Close {
        loop {
            let frame = self.frame();
            if matches!(frame.ids(), (10, 50) | (20, 40)) {
                return close_in(&frame);
            }
        }
    }

    /// What comes until the broker closes the socket.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.unread);
        match self.stream.read_to_end(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            ended => drop(ended.expect("the broker closes the socket before the deadline")),
        }
        bytes
    }

    /// Declares a queue and gives its ready messages and consumers.
    pub(crate) fn declare(&mut self, queue: &str) -> (u32, u32) {
        self.send(&declare(1, queue));
        let payload = self.wait_for((50, 11)).payload;
        let counts = &payload[payload.len() - 8..];
        let number = |at: usize| u32::from_be_bytes(counts[at..at + 4].try_into().unwrap());
        (number(0), number(4))
    }

    pub(crate) fn consume(&mut self, channel: u16, queue: &str, tag: &str, no_ack: bool) {
        self.send(&consume(channel, queue, tag, no_ack));
        self.wait_for((60, 21));
    }

    /// Has all publishes so far confirmed: `count` of them, on a channel that confirms.
    pub(crate) fn wait_for_confirms(&mut self, count: u64) {
        loop {
            let payload = self.wait_for((60, 80)).payload;
            if u64::from_be_bytes(payload[4..12].try_into().unwrap()) >= count {
                return;
            }
        }
    }

    pub(crate) fn confirm(&mut self) {
        self.send(&method(1, (85, 10), b"\0"));
        self.wait_for((85, 11));
    }
}

fn close_in(frame: &Frame) -> Close {
    Close { channel: frame.channel, code: u16::from_be_bytes([frame.payload[4], frame.payload[5]]) }
}

/// Everything that a client says until it is connected.
pub(crate) fn log_in(frame_max: u32, heartbeat_s: u16) -> Vec<u8> {
    let mut bytes = GREETING.to_vec();
    bytes.extend(start_ok(b""));
    let limits = [&2047_u16.to_be_bytes()[..], &frame_max.to_be_bytes(), &heartbeat_s.to_be_bytes()];
    bytes.extend(method(0, (10, 31), &limits.concat()));
    bytes.extend(method(0, (10, 40), b"\x01/\0\0"));
    bytes
}

/// `connection.start-ok` of guest, with these client properties.
pub(crate) fn start_ok(properties: &[u8]) -> Vec<u8> {
    let arguments = [&long(properties)[..], b"\x05PLAIN", &long(b"\0guest\0guest"), b"\x05en_US"];
    method(0, (10, 11), &arguments.concat())
}

pub(crate) fn method(channel: u16, (class, method): (u16, u16), arguments: &[u8]) -> Vec<u8> {
    frame(1, channel, &[&class.to_be_bytes(), &method.to_be_bytes(), arguments].concat())
}

pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    [&head(kind, channel, u32::try_from(payload.len()).unwrap())[..], payload, &[0xCE]].concat()
}

/// What comes before a payload of this size.
pub(crate) fn head(kind: u8, channel: u16, size: u32) -> Vec<u8> {
    [&[kind], &channel.to_be_bytes()[..], &size.to_be_bytes()].concat()
}

pub(crate) fn declare(channel: u16, queue: &str) -> Vec<u8> {
    method(channel, (50, 10), &[b"\0\0", &short(queue)[..], b"\0", &long(b"")].concat())
}

pub(crate) fn consume(channel: u16, queue: &str, tag: &str, no_ack: bool) -> Vec<u8> {
    let flags = [u8::from(no_ack) << 1];
    method(channel, (60, 20), &[b"\0\0", &short(queue)[..], &short(tag), &flags, &long(b"")].concat())
}

pub(crate) fn get(queue: &str, no_ack: bool) -> Vec<u8> {
    method(1, (60, 70), &[b"\0\0", &short(queue)[..], &[u8::from(no_ack)]].concat())
}

/// A publish to a queue on channel 1.
pub(crate) fn publish(queue: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = publish_method(queue);
    bytes.extend(content_header(body.len() as u64));
    for piece in body.chunks(100_000) {
        bytes.extend(frame(3, 1, piece));
    }
    bytes
}

/// The method of a publish to a queue on channel 1.
pub(crate) fn publish_method(queue: &str) -> Vec<u8> {
    method(1, (60, 40), &[b"\0\0\0", &short(queue)[..], b"\0"].concat())
}

pub(crate) fn content_header(body_bytes: u64) -> Vec<u8> {
    frame(2, 1, &[&[0, 60, 0, 0], &body_bytes.to_be_bytes()[..], &[0, 0]].concat())
}

pub(crate) fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

pub(crate) fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// The inside of a table that holds tables inside each other.
pub(crate) fn nested_tables(depth: usize) -> Vec<u8> {
    // From the outside: name "a", type F, length of the rest.
    let mut bytes = Vec::with_capacity(depth * 7);
    for level in (0..depth).rev() {
        bytes.extend(b"\x01aF");
        bytes.extend(u32::try_from(level * 7).unwrap().to_be_bytes());
    }
    bytes
}
