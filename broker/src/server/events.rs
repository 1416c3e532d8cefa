//! [`Events`]: tells the exchange `amq.rabbitmq.event` what happens in the broker, as RabbitMQ's plugin of that name does.
//!
//! The exchange is off by default: then nobody makes a message, and nobody tells of anything unless somebody listens. Whoever sees something happen leaves a note, also under a lock:
//! so notes are in the order of what they tell. One thread makes messages of them and publishes those. It does not wait for
//! consumers, and notes are lost when it falls far behind.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Instant;

use amq_protocol::types::{AMQPValue, FieldTable};
use parking_lot::{Condvar, Mutex};

use crate::clock::Clock;
use crate::server::executor::publish_internally;
use crate::server::shared::Shared;
use crate::wire::message::{Message, MessageParts};
use crate::wire::properties;

use listeners::{EventListener, Listeners, ToldEvent};

pub(super) mod fields;
pub(super) mod listeners;

/// The exchange, in the vhost `/`.
pub(super) const EVENT_EXCHANGE: &str = "amq.rabbitmq.event";

/// The vhost whose exchange it is, whatever an event is about.
pub(super) const EVENT_VHOST: &str = "/";

/// What the broker calls itself where RabbitMQ has the name of an Erlang node.
pub(crate) const NODE: &str = "warren";

/// Who did what nobody asked for.
pub(super) const INTERNAL_USER: &str = "rmq-internal";

/// Notes that wait for their thread; what comes beyond is lost and counted.
const WAITING_MAX: usize = 65_536;

/// Something that happened.
#[derive(Debug)]
struct Note {
    /// The routing key.
    key: &'static str,
    headers: FieldTable,
    at_ms: u64,
}

#[derive(Debug, Default)]
struct Notes {
    waiting: VecDeque<Note>,
    lost: u64,
    closing: bool,
}

/// Whether there is an exchange for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventExchange {
    /// They are published to it.
    On,
    /// They are for listeners only.
    Off,
}

/// Where events are left.
#[derive(Debug)]
pub struct Events {
    clock: Clock,
    exchange: EventExchange,
    listeners: Listeners,
    notes: Mutex<Notes>,
    changed: Condvar,
}

impl Events {
    /// Nothing is told before [`Events::start`].
    pub(super) fn new(clock: Clock, exchange: EventExchange) -> Self {
        Self {
            clock,
            exchange,
            listeners: Listeners::default(),
            notes: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Itself, if anybody wants to be told. Whoever has something to tell asks this first: it costs next to nothing.
    pub(super) fn wanted(&self) -> Option<&Self> {
        (self.exchange == EventExchange::On || self.listeners.any()).then_some(self)
    }

    /// Whether they are published to the exchange.
    pub(super) fn has_exchange(&self) -> bool {
        self.exchange == EventExchange::On
    }

    /// Lets somebody hear of events from now on; none if there are too many.
    pub(super) fn listen(&self) -> Option<EventListener> {
        self.listeners.add()
    }

    /// Starts the thread. It ends when the broker is gone.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
        let events = shared.events.clone();
        if !events.has_exchange() {
            return Ok(());
        }
        let broker = Arc::downgrade(shared);
        thread::Builder::new().name("warren-events".to_owned()).spawn(move || events.run(&broker)).map(drop)
    }

    /// Leaves a note. From any thread, under any lock: the one taken here is the last in the order.
    pub(super) fn tell(&self, key: &'static str, headers: FieldTable) {
        let at_ms = self.clock.at(Instant::now());
        if self.listeners.any() {
            self.listeners.tell(ToldEvent { kind: key, headers: headers.clone(), at_ms });
        }
        if !self.has_exchange() {
            return;
        }
        let mut notes = self.notes.lock();
        if notes.waiting.len() >= WAITING_MAX {
            notes.lost += 1;
            return;
        }
        notes.waiting.push_back(Note { key, headers, at_ms });
        self.changed.notify_one();
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.notes.lock().closing = true;
        self.changed.notify_all();
    }

    fn run(&self, broker: &Weak<Shared>) {
        while let Some(notes) = self.wait() {
            let Some(shared) = broker.upgrade() else { return };
            let Some(vhost) = shared.vhost(EVENT_VHOST) else { return };
            publish_internally(&shared, &vhost, notes.into_iter().filter_map(message_of));
        }
    }

    /// All notes that wait; none at the end.
    fn wait(&self) -> Option<VecDeque<Note>> {
        let mut notes = self.notes.lock();
        while notes.waiting.is_empty() && !notes.closing {
            self.changed.wait(&mut notes);
        }
        if notes.closing {
            return None;
        }
        let lost = std::mem::take(&mut notes.lost);
        if lost > 0 {
            tracing::warn!(lost, "events were lost: they come faster than amq.rabbitmq.event passes them on");
        }
        Some(std::mem::take(&mut notes.waiting))
    }
}

/// A persistent message without a body. The timestamp is in seconds, as AMQP has it; a header has the milliseconds.
fn message_of(note: Note) -> Option<Message> {
    let Note { key, mut headers, at_ms } = note;
    let at = AMQPValue::LongLongInt(i64::try_from(at_ms).unwrap_or(i64::MAX));
    headers.insert("timestamp_in_ms".into(), at);
    let properties = properties::for_event(&headers, at_ms / 1000).ok()?;
    let parts = MessageParts {
        exchange_bytes: u8::try_from(EVENT_EXCHANGE.len()).ok()?,
        routing_key_bytes: u8::try_from(key.len()).ok()?,
        properties_bytes: u32::try_from(properties.len()).ok()?,
        persistent: true,
        arrived_ms: at_ms,
        ..MessageParts::default()
    };
    let bytes = [EVENT_EXCHANGE.as_bytes(), key.as_bytes(), &properties].concat();
    Some(Message::from_parts(parts, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::properties::Properties;

    #[test]
    fn what_comes_while_too_much_waits_is_lost() {
        let events = Events::new(Clock::new(Instant::now(), 5_000), EventExchange::On);
        for _ in 0..=WAITING_MAX {
            events.tell("queue.created", FieldTable::default());
        }
        assert_eq!(events.notes.lock().lost, 1);
        assert_eq!(events.wait().map(|notes| notes.len()), Some(WAITING_MAX));
        events.close();
        assert!(events.wait().is_none());
    }

    #[test]
    fn an_event_is_a_persistent_message_with_its_moment_and_without_a_body() {
        let mut headers = FieldTable::default();
        headers.insert("name".into(), AMQPValue::LongString("q".into()));
        let note = Note { key: "queue.created", headers, at_ms: 1_795_273_954_027 };
        let message = message_of(note).expect("it can be written");
        assert_eq!(
            (message.exchange(), message.routing_key()),
            (&b"amq.rabbitmq.event"[..], &b"queue.created"[..])
        );
        assert!(message.is_persistent() && message.body().is_empty());
        let properties = Properties::parse(message.properties()).expect("they are well-formed");
        assert_eq!((properties.delivery_mode(), properties.timestamp()), (Some(2), Some(1_795_273_954)));
        let headers = properties.headers().expect("a table");
        assert_eq!(headers.inner().get("timestamp_in_ms"), Some(&AMQPValue::LongLongInt(1_795_273_954_027)));
        assert_eq!(headers.inner().len(), 2);
    }
}
