//! Clients that have logged in and then break the protocol: each gets the close code that RabbitMQ or the specification has
//! for it, and the broker goes on.

use crate::broker_with;
use crate::peer::{
    Close, Peer, content_header, frame, get, head, long, method, nested_tables, publish_method, short,
};
use crate::process::{mib, resident_bytes};
use crate::steady::Steady;
use warren_tests::Broker;

/// `queue.declare` with this table as its arguments, length included.
fn declare_with(table: &[u8]) -> Vec<u8> {
    method(1, (50, 10), &[b"\0\0\x01q\0", table].concat())
}

#[test]
fn broken_frames_and_methods_close_the_connection_with_their_code() {
    let broker = broker_with("[limits]\nframe_max = 1048576\n");
    let steady = Steady::start(&broker);
    let mut bad_end = frame(8, 0, b"");
    *bad_end.last_mut().unwrap() = 0;
    let body = |bytes: &[u8]| frame(3, 1, bytes);
    let table: Vec<(&str, u16, Vec<u8>)> = vec![
        ("a frame over the limit", 501, head(3, 1, 1_048_577)),
        ("a frame of 4 GiB", 501, head(3, 1, u32::MAX)),
        ("a bad frame end", 501, bad_end),
        ("an unknown kind of frame", 501, frame(5, 1, b"x")),
        (
            "a body longer than announced",
            501,
            [publish_method("q"), content_header(2), body(b"abc")].concat(),
        ),
        (
            "a body shorter than announced",
            505,
            [publish_method("q"), content_header(9), get("q", true)].concat(),
        ),
        (
            "a body behind an empty content",
            505,
            [publish_method("q"), content_header(0), body(b"a")].concat(),
        ),
        ("a header without a publish", 505, content_header(1)),
        ("a body without a header", 505, [publish_method("q"), body(b"a")].concat()),
        ("a header on the connection's channel", 505, frame(2, 0, &[0; 14])),
        ("a method on a channel that is not open", 504, method(9, (60, 110), b"\x01")),
        ("a second channel.open", 504, method(1, (20, 10), b"\0")),
        ("an unknown class", 503, method(1, (4711, 10), b"")),
        ("an unknown method", 503, method(1, (60, 4711), b"")),
        ("a method frame without ids", 501, frame(1, 1, b"\0")),
        ("a short string longer than its frame", 501, method(1, (50, 10), b"\0\0\xffq")),
        ("a method without arguments", 501, method(1, (60, 40), b"")),
        ("a table longer than its frame", 501, declare_with(b"\xff\xff\xff\xff\x01a")),
        ("a long string longer than its table", 502, declare_with(&long(b"\x01aS\x7f\xff\xff\xff"))),
        ("an unknown type in a table", 502, declare_with(&long(b"\x01a\x01"))),
        ("tables nested 1,000 deep", 502, declare_with(&long(&nested_tables(1000)))),
        ("tables nested 100,000 deep", 502, declare_with(&long(&nested_tables(100_000)))),
        ("a method for servers only", 503, method(1, (60, 60), &[short("t"), vec![0; 11]].concat())),
    ];
    for (what, code, bytes) in table {
        let mut peer = Peer::tuned(broker.port(), 1_048_576, 0);
        peer.send(&bytes);
        assert_eq!(peer.closed(), Close { channel: 0, code }, "{what}");
        // Of a frame that is too large, the rest is awaited before an answer to the close is.
        if !what.contains("a frame o") {
            peer.send(&method(0, (10, 51), b""));
            peer.rest();
        }
    }
    steady.finish();
}

#[test]
fn a_method_on_a_closed_channel_closes_the_connection() {
    let broker = Broker::warren(&[]);
    let mut peer = Peer::client(&broker);
    peer.send(&method(1, (20, 40), &[0; 7]));
    peer.wait_for((20, 41));
    peer.send(&get("q", true));
    assert_eq!(peer.closed(), Close { channel: 0, code: 504 });
}

#[test]
fn a_body_that_is_announced_and_never_comes_takes_no_memory() {
    let mut broker = Broker::warren(&[]);
    let steady = Steady::start(&broker);
    let before = resident_bytes(&mut broker);
    for announced in [1 << 63, u64::MAX, 128 * 1024 * 1024 + 1] {
        let mut peer = Peer::client(&broker);
        peer.send(&[publish_method("q"), content_header(announced)].concat());
        assert_eq!(peer.closed(), Close { channel: 1, code: 406 }, "{announced} bytes announced");
    }
    // As much as is allowed, by many, none of whom sends it.
    let peers: Vec<Peer> = (0..100)
        .map(|_| {
            let mut peer = Peer::client(&broker);
            peer.send(&[publish_method("q"), content_header(128 * 1024 * 1024), frame(3, 1, b"x")].concat());
            peer.open_channel(2);
            peer
        })
        .collect();
    let grown = resident_bytes(&mut broker).saturating_sub(before);
    println!("12.5 GiB announced: {} MiB taken", mib(grown));
    assert!(grown < 32 << 20, "{grown} bytes");
    drop(peers);
    steady.finish();
}

#[test]
fn a_client_that_never_confirms_a_channel_close_is_served_on_other_channels() {
    let broker = Broker::warren(&[]);
    let mut peer = Peer::client(&broker);
    for channel in 2..=2000 {
        peer.open_channel(channel);
        peer.send(&method(channel, (60, 80), &[0, 0, 0, 0, 0, 0, 0, 7, 0]));
        assert_eq!(peer.closed(), Close { channel, code: 406 });
    }
    peer.declare("q");
}
