//! What the scenarios of limits, deadlines and priorities have in common.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::super::*;
use super::paging::Unlimited;
use crate::wire::message::MessageParts;

/// A message as a test describes it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Publish {
    pub(super) number: u32,
    pub(super) priority: u8,
    pub(super) persistent: bool,
    pub(super) arrived_ms: u64,
    /// Beside the four bytes of its number.
    pub(super) more_bytes: usize,
    pub(super) expiration_ms: Option<u64>,
}

impl Publish {
    pub(super) fn message(self) -> Message {
        let mut bytes = match self.expiration_ms {
            None => vec![0, 0],
            Some(expiration_ms) => {
                let text = expiration_ms.to_string();
                [&[1, 0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
            }
        };
        let properties_bytes = u32::try_from(bytes.len()).unwrap();
        bytes.extend(self.number.to_be_bytes());
        bytes.resize(bytes.len() + self.more_bytes, 0);
        let parts = MessageParts {
            properties_bytes,
            persistent: self.persistent,
            priority: self.priority,
            arrived_ms: self.arrived_ms,
            ..MessageParts::default()
        };
        Message::from_parts(parts, &bytes)
    }
}

pub(super) fn number_of(message: &Message) -> u32 {
    u32::from_be_bytes(message.body()[..4].try_into().unwrap())
}

pub(super) fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

pub(super) fn number(number: i64) -> AMQPValue {
    AMQPValue::LongLongInt(number)
}

pub(super) fn options(durable: bool, arguments: &[(&str, AMQPValue)]) -> Arc<QueueOptions> {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    let declare = QueueDeclare { name: "q".to_owned(), durable, arguments: table, ..QueueDeclare::default() };
    Arc::new(QueueOptions::from_declare("/", declare).unwrap())
}

/// A queue, and the time.
pub(super) struct Bench {
    pub(super) queue: Queue,
    pub(super) now_ms: u64,
    pub(super) effects: Vec<Effect>,
}

impl Bench {
    /// A durable queue with these arguments at time 0.
    pub(super) fn new(arguments: &[(&str, AMQPValue)]) -> Self {
        Self { queue: Queue::new(options(true, arguments)), now_ms: 0, effects: Vec::new() }
    }

    /// Publishes a message that arrives now.
    pub(super) fn publish(&mut self, publish: Publish) -> Enqueued {
        let message = Publish { arrived_ms: self.now_ms, ..publish }.message();
        self.queue.enqueue(message, self.now_ms, &mut Unlimited, &mut self.effects)
    }

    /// Publishes messages with these numbers.
    pub(super) fn publish_all(&mut self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            self.publish(Publish { number, ..Publish::default() });
        }
    }

    pub(super) fn consume(&mut self, prefetch: u16) -> ConsumerId {
        let spec = ConsumerSpec { ack_mode: AckMode::Manual, prefetch, exclusive: false, priority: 0 };
        self.queue.add_consumer(spec).unwrap()
    }

    pub(super) fn dispatch(&mut self) {
        self.queue.dispatch(self.now_ms, &mut Unlimited, &mut self.effects);
    }

    pub(super) fn tick(&mut self, max: usize) -> bool {
        self.queue.tick(self.now_ms, max, &mut Unlimited, &mut self.effects)
    }

    pub(super) fn settle(&mut self, settlement: Settlement, slots: &[u32]) {
        self.queue.settle(settlement, slots, &mut self.effects);
    }

    /// Other settings come into force.
    pub(super) fn apply(&mut self, arguments: &[(&str, AMQPValue)]) {
        let settings = options(true, arguments).settings.clone();
        self.queue.apply_settings(settings, self.now_ms, &mut self.effects);
    }

    /// Takes a message for good; its number.
    pub(super) fn take(&mut self) -> Option<u32> {
        let taken = self.queue.take(AckMode::Automatic, self.now_ms, &mut self.effects);
        taken.ok().map(|taken| number_of(&taken.message))
    }

    /// Takes all messages in memory.
    pub(super) fn take_all(&mut self) -> Vec<u32> {
        std::iter::from_fn(|| self.take()).collect()
    }

    /// Takes a message to be acknowledged: its slot.
    pub(super) fn hold(&mut self) -> u32 {
        self.queue.take(AckMode::Manual, self.now_ms, &mut self.effects).unwrap().slot
    }

    /// The slots of the deliveries since the last call, and what else was told, in short.
    pub(super) fn told(&mut self) -> (Vec<u32>, Vec<String>) {
        let mut slots = Vec::new();
        let mut told = Vec::new();
        for effect in self.effects.drain(..) {
            told.push(match effect {
                Effect::Deliver { slot, message, delivery_count, .. } => {
                    slots.push(slot);
                    match delivery_count {
                        0 => format!("deliver {}", number_of(&message)),
                        count => format!("deliver {} again {count}", number_of(&message)),
                    }
                }
                Effect::Settled { level, seq } => format!("settled {level}/{}", seq.0),
                Effect::Returned { level, seq, count } => format!("returned {level}/{} {count}", seq.0),
                Effect::Delivered { level, up_to } => format!("delivered {level}/{}", up_to.0),
                Effect::Purged { level, .. } => format!("purged {level}"),
                Effect::Dead { message, reason, stored, level, seq } => {
                    let stored = if stored { format!(" {level}/{}", seq.0) } else { String::new() };
                    format!("{} {}{stored}", reason.as_str(), number_of(&message))
                }
                Effect::TimedOut { consumer } => format!("timed out {}", consumer.index()),
                Effect::ConsumerCancelled { .. } => "cancelled".to_owned(),
            });
        }
        (slots, told)
    }

    pub(super) fn words(&mut self) -> Vec<String> {
        self.told().1
    }
}

/// A queue that dead-letters.
pub(super) fn dead_lettering() -> (&'static str, AMQPValue) {
    ("x-dead-letter-exchange", text("dlx"))
}
