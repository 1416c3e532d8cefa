//! Many of everything: connections, channels, consumers, unacknowledged messages.

use std::time::Instant;

use crate::peer::{Close, Peer, consume, log_in, method, publish};
use crate::process::{connections_possible, mib, resident_bytes};
use crate::steady::Steady;
use warren_tests::{Broker, eventually};

#[test]
fn ten_thousand_connections_are_served() {
    let mut broker = Broker::warren(&[]);
    let steady = Steady::start(&broker);
    let before = resident_bytes(&mut broker);
    let count = connections_possible(10_000);
    let waves: Vec<u64> = (0..2).map(|_| wave_of_clients(&mut broker, count) - before).collect();
    let each = waves[0] / count as u64;
    println!("{count} connections: {each} bytes each; then again: {} MiB", mib(waves[1]));
    assert!(each < 32 * 1024, "{each} bytes for each connection");
    assert!(waves[1] < waves[0] + waves[0] / 2 + (8 << 20), "the second wave takes more: {waves:?}");
    steady.finish();
}

/// Connects clients, uses some of them, and closes them. Gives what the broker had in memory.
fn wave_of_clients(broker: &mut Broker, count: usize) -> u64 {
    let started = Instant::now();
    let mut crowd = Vec::with_capacity(count);
    for _ in 0..count {
        let mut peer = Peer::stranger(broker);
        peer.send(&[log_in(131_072, 0), method(1, (20, 10), b"\0")].concat());
        crowd.push(peer);
    }
    for peer in &mut crowd {
        peer.wait_for((20, 11));
    }
    println!("{count} connections open after {:?}", started.elapsed());
    let during = resident_bytes(broker);
    for peer in crowd.iter_mut().step_by(100) {
        peer.declare("q");
        peer.send(&publish("q", b"x"));
    }
    for peer in &mut crowd {
        peer.send(&method(0, (10, 50), &[0; 7]));
    }
    crowd.iter_mut().for_each(|peer| drop(peer.wait_for((10, 51))));
    during
}

#[test]
fn every_channel_may_be_used_and_one_more_is_refused() {
    const CONNECTIONS: usize = 5;
    let mut broker = Broker::warren(&[]);
    let steady = Steady::start(&broker);
    let before = resident_bytes(&mut broker);
    let mut peers: Vec<Peer> = (0..CONNECTIONS)
        .map(|_| {
            let mut peer = Peer::client(&broker);
            let opens: Vec<u8> = (2..=2047).flat_map(|id| method(id, (20, 10), b"\0")).collect();
            peer.send(&opens);
            (2..=2047).for_each(|_| drop(peer.wait_for((20, 11))));
            peer
        })
        .collect();
    let grown = resident_bytes(&mut broker).saturating_sub(before);
    println!("{} channels: {} bytes each", CONNECTIONS * 2047, grown / (CONNECTIONS as u64 * 2047));
    assert!(grown < 64 << 20, "{grown} bytes");
    peers[0].send(&method(2048, (20, 10), b"\0"));
    assert_eq!(peers[0].closed(), Close { channel: 0, code: 530 });
    peers[1].declare("q");
    for id in 1..=2047 {
        peers[1].send(&consume(id, "q", "t", false));
        peers[1].wait_for((60, 21));
    }
    (0..4000).for_each(|_| peers[2].send(&publish("q", b"x")));
    for _ in 0..4000 {
        peers[1].wait_for((60, 60));
    }
    // All channels end at once, with deliveries on each.
    peers.remove(1);
    eventually("the messages return", || (peers[1].declare("q") == (4000, 0)).then_some(()));
    steady.finish();
}

#[test]
fn thousands_of_consumers_share_a_queue() {
    const CONSUMERS: u32 = 8000;
    let broker = Broker::warren(&[]);
    let steady = Steady::start(&broker);
    let mut peer = Peer::client(&broker);
    peer.declare("q");
    let all: Vec<u8> = (0..CONSUMERS).flat_map(|at| consume(1, "q", &format!("t{at}"), true)).collect();
    peer.send(&all);
    (0..CONSUMERS).for_each(|_| drop(peer.wait_for((60, 21))));
    assert_eq!(peer.declare("q"), (0, CONSUMERS));
    let mut publisher = Peer::client(&broker);
    let mut messages = Vec::new();
    (0..CONSUMERS).for_each(|at| messages.extend(publish("q", &at.to_be_bytes())));
    publisher.send(&messages);
    // Round robin: each gets one.
    let mut tags: Vec<Vec<u8>> = Vec::new();
    for _ in 0..CONSUMERS {
        let deliver = peer.wait_for((60, 60)).payload;
        tags.push(deliver[5..5 + usize::from(deliver[4])].to_vec());
    }
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), CONSUMERS as usize);
    drop(peer);
    eventually("the consumers are gone", || (publisher.declare("q") == (0, 0)).then_some(()));
    steady.finish();
}

#[test]
fn a_hundred_thousand_unacknowledged_messages_return_with_their_consumer() {
    const MESSAGES: u32 = 100_000;
    let mut broker = Broker::warren(&[]);
    let steady = Steady::start(&broker);
    let mut consumer = Peer::client(&broker);
    consumer.declare("q");
    consumer.consume(1, "q", "t", false);
    let before = resident_bytes(&mut broker);
    let mut publisher = Peer::client(&broker);
    publisher.confirm();
    let thousand: Vec<u8> = (0..1000).flat_map(|_| publish("q", &[1; 100])).collect();
    let sender = std::thread::spawn(move || {
        (0..MESSAGES / 1000).for_each(|_| publisher.send(&thousand));
        publisher.wait_for_confirms(MESSAGES.into());
        publisher
    });
    for _ in 0..MESSAGES {
        consumer.wait_for((60, 60));
    }
    let mut publisher = sender.join().unwrap();
    let grown = resident_bytes(&mut broker).saturating_sub(before);
    println!("{MESSAGES} unacknowledged messages of 100 bytes: {} bytes each", grown / u64::from(MESSAGES));
    assert!(grown < 100 << 20, "{grown} bytes");
    assert_eq!(publisher.declare("q").0, 0);
    drop(consumer);
    eventually("they return", || (publisher.declare("q") == (MESSAGES, 0)).then_some(()));
    publisher.send(&crate::peer::get("q", true));
    let got = publisher.wait_for((60, 71)).payload;
    assert_eq!(got[12], 1, "redelivered");
    steady.finish();
}
