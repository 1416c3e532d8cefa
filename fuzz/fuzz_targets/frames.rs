//! Arbitrary bytes against the wire layer: greeting, frames, methods, tables, properties, and the encoders behind them.
//!
//! Beside "never panics": what is parsed and encoded again reads the same, a rewritten property leaves the others alone,
//! and a delivered message comes back whole however its frames are split.

#![no_main]

use std::io::IoSlice;

use libfuzzer_sys::fuzz_target;
use warren::wire::frame::{Decoded, Frame, decode, decode_greeting};
use warren::wire::message::Message;
use warren::wire::method::{Method, parse};
use warren::wire::out_buffer::OutBuffer;
use warren::wire::properties::{
    Properties, parse_content_header, with_headers, with_reply_to, without_header,
};
use warren::wire::table::{decode_table, encode_table};

fuzz_target!(|input: &[u8]| {
    let _ = decode_greeting(input);
    // Without the frames around them, too: a wrong size or end marker need not stand between the input and the parsers.
    check_method(input);
    check_table(input);
    check_properties(input);
    check_stream(input, 0);
    check_stream(input, 4096);
});

fn check_stream(mut input: &[u8], frame_max: u32) {
    while let Ok(Decoded::Frame { frame, consumed }) = decode(input, frame_max) {
        match frame {
            Frame::Method { payload, .. } => check_method(payload),
            Frame::Header { payload, .. } => {
                if let Ok(header) = parse_content_header(payload) {
                    check_properties(header.properties.raw());
                }
            }
            Frame::Body { .. } | Frame::Heartbeat { .. } => {}
        }
        input = &input[consumed..];
    }
}

fn check_method(payload: &[u8]) {
    let Ok(Method::Other(method)) = parse(payload) else { return };
    let mut first = OutBuffer::default();
    first.method(1, &method);
    let first = written(&mut first);
    let Ok(Decoded::Frame { frame: Frame::Method { payload, .. }, .. }) = decode(&first, 0) else {
        panic!("what we encode is a method frame");
    };
    let Ok(Method::Other(again)) = parse(payload) else { panic!("what we encode parses") };
    let mut second = OutBuffer::default();
    second.method(1, &again);
    // Bytes, because a NaN does not equal itself.
    assert_eq!(first, written(&mut second));
}

fn check_table(input: &[u8]) {
    let Ok(table) = decode_table(input) else { return };
    let first = encode_table(&table);
    let again = decode_table(&first).expect("what we encode parses");
    assert_eq!(first, encode_table(&again));
}

fn check_properties(input: &[u8]) {
    let Ok(properties) = Properties::parse(input) else { return };
    assert_eq!(properties.raw(), input);
    assert_eq!(properties.headers().is_some(), properties.headers_bytes().is_some());

    let answered = with_reply_to(input, "r").expect("only one property changed");
    let view = Properties::parse(&answered).expect("only one property changed");
    assert_eq!(view.reply_to(), Some("r"));
    assert_eq!(view.headers_bytes(), properties.headers_bytes());
    assert_eq!(view.user_id(), properties.user_id());

    if let Some(headers) = properties.headers() {
        let same = with_headers(input, &headers).expect("only one property changed");
        assert_eq!(Properties::parse(&same).expect("well-formed").message_id(), properties.message_id());
        for (name, _) in &headers {
            assert!(properties.has_header(name.as_str().as_bytes()));
            let without = without_header(input, name.as_str()).expect("only one header removed");
            let view = Properties::parse(&without).expect("well-formed");
            assert!(!view.has_header(name.as_str().as_bytes()));
        }
    }
    check_delivery(input);
}

fn check_delivery(properties: &[u8]) {
    let message = Message::new("exchange", "key", properties, false, properties);
    for frame_max in [9, 64, 4096, 0] {
        let mut out = OutBuffer::default();
        out.deliver(1, "tag", 1, false, &message, frame_max);
        let bytes = written(&mut out);
        let (mut rest, mut body) = (&bytes[..], Vec::new());
        while let Ok(Decoded::Frame { frame, consumed }) = decode(rest, 0) {
            if let Frame::Body { payload, .. } = frame {
                body.extend_from_slice(payload);
            }
            rest = &rest[consumed..];
        }
        assert!(rest.is_empty());
        assert_eq!(body, message.body());
    }
}

fn written(out: &mut OutBuffer) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !out.is_empty() {
        let mut slices = [IoSlice::new(&[]); 4];
        let used = out.fill_slices(&mut slices);
        let before = bytes.len();
        for slice in &slices[..used] {
            bytes.extend_from_slice(slice);
        }
        out.advance(bytes.len() - before);
    }
    bytes
}
