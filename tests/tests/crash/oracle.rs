//! [`Oracle`]: what must be in the queues after a broker died and came back, judged by the records of its clients. It
//! knows no broker; its own tests show that it notices each kind of loss.

use std::collections::{HashMap, HashSet};

use crate::ledger::{Ledger, Queue, Settlement};
use crate::message::Id;

/// A message in a queue that is known to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: Id,
    pub(crate) delivery: Delivered,
}

/// Whether the broker must remember that a message was delivered before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// It was not: nobody consumed.
    Never,
    /// It may have been on its way to a consumer, or its delivery may not have reached the disk.
    Perhaps,
    Surely,
}

/// A message found in a queue after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: Id,
    pub(crate) redelivered: bool,
}

/// What happened to one queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    pub(crate) name: String,
    /// In order, from the last time that the whole queue was looked at.
    pub(crate) left_over: Vec<Known>,
    pub(crate) had_consumers: bool,
}

/// What may be strange but is no failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) checked: usize,
    /// Messages whose acknowledgement was sent, without a proof that it became durable, and that returned.
    pub(crate) returned: usize,
    /// Of these, not marked redelivered: neither the acknowledgement nor the delivery had become durable.
    pub(crate) returned_as_new: usize,
    /// Not confirmed, but there.
    pub(crate) unconfirmed_found: usize,
    pub(crate) settlements_proved: usize,
    /// Not confirmed and not there, though a later one of the same connection is, or the same one in another queue.
    pub(crate) holes: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.returned += other.returned;
        self.returned_as_new += other.returned_as_new;
        self.unconfirmed_found += other.unconfirmed_found;
        self.settlements_proved += other.settlements_proved;
        self.holes += other.holes;
    }
}

/// All that is known of one message in one queue.
#[derive(Clone, Copy, Debug)]
struct Facts {
    /// Where it was among those left over, none if it was published since.
    place: Option<usize>,
    is_confirmed: bool,
    window: usize,
    delivery: Delivered,
    settlement: Settlement,
}

impl Facts {
    fn in_words(&self) -> String {
        let origin = match (self.place, self.is_confirmed) {
            (Some(place), _) => format!("left over at place {place}"),
            (None, true) => format!("confirmed in a window of {}", self.window),
            (None, false) => format!("unconfirmed in a window of {}", self.window),
        };
        format!(" ({origin}; delivered: {:?}; settled: {:?})", self.delivery, self.settlement)
    }
}

/// The judge of one restart.
#[derive(Debug)]
pub(crate) struct Oracle<'a> {
    before: &'a [Before],
    ledgers: &'a [Ledger],
    facts: Vec<HashMap<Id, Facts>>,
    problems: Vec<String>,
    tally: Tally,
}

impl<'a> Oracle<'a> {
    pub(crate) fn new(before: &'a [Before], ledgers: &'a [Ledger]) -> Self {
        let facts = before.iter().map(left_over_facts).collect();
        let mut oracle = Self { before, ledgers, facts, problems: Vec::new(), tally: Tally::default() };
        for ledger in ledgers {
            oracle.problems.extend_from_slice(ledger.problems());
            oracle.note_sent(ledger);
        }
        for ledger in ledgers {
            oracle.note_seen(ledger);
        }
        oracle
    }

    fn note_sent(&mut self, ledger: &Ledger) {
        for (id, queues, is_confirmed) in ledger.sent() {
            for queue in queues {
                let delivery =
                    if self.before[*queue].had_consumers { Delivered::Perhaps } else { Delivered::Never };
                let (window, settlement) = (ledger.window, Settlement::None);
                let facts = Facts { place: None, is_confirmed, window, delivery, settlement };
                self.facts[*queue].insert(id, facts);
            }
        }
    }

    fn note_seen(&mut self, ledger: &Ledger) {
        for ((queue, id), seen) in ledger.seen() {
            let name = &self.before[queue].name;
            let Some(facts) = self.facts[queue].get_mut(&id) else {
                self.problems.push(format!("queue {name}: {id} was delivered but is not of this queue"));
                continue;
            };
            let must_be_marked = facts.place.is_some() && facts.delivery == Delivered::Surely;
            if must_be_marked && !seen.first_was_redelivered {
                self.problems.push(format!("queue {name}: {id} was delivered without its mark redelivered"));
            }
            if ledger.delivery_is_proved(seen) {
                facts.delivery = Delivered::Surely;
            } else if facts.delivery == Delivered::Never {
                facts.delivery = Delivered::Perhaps;
            }
            facts.settlement = facts.settlement.max(ledger.settlement(seen));
        }
    }

    /// Compares with what is in the queues, by number.
    pub(crate) fn judge(mut self, found: &[Vec<Found>]) -> Result<Tally, Vec<String>> {
        for (queue, found) in found.iter().enumerate() {
            self.judge_each(queue, found);
            self.judge_missing(queue, found);
            self.judge_order(queue, found);
        }
        self.judge_holes(found);
        if self.problems.is_empty() { Ok(self.tally) } else { Err(self.problems) }
    }

    fn problem(&mut self, queue: Queue, id: Id, what: &str) {
        let facts = self.facts[queue].get(&id).map_or_else(String::new, Facts::in_words);
        let name = &self.before[queue].name;
        self.problems.push(format!("queue {name}: {id} {what}{facts}"));
    }

