//! Frames and the greeting, as they lie in the bytes of a stream: AMQP 0-9-1, sections 2.3 and 4.2.
//!
//! [`decode`] finds one frame and checks its outside: type, size, end marker. It copies nothing and leaves the payload
//! to [`super::method`] and [`super::properties`]; whether a frame may come now is the session's to judge. Called by the
//! session for every frame that arrives.

use std::fmt::Write;

use crate::error::AmqpError;

/// Type, channel and payload size, in front of every payload.
pub(super) const FRAME_HEAD_BYTES: usize = 7;
/// The octet behind every payload.
pub(super) const FRAME_END: u8 = 0xCE;
/// What a frame measures beside its payload: `frame_max` counts these, too.
pub(super) const FRAME_OVERHEAD_BYTES: u32 = 8;

pub(super) const TYPE_METHOD: u8 = 1;
pub(super) const TYPE_HEADER: u8 = 2;
pub(super) const TYPE_BODY: u8 = 3;
pub(super) const TYPE_HEARTBEAT: u8 = 8;

/// One frame, its payload still in the bytes it was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A method with its arguments.
    Method {
        /// The channel number, 0 for the connection.
        channel: u16,
        /// For [`super::method::parse`].
        payload: &'a [u8],
    },
    /// A content header.
    Header {
        /// The channel number.
        channel: u16,
        /// For [`super::properties::parse_content_header`].
        payload: &'a [u8],
    },
    /// A piece of a content's body.
    Body {
        /// The channel number.
        channel: u16,
        /// The bytes.
        payload: &'a [u8],
    },
    /// A sign of life.
    Heartbeat {
        /// 0 if the peer keeps to the specification.
        channel: u16,
    },
}

/// What the front of a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// Not yet a whole frame.
    Incomplete,
    /// A whole frame.
    Frame {
        /// The frame.
        frame: Frame<'a>,
        /// How many bytes it takes up in the stream.
        consumed: usize,
    },
}

/// Finds the frame at the front of `input`. `frame_max` is the negotiated limit, 0 for none.
///
/// # Errors
///
/// 501 FRAME_ERROR for a frame that is too large (told from its head alone, so that nobody waits for its payload), of an
/// unknown type, or without its end marker.
#[inline]
pub fn decode(input: &[u8], frame_max: u32) -> Result<Decoded<'_>, AmqpError> {
    let Some((head, rest)) = input.split_first_chunk::<FRAME_HEAD_BYTES>() else {
        return Ok(Decoded::Incomplete);
    };
    let [kind, channel_high, channel_low, size @ ..] = *head;
    let channel = u16::from_be_bytes([channel_high, channel_low]);
    let size = u32::from_be_bytes(size);
    // Like RabbitMQ we let a payload reach frame_max itself, 8 bytes more than the specification: there are clients
    // that forget the overhead when they split bodies.
    if frame_max != 0 && size > frame_max {
        return Err(too_large(kind, size, frame_max));
    }
    let Some((payload, [end, ..])) = rest.split_at_checked(size as usize) else {
        return Ok(Decoded::Incomplete);
    };
    if *end != FRAME_END {
        return Err(malformed(kind, payload, &format!("{{invalid_frame_end_marker,{end}}}")));
    }
    let frame = match kind {
        TYPE_METHOD => Frame::Method { channel, payload },
        TYPE_HEADER => Frame::Header { channel, payload },
        TYPE_BODY => Frame::Body { channel, payload },
        TYPE_HEARTBEAT if payload.is_empty() => Frame::Heartbeat { channel },
        _ => return Err(malformed(kind, payload, "unknown_frame")),
    };
    Ok(Decoded::Frame { frame, consumed: FRAME_HEAD_BYTES + payload.len() + 1 })
}

#[cold]
fn too_large(kind: u8, size: u32, frame_max: u32) -> AmqpError {
    let payload_max = frame_max.saturating_sub(FRAME_OVERHEAD_BYTES);
    malformed(kind, &[], &format!("{{frame_too_large,{size},{payload_max}}}"))
}

/// The error for a frame that makes no sense, in the words of RabbitMQ, which show the peer what arrived.
#[cold]
pub(super) fn malformed(kind: u8, payload: &[u8], reason: &str) -> AmqpError {
    let (which, shown) = match payload.get(..16) {
        Some(first) if payload.len() > 16 => ("first 16", first),
        _ => ("all", payload),
    };
    AmqpError::frame_error(format!("type {kind}, {which} octets = {}: {reason}", printed(shown)))
}

