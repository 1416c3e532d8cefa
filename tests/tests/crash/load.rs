//! [`Load`]: a connection that publishes and consumes as fast as it can until its broker dies under it. It decides at
//! random what to do with deliveries and keeps the record of it; whether that is right is not its concern.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use crate::connection::{Connection, Delivery, reason};
use crate::ledger::{Copy, Ledger, Queue};
use crate::message::{Messages, Mode, properties};
use crate::random::Random;
use crate::wire::{self, Arguments, Decoder, Incoming, Settle, ids};

/// An exchange and routing key, and the queues that get what is published there.
pub(crate) type Route = ((&'static str, &'static str), &'static [Queue]);

/// What a connection is to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) publisher: u32,
    /// Where to publish, one of them for each message.
    pub(crate) routes: &'static [Route],
    /// The most publishes without a confirm.
    pub(crate) window: usize,
    /// The most publishes in all.
    pub(crate) publishes: usize,
    /// The queues to consume, with a prefetch for each.
    pub(crate) consumes: Vec<(Queue, &'static str, u16)>,
    /// How many deliveries to hold before any is settled.
    pub(crate) hold: usize,
}

/// The channel that publishes; those that consume follow, in the order of the plan.
const PUBLISHING: u16 = 1;
const CONSUMING: u16 = 2;

/// What is written at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A connection under load.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: [JoinHandle<()>; 2],
}

#[derive(Debug)]
struct Shared {
    session: Mutex<Session>,
    changed: Condvar,
}

#[derive(Debug)]
struct Session {
    plan: Plan,
    messages: Messages,
    random: Random,
    ledger: Ledger,
    held: Vec<Held>,
    /// Whether anything happened since the last publish that its confirm would prove.
    has_news: bool,
    has_ended: bool,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    channel: u16,
    tag: u64,
    copy: Copy,
}

impl Load {
    /// Connects, and begins.
    pub(crate) fn start(port: u16, messages: Messages, plan: Plan, random: Random) -> Self {
        let mut connection = Connection::open(port);
        connection.channel(PUBLISHING);
        connection.confirm(PUBLISHING);
        for (channel, (_, _, prefetch)) in (CONSUMING..).zip(&plan.consumes) {
            connection.channel(channel);
            connection.prefetch(channel, *prefetch);
        }
        let ledger = Ledger::new(plan.publisher, plan.window);
        let session =
            Session { plan, messages, random, ledger, held: Vec::new(), has_news: true, has_ended: false };
        let shared = Arc::new(Shared { session: Mutex::new(session), changed: Condvar::new() });
        let (socket, decoder) = connection.into_parts();
        let (reading, writing) = (Arc::clone(&shared), Arc::clone(&shared));
        let output = socket.try_clone().unwrap();
        let reader = thread::spawn(move || reading.read(socket, decoder));
        let writer = thread::spawn(move || writing.write(output));
        Self { shared, threads: [reader, writer] }
    }

    /// The record as it is now.
    pub(crate) fn ledger(&self) -> Ledger {
        self.shared.lock().ledger.clone()
    }

    /// The record, once the broker has ended the connection.
    pub(crate) fn finish(self) -> Ledger {
        for thread in self.threads {
            thread.join().expect("a client does not panic");
        }
        let shared = Arc::into_inner(self.shared).expect("the threads have ended");
        shared.session.into_inner().unwrap().ledger
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap()
    }

    fn read(&self, mut socket: TcpStream, mut decoder: Decoder) {
        let mut chunk = vec![0; CHUNK_BYTES];
        while !self.lock().has_ended {
            let count = match socket.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                // Silence is no problem while the broker has nothing to say, and it will be killed.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => break,
            };
            decoder.feed(&chunk[..count]);
            let mut session = self.lock();
            while let Some(incoming) = decoder.next() {
                session.handle(incoming);
            }
            drop(session);
            self.changed.notify_all();
        }
        self.lock().has_ended = true;
        self.changed.notify_all();
        // Wakes the writer, should it wait for a broker that no longer reads.
        let _ = socket.shutdown(Shutdown::Both);
    }

    fn write(&self, mut socket: TcpStream) {
        let mut bytes = self.lock().subscribe();
        while socket.write_all(&bytes).is_ok() {
            let mut session = self.lock();
            loop {
                if session.has_ended {
                    return;
                }
                bytes = session.take_actions();
                if !bytes.is_empty() {
                    break;
                }
                session = self.changed.wait(session).unwrap();
            }
        }
    }
}

