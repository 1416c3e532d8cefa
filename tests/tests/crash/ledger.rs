//! [`Ledger`]: what one connection did to a broker, in the order in which it did it, and what it can prove of that.
//!
//! All that a connection does goes into one ordered commit. So a confirm proves more than the publish that it answers:
//! everything that the connection sent before that publish, and everything that was delivered to it before, is on disk.

use std::collections::HashMap;

use crate::message::Id;

/// The number of a queue in its test.
pub(crate) type Queue = usize;

/// A message in a queue.
pub(crate) type Copy = (Queue, Id);

/// What a connection knows of a message that was delivered to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How many publishes had been sent when it was first delivered.
    delivered_at: u64,
    /// How many publishes had been sent when it was acknowledged or rejected.
    pub(crate) settled_at: Option<u64>,
    /// Whether it is held, neither settled nor given back.
    held: bool,
    pub(crate) first_was_redelivered: bool,
}

/// The record of one connection, which is one publisher.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    pub(crate) publisher: u32,
    /// For messages of failures: what kind of publisher it is.
    pub(crate) window: usize,
    /// The queues of each message sent, by number.
    sent: Vec<&'static [Queue]>,
    confirmed: Vec<bool>,
    unconfirmed: usize,
    confirmed_up_to: u64,
    seen: HashMap<Copy, Seen>,
    /// The last message of each publisher that came for the first time, by queue.
    last: HashMap<(Queue, u32), u32>,
    problems: Vec<String>,
}

impl Ledger {
    pub(crate) fn new(publisher: u32, window: usize) -> Self {
        Self {
            publisher,
            window,
            sent: Vec::new(),
            confirmed: Vec::new(),
            unconfirmed: 0,
            confirmed_up_to: 0,
            seen: HashMap::new(),
            last: HashMap::new(),
            problems: Vec::new(),
        }
    }

    /// Before a publish is sent to these queues.
    pub(crate) fn send(&mut self, queues: &'static [Queue]) -> Id {
        let number = u32::try_from(self.sent.len()).unwrap();
        self.sent.push(queues);
        self.confirmed.push(false);
        self.unconfirmed += 1;
        Id { publisher: self.publisher, number }
    }

    pub(crate) fn unconfirmed(&self) -> usize {
        self.unconfirmed
    }

    pub(crate) fn sent_count(&self) -> usize {
        self.sent.len()
    }

    /// A confirm came.
    pub(crate) fn confirm(&mut self, tag: u64, multiple: bool) {
        let end = usize::try_from(tag).unwrap();
        if end == 0 || end > self.confirmed.len() {
            self.problem(format!("a confirm of publish {tag}, but {} were sent", self.confirmed.len()));
            return;
        }
        let start = if multiple { 0 } else { end - 1 };
        let news = self.confirmed[start..end].iter_mut().filter(|confirmed| !**confirmed);
        let count = news.map(|confirmed| *confirmed = true).count();
        if count == 0 {
            self.problem(format!("publish {tag} was confirmed twice"));
        }
        self.unconfirmed -= count;
        self.confirmed_up_to = self.confirmed_up_to.max(tag);
    }

    /// A message was delivered.
    pub(crate) fn deliver(&mut self, copy: Copy, redelivered: bool) {
        let (queue, id) = copy;
        let now = self.sent.len() as u64;
        if !redelivered {
            let last = self.last.insert((queue, id.publisher), id.number);
            if let Some(last) = last.filter(|last| *last >= id.number) {
                self.problem(format!("queue {queue}: {id} delivered first after number {last}"));
            }
        }
        let first =
            Seen { delivered_at: now, settled_at: None, held: true, first_was_redelivered: redelivered };
        let Some(seen) = self.seen.get_mut(&copy) else {
            self.seen.insert(copy, first);
            return;
        };
        let was = *seen;
        seen.held = true;
        if was.held {
            self.problem(format!("queue {queue}: {id} delivered while it is held"));
        } else if was.settled_at.is_some() {
            self.problem(format!("queue {queue}: {id} delivered again after it was settled"));
        } else if !redelivered {
            self.problem(format!("queue {queue}: {id} delivered again but not marked redelivered"));
        }
    }

