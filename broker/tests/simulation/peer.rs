//! [`Peer`]: a client program with its connection, and what it knows.
//!
//! It sends bytes ahead of the broker reading them, remembers what each byte range means once it is read, and checks every
//! frame that it receives. What is true across clients it reports to the [`World`]. Called by the simulation.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use amq_protocol::protocol::{AMQPClass, basic, channel, connection, queue, tx};
use warren::server::Shared;
use warren::server::driver::Driver;

use crate::client::{Answer, Channel, Delivered, Mode, Phase, Wait};
use crate::wire::{self, Received};
use crate::world::{CopyId, How, World};

/// What bytes mean once the broker has taken them in.
#[derive(Debug)]
pub(crate) enum Op {
    /// A message, for these queues.
    Publish {
        message: u64,
        queues: Vec<usize>,
    },
    Settle {
        channel: u16,
        tags: Vec<u64>,
        how: How,
    },
}

/// Whether a round finds what others pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Events {
    InTime,
    TooLate,
}

/// A content whose frames are arriving.
#[derive(Debug)]
enum Incoming {
    Delivery(u16, Delivered),
    Return(u16),
}

/// A client and its connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) driver: Driver,
    /// Sent and not yet taken in.
    unread: Vec<u8>,
    /// How much of `unread` has crossed the network.
    arrived: usize,
    ops: VecDeque<(u64, Op)>,
    sent_bytes: u64,
    taken_bytes: u64,
    pub(crate) channels: BTreeMap<u16, Channel>,
    pub(crate) stalled: bool,
    incoming: Option<(Incoming, u64, Vec<u8>)>,
}

impl Peer {
    pub(crate) fn connect(shared: &Arc<Shared>, frame_max: u32, now: Instant) -> Self {
        let driver =
            Driver::new(shared, IpAddr::V4(Ipv4Addr::LOCALHOST), now).expect("room for a connection");
        let mut peer = Self {
            driver,
            unread: Vec::new(),
            arrived: 0,
            ops: VecDeque::new(),
            sent_bytes: 0,
            taken_bytes: 0,
            channels: BTreeMap::new(),
            stalled: false,
            incoming: None,
        };
        peer.send(&wire::handshake(frame_max));
        peer
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        self.sent_bytes += bytes.len() as u64;
    }

    /// Sends bytes that mean something once the last of them is taken in.
    pub(crate) fn send_op(&mut self, bytes: &[u8], op: Op) {
        self.send(bytes);
        self.ops.push_back((self.sent_bytes, op));
    }

    /// Whether the broker has taken in everything.
    pub(crate) fn is_read(&self) -> bool {
        self.unread.is_empty()
    }

    /// One round of the connection's task with up to `chunk` more bytes from the network. Says whether anything happened.
    /// Events that came too late for this round wait in the outbox: other tasks push whenever they like.
    pub(crate) fn round(&mut self, world: &mut World, chunk: usize, events: Events, now: Instant) -> bool {
        if self.driver.poll_timeout().is_some_and(|due| due <= now) {
            self.driver.handle_timeout(now);
        }
        let mut progress = events == Events::InTime && self.driver.handle_events();
        if !self.stalled && self.driver.wants_input() && chunk > 0 && self.arrived < self.unread.len() {
            self.arrived = self.arrived.saturating_add(chunk).min(self.unread.len());
            let taken = self.driver.handle_input(&self.unread[..self.arrived], now);
            self.unread.drain(..taken);
            self.arrived -= taken;
            self.taken_bytes += taken as u64;
            progress = true;
        }
        self.driver.end_round();
        if !self.stalled {
            progress |= self.take_in(world);
        }
        progress
    }

    /// Tells the world what the broker has read, and reads what the broker has written.
    pub(crate) fn take_in(&mut self, world: &mut World) -> bool {
        while self.ops.front().is_some_and(|(end, _)| *end <= self.taken_bytes) {
            let (_, op) = self.ops.pop_front().expect("looked at");
            self.came_to_pass(world, op);
        }
        let received = wire::parse(&wire::take(self.driver.out()));
        let any = !received.is_empty();
        for frame in received {
            self.receive(world, frame);
        }
        any
    }

