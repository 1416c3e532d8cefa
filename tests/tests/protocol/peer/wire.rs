//! Frames to bytes and back. Methods are amq-protocol's business; everything around them is done by hand, so that tests
//! can also say what no library would.

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::basic::{self, AMQPProperties, gen_properties};
use amq_protocol::protocol::{AMQPClass, gen_class, parse_class};

pub(crate) const METHOD: u8 = 1;
pub(crate) const HEADER: u8 = 2;
pub(crate) const BODY: u8 = 3;
pub(crate) const HEARTBEAT: u8 = 8;

const END: u8 = 0xCE;

/// A frame without its decoration.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) channel: u16,
    pub(crate) payload: Vec<u8>,
}

/// The first frame of `input` and its length, if it is complete.
pub(crate) fn decode_frame(input: &[u8]) -> Option<(Frame, usize)> {
    let head = input.first_chunk::<7>()?;
    let payload_bytes = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    let frame = input.get(..payload_bytes + 8)?;
    assert_eq!(frame.last(), Some(&END), "frame end of {frame:?}");
    let channel = u16::from_be_bytes([head[1], head[2]]);
    Some((Frame { kind: head[0], channel, payload: frame[7..frame.len() - 1].to_vec() }, frame.len()))
}

/// A whole frame.
pub(crate) fn encode_frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let payload_bytes = u32::try_from(payload.len()).expect("tests send small frames");
    let mut frame = vec![kind];
    frame.extend_from_slice(&channel.to_be_bytes());
    frame.extend_from_slice(&payload_bytes.to_be_bytes());
    frame.extend_from_slice(payload);
    frame.push(END);
    frame
}

/// A whole method frame.
pub(crate) fn encode_method(channel: u16, method: &AMQPClass) -> Vec<u8> {
    let context = gen_class(method)(WriteContext::from(Vec::new())).expect("a Vec takes every write");
    encode_frame(METHOD, channel, &context.into_inner().0)
}

/// The payload of a content header. Properties are flags and values.
pub(crate) fn content_header(body_bytes: u64, properties: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0];
    payload.extend_from_slice(&body_bytes.to_be_bytes());
    payload.extend_from_slice(properties);
    payload
}

/// Flags and values.
pub(crate) fn encode_properties(properties: &AMQPProperties) -> Vec<u8> {
    let context =
        gen_properties(properties)(WriteContext::from(Vec::new())).expect("a Vec takes every write");
    context.into_inner().0
}

pub(crate) fn parse_method(payload: &[u8]) -> AMQPClass {
    match parse_class(payload) {
        Ok(([], method)) => method,
        other => panic!("no method in {payload:?}: {other:?}"),
    }
}

pub(crate) fn carries_content(method: &AMQPClass) -> bool {
    matches!(
        method,
        AMQPClass::Basic(
            basic::AMQPMethod::Deliver(_) | basic::AMQPMethod::GetOk(_) | basic::AMQPMethod::Return(_)
        )
    )
}
