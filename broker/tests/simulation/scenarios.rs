//! Single cases that the simulation or the fuzzer found, as short scripts; and taking a queue's messages out.

use std::sync::Arc;
use std::time::Instant;

use amq_protocol::protocol::basic::{self, AMQPMethod as M};
use amq_protocol::types::FieldTable;
use warren::Config;
use warren::server::{Shared, shared_state};
use warren::store::MemoryStore;

use crate::peer::Peer;
use crate::wire::{self, Kind, Received};
use crate::world::World;

/// Takes all messages out of a queue and gives their numbers in order.
pub(crate) fn drain(shared: &Arc<Shared>, name: &str, now: Instant) -> Vec<u64> {
    let mut peer = Peer::connect(shared, 131_072, now);
    peer.send(&wire::open_channel(1));
    peer.send(&wire::basic(1, M::Consume(consume(name, "drain", true))));
    let mut found = Vec::new();
    loop {
        let frames = peer.answers(now);
        if frames.is_empty() {
            break;
        }
        found.extend(numbers_in(&frames));
    }
    peer.disconnect(&mut World::default());
    found
}

pub(crate) fn consume(queue: &str, tag: &str, no_ack: bool) -> basic::Consume {
    basic::Consume {
        queue: queue.into(),
        consumer_tag: tag.into(),
        no_local: false,
        no_ack,
        exclusive: false,
        nowait: false,
        arguments: FieldTable::default(),
    }
}

/// The numbers of the messages among the frames.
fn numbers_in(frames: &[Received]) -> Vec<u64> {
    let mut begins = false;
    let mut numbers = Vec::new();
    for frame in frames {
        match frame {
            Received::Body(body) if begins => {
                numbers.push(u64::from_be_bytes(body[..8].try_into().unwrap()));
                begins = false;
            }
            Received::Body(_) => {}
            Received::Method(..) | Received::Header(_) => begins = true,
        }
    }
    numbers
}

/// A broker, one client that consumes and one that does things behind its back.
struct Scene {
    shared: Arc<Shared>,
    now: Instant,
    consumer: Peer,
    other: Peer,
}

impl Scene {
    fn new() -> Self {
        let shared = shared_state(&Config::in_process(), Arc::new(MemoryStore));
        let now = Instant::now();
        let [consumer, mut other] = [(); 2].map(|()| {
            let mut peer = Peer::connect(&shared, 131_072, now);
            peer.answers(now);
            peer
        });
        other.send(&wire::open_channel(1));
        Self { shared, now, consumer, other }
    }

    fn publish(&mut self, queue: &str) {
        self.other.send(&wire::publish(1, ("", queue), false, false, &[0; 8]));
        self.other.answers(self.now);
    }

    fn unacked_and_ready(&self, queue: &str) -> (u32, u32) {
        let vhost = self.shared.vhost("/").unwrap();
        let counts = vhost.read(|registry| registry.topology.find_queue(queue).unwrap().counts());
        (counts.unacked, counts.ready)
    }
}

#[test]
fn deliveries_under_way_to_several_channels_return_when_the_client_closes_the_connection() {
    let mut scene = Scene::new();
    let channels = 1..=500;
    for id in channels.clone() {
        let name = format!("q{id}");
        scene.consumer.send(&wire::open_channel(id));
        scene.consumer.send(&wire::declare(id, &name, Kind::Durable));
        scene.consumer.send(&wire::basic(id, M::Consume(consume(&name, "tag", false))));
    }
    scene.consumer.answers(scene.now);
    for id in channels.clone() {
        scene.publish(&format!("q{id}"));
        scene.publish(&format!("q{id}"));
    }
    scene.consumer.send(&wire::close_connection());
    scene.consumer.answers(scene.now);
    for id in channels {
        assert_eq!(scene.unacked_and_ready(&format!("q{id}")), (0, 2));
    }
}
