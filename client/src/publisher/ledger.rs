//! What a publisher owes an answer for: which messages wait, which are on their way, which are suspected of having made the
//! broker close the channel. No tasks, no sockets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use lapin::types::ShortString;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{Error, Message};

/// A message that was not confirmed yet.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) message: Arc<Message>,
    /// By which it is known when the broker returns it.
    pub(super) id: String,
    pub(super) attempts: u32,
    pub(super) deadline: Option<Instant>,
    pub(super) reply: oneshot::Sender<Result<(), Error>>,
    pub(super) _room: OwnedSemaphorePermit,
}

impl Entry {
    pub(super) fn places(&self) -> (String, String) {
        (self.exchange.to_string(), self.routing_key.to_string())
    }
}

/// Failures that nobody waited for.
#[derive(Debug, Default)]
struct Unheard {
    failed: u64,
    first: Option<Arc<Error>>,
}

/// All that is owed. Messages are known by the numbers in which they came.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<u64, Entry>,
    waiting: BTreeSet<u64>,
    suspects: BTreeSet<u64>,
    on_their_way: BTreeSet<u64>,
    returned: HashMap<u64, String>,
    flushes: Vec<(u64, oneshot::Sender<Result<(), Error>>)>,
    unheard: Unheard,
    next: u64,
}

impl Ledger {
    pub(super) fn add(&mut self, entry: Entry) {
        self.entries.insert(self.next, entry);
        self.waiting.insert(self.next);
        self.next += 1;
    }

    /// Takes the next message that may be sent now. While there are suspects they go alone, one after the other.
    pub(super) fn send_next(&mut self) -> Option<(u64, &Entry)> {
        let candidate = match self.suspects.first() {
            Some(_) if !self.on_their_way.is_empty() => return None,
            Some(suspect) => suspect,
            None => self.waiting.first()?,
        };
        let number = *candidate;
        if !self.waiting.remove(&number) {
            // A suspect that pauses after a nack holds the others up.
            return None;
        }
        self.on_their_way.insert(number);
        let entry = self.entries.get_mut(&number)?;
        entry.attempts += 1;
        Some((number, entry))
    }

    /// A message that was sent has had its answer, or will not have one.
    pub(super) fn arrived(&mut self, number: u64) {
        self.on_their_way.remove(&number);
    }

    /// Those that were sent and have had no answer.
    pub(super) fn on_their_way(&self) -> Vec<u64> {
        self.on_their_way.iter().copied().collect()
    }

    /// A message waits to be sent once more.
    pub(super) fn again(&mut self, number: u64) {
        if self.entries.contains_key(&number) {
            self.waiting.insert(number);
        }
    }

    /// Some of these made the broker object, and nobody knows which: they are sent one by one.
    pub(super) fn suspect(&mut self, numbers: &[u64]) {
        for number in numbers {
            if self.entries.contains_key(number) {
                self.suspects.insert(*number);
                self.waiting.insert(*number);
            }
        }
    }

    /// The broker returned the message with this id; its confirmation is still to come.
    pub(super) fn note_returned(&mut self, id: &str, text: &str) {
        let found = self.entries.iter().find(|(number, entry)| {
            entry.id == id && !self.waiting.contains(number) && !self.returned.contains_key(number)
        });
        if let Some((number, _)) = found {
            self.returned.insert(*number, text.to_owned());
        }
    }

    pub(super) fn take_returned(&mut self, number: u64) -> Option<String> {
        self.returned.remove(&number)
    }

    pub(super) fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// It is known what became of the message.
    pub(super) fn settle(&mut self, number: u64, result: Result<(), Error>) {
        self.waiting.remove(&number);
        self.suspects.remove(&number);
        self.returned.remove(&number);
        let Some(entry) = self.entries.remove(&number) else { return };
        if let Err(Err(error)) = entry.reply.send(result) {
            let (exchange, routing_key) = (entry.exchange.as_str(), entry.routing_key.as_str());
            tracing::warn!(exchange, routing_key, %error, "a message was not published, and nobody waited for it");
            self.unheard.failed += 1;
            self.unheard.first.get_or_insert_with(|| Arc::new(error));
        }
        self.answer_flushes();
    }

    /// Settles all that remains.
    pub(super) fn settle_all(&mut self, error: &Error) {
        while let Some((&number, _)) = self.entries.first_key_value() {
            self.settle(number, Err(error.clone()));
        }
    }

    /// Settles those that are overdue.
    pub(super) fn settle_overdue(&mut self, now: Instant, error: impl Fn(&Entry) -> Error) {
        while let Some((&number, entry)) = self.entries.first_key_value() {
            if entry.deadline.is_none_or(|deadline| deadline > now) {
                return;
            }
            let error = error(entry);
            self.settle(number, Err(error));
        }
    }

    /// Settles all: what was sent and not answered in one way, what is not with the broker in another.
    pub(super) fn settle_blocked(&mut self, unsent: &Error, sent: impl Fn(&Entry) -> Error) {
        while let Some((&number, entry)) = self.entries.first_key_value() {
            let error = if self.on_their_way.contains(&number) { sent(entry) } else { unsent.clone() };
            self.settle(number, Err(error));
        }
    }

    /// When the oldest is overdue. All have the same patience, so it is the first.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.entries.first_key_value().and_then(|(_, entry)| entry.deadline)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Answers when everything is settled that came before.
    pub(super) fn flush(&mut self, reply: oneshot::Sender<Result<(), Error>>) {
        self.flushes.push((self.next, reply));
        self.answer_flushes();
    }

    fn answer_flushes(&mut self) {
        let oldest = self.entries.first_key_value().map_or(self.next, |(number, _)| *number);
        while self.flushes.first().is_some_and(|(bound, _)| *bound <= oldest) {
            let (_, reply) = self.flushes.remove(0);
            let unheard = std::mem::take(&mut self.unheard);
            // A flush that nobody waits for any more has heard the failures in the log.
            let _ = reply.send(match unheard.first {
                Some(first) => Err(Error::Flush { failed: unheard.failed, first }),
                None => Ok(()),
            });
        }
    }
}

#[cfg(test)]
mod tests;