/// Bytes as Erlang prints them: as text if they are all printable, otherwise as numbers.
fn printed(bytes: &[u8]) -> String {
    if bytes.is_empty() || !bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return numbered(bytes);
    }
    let escaped = String::from_utf8_lossy(bytes).replace('\\', "\\\\").replace('"', "\\\"");
    format!("<<\"{escaped}\">>")
}

/// Bytes as Erlang prints them where it does not look for text: `<<0,0,3,97>>`.
pub(super) fn numbered(bytes: &[u8]) -> String {
    let mut text = String::from("<<");
    for (place, byte) in bytes.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        write!(text, "{comma}{byte}").expect("a String takes every write");
    }
    text.push_str(">>");
    text
}

/// What a peer opens the conversation with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Greeting {
    /// It may still become one of the others.
    Incomplete,
    /// Eight bytes that ask for AMQP 0-9-1, in either spelling.
    Amqp091,
    /// Eight bytes that ask for AMQP 1.0, plain or under SASL or TLS.
    Amqp10,
    /// Eight bytes that ask for any other AMQP.
    OtherAmqp,
    /// A web browser or a health check.
    Http,
    /// A TLS handshake on a port without TLS.
    Tls,
    /// None of these.
    Garbage,
}

/// The first bytes of HTTP requests.
const HTTP_METHODS: [&[u8]; 7] = [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH "];
/// A handshake record of TLS 1.0 or later (RFC 8446, section 5.1), or of SSL 3.
const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];
const AMQP: &[u8] = b"AMQP";