    fn judge_each(&mut self, queue: Queue, found: &[Found]) {
        let mut known = HashSet::new();
        for Found { id, redelivered } in found.iter().copied() {
            self.tally.checked += 1;
            if !known.insert(id) {
                self.problem(queue, id, "is there twice");
            }
            let Some(facts) = self.facts[queue].get(&id).copied() else {
                self.problem(queue, id, "was never published here, or was settled or lost long ago");
                continue;
            };
            match facts.settlement {
                Settlement::Durable => self.problem(queue, id, "returned, though its ack was durable"),
                Settlement::Sent => {
                    self.tally.returned += 1;
                    self.tally.returned_as_new += usize::from(!redelivered);
                }
                Settlement::None => self.tally.unconfirmed_found += usize::from(!facts.is_confirmed),
            }
            match (facts.delivery, redelivered) {
                (Delivered::Surely, false) => self.problem(queue, id, "is not marked redelivered"),
                (Delivered::Never, true) => self.problem(queue, id, "is marked redelivered, but never was"),
                _ => {}
            }
        }
    }

    fn judge_missing(&mut self, queue: Queue, found: &[Found]) {
        let found: HashSet<Id> = found.iter().map(|found| found.id).collect();
        let settled = self.facts[queue].values().filter(|facts| facts.settlement == Settlement::Durable);
        self.tally.settlements_proved += settled.count();
        let must_be_there = |facts: &Facts| {
            let is_durable =
                facts.is_confirmed || facts.place.is_some() || facts.delivery == Delivered::Surely;
            is_durable && facts.settlement == Settlement::None
        };
        let missing =
            self.facts[queue].iter().filter(|(id, facts)| must_be_there(facts) && !found.contains(id));
        let mut missing: Vec<Id> = missing.map(|(id, _)| *id).collect();
        missing.sort_unstable();
        for id in missing {
            self.problem(queue, id, "is missing");
        }
    }

    fn judge_order(&mut self, queue: Queue, found: &[Found]) {
        let mut last_place = None;
        let mut has_new = false;
        let mut last_of_publisher: HashMap<u32, Id> = HashMap::new();
        for Found { id, .. } in found.iter().copied() {
            let Some(facts) = self.facts[queue].get(&id).copied() else { continue };
            if facts.place.is_some() {
                if has_new || facts.place < last_place {
                    self.problem(queue, id, "was left over and is behind one that came later");
                }
                last_place = facts.place;
                continue;
            }
            has_new = true;
            if let Some(last) = last_of_publisher.insert(id.publisher, id).filter(|last| *last > id) {
                self.problem(queue, id, &format!("is behind {last}"));
            }
        }
    }

    /// An acknowledgement that became durable brings with it all that its connection published before: a client that passes
    /// messages on may do both without waiting. Of publishes alone any may be missing that are not confirmed.
    fn judge_holes(&mut self, found: &[Vec<Found>]) {
        let found: Vec<HashSet<Id>> =
            found.iter().map(|found| found.iter().map(|found| found.id).collect()).collect();
        for ledger in self.ledgers {
            let is_found = |id: Id, queues: &[Queue]| queues.iter().any(|queue| found[*queue].contains(&id));
            let published = ledger.sent().filter(|(id, queues, _)| is_found(*id, queues));
            let published = published.map(|(id, ..)| u64::from(id.number) + 1).max().unwrap_or(0);
            let (acknowledged, evidence) = self.last_acknowledgement(ledger, &found).unwrap_or_default();
            for (id, queues, _) in ledger.sent().filter(|(.., is_confirmed)| !is_confirmed) {
                let missing = queues.iter().filter(|queue| {
                    let is_settled = self.facts[**queue][&id].settlement != Settlement::None;
                    !is_settled && !found[**queue].contains(&id)
                });
                for queue in missing.copied().collect::<Vec<_>>() {
                    if u64::from(id.number) < acknowledged {
                        self.problem(queue, id, &format!("is missing, but {evidence}"));
                    } else if u64::from(id.number) < published {
                        self.tally.holes += 1;
                    }
                }
            }
        }
    }

    /// The last acknowledgement of a connection that can be seen to be durable: how many publishes came before it, and what
    /// is seen.
    fn last_acknowledgement(&self, ledger: &Ledger, found: &[HashSet<Id>]) -> Option<(u64, String)> {
        let durable = ledger.seen().filter_map(|((queue, id), seen)| {
            let facts = self.facts[queue].get(&id)?;
            let was_durable = facts.is_confirmed || facts.place.is_some();
            let is_gone = was_durable && !found[queue].contains(&id);
            let at = seen.settled_at.filter(|_| is_gone)?;
            Some((at, queue, id))
        });
        let (at, queue, id) = durable.max_by_key(|(at, ..)| *at)?;
        Some((at, format!("{id}, acknowledged later, is gone from {}", self.before[queue].name)))
    }
}

fn left_over_facts(queue: &Before) -> HashMap<Id, Facts> {
    let facts = |place, known: &Known| Facts {
        place: Some(place),
        is_confirmed: true,
        window: 0,
        delivery: match known.delivery {
            Delivered::Never if queue.had_consumers => Delivered::Perhaps,
            delivery => delivery,
        },
        settlement: Settlement::None,
    };
    queue.left_over.iter().enumerate().map(|(place, known)| (known.id, facts(place, known))).collect()
}

#[cfg(test)]
mod tests;
