//! [`Alarms`]: what the broker is short of, and who is told. Publishers are held back while any alarm is on.
//!
//! It does not decide when there is too little: the memory gauge, the disk monitor and the store do, and log the figures.
//! How a session holds its client back is the session's own business.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::engine::ConnectionId;
use crate::server::events::fields::{fields, text};
use crate::server::events::{Events, NODE};
use crate::server::outbox::Outbox;
use crate::session::action::Event;

/// A reason to hold publishers back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// The queues hold more than the memory limit.
    Memory,
    /// The data folder's disk has less free than the limit.
    Disk,
    /// The data folder cannot be written to. For clients the same as [`Alarm::Disk`]: RabbitMQ has no word of its own for it.
    Store,
}

/// Which alarms are on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct AlarmSet {
    memory: bool,
    disk: bool,
    store: bool,
}

impl AlarmSet {
    /// Turns one on or off; says whether it was not so before.
    fn set(&mut self, alarm: Alarm, on: bool) -> bool {
        let one = match alarm {
            Alarm::Memory => &mut self.memory,
            Alarm::Disk => &mut self.disk,
            Alarm::Store => &mut self.store,
        };
        std::mem::replace(one, on) != on
    }

    /// What `connection.blocked` says. RabbitMQ's words in RabbitMQ's order: it prints a set of
    /// `{resource, disk}` and `{resource, memory}`, which Erlang sorts.
    fn reason(self) -> Option<&'static str> {
        match (self.disk || self.store, self.memory) {
            (false, false) => None,
            (false, true) => Some("low on memory"),
            (true, false) => Some("low on disk"),
            (true, true) => Some("low on disk & memory"),
        }
    }
}

/// Who is connected, and the alarms that are on. One lock guards both, so that every connection hears of all changes in
/// their order, and one that comes in the middle of a change hears of it once.
#[derive(Debug, Default)]
pub(super) struct Connected {
    pub(super) outboxes: HashMap<ConnectionId, Arc<Outbox>>,
    alarms: AlarmSet,
    events: Option<Arc<Events>>,
}

impl Connected {
    /// Nobody is connected, and no alarm is on.
    pub(super) fn new(events: Option<Arc<Events>>) -> Self {
        Self { events, ..Self::default() }
    }

    /// Turns an alarm on or off, and tells everybody if that changes what they are to know.
    pub(super) fn set(&mut self, alarm: Alarm, on: bool) -> bool {
        let before = self.alarms.reason();
        let changed = self.alarms.set(alarm, on);
        if changed && let Some(events) = self.events.as_ref().and_then(|events| events.wanted()) {
            let key = if on { "alarm.set" } else { "alarm.cleared" };
            let source = match alarm {
                Alarm::Memory => "memory",
                Alarm::Disk | Alarm::Store => "disk",
            };
            events.tell(key, fields([("source", text(source)), ("node", text(NODE))]));
        }
        let reason = self.alarms.reason();
        if reason != before {
            for outbox in self.outboxes.values() {
                outbox.push_news(reason.map_or(Event::Unblocked, Event::Blocked));
            }
        }
        changed
    }

    /// Why publishers are held back, if they are.
    pub(super) fn reason(&self) -> Option<&'static str> {
        self.alarms.reason()
    }
}

/// The alarms of one broker.
#[derive(Debug)]
pub struct Alarms<'a>(pub(super) &'a Mutex<Connected>);

impl Alarms<'_> {
    /// Turns an alarm on or off; says whether it was not so before. From any thread, also while holding a queue's lock.
    pub fn set(&self, alarm: Alarm, on: bool) -> bool {
        self.0.lock().set(alarm, on)
    }

    /// Why publishers are held back, in the words of `connection.blocked`; `None` while they are not.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        self.0.lock().reason()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::outbox::Waiting;

    fn news(outbox: &Outbox) -> Vec<Option<&'static str>> {
        let mut waiting = Waiting::default();
        outbox.take(&mut waiting);
        waiting
            .news
            .iter()
            .map(|event| match event {
                Event::Blocked(reason) => Some(*reason),
                Event::Unblocked => None,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn everybody_hears_every_change_of_the_reason_and_unblocked_only_after_the_last() {
        let outbox = Arc::new(Outbox::default());
        let connected = Mutex::new(Connected::default());
        connected.lock().outboxes.insert(ConnectionId(1), outbox.clone());
        let alarms = Alarms(&connected);
        let steps: [(Alarm, bool, bool, &[Option<&str>]); 10] = [
            (Alarm::Memory, false, false, &[]),
            (Alarm::Memory, true, true, &[Some("low on memory")]),
            (Alarm::Memory, true, false, &[]),
            (Alarm::Disk, true, true, &[Some("low on disk & memory")]),
            (Alarm::Store, true, true, &[]),
            (Alarm::Memory, false, true, &[Some("low on disk")]),
            (Alarm::Disk, false, true, &[]),
            (Alarm::Store, false, true, &[None]),
            (Alarm::Store, false, false, &[]),
            (Alarm::Store, true, true, &[Some("low on disk")]),
        ];
        for (step, (alarm, on, changed, told)) in steps.into_iter().enumerate() {
            assert_eq!(alarms.set(alarm, on), changed, "step {step}");
            assert_eq!(news(&outbox), told, "step {step}");
        }
        assert_eq!(alarms.reason(), Some("low on disk"));
    }
}
