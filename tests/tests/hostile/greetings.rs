//! Strangers: those that speak something else, those that say nothing, and those that say a lot.

use crate::broker_with;
use crate::peer::{GREETING, Peer, head, nested_tables, start_ok};
use crate::process::{connections_possible, mib, resident_bytes};
use crate::steady::Steady;
use warren_tests::Broker;

#[test]
fn who_speaks_something_else_gets_our_greeting() {
    let broker = Broker::warren(&[]);
    let steady = Steady::start(&broker);
    let table: [&[u8]; 8] = [
        b"\x07garbage garbage garbage",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"AMQP\0\x01\0\0",
        b"AMQP\x03\x01\0\0",
        b"AMQP\0\0\x09\x02",
        b"AMQX",
        &[0; 100_000],
    ];
    for said in table {
        let mut peer = Peer::stranger(&broker);
        // What comes too late meets a closed socket.
        peer.try_send(said);
        let answer = peer.rest();
        // What is not read when the socket closes resets it, and that may overtake the answer.
        let may_be_lost = said.len() > 65_536 && answer.is_empty();
        assert!(
            may_be_lost || answer == GREETING,
            "the answer to {:?} was {answer:?}",
            String::from_utf8_lossy(&said[..said.len().min(20)])
        );
    }
    steady.finish();
}

#[test]
fn half_a_handshake_is_not_waited_for_longer_than_the_limit() {
    // Long enough for the well-behaved client's own handshake on a busy machine.
    let broker = broker_with("[limits]\nhandshake_timeout = \"2s\"\n");
    let steady = Steady::start(&broker);
    let start_ok = start_ok(b"");
    let halves: [&[u8]; 5] = [
        b"",
        b"AMQ",
        GREETING,
        &[GREETING, &start_ok[..start_ok.len() / 2]].concat(),
        &[GREETING, &start_ok[..]].concat(),
    ];
    let peers: Vec<Peer> = halves
        .into_iter()
        .map(|half| {
            let mut peer = Peer::stranger(&broker);
            peer.send(half);
            peer
        })
        .collect();
    for mut peer in peers {
        peer.rest();
    }
    steady.finish();
}

#[test]
fn mistakes_before_the_login_end_with_a_closed_socket() {
    let broker = Broker::warren(&[]);
    let mistakes: [Vec<u8>; 5] = [
        // A frame larger than strangers may send: dropped on sight of its head.
        head(1, 0, 100_000_000),
        head(1, 0, u32::MAX),
        start_ok(&nested_tables(1000)),
        crate::peer::method(1, (20, 10), b"\0"),
        crate::peer::content_header(1 << 63),
    ];
    for mistake in mistakes {
        let mut peer = Peer::stranger(&broker);
        peer.send(GREETING);
        peer.wait_for((10, 10));
        peer.send(&mistake);
        assert_eq!(peer.rest(), b"");
    }
}

/// What one stranger may make the broker hold: a frame of 8 KiB that is not complete, and what a connection costs.
const BYTES_PER_STRANGER_MAX: u64 = 24 * 1024;

#[test]
fn thousands_of_strangers_with_half_a_frame_each_cost_little_memory() {
    let mut broker = broker_with("[limits]\nhandshake_timeout = \"60s\"\n");
    let steady = Steady::start(&broker);
    let before = resident_bytes(&mut broker);
    let count = connections_possible(4000);
    let waves: Vec<u64> = (0..3).map(|_| wave_of_strangers(&mut broker, count) - before).collect();
    let each = waves[0] / count as u64;
    println!(
        "{count} strangers: {each} bytes each; waves of them: {:?} MiB",
        waves.iter().map(|bytes| mib(*bytes)).collect::<Vec<_>>()
    );
    assert!(each < BYTES_PER_STRANGER_MAX, "{each} bytes for each stranger");
    assert!(waves[2] < waves[0] + waves[0] / 2, "later waves take more: {waves:?}");
    steady.finish();
}

/// Connects strangers, each with all but the end of a frame, and drops them. Gives what the broker had in memory.
fn wave_of_strangers(broker: &mut Broker, count: usize) -> u64 {
    let mut most = [GREETING, &head(1, 0, 8192)].concat();
    most.resize(most.len() + 8000, 0x41);
    let mut strangers: Vec<Peer> = (0..count)
        .map(|_| {
            let mut peer = Peer::stranger(broker);
            peer.send(&most);
            peer
        })
        .collect();
    // Who was answered has been read; the rest of what it said came in the same piece.
    strangers.iter_mut().for_each(|peer| drop(peer.wait_for((10, 10))));
    let during = resident_bytes(broker);
    for peer in &mut strangers {
        peer.send(&[0x41; 193]);
        peer.rest();
    }
    during
}
