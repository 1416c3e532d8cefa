//! What the encoders write, read back with amq-protocol's own parser, and the buffer under writes of any size.

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::{basic, queue};
use proptest::prelude::*;

use super::*;
use crate::limits::INLINE_BODY_BYTES_MAX;

/// Empties the buffer, `step` bytes a time, through a few slices.
fn drain(out: &mut OutBuffer, step: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !out.is_empty() {
        let mut slices = [IoSlice::new(&[]); 3];
        let used = out.fill_slices(&mut slices);
        let available: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
        assert!(!available.is_empty(), "an unwritten buffer offers bytes");
        let written = available.len().min(step);
        bytes.extend_from_slice(&available[..written]);
        out.advance(written);
    }
    bytes
}

fn frames(mut bytes: &[u8]) -> Vec<AMQPFrame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (rest, frame) = parse_frame(bytes).unwrap();
        frames.push(frame);
        bytes = rest;
    }
    frames
}

fn message(body_bytes: usize) -> Message {
    let body: Vec<u8> = (0..body_bytes).map(|at| u8::try_from(at % 251).unwrap()).collect();
    Message::new("logs", "a.b", &[0x18, 0, 2, 9], true, &body)
}

/// Checks the content behind a method: its header, and its body in frames of the right size.
fn check_content(frames: &[AMQPFrame], message: &Message, frame_max: u32) {
    let AMQPFrame::Header(7, header) = &frames[0] else { panic!("{:?} is no header", frames[0]) };
    assert_eq!((header.class_id, header.body_size), (60, message.body().len() as u64));
    assert_eq!((*header.properties.delivery_mode(), *header.properties.priority()), (Some(2), Some(9)));
    let mut body = Vec::new();
    for (place, frame) in frames[1..].iter().enumerate() {
        let AMQPFrame::Body(7, piece) = frame else { panic!("{frame:?} is no body") };
        let is_last = place + 2 == frames.len();
        if frame_max > 0 {
            let full = frame_max as usize - 8;
            assert!(if is_last { (1..=full).contains(&piece.len()) } else { piece.len() == full });
        } else {
            assert!(is_last);
        }
        body.extend_from_slice(piece);
    }
    assert_eq!(body, message.body());
}

#[test]
fn contents_go_out_whole_around_every_bound() {
    let at = |bound: usize| [bound - 1, bound, bound + 1];
    let sizes = [0, 1].into_iter().chain(at(4088)).chain(at(2 * 4088)).chain(at(INLINE_BODY_BYTES_MAX));
    for size in sizes.chain([200_000]) {
        let message = message(size);
        for frame_max in [4096, 131_072, 0] {
            let mut out = OutBuffer::default();
            out.deliver(7, "consumer", 0x0102_0304_0506_0708, true, &message, frame_max);
            out.get_ok(7, 2, false, 77, &message, frame_max);
            out.returned(7, ReplyCode::NoRoute, &message, frame_max);
            let frames = frames(&drain(&mut out, usize::MAX));

            let starts: Vec<usize> =
                (0..frames.len()).filter(|&at| matches!(frames[at], AMQPFrame::Method(..))).collect();
            let [deliver, get_ok, returned] = starts[..] else { panic!("three methods: {starts:?}") };
            let expected = basic::AMQPMethod::Deliver(basic::Deliver {
                consumer_tag: "consumer".into(),
                delivery_tag: 0x0102_0304_0506_0708,
                redelivered: true,
                exchange: "logs".into(),
                routing_key: "a.b".into(),
            });
            assert_eq!(frames[deliver], AMQPFrame::Method(7, AMQPClass::Basic(expected)));
            check_content(&frames[deliver + 1..get_ok], &message, frame_max);
            let expected = basic::AMQPMethod::GetOk(basic::GetOk {
                delivery_tag: 2,
                redelivered: false,
                exchange: "logs".into(),
                routing_key: "a.b".into(),
                message_count: 77,
            });
            assert_eq!(frames[get_ok], AMQPFrame::Method(7, AMQPClass::Basic(expected)));
            check_content(&frames[get_ok + 1..returned], &message, frame_max);
            let expected = basic::AMQPMethod::Return(basic::Return {
                reply_code: 312,
                reply_text: "NO_ROUTE".into(),
                exchange: "logs".into(),
                routing_key: "a.b".into(),
            });
            assert_eq!(frames[returned], AMQPFrame::Method(7, AMQPClass::Basic(expected)));
            check_content(&frames[returned + 1..], &message, frame_max);
        }
    }
}

#[test]
fn methods_without_content_are_encoded() {
    let declare_ok = AMQPClass::Queue(queue::AMQPMethod::DeclareOk(queue::DeclareOk {
        queue: "q".into(),
        message_count: 1,
        consumer_count: 2,
    }));
    let mut out = OutBuffer::default();
    out.protocol_header(b"AMQP\0\0\x09\x01");
    out.heartbeat();
    out.method(3, &declare_ok);
    out.ack(4, 0x0102_0304_0506_0708, true);
    out.ack(4, 5, false);
    out.nack(4, 6, true);
    let ack = |delivery_tag, multiple| {
        AMQPClass::Basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple }))
    };
    let nack = basic::AMQPMethod::Nack(basic::Nack { delivery_tag: 6, multiple: true, requeue: true });
    assert_eq!(
        frames(&drain(&mut out, usize::MAX)),
        [
            AMQPFrame::ProtocolHeader(amq_protocol::frame::ProtocolVersion::amqp_0_9_1()),
            AMQPFrame::Heartbeat,
            AMQPFrame::Method(3, declare_ok),
            AMQPFrame::Method(4, ack(0x0102_0304_0506_0708, true)),
            AMQPFrame::Method(4, ack(5, false)),
            AMQPFrame::Method(4, AMQPClass::Basic(nack)),
        ]
    );
}