impl Session {
    fn subscribe(&self) -> Vec<u8> {
        let consumes = (CONSUMING..).zip(&self.plan.consumes);
        consumes.flat_map(|(channel, (_, name, _))| Connection::consume_bytes(channel, name)).collect()
    }

    fn handle(&mut self, incoming: Incoming) {
        match incoming.ids {
            ids::BASIC_DELIVER => self.deliver(incoming),
            ids::BASIC_ACK => {
                let mut arguments = Arguments(&incoming.arguments);
                let (tag, multiple) = (arguments.u64(), arguments.u8() != 0);
                self.ledger.confirm(tag, multiple);
            }
            ids::CONSUME_OK => {}
            ids::CONNECTION_CLOSE => {
                let reason = reason(&incoming);
                // What a broker says that is shut down in an orderly way.
                if reason.code != 320 {
                    self.ledger.problem(format!("connection closed: {reason}"));
                }
                self.has_ended = true;
            }
            ids => {
                let text = String::from_utf8_lossy(&incoming.arguments).into_owned();
                self.ledger.problem(format!("method {ids:?} from the broker: {text:?}"));
            }
        }
    }

    fn deliver(&mut self, incoming: Incoming) {
        let channel = incoming.channel;
        let (queue, name, _) = self.plan.consumes[usize::from(channel - CONSUMING)];
        let (_, delivery) = Delivery::of_deliver(incoming);
        match self.messages.identify(&delivery.content) {
            Ok((id, Mode::Persistent)) => {
                self.ledger.deliver((queue, id), delivery.redelivered);
                self.held.push(Held { channel, tag: delivery.tag, copy: (queue, id) });
                self.has_news = true;
            }
            Ok((id, Mode::Transient)) => self.ledger.problem(format!("queue {name}: {id} became transient")),
            Err(problem) => self.ledger.problem(format!("queue {name}: {problem}")),
        }
    }

    /// What to send now, already noted as sent.
    fn take_actions(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.held.len() > self.plan.hold && bytes.len() < CHUNK_BYTES {
            self.settle_one(&mut bytes);
        }
        while bytes.len() < CHUNK_BYTES && self.wants_to_publish() {
            self.publish(&mut bytes);
        }
        bytes
    }

    /// Those that consume publish for the sake of the proof, others all they can.
    fn wants_to_publish(&self) -> bool {
        self.ledger.unconfirmed() < self.plan.window
            && self.ledger.sent_count() < self.plan.publishes
            && (self.has_news || self.plan.consumes.is_empty())
    }

    fn publish(&mut self, bytes: &mut Vec<u8>) {
        let (route, queues) = *self.random.pick(self.plan.routes);
        let id = self.ledger.send(queues);
        let properties = properties(id, Mode::Persistent);
        wire::publish(bytes, PUBLISHING, route, &properties, self.messages.body(id));
        self.has_news = false;
    }

    /// Settles a held delivery at random, or several.
    fn settle_one(&mut self, bytes: &mut Vec<u8>) {
        let settle = match self.random.below(100) {
            0..72 => Settle::Ack,
            72..80 => Settle::AckUpTo,
            80..86 => Settle::Nack { up_to: false, requeue: true },
            86..88 => Settle::Nack { up_to: true, requeue: true },
            88..93 => Settle::Reject { requeue: true },
            93..97 => Settle::Nack { up_to: false, requeue: false },
            _ => Settle::Reject { requeue: false },
        };
        let chosen = self.held[self.random.index(self.held.len())];
        let is_settled = |held: &Held| {
            held.channel == chosen.channel
                && (held.tag == chosen.tag || settle.takes_all_up_to_the_tag() && held.tag < chosen.tag)
        };
        for held in self.held.extract_if(.., |held| is_settled(held)) {
            self.ledger.settle(held.copy, settle.requeues());
        }
        bytes.extend(settle.bytes(chosen.channel, chosen.tag));
        self.has_news = true;
    }
}