    fn came_to_pass(&mut self, world: &mut World, op: Op) {
        match op {
            Op::Publish { message, queues } => world.routed(message, &queues),
            Op::Settle { channel, tags, how } => {
                let Some(channel) = self.channels.get_mut(&channel) else { return };
                for tag in tags {
                    let held = channel.held.remove(&tag).expect("a client settles what it holds");
                    world.settled(held.copy, how);
                }
            }
        }
    }

    fn receive(&mut self, world: &mut World, frame: Received) {
        match frame {
            Received::Method(id, method) => {
                assert!(self.incoming.is_none(), "a method inside of a content: {method:?}");
                self.receive_method(world, id, method);
            }
            Received::Header(size) => {
                let incoming = self.incoming.as_mut().expect("a header comes after its method");
                incoming.1 = size;
                self.finish_content(world);
            }
            Received::Body(bytes) => {
                self.incoming.as_mut().expect("a body comes after its header").2.extend(bytes);
                self.finish_content(world);
            }
        }
    }

    fn receive_method(&mut self, world: &mut World, id: u16, method: AMQPClass) {
        match method {
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
                panic!("the broker closes a connection: {close:?}")
            }
            AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)) => self.release_all(world),
            AMQPClass::Connection(_) => {}
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(_)) => self.release(world, id),
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                let channel = self.channel(id);
                let expected = match &channel.phase {
                    Phase::Breaking => close.reply_code == 406,
                    Phase::Waiting(Wait { queue, .. }) => {
                        close.reply_code == 404 && world.queues[*queue].deleted
                    }
                    _ => false,
                };
                assert!(expected, "the broker closes a channel in {:?}: {close:?}", channel.phase);
                self.send(&wire::channel_close_ok(id));
                self.release(world, id);
            }
            AMQPClass::Basic(method) => self.receive_basic(world, id, method),
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(_)) => {
                let queue = self.channel(id).answered();
                world.queues[queue].declared = true;
            }
            AMQPClass::Queue(queue::AMQPMethod::PurgeOk(ok)) => {
                let queue = self.channel(id).answered();
                world.purged(queue, ok.message_count as usize);
            }
            AMQPClass::Queue(queue::AMQPMethod::DeleteOk(_)) => {
                self.channel(id).answered();
            }
            AMQPClass::Tx(tx::AMQPMethod::CommitOk(_) | tx::AMQPMethod::RollbackOk(_)) => {
                self.channel(id).commits -= 1;
            }
            AMQPClass::Channel(_) | AMQPClass::Confirm(_) | AMQPClass::Tx(_) | AMQPClass::Queue(_) => {
                self.channel(id);
            }
            other => panic!("the broker sent {other:?}"),
        }
    }

    fn receive_basic(&mut self, world: &mut World, id: u16, method: basic::AMQPMethod) {
        use basic::AMQPMethod as M;
        let channel = self.channel(id);
        match method {
            M::Deliver(deliver) => {
                let tag = deliver.consumer_tag.as_str();
                let Some(consumer) = channel.consumers.get(tag) else {
                    panic!("a delivery for the consumer {tag} that is none")
                };
                let delivered = Delivered {
                    tag: deliver.delivery_tag,
                    queue: consumer.queue,
                    consumer: Some(tag.to_owned()),
                    redelivered: deliver.redelivered,
                    no_ack: consumer.no_ack,
                };
                self.incoming = Some((Incoming::Delivery(id, delivered), u64::MAX, Vec::new()));
            }
            M::GetOk(ok) => {
                let (queue, no_ack) = channel.got();
                let (tag, redelivered) = (ok.delivery_tag, ok.redelivered);
                let delivered = Delivered { tag, queue, consumer: None, redelivered, no_ack };
                self.incoming = Some((Incoming::Delivery(id, delivered), u64::MAX, Vec::new()));
            }
            M::GetEmpty(_) => {
                channel.got();
            }
            M::Return(_) => self.incoming = Some((Incoming::Return(id), u64::MAX, Vec::new())),
            M::Ack(ack) => channel.confirmed(ack.delivery_tag, ack.multiple),
            M::ConsumeOk(ok) => {
                let consumer = channel.consumers.get_mut(ok.consumer_tag.as_str());
                let consumer = consumer.expect("a consumer was asked for");
                consumer.running = true;
                world.queues[consumer.queue].consumed = true;
                if channel.waits_for(&Answer::Consuming(ok.consumer_tag.as_str().to_owned())) {
                    channel.answered();
                }
            }
            M::CancelOk(ok) => {
                let consumer = channel.consumers.remove(ok.consumer_tag.as_str());
                let consumer = consumer.expect("only a consumer is cancelled");
                world.queues[consumer.queue].interrupted = true;
            }
            M::Cancel(cancel) => {
                let consumer = channel.consumers.get_mut(cancel.consumer_tag.as_str());
                let consumer = consumer.expect("only a consumer is cancelled");
                assert!(world.queues[consumer.queue].deleted, "cancelled, and its queue lives");
                if !consumer.cancelling {
                    channel.consumers.remove(cancel.consumer_tag.as_str());
                }
            }
            M::RecoverOk(_) => {
                let held = std::mem::take(&mut channel.held);
                channel.recovering = false;
                held.values().for_each(|held| world.settled(held.copy, How::Requeue));
            }
            M::QosOk(_) => {}
            other => panic!("the broker sent {other:?}"),
        }
    }

    /// The content is whole once its body is as long as its header said.
    fn finish_content(&mut self, world: &mut World) {
        let Some((incoming, _, body)) = self.incoming.take_if(|(_, size, body)| body.len() as u64 == *size)
        else {
            return;
        };
        let message = u64::from_be_bytes(body[..8].try_into().unwrap());
        assert!(
            body[8..].iter().all(|byte| *byte == 0x55),
            "the body of {message} is not what was published"
        );
        match incoming {
            Incoming::Return(id) => {
                assert!(self.channel(id).returns_due.remove(&message), "message {message} came back");
            }
            Incoming::Delivery(id, delivered) => {
                let channel = self.channel(id);
                let copy = CopyId { queue: delivered.queue, message };
                world.delivered(copy, channel.holder, delivered.redelivered, delivered.no_ack);
                channel.delivered(delivered, copy);
            }
        }
    }

    fn channel(&mut self, id: u16) -> &mut Channel {
        let Some(channel) = self.channels.get_mut(&id) else { panic!("a frame on the closed channel {id}") };
        channel
    }

    /// A channel is closed: what it held returns to the queues.
    fn release(&mut self, world: &mut World, id: u16) {
        let Some(channel) = self.channels.remove(&id) else { return };
        for consumer in channel.consumers.values() {
            world.queues[consumer.queue].interrupted = true;
        }
        channel.held.values().for_each(|held| world.settled(held.copy, How::Requeue));
    }

    fn release_all(&mut self, world: &mut World) {
        for id in self.channels.keys().copied().collect::<Vec<_>>() {
            self.release(world, id);
        }
    }

    /// The connection breaks. What the broker had written arrives, what it had not read does not.
    pub(crate) fn disconnect(&mut self, world: &mut World) {
        self.take_in(world);
        self.driver.disconnect();
        self.release_all(world);
    }

    /// Sends everything and gives what comes back, without looking at it.
    pub(crate) fn answers(&mut self, now: Instant) -> Vec<Received> {
        let taken = self.driver.handle_input(&self.unread, now);
        self.unread.drain(..taken);
        self.driver.end_round();
        self.driver.handle_events();
        self.driver.end_round();
        wire::parse(&wire::take(self.driver.out()))
    }

    /// Settles deliveries of a channel, at once or with the transaction.
    pub(crate) fn settle(&mut self, id: u16, tags: Vec<u64>, how: How, bytes: &[u8]) {
        let channel = self.channel(id);
        for tag in &tags {
            channel.held.get_mut(tag).expect("a client settles what it holds").settling = true;
        }
        if channel.mode == Mode::Transaction {
            channel.transaction.settles.push((tags, how));
            self.send(bytes);
        } else {
            self.send_op(bytes, Op::Settle { channel: id, tags, how });
        }
    }
}