/// Judges the first bytes of a connection, as soon as there are enough of them.
#[must_use]
pub fn decode_greeting(input: &[u8]) -> Greeting {
    if let Some((AMQP, version)) = input.split_at_checked(AMQP.len()) {
        return match version {
            // The second one is how the specification 0-9 spelled its version; RabbitMQ takes it as 0-9-1, too.
            [0, 0, 9, 1, ..] | [1, 1, 0, 9, ..] => Greeting::Amqp091,
            // Protocol ids of 1.0: 0 is AMQP itself, 2 TLS, 3 SASL.
            [0 | 2 | 3, 1, 0, 0, ..] => Greeting::Amqp10,
            [_, _, _, _, ..] => Greeting::OtherAmqp,
            _ => Greeting::Incomplete,
        };
    }
    if HTTP_METHODS.iter().any(|method| input.starts_with(method)) {
        return Greeting::Http;
    }
    if input.starts_with(TLS_HANDSHAKE) {
        return Greeting::Tls;
    }
    let undecided =
        HTTP_METHODS.iter().chain([&AMQP, &TLS_HANDSHAKE]).any(|opening| opening.starts_with(input));
    if undecided { Greeting::Incomplete } else { Greeting::Garbage }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).unwrap();
        [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes(), payload, &[FRAME_END]].concat()
    }

    #[test]
    fn every_kind_of_frame_is_found_at_the_front_of_a_stream() {
        for (kind, payload, expected) in [
            (1, &b"1234"[..], Frame::Method { channel: 7, payload: b"1234" }),
            (2, b"head", Frame::Header { channel: 7, payload: b"head" }),
            (3, b"", Frame::Body { channel: 7, payload: b"" }),
            (8, b"", Frame::Heartbeat { channel: 7 }),
        ] {
            let mut stream = frame(kind, 7, payload);
            let consumed = stream.len();
            stream.extend_from_slice(b"what follows");
            assert_eq!(decode(&stream, 4096).unwrap(), Decoded::Frame { frame: expected, consumed });
        }
    }

    #[test]
    fn a_payload_may_measure_frame_max_and_not_one_byte_more() {
        for frame_max in [4096_u32, 8192, 131_072] {
            let at_bound = frame(3, 1, &vec![0; frame_max as usize]);
            assert!(matches!(decode(&at_bound, frame_max), Ok(Decoded::Frame { .. })));
            let above = frame(3, 1, &vec![0; frame_max as usize + 1]);
            // Told from the head alone.
            let error = decode(&above[..FRAME_HEAD_BYTES], frame_max).unwrap_err();
            let (size, allowed) = (frame_max + 1, frame_max - 8);
            assert_eq!(
                error.reply_text(),
                format!("FRAME_ERROR - type 3, all octets = <<>>: {{frame_too_large,{size},{allowed}}}")
            );
            assert!(matches!(decode(&above, 0), Ok(Decoded::Frame { .. })), "0 is no limit");
        }
        assert_eq!(decode(&[3, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0], 0).unwrap(), Decoded::Incomplete);
    }

    /// The texts are those that RabbitMQ 3.10 answered to the same bytes.
    #[test]
    fn malformed_frames_are_refused_with_what_arrived() {
        let with_end = |mut bytes: Vec<u8>, end: u8| {
            *bytes.last_mut().unwrap() = end;
            bytes
        };
        for (bytes, text) in [
            (frame(4, 1, b"abc"), r#"type 4, all octets = <<"abc">>: unknown_frame"#),
            (frame(8, 0, b"abc"), r#"type 8, all octets = <<"abc">>: unknown_frame"#),
            (with_end(frame(8, 0, b""), 65), "type 8, all octets = <<>>: {invalid_frame_end_marker,65}"),
            (
                with_end(frame(1, 1, b"a\"b\\c"), 1),
                r#"type 1, all octets = <<"a\"b\\c">>: {invalid_frame_end_marker,1}"#,
            ),
            (
                with_end(frame(1, 1, &[b'a'; 17]), 1),
                r#"type 1, first 16 octets = <<"aaaaaaaaaaaaaaaa">>: {invalid_frame_end_marker,1}"#,
            ),
            (
                with_end(frame(1, 1, &[0, 50, 0]), 0),
                "type 1, all octets = <<0,50,0>>: {invalid_frame_end_marker,0}",
            ),
        ] {
            let error = decode(&bytes, 4096).unwrap_err();
            assert_eq!((error.code.code(), error.text.as_ref()), (501, text));
        }
    }

    #[test]
    fn greetings_are_told_apart() {
        for (bytes, expected) in [
            (&b"AMQP\0\0\x09\x01"[..], Greeting::Amqp091),
            (b"AMQP\x01\x01\0\x09", Greeting::Amqp091),
            (b"AMQP\0\0\x09\x01\x01\0\0", Greeting::Amqp091),
            (b"AMQP\0\x01\0\0", Greeting::Amqp10),
            (b"AMQP\x02\x01\0\0", Greeting::Amqp10),
            (b"AMQP\x03\x01\0\0", Greeting::Amqp10),
            (b"AMQP\0\0\x08\0", Greeting::OtherAmqp),
            (b"AMQP\x01\x01\x08\0", Greeting::OtherAmqp),
            (b"AMQP\x01\x01\0\x0A", Greeting::OtherAmqp),
            (b"GET / HTTP/1.1\r\n", Greeting::Http),
            (b"OPTIONS * HTTP/1.1\r\n", Greeting::Http),
            (b"\x16\x03\x01\x02\0\x01", Greeting::Tls),
            (b"\x16\x02", Greeting::Garbage),
            (b"AMQX", Greeting::Garbage),
            (b"\0", Greeting::Garbage),
            (b"get ", Greeting::Garbage),
            (b"", Greeting::Incomplete),
            (b"AMQP\0\0\x09", Greeting::Incomplete),
            (b"GE", Greeting::Incomplete),
            (b"\x16", Greeting::Incomplete),
        ] {
            assert_eq!(decode_greeting(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_greeting_once_judged_stays_what_it_is() {
        for greeting in
            [&b"AMQP\0\0\x09\x01"[..], b"AMQP\x03\x01\0\0", b"DELETE /x", b"\x16\x03\x01", b"SSH-2.0"]
        {
            let verdict = decode_greeting(greeting);
            assert_ne!(verdict, Greeting::Incomplete);
            for end in 0..greeting.len() {
                let early = decode_greeting(&greeting[..end]);
                assert!(early == verdict || early == Greeting::Incomplete, "{greeting:?} up to {end}");
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, frame_max: u32) {
            let _ = decode(&bytes, frame_max);
            let _ = decode_greeting(&bytes);
        }

        /// A stream cut anywhere gives the same frames, and nothing before a frame is whole.
        #[test]
        fn a_cut_stream_gives_the_same_frames(
            payloads in prop::collection::vec(
                (1_u8..=3, any::<u16>(), prop::collection::vec(any::<u8>(), 0..64)), 0..6),
            cut: prop::sample::Index,
        ) {
            let stream: Vec<u8> =
                payloads.iter().flat_map(|(kind, channel, payload)| frame(*kind, *channel, payload)).collect();
            let cut = cut.index(stream.len() + 1);
            let (mut at, mut found) = (0, Vec::new());
            for available in [cut, stream.len()] {
                while let Decoded::Frame { frame, consumed } = decode(&stream[at..available], 4096).unwrap() {
                    at += consumed;
                    prop_assert!(at <= available);
                    found.push(match frame {
                        Frame::Method { channel, payload } => (1, channel, payload.to_vec()),
                        Frame::Header { channel, payload } => (2, channel, payload.to_vec()),
                        Frame::Body { channel, payload } => (3, channel, payload.to_vec()),
                        Frame::Heartbeat { channel } => (8, channel, Vec::new()),
                    });
                }
            }
            prop_assert_eq!(at, stream.len());
            prop_assert_eq!(found, payloads);
        }
    }
}
