//! The bytes of AMQP 0-9-1 as far as these tests need them: made and taken apart by hand, because a client must go on
//! without a panic when its broker dies at any byte, and must know in which order it sent what.

use std::collections::HashMap;

pub(crate) const METHOD: u8 = 1;
pub(crate) const HEADER: u8 = 2;
pub(crate) const BODY: u8 = 3;
const FRAME_END: u8 = 0xCE;

/// Class and method.
pub(crate) type Ids = (u16, u16);

pub(crate) mod ids {
    use super::Ids;

    pub(crate) const CONNECTION_CLOSE: Ids = (10, 50);
    pub(crate) const CHANNEL_CLOSE: Ids = (20, 40);
    pub(crate) const CONSUME_OK: Ids = (60, 21);
    pub(crate) const BASIC_DELIVER: Ids = (60, 60);
    pub(crate) const BASIC_ACK: Ids = (60, 80);
    pub(crate) const BASIC_NACK: Ids = (60, 120);
}

/// What a content carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// Flags and values.
    pub(crate) properties: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// A method, with its content if it has one.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) channel: u16,
    pub(crate) ids: Ids,
    pub(crate) arguments: Vec<u8>,
    pub(crate) content: Content,
}

/// Takes what was received apart.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    taken: usize,
    /// Methods whose content is not complete, with the size announced.
    partial: HashMap<u16, (Incoming, Option<usize>)>,
}

impl Decoder {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete method.
    pub(crate) fn next(&mut self) -> Option<Incoming> {
        loop {
            let rest = &self.buffer[self.taken..];
            let head = rest.get(..7)?;
            let (kind, channel) = (head[0], u16::from_be_bytes([head[1], head[2]]));
            let size = usize::try_from(u32::from_be_bytes([head[3], head[4], head[5], head[6]])).unwrap();
            let frame = rest.get(..size + 8)?;
            assert_eq!(frame[size + 7], FRAME_END, "a frame ends with its mark");
            let payload = &frame[7..size + 7];
            self.taken += size + 8;
            if let Some(whole) = accept(&mut self.partial, kind, channel, payload) {
                return Some(whole);
            }
        }
    }
}

/// Takes one frame, and returns a method that is complete with it.
fn accept(
    partial: &mut HashMap<u16, (Incoming, Option<usize>)>,
    kind: u8,
    channel: u16,
    payload: &[u8],
) -> Option<Incoming> {
    match kind {
        METHOD => {
            let ids =
                (u16::from_be_bytes([payload[0], payload[1]]), u16::from_be_bytes([payload[2], payload[3]]));
            let arguments = payload[4..].to_vec();
            let incoming = Incoming { channel, ids, arguments, content: Content::default() };
            // basic.return, basic.deliver and basic.get-ok.
            if !matches!(ids, (60, 50 | 60 | 71)) {
                return Some(incoming);
            }
            partial.insert(channel, (incoming, None));
        }
        HEADER => {
            let (incoming, size) = partial.get_mut(&channel).expect("a header follows a method");
            *size = usize::try_from(u64::from_be_bytes(payload[4..12].try_into().unwrap())).ok();
            incoming.content.properties = payload[12..].to_vec();
        }
        BODY => {
            let (incoming, _) = partial.get_mut(&channel).expect("a body follows a method");
            incoming.content.body.extend_from_slice(payload);
        }
        _ => return None,
    }
    let (incoming, size) = &partial[&channel];
    if Some(incoming.content.body.len()) == *size {
        return partial.remove(&channel).map(|(incoming, _)| incoming);
    }
    None
}

/// Arguments, one after the other.
#[derive(Debug)]
pub(crate) struct Arguments<'a>(pub(crate) &'a [u8]);

impl<'a> Arguments<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take(8).try_into().unwrap())
    }

    pub(crate) fn short(&mut self) -> String {
        let len = usize::from(self.u8());
        String::from_utf8_lossy(self.take(len)).into_owned()
    }
}

pub(crate) fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn frame(bytes: &mut Vec<u8>, kind: u8, channel: u16, payload: &[&[u8]]) {
    let size: usize = payload.iter().map(|part| part.len()).sum();
    bytes.push(kind);
    bytes.extend_from_slice(&channel.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(size).unwrap().to_be_bytes());
    for part in payload {
        bytes.extend_from_slice(part);
    }
    bytes.push(FRAME_END);
}

pub(crate) fn method(channel: u16, (class, method): Ids, arguments: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(arguments.len() + 12);
    frame(&mut bytes, METHOD, channel, &[&class.to_be_bytes(), &method.to_be_bytes(), arguments]);
    bytes
}

/// The bytes of a publish, for a peer that takes frames of 128 KiB, as is usual.
pub(crate) fn publish(
    bytes: &mut Vec<u8>,
    channel: u16,
    (exchange, key): (&str, &str),
    properties: &[u8],
    body: &[u8],
) {
    frame(bytes, METHOD, channel, &[&[0, 60, 0, 40, 0, 0], &short(exchange), &short(key), &[0]]);
    let size = u64::try_from(body.len()).unwrap().to_be_bytes();
    frame(bytes, HEADER, channel, &[&[0, 60, 0, 0], &size, properties]);
    for piece in body.chunks(131_072 - 8) {
        frame(bytes, BODY, channel, &[piece]);
    }
}

/// What to do with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settle {
    Ack,
    AckUpTo,
    Nack { up_to: bool, requeue: bool },
    Reject { requeue: bool },
}

impl Settle {
    pub(crate) fn bytes(self, channel: u16, tag: u64) -> Vec<u8> {
        let (ids, flags) = match self {
            Self::Ack => ((60, 80), 0),
            Self::AckUpTo => ((60, 80), 1),
            Self::Nack { up_to, requeue } => ((60, 120), u8::from(up_to) | u8::from(requeue) << 1),
            Self::Reject { requeue } => ((60, 90), u8::from(requeue)),
        };
        method(channel, ids, &[&tag.to_be_bytes()[..], &[flags]].concat())
    }

    pub(crate) fn takes_all_up_to_the_tag(self) -> bool {
        matches!(self, Self::AckUpTo | Self::Nack { up_to: true, .. })
    }

    pub(crate) fn requeues(self) -> bool {
        matches!(self, Self::Nack { requeue: true, .. } | Self::Reject { requeue: true })
    }
}
