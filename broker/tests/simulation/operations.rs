//! What clients do, at random: one operation at a time on one channel.

use amq_protocol::protocol::{basic, queue, tx};

use crate::Simulation;
use crate::client::{Answer, Channel, Consumer, Mode, Phase, Wait};
use crate::peer::Op;
use crate::scenarios;
use crate::wire::{self, Kind};
use crate::world::How;

/// Where a publish goes, and the queues that it reaches as long as they live.
struct Target {
    exchange: &'static str,
    key: String,
    queues: Vec<usize>,
    /// Nobody can delete the queues, so that it is known whether a mandatory message comes back.
    is_certain: bool,
}

impl Simulation {
    /// One operation of one client.
    pub(crate) fn operate(&mut self, at: usize) {
        let id = u16::try_from(1 + self.random.below(3)).unwrap();
        let Some(channel) = self.peers[at].channels.get(&id) else {
            self.open(at, id);
            return;
        };
        if !matches!(channel.phase, Phase::Open) {
            return;
        }
        match self.random.below(100) {
            0..=34 => self.publish(at, id),
            35..=64 => self.settle(at, id),
            65..=74 => self.consume(at, id),
            75..=79 => self.cancel(at, id),
            80..=86 => self.get(at, id),
            87..=90 => self.finish_transaction(at, id),
            91 => self.recover(at, id),
            92 => self.purge(at, id),
            93 => self.delete(at, id),
            94 | 95 => self.declare_temporary(at, id),
            96 | 97 => self.close(at, id),
            _ if self.random.one_in(4) => self.break_channel(at, id),
            _ => {}
        }
    }

    fn channel(&mut self, at: usize, id: u16) -> &mut Channel {
        self.peers[at].channels.get_mut(&id).unwrap()
    }

    fn open(&mut self, at: usize, id: u16) {
        let mode = *self.random.pick(&[Mode::Plain, Mode::Confirm, Mode::Transaction]);
        let prefetch = *self.random.pick(&[0, 1, 2, 10]);
        let limit = *self.random.pick(&[0, 0, 1, 5]);
        let holder = self.world.new_holder();
        let mut bytes = wire::open_channel(id);
        match mode {
            Mode::Plain => {}
            Mode::Confirm => bytes.extend(wire::select_confirms(id)),
            Mode::Transaction => bytes.extend(wire::tx(id, tx::AMQPMethod::Select(tx::Select {}))),
        }
        for (prefetch_count, global) in [(prefetch, false), (limit, true)] {
            let qos = basic::Qos { prefetch_count, global };
            bytes.extend(wire::basic(id, basic::AMQPMethod::Qos(qos)));
        }
        self.peers[at].send(&bytes);
        self.peers[at].channels.insert(id, Channel::new(holder, mode, prefetch, limit));
    }

    fn target(&mut self) -> Target {
        let certain = |exchange, key: &str, queues: &[usize]| Target {
            exchange,
            key: key.to_owned(),
            queues: queues.to_vec(),
            is_certain: true,
        };
        match self.random.below(8) {
            0 => certain("amq.fanout", "x", &[0, 1]),
            1 => certain("amq.topic", "a.c", &[2]),
            2 => certain("amq.topic", "a.b", &[2, 3]),
            3 => certain("amq.topic", "c", &[]),
            4 => certain("amq.direct", "lossy", &[4]),
            5 => certain("", "nowhere", &[]),
            _ => {
                let queue = self.random.below(self.world.queues.len());
                let model = &self.world.queues[queue];
                let (key, is_certain) = (model.name.clone(), !model.temporary);
                // Before it is known to be there, a message may come too early.
                let queues = if model.declared { vec![queue] } else { Vec::new() };
                let key = if model.declared { key } else { "nowhere".to_owned() };
                Target { exchange: "", key, queues, is_certain }
            }
        }
    }