    /// Before a settlement of a held message is sent.
    pub(crate) fn settle(&mut self, copy: Copy, requeue: bool) {
        let now = self.sent.len() as u64;
        let seen = self.seen.get_mut(&copy).expect("only what was delivered is settled");
        seen.held = false;
        if !requeue {
            seen.settled_at = Some(now);
        }
    }

    /// Something that must not be.
    pub(crate) fn problem(&mut self, what: String) {
        self.problems.push(format!("publisher {}: {what}", self.publisher));
    }

    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The messages sent, with their queues, and whether they were confirmed.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (Id, &'static [Queue], bool)> {
        let publisher = self.publisher;
        let all = self.sent.iter().zip(&self.confirmed).zip(0..);
        all.map(move |((queues, confirmed), number)| (Id { publisher, number }, *queues, *confirmed))
    }

    /// What is known of each message that was delivered.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (Copy, &Seen)> {
        self.seen.iter().map(|(copy, seen)| (*copy, seen))
    }

    /// Whether what was done after this many publishes is on disk for certain.
    fn is_proved(&self, at: u64) -> bool {
        self.confirmed_up_to > at
    }

    pub(crate) fn delivery_is_proved(&self, seen: &Seen) -> bool {
        self.is_proved(seen.delivered_at)
    }

    pub(crate) fn settlement(&self, seen: &Seen) -> Settlement {
        match seen.settled_at {
            None => Settlement::None,
            Some(at) if self.is_proved(at) => Settlement::Durable,
            Some(_) => Settlement::Sent,
        }
    }
}

/// How far an acknowledgement or rejection without requeue has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Settlement {
    #[default]
    None,
    Sent,
    Durable,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Copy = (0, Id { publisher: 9, number: 0 });

    fn settlement(ledger: &Ledger) -> Settlement {
        ledger.settlement(&ledger.seen[&ANY])
    }

    #[test]
    fn an_ack_is_proved_by_the_confirm_of_a_later_publish_only() {
        let mut ledger = Ledger::new(1, 1);
        ledger.send(&[0]);
        ledger.deliver(ANY, false);
        ledger.settle(ANY, false);
        ledger.send(&[0]);
        ledger.confirm(1, false);
        assert_eq!(settlement(&ledger), Settlement::Sent);
        assert!(!ledger.delivery_is_proved(&ledger.seen[&ANY]));
        ledger.confirm(2, false);
        assert_eq!(settlement(&ledger), Settlement::Durable);
        assert!(ledger.delivery_is_proved(&ledger.seen[&ANY]));
        assert!(ledger.problems().is_empty());
    }

    #[test]
    fn what_must_not_be_is_noted() {
        type Act = fn(&mut Ledger);
        let acts: &[(&str, Act)] = &[
            ("confirmed twice", |ledger| {
                ledger.confirm(1, false);
                ledger.confirm(1, true);
            }),
            ("but 1 were sent", |ledger| ledger.confirm(2, true)),
            ("while it is held", |ledger| {
                ledger.deliver(ANY, false);
                ledger.deliver(ANY, true);
            }),
            ("after it was settled", |ledger| {
                ledger.deliver(ANY, false);
                ledger.settle(ANY, false);
                ledger.deliver(ANY, true);
            }),
            ("not marked redelivered", |ledger| {
                ledger.deliver(ANY, true);
                ledger.settle(ANY, true);
                ledger.deliver(ANY, false);
            }),
            ("delivered first after number 5", |ledger| {
                ledger.deliver((0, Id { publisher: 9, number: 5 }), false);
                ledger.deliver(ANY, false);
            }),
        ];
        for (expected, act) in acts {
            let mut ledger = Ledger::new(1, 1);
            ledger.send(&[0]);
            act(&mut ledger);
            assert_eq!(ledger.problems().len(), 1, "{expected}");
            assert!(ledger.problems()[0].contains(expected), "{expected}: {:?}", ledger.problems());
        }
    }
}
