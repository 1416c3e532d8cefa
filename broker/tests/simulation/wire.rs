//! The bytes that a client sends and the frames that it receives. Knows no state of either side; called by the peers.

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::{
    AMQPClass, basic, channel, confirm, connection, gen_class, parse_class, queue, tx,
};
use amq_protocol::types::{AMQPValue, FieldTable};
use warren::wire::frame::{Decoded, Frame, decode};
use warren::wire::out_buffer::OutBuffer;

/// What the broker sent.
#[derive(Debug)]
pub(crate) enum Received {
    Method(u16, AMQPClass),
    Header(u64),
    Body(Vec<u8>),
}

pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap();
    [&[kind], &channel.to_be_bytes()[..], &size.to_be_bytes(), payload, &[0xCE]].concat()
}

pub(crate) fn method(channel: u16, method: &AMQPClass) -> Vec<u8> {
    let payload = gen_class(method)(WriteContext::from(Vec::new())).unwrap().into_inner().0;
    frame(1, channel, &payload)
}

/// Everything up to and with `connection.open`; the broker's answers do not matter for it.
pub(crate) fn handshake(frame_max: u32) -> Vec<u8> {
    use connection::AMQPMethod as M;
    let mut capabilities = FieldTable::default();
    capabilities.insert("consumer_cancel_notify".into(), AMQPValue::Boolean(true));
    let mut client_properties = FieldTable::default();
    client_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    let methods = [
        M::StartOk(connection::StartOk {
            client_properties,
            mechanism: "PLAIN".into(),
            response: b"\0guest\0guest"[..].into(),
            locale: "en_US".into(),
        }),
        M::TuneOk(connection::TuneOk { channel_max: 2047, frame_max, heartbeat: 0 }),
        M::Open(connection::Open { virtual_host: "/".into() }),
    ];
    let frames = methods.into_iter().flat_map(|open| method(0, &AMQPClass::Connection(open)));
    b"AMQP\0\0\x09\x01".iter().copied().chain(frames).collect()
}

pub(crate) fn close_connection() -> Vec<u8> {
    let close = connection::Close { reply_code: 200, reply_text: "bye".into(), class_id: 0, method_id: 0 };
    method(0, &AMQPClass::Connection(connection::AMQPMethod::Close(close)))
}

pub(crate) fn open_channel(id: u16) -> Vec<u8> {
    method(id, &AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})))
}

pub(crate) fn close_channel(id: u16) -> Vec<u8> {
    let close = channel::Close { reply_code: 200, reply_text: "".into(), class_id: 0, method_id: 0 };
    method(id, &AMQPClass::Channel(channel::AMQPMethod::Close(close)))
}

pub(crate) fn channel_close_ok(id: u16) -> Vec<u8> {
    method(id, &AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})))
}

pub(crate) fn select_confirms(id: u16) -> Vec<u8> {
    method(id, &AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })))
}

pub(crate) fn tx(id: u16, what: tx::AMQPMethod) -> Vec<u8> {
    method(id, &AMQPClass::Tx(what))
}

pub(crate) fn basic(id: u16, what: basic::AMQPMethod) -> Vec<u8> {
    method(id, &AMQPClass::Basic(what))
}

pub(crate) fn queue(id: u16, what: queue::AMQPMethod) -> Vec<u8> {
    method(id, &AMQPClass::Queue(what))
}

pub(crate) fn declare(id: u16, name: &str, kind: Kind) -> Vec<u8> {
    let mut arguments = FieldTable::default();
    if kind == Kind::SingleActive {
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    }
    let declare = queue::Declare {
        queue: name.into(),
        passive: false,
        durable: matches!(kind, Kind::Durable | Kind::SingleActive),
        exclusive: kind == Kind::Exclusive,
        auto_delete: kind == Kind::AutoDelete,
        nowait: false,
        arguments,
    };
    queue(id, queue::AMQPMethod::Declare(declare))
}

/// What a queue is declared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Durable,
    SingleActive,
    Exclusive,
    AutoDelete,
}

pub(crate) fn bind(id: u16, name: &str, exchange: &str, routing_key: &str) -> Vec<u8> {
    let bind = queue::Bind {
        queue: name.into(),
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        nowait: true,
        arguments: FieldTable::default(),
    };
    queue(id, queue::AMQPMethod::Bind(bind))
}

/// A whole `basic.publish`; a persistent one has delivery-mode 2.
pub(crate) fn publish(
    id: u16,
    (exchange, routing_key): (&str, &str),
    mandatory: bool,
    persistent: bool,
    body: &[u8],
) -> Vec<u8> {
    let publish = basic::Publish {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        mandatory,
        immediate: false,
    };
    let properties: &[u8] = if persistent { &[0x10, 0, 2] } else { &[0, 0] };
    let size = (body.len() as u64).to_be_bytes();
    let mut bytes = basic(id, basic::AMQPMethod::Publish(publish));
    bytes.extend(frame(2, id, &[&[0, 60, 0, 0], &size[..], properties].concat()));
    for piece in body.chunks(4000) {
        bytes.extend(frame(3, id, piece));
    }
    bytes
}

/// Takes all that waits to be written.
pub(crate) fn take(out: &mut OutBuffer) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !out.is_empty() {
        let mut slices = [std::io::IoSlice::new(&[]); 16];
        let used = out.fill_slices(&mut slices);
        let before = bytes.len();
        slices[..used].iter().for_each(|slice| bytes.extend_from_slice(slice));
        out.advance(bytes.len() - before);
    }
    bytes
}

pub(crate) fn parse(mut bytes: &[u8]) -> Vec<Received> {
    let mut received = Vec::new();
    while !bytes.is_empty() {
        let Ok(Decoded::Frame { frame, consumed }) = decode(bytes, 0) else {
            panic!("the broker sent what is no frame: {bytes:?}")
        };
        match frame {
            Frame::Method { channel, payload } => {
                let (rest, method) = parse_class(payload).expect("the broker sends well-formed methods");
                assert!(rest.is_empty(), "the broker sent a method with bytes behind it");
                received.push(Received::Method(channel, method));
            }
            Frame::Header { payload, .. } => {
                received.push(Received::Header(u64::from_be_bytes(payload[4..12].try_into().unwrap())));
            }
            Frame::Body { payload, .. } => received.push(Received::Body(payload.to_vec())),
            Frame::Heartbeat { .. } => {}
        }
        bytes = &bytes[consumed..];
    }
    received
}