    fn publish(&mut self, at: usize, id: u16) {
        for _ in 0..1 + self.random.below(6) {
            let target = self.target();
            let persistent = self.random.one_in(2);
            let mandatory = target.is_certain && self.random.one_in(3);
            let size = match self.random.below(40) {
                0 => self.random.below(200_000),
                1 => 16_370 + self.random.below(20),
                _ => self.random.below(60),
            };
            let holder = self.channel(at, id).holder;
            let route = (target.exchange, target.key.as_str());
            let (message, body) = self.world.new_message(holder, route, persistent, size);
            let bytes = wire::publish(id, route, mandatory, persistent, &body);
            let channel = self.channel(at, id);
            if mandatory && target.queues.is_empty() && channel.mode != Mode::Transaction {
                channel.returns_due.insert(message);
            }
            if channel.mode == Mode::Transaction {
                let comes_back = mandatory && target.queues.is_empty();
                channel.transaction.publishes.push((message, target.queues, comes_back));
                self.peers[at].send(&bytes);
                continue;
            }
            if channel.mode == Mode::Confirm {
                channel.published += 1;
                channel.unconfirmed.insert(channel.published, message);
            }
            self.peers[at].send_op(&bytes, Op::Publish { message, queues: target.queues });
        }
    }

    fn settle(&mut self, at: usize, id: u16) {
        let channel = self.channel(at, id);
        let tags = channel.settleable();
        if tags.is_empty() || channel.recovering {
            return;
        }
        let chosen = self.random.below(tags.len());
        let (how, multiple) =
            (*self.random.pick(&[How::Ack, How::Ack, How::Discard, How::Requeue]), self.random.one_in(3));
        // A tag that is only settled in the transaction so far is not to be named again.
        let tags = if multiple { tags[..=chosen].to_vec() } else { vec![tags[chosen]] };
        let delivery_tag = tags[tags.len() - 1];
        let bytes = match how {
            How::Ack => basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple }),
            How::Discard if !multiple && self.random.one_in(2) => {
                basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue: false })
            }
            _ => {
                basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple, requeue: how == How::Requeue })
            }
        };
        self.peers[at].settle(id, tags, how, &wire::basic(id, bytes));
    }

    /// A queue that may be consumed from by this client: none of its own making that another would lock or delete.
    fn pick_queue(&mut self) -> Option<usize> {
        let queue = self.random.below(self.world.queues.len());
        let model = &self.world.queues[queue];
        let is_shared = model.declared && !model.deleted && model.kind != Kind::Exclusive;
        (is_shared && model.kind != Kind::AutoDelete).then_some(queue)
    }

    fn consume(&mut self, at: usize, id: u16) {
        let Some(queue) = self.pick_queue() else { return };
        if self.channel(at, id).consumers.len() < 3 {
            self.start_consumer(at, id, queue);
        }
    }

    fn start_consumer(&mut self, at: usize, id: u16, queue: usize) {
        let no_ack = self.world.queues[queue].lossy && self.random.one_in(2);
        let model = &self.world.queues[queue];
        let (name, temporary) = (model.name.clone(), model.temporary);
        let holder = self.world.new_holder();
        let channel = self.channel(at, id);
        let tag = format!("tag-{holder}");
        channel.consumers.insert(tag.clone(), Consumer::new(queue, channel.prefetch, no_ack));
        if temporary && matches!(channel.phase, Phase::Open) {
            channel.phase = Phase::Waiting(Wait { queue, answer: Answer::Consuming(tag.clone()) });
        }
        let consume = scenarios::consume(&name, &tag, no_ack);
        self.peers[at].send(&wire::basic(id, basic::AMQPMethod::Consume(consume)));
    }

    fn cancel(&mut self, at: usize, id: u16) {
        let channel = self.channel(at, id);
        let running = channel.consumers.iter_mut().filter(|(_, one)| one.running && !one.cancelling);
        let tags: Vec<String> = running.map(|(tag, _)| tag.clone()).collect();
        if tags.is_empty() {
            return;
        }
        let tag = self.random.pick(&tags).clone();
        let consumer = self.channel(at, id).consumers.get_mut(&tag).unwrap();
        consumer.cancelling = true;
        let queue = consumer.queue;
        if self.world.queues[queue].kind == Kind::AutoDelete {
            self.world.queues[queue].deleted = true;
        }
        let cancel = basic::Cancel { consumer_tag: tag.into(), nowait: false };
        self.peers[at].send(&wire::basic(id, basic::AMQPMethod::Cancel(cancel)));
    }

    fn get(&mut self, at: usize, id: u16) {
        let Some(queue) = self.pick_queue() else { return };
        let model = &self.world.queues[queue];
        if model.kind == Kind::SingleActive {
            return;
        }
        let (name, temporary) = (model.name.clone(), model.temporary);
        let no_ack = self.random.one_in(3);
        let channel = self.channel(at, id);
        if temporary {
            if !channel.gets.is_empty() {
                return;
            }
            channel.phase = Phase::Waiting(Wait { queue, answer: Answer::Message });
        }
        channel.gets.push_back((queue, no_ack));
        let get = basic::Get { queue: name.into(), no_ack };
        self.peers[at].send(&wire::basic(id, basic::AMQPMethod::Get(get)));
    }

    fn finish_transaction(&mut self, at: usize, id: u16) {
        if self.channel(at, id).mode != Mode::Transaction {
            return;
        }
        let commit = self.random.one_in(2);
        let channel = self.channel(at, id);
        let transaction = std::mem::take(&mut channel.transaction);
        channel.commits += 1;
        if commit {
            let returned = transaction.publishes.iter().filter(|(_, _, comes_back)| *comes_back);
            channel.returns_due.extend(returned.map(|(message, ..)| *message));
            let peer = &mut self.peers[at];
            peer.send(&wire::tx(id, tx::AMQPMethod::Commit(tx::Commit {})));
            for (message, queues, _) in transaction.publishes {
                peer.send_op(&[], Op::Publish { message, queues });
            }
            for (tags, how) in transaction.settles {
                peer.send_op(&[], Op::Settle { channel: id, tags, how });
            }
        } else {
            for tag in transaction.settles.into_iter().flat_map(|(tags, _)| tags) {
                channel.held.get_mut(&tag).unwrap().settling = false;
            }
            self.peers[at].send(&wire::tx(id, tx::AMQPMethod::Rollback(tx::Rollback {})));
        }
    }

    fn recover(&mut self, at: usize, id: u16) {
        let channel = self.channel(at, id);
        if channel.mode == Mode::Transaction || channel.recovering {
            return;
        }
        channel.recovering = true;
        let recover = basic::Recover { requeue: true };
        self.peers[at].send(&wire::basic(id, basic::AMQPMethod::Recover(recover)));
    }

    fn purge(&mut self, at: usize, id: u16) {
        let queue = self.random.below(5);
        let name = self.world.queues[queue].name.clone();
        let channel = self.channel(at, id);
        if !channel.gets.is_empty() {
            return;
        }
        channel.phase = Phase::Waiting(Wait { queue, answer: Answer::Done });
        let purge = queue::Purge { queue: name.into(), nowait: false };
        self.peers[at].send(&wire::queue(id, queue::AMQPMethod::Purge(purge)));
    }

    fn delete(&mut self, at: usize, id: u16) {
        let temporary = |(_, queue): &(usize, &crate::world::QueueModel)| {
            queue.temporary && queue.declared && !queue.deleted && queue.kind == Kind::Durable
        };
        let queues: Vec<usize> =
            self.world.queues.iter().enumerate().filter(temporary).map(|(at, _)| at).collect();
        if queues.is_empty() || !self.channel(at, id).gets.is_empty() {
            return;
        }
        let queue = *self.random.pick(&queues);
        self.world.queues[queue].deleted = true;
        let name = self.world.queues[queue].name.clone();
        self.channel(at, id).phase = Phase::Waiting(Wait { queue, answer: Answer::Done });
        let delete = queue::Delete { queue: name.into(), if_unused: false, if_empty: false, nowait: false };
        self.peers[at].send(&wire::queue(id, queue::AMQPMethod::Delete(delete)));
    }

    fn declare_temporary(&mut self, at: usize, id: u16) {
        let is_busy = !self.channel(at, id).gets.is_empty();
        if is_busy || self.world.queues.len() > 15 {
            return;
        }
        let kind = *self.random.pick(&[Kind::Durable, Kind::Exclusive, Kind::AutoDelete]);
        let queue = self.world.add_queue("temporary", kind, true);
        let name = self.world.queues[queue].name.clone();
        self.peers[at].send(&wire::declare(id, &name, kind));
        self.channel(at, id).phase = Phase::Waiting(Wait { queue, answer: Answer::Done });
        if kind == Kind::AutoDelete {
            // At once, so that it never lives without a consumer: nobody else consumes from it.
            self.start_consumer(at, id, queue);
        }
    }

    fn close(&mut self, at: usize, id: u16) {
        self.channel(at, id).phase = Phase::Closing;
        self.peers[at].send(&wire::close_channel(id));
    }

    /// An acknowledgement of what was never delivered.
    fn break_channel(&mut self, at: usize, id: u16) {
        self.channel(at, id).phase = Phase::Breaking;
        let ack = basic::Ack { delivery_tag: 1 << 40, multiple: false };
        self.peers[at].send(&wire::basic(id, basic::AMQPMethod::Ack(ack)));
    }
}