#[test]
fn names_of_the_longest_length_fit() {
    let longest = "n".repeat(255);
    let message = Message::new(&longest, &longest, &[0, 0], false, b"x");
    let mut out = OutBuffer::default();
    out.deliver(1, &longest, 1, false, &message, 4096);
    assert_eq!(frames(&drain(&mut out, usize::MAX)).len(), 3);
}

#[test]
fn large_bodies_are_shared_not_copied() {
    let message = message(1_000_000);
    let mut out = OutBuffer::default();
    out.deliver(7, "consumer", 1, false, &message, 131_072);
    assert!(out.owned.capacity() <= OUT_BUFFER_KEEP_BYTES);
    let mut slices = [IoSlice::new(&[]); 2];
    assert_eq!(out.fill_slices(&mut slices), 2);
    assert_eq!(slices[1].as_ptr(), message.body().as_ptr());
    assert_eq!(slices[1].len(), 131_064);
}

#[test]
fn memory_goes_when_the_bytes_have_gone() {
    let small = message(100);
    let mut out = OutBuffer::default();
    out.deliver(7, "consumer", 1, false, &small, 4096);
    drain(&mut out, usize::MAX);
    assert!(out.owned.capacity() > 0, "a small buffer is kept for the next frame");
    out.release();
    assert_eq!(out.owned.capacity(), 0);

    for _ in 0..1_000 {
        out.deliver(7, "consumer", 1, false, &small, 4096);
    }
    out.deliver(7, "consumer", 1, false, &message(100_000), 4096);
    out.advance(1);
    let capacity = out.owned.capacity();
    out.release();
    assert_eq!(out.owned.capacity(), capacity, "unwritten bytes are not released");
    drain(&mut out, usize::MAX);
    assert_eq!((out.owned.capacity(), out.shared.capacity()), (0, 0), "a large buffer goes at once");
}

#[test]
fn a_buffer_that_never_drains_does_not_grow_without_bound() {
    let small = message(100);
    let mut out = OutBuffer::default();
    out.deliver(7, "consumer", 1, false, &small, 4096);
    let frame_bytes = out.len();
    for _ in 0..100_000 {
        out.deliver(7, "consumer", 1, false, &small, 4096);
        out.advance(frame_bytes);
    }
    assert_eq!(out.len(), frame_bytes);
    assert!(out.owned.capacity() <= 64 * 1024, "{}", out.owned.capacity());
}

#[test]
#[should_panic(expected = "more bytes written than there were")]
fn writing_more_than_there_is_is_a_fault() {
    let mut out = OutBuffer::default();
    out.heartbeat();
    out.advance(9);
}

/// A step of a random script against the buffer.
#[derive(Debug, Clone)]
enum Step {
    Deliver { body_bytes: usize, frame_max: u32 },
    Ack,
    Write { bytes: usize },
    Release,
}

fn any_step() -> impl Strategy<Value = Step> {
    let body = prop_oneof![4 => 0..300_usize, 1 => 16_000..60_000_usize];
    prop_oneof![
        3 => (body, prop::sample::select(vec![0_u32, 4096, 131_072]))
            .prop_map(|(body_bytes, frame_max)| Step::Deliver { body_bytes, frame_max }),
        1 => Just(Step::Ack),
        4 => (0..40_000_usize).prop_map(|bytes| Step::Write { bytes }),
        1 => Just(Step::Release),
    ]
}

proptest! {
    /// The same frames into one buffer that is written in between and into fresh ones that are written at once.
    #[test]
    fn bytes_leave_in_order_however_they_are_written(steps in prop::collection::vec(any_step(), 1..60)) {
        let (mut out, mut expected, mut written) = (OutBuffer::default(), Vec::new(), Vec::new());
        for (tag, step) in (1..).zip(steps) {
            let mut fresh = OutBuffer::default();
            match step {
                Step::Deliver { body_bytes, frame_max } => {
                    let message = message(body_bytes);
                    out.deliver(7, "tag", tag, false, &message, frame_max);
                    fresh.deliver(7, "tag", tag, false, &message, frame_max);
                }
                Step::Ack => {
                    out.ack(7, tag, false);
                    fresh.ack(7, tag, false);
                }
                Step::Write { bytes } => {
                    let mut slices = [IoSlice::new(&[]); 3];
                    let used = out.fill_slices(&mut slices);
                    let available: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
                    let bytes = bytes.min(available.len());
                    written.extend_from_slice(&available[..bytes]);
                    out.advance(bytes);
                }
                Step::Release => out.release(),
            }
            expected.extend(drain(&mut fresh, usize::MAX));
            prop_assert_eq!(out.len(), expected.len() - written.len());
        }
        written.extend(drain(&mut out, 1_000));
        prop_assert_eq!(written, expected);
    }
}
