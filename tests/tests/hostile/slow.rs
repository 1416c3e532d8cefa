//! Clients that do not read, or do not say that they are there.

use std::time::{Duration, Instant};

use crate::peer::{Peer, declare, get, publish};
use crate::process::{mib, resident_bytes};
use crate::steady::Steady;
use warren_tests::{Broker, eventually};

/// What one client that does not read may make the broker hold beside its queues.
const UNREAD_BYTES_MAX: u64 = 48 << 20;

/// The ready messages of a queue once they do not change any more.
fn ready_at_rest(peer: &mut Peer, queue: &str) -> u32 {
    let mut last = (u32::MAX, Instant::now());
    eventually("the queue comes to rest", || {
        let (ready, _) = peer.declare(queue);
        if ready != last.0 {
            last = (ready, Instant::now());
        }
        (last.1.elapsed() > Duration::from_millis(300)).then_some(ready)
    })
}

#[test]
fn a_consumer_that_never_reads_gets_no_more_than_its_window() {
    const MESSAGES: u32 = 30_000;
    const BODY: usize = 4096;
    let mut broker = Broker::warren(&[]);
    let steady = Steady::start(&broker);
    let mut sleeper = Peer::client(&broker);
    sleeper.declare("q");
    sleeper.consume(1, "q", "asleep", true);
    let mut publisher = Peer::client(&broker);
    publisher.confirm();
    let before = resident_bytes(&mut broker);
    for _ in 0..MESSAGES {
        publisher.send(&publish("q", &[7; BODY]));
    }
    publisher.wait_for_confirms(MESSAGES.into());
    let ready = ready_at_rest(&mut publisher, "q");
    // Without acknowledgements, what left the queue is in the sleeper's window, buffers and socket.
    let taken = u64::from(MESSAGES - ready) * BODY as u64;
    let grown = resident_bytes(&mut broker).saturating_sub(before);
    println!("{} MiB left the queue; {} MiB in memory", mib(taken), mib(grown));
    assert!(taken < UNREAD_BYTES_MAX, "{taken} bytes were given to a client that does not read");
    assert!(ready > 0);
    // The queue turns to others.
    let mut reader = Peer::client(&broker);
    reader.consume(1, "q", "awake", true);
    for _ in 0..ready {
        reader.wait_for((60, 60));
    }
    steady.finish();
}

#[test]
fn answers_that_nobody_reads_are_bounded_however_large_they_are() {
    const MESSAGES: u32 = 100;
    const BODY: usize = 1 << 20;
    let mut broker = Broker::warren(&[]);
    let steady = Steady::start(&broker);
    let mut publisher = Peer::client(&broker);
    publisher.confirm();
    publisher.declare("q");
    for _ in 0..MESSAGES {
        publisher.send(&publish("q", &[7; BODY]));
    }
    publisher.wait_for_confirms(MESSAGES.into());
    let mut asker = Peer::client(&broker);
    let requests = get("q", true).repeat(1000);
    asker.send(&requests);
    let ready = ready_at_rest(&mut publisher, "q");
    let taken = u64::from(MESSAGES - ready) * BODY as u64;
    println!("{} MiB taken by somebody who does not read", mib(taken));
    assert!(taken > 0);
    assert!(taken < UNREAD_BYTES_MAX, "{taken} bytes of answers wait");
    // Who reads after all gets everything.
    for _ in 0..MESSAGES {
        asker.wait_for((60, 71));
    }
    asker.wait_for((60, 72));
    steady.finish();
    println!("{} MiB in all", mib(resident_bytes(&mut broker)));
}

#[test]
fn requests_without_end_are_not_read_while_their_answers_are_not() {
    let mut broker = Broker::warren(&[]);
    let steady = Steady::start(&broker);
    let name = "n".repeat(200);
    let mut asker = Peer::client(&broker);
    asker.declare(&name);
    let before = resident_bytes(&mut broker);
    asker.stream().set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let requests = declare(1, &name).repeat(1000);
    let mut sent = 0_u64;
    while asker.try_send(&requests) {
        sent += requests.len() as u64;
        assert!(sent < 4 << 30, "the broker reads on, though nobody reads its answers");
    }
    let grown = resident_bytes(&mut broker).saturating_sub(before);
    println!("{} MiB of requests taken, {} MiB in memory", mib(sent), mib(grown));
    assert!(grown < UNREAD_BYTES_MAX, "{grown} bytes");
    steady.finish();
}

#[test]
fn a_client_that_sends_no_heartbeats_is_dropped_and_its_messages_return() {
    let broker = Broker::warren(&[]);
    let steady = Steady::start(&broker);
    let mut other = Peer::client(&broker);
    other.declare("q");
    other.send(&publish("q", b"x"));
    let mut silent = Peer::tuned(broker.port(), 131_072, 1);
    silent.consume(1, "q", "t", false);
    silent.wait_for((60, 60));
    let mut heartbeats = 0;
    while let Some(frame) = silent.next_frame() {
        heartbeats += usize::from(frame.kind == 8);
    }
    assert!(heartbeats > 0, "the broker says that it lives");
    eventually("the message returns", || (other.declare("q").0 == 1).then_some(()));
    steady.finish();
}
