//! [`Notes`]: what clients sent and what they were told, with times, and what must be in the queues after a power cut.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::message::{Id, identify};
use crate::shim::now_ns;

/// Queues by number.
pub(crate) type Queue = usize;

/// What all clients of a test noted; they share it.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    noted: Mutex<Noted>,
}

#[derive(Clone, Debug, Default)]
struct Noted {
    sent: HashMap<Id, Sent>,
    settled: HashMap<(Queue, Id), Settled>,
}

/// A publish.
#[derive(Clone, Debug)]
struct Sent {
    /// The queues that get it, as a set of bits.
    queues: u32,
    /// Before it was sent.
    at_ns: u64,
    /// After the confirm was received.
    confirmed_ns: Option<u64>,
}

/// An acknowledgement, or a rejection for good.
#[derive(Clone, Debug)]
struct Settled {
    /// Before it was sent.
    at_ns: u64,
    /// A message published afterwards on the same channel: when it is confirmed, this is on the disk.
    proof: Option<Id>,
}

impl Clone for Notes {
    fn clone(&self) -> Self {
        Self { noted: Mutex::new(self.noted().clone()) }
    }
}

impl Notes {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message is about to be sent to these queues.
    pub(crate) fn sending(&self, id: Id, queues: &[Queue]) {
        let queues = queues.iter().fold(0, |set, queue| set | 1 << queue);
        self.noted().sent.insert(id, Sent { queues, at_ns: now_ns(), confirmed_ns: None });
    }

    /// A confirm was received.
    pub(crate) fn confirmed(&self, id: Id) {
        let now = now_ns();
        self.noted().sent.get_mut(&id).expect("a message that was sent").confirmed_ns = Some(now);
    }

    /// A message is about to be acknowledged.
    pub(crate) fn settling(&self, queue: Queue, id: Id) {
        self.noted().settled.insert((queue, id), Settled { at_ns: now_ns(), proof: None });
    }

    /// These were acknowledged before this message was published on the same channel.
    pub(crate) fn settled_before(&self, settled: &[(Queue, Id)], proof: Id) {
        let mut noted = self.noted();
        for place in settled {
            noted.settled.get_mut(place).expect("a message that was settled").proof = Some(proof);
        }
    }

    /// How many confirms were received.
    pub(crate) fn confirmed_count(&self) -> usize {
        self.noted().sent.values().filter(|sent| sent.confirmed_ns.is_some()).count()
    }

    /// Whether any message sent to all of these queues was confirmed by then.
    pub(crate) fn is_any_confirmed(&self, cut_ns: u64, queues: &[Queue]) -> bool {
        let queues = queues.iter().fold(0, |set, queue| set | 1 << queue);
        let is_confirmed = |sent: &Sent| sent.confirmed_ns.is_some_and(|confirmed| confirmed <= cut_ns);
        self.noted().sent.values().any(|sent| sent.queues == queues && is_confirmed(sent))
    }

    /// What is wrong with what the queues held, given as bodies by queue, after a power cut at a time.
    pub(crate) fn problems(&self, cut_ns: u64, queues: &[Vec<Vec<u8>>]) -> Vec<String> {
        let review = self.review(cut_ns, queues);
        let noted = self.noted();
        let lost = |(queue, id): &(Queue, Id)| {
            format!("queue {queue}: {id:?} was confirmed and is lost: {:?}", noted.sent[id])
        };
        review.wrong.into_iter().chain(review.lost.iter().map(lost)).collect()
    }

    /// The same, with what is lost apart from what should not be there.
    pub(crate) fn review(&self, cut_ns: u64, queues: &[Vec<Vec<u8>>]) -> Review {
        let noted = self.noted();
        let mut review = Review::default();
        for (queue, bodies) in queues.iter().enumerate() {
            let found = noted.check_found(cut_ns, queue, bodies, &mut review.wrong);
            for (id, sent) in &noted.sent {
                let is_due = sent.queues & 1 << queue != 0
                    && sent.confirmed_ns.is_some_and(|confirmed| confirmed <= cut_ns)
                    && noted.settled.get(&(queue, *id)).is_none_or(|settled| settled.at_ns > cut_ns);
                if is_due && !found.contains(id) {
                    review.lost.push((queue, *id));
                }
            }
        }
        review
    }
}

/// What became of what was noted.
#[derive(Debug, Default)]
pub(crate) struct Review {
    /// What should be there and is not.
    pub(crate) lost: Vec<(Queue, Id)>,
    /// What is there and should not be, or not so.
    pub(crate) wrong: Vec<String>,
}

impl Noted {
    /// Checks what was found in one queue, and returns which messages that are.
    fn check_found(
        &self,
        cut_ns: u64,
        queue: Queue,
        bodies: &[Vec<u8>],
        problems: &mut Vec<String>,
    ) -> HashSet<Id> {
        let mut found = HashSet::new();
        let mut last: HashMap<u32, u32> = HashMap::new();
        for (position, body) in bodies.iter().enumerate() {
            let place = format!("queue {queue}, position {position}");
            let Some(id) = identify(body) else {
                problems.push(format!("{place}: a damaged body of {} bytes", body.len()));
                continue;
            };
            match self.sent.get(&id) {
                Some(sent) if sent.at_ns <= cut_ns && sent.queues & 1 << queue != 0 => {}
                sent => problems.push(format!("{place}: {id:?} was not sent there by then: {sent:?}")),
            }
            if !found.insert(id) {
                problems.push(format!("{place}: {id:?} is there twice"));
            } else if last.insert(id.publisher, id.number).is_some_and(|before| before > id.number) {
                problems.push(format!("{place}: {id:?} is out of order"));
            }
            if self.is_surely_settled(cut_ns, queue, id) {
                problems.push(format!("{place}: {id:?} was acknowledged for good and came back"));
            }
        }
        found
    }

    fn is_surely_settled(&self, cut_ns: u64, queue: Queue, id: Id) -> bool {
        let proof = self.settled.get(&(queue, id)).and_then(|settled| settled.proof);
        let confirmed = proof.and_then(|proof| self.sent.get(&proof)?.confirmed_ns);
        confirmed.is_some_and(|confirmed| confirmed <= cut_ns)
    }
}
