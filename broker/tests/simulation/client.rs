//! [`Channel`]: what a client knows of one of its channels, and what must hold on it: tags without gaps, prefetch limits,
//! order, confirms. Called by the peer.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::world::{CopyId, Holder, How, publisher_of};

/// What publishing means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    Confirm,
    Transaction,
}

/// A request that nothing may follow until it is answered, because it may end the channel.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) queue: usize,
    pub(crate) answer: Answer,
}

/// Which answer is waited for; others may come before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Consuming(String),
    Message,
    Done,
}

#[derive(Debug)]
pub(crate) enum Phase {
    Open,
    Waiting(Wait),
    /// `channel.close` is sent.
    Closing,
    /// Something is sent that the broker must answer with `channel.close`.
    Breaking,
}

#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) queue: usize,
    pub(crate) prefetch: u16,
    pub(crate) no_ack: bool,
    pub(crate) running: bool,
    pub(crate) cancelling: bool,
    /// The newest message that was no redelivery, by the channel that published it.
    newest: HashMap<Holder, u64>,
}

impl Consumer {
    pub(crate) fn new(queue: usize, prefetch: u16, no_ack: bool) -> Self {
        Self { queue, prefetch, no_ack, running: false, cancelling: false, newest: HashMap::new() }
    }
}

/// A delivery that is not settled.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) copy: CopyId,
    pub(crate) consumer: Option<String>,
    /// Named by a settling method that is sent already.
    pub(crate) settling: bool,
}

/// The method of a delivery.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) tag: u64,
    pub(crate) queue: usize,
    pub(crate) consumer: Option<String>,
    pub(crate) redelivered: bool,
    pub(crate) no_ack: bool,
}

/// What a transaction has gathered.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Message, queues, and whether it comes back.
    pub(crate) publishes: Vec<(u64, Vec<usize>, bool)>,
    pub(crate) settles: Vec<(Vec<u64>, How)>,
}

/// A channel, as its client knows it.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) holder: Holder,
    pub(crate) mode: Mode,
    pub(crate) phase: Phase,
    pub(crate) consumers: BTreeMap<String, Consumer>,
    pub(crate) held: BTreeMap<u64, Held>,
    pub(crate) gets: VecDeque<(usize, bool)>,
    /// For consumers to come.
    pub(crate) prefetch: u16,
    /// For all consumers together.
    pub(crate) limit: u16,
    pub(crate) published: u64,
    pub(crate) unconfirmed: BTreeMap<u64, u64>,
    pub(crate) returns_due: BTreeSet<u64>,
    pub(crate) transaction: Transaction,
    pub(crate) commits: u32,
    pub(crate) recovering: bool,
    last_tag: u64,
}

impl Channel {
    pub(crate) fn new(holder: Holder, mode: Mode, prefetch: u16, limit: u16) -> Self {
        Self {
            holder,
            mode,
            phase: Phase::Open,
            consumers: BTreeMap::new(),
            held: BTreeMap::new(),
            gets: VecDeque::new(),
            prefetch,
            limit,
            published: 0,
            unconfirmed: BTreeMap::new(),
            returns_due: BTreeSet::new(),
            transaction: Transaction::default(),
            commits: 0,
            recovering: false,
            last_tag: 0,
        }
    }

    /// The answer has come; gives the queue that was asked about.
    pub(crate) fn answered(&mut self) -> usize {
        let Phase::Waiting(wait) = std::mem::replace(&mut self.phase, Phase::Open) else {
            panic!("an answer that nobody waits for")
        };
        wait.queue
    }

    /// Whether exactly this is waited for.
    pub(crate) fn waits_for(&self, answer: &Answer) -> bool {
        matches!(&self.phase, Phase::Waiting(wait) if wait.answer == *answer)
    }

    /// A `basic.get` is answered.
    pub(crate) fn got(&mut self) -> (usize, bool) {
        if self.waits_for(&Answer::Message) {
            self.answered();
        }
        self.gets.pop_front().expect("an answer to basic.get comes after one")
    }

    pub(crate) fn delivered(&mut self, delivered: Delivered, copy: CopyId) {
        self.last_tag += 1;
        assert_eq!(delivered.tag, self.last_tag, "delivery tags have no gaps");
        if !delivered.redelivered
            && let Some(consumer) = delivered.consumer.as_ref().and_then(|tag| self.consumers.get_mut(tag))
        {
            let publisher = publisher_of(copy.message);
            let newest = consumer.newest.insert(publisher, copy.message);
            assert!(newest < Some(copy.message), "{copy:?} came after {newest:?}");
        }
        if delivered.no_ack {
            return;
        }
        let consumer = delivered.consumer.clone();
        self.held.insert(delivered.tag, Held { copy, consumer, settling: false });
        self.check_limits(delivered.consumer.as_deref());
    }

    fn check_limits(&self, tag: Option<&str>) {
        let Some((tag, consumer)) = tag.and_then(|tag| Some((tag, self.consumers.get(tag)?))) else { return };
        let of_consumer = self.held.values().filter(|held| held.consumer.as_deref() == Some(tag)).count();
        let limit = usize::from(consumer.prefetch);
        assert!(limit == 0 || of_consumer <= limit, "{of_consumer} deliveries, and prefetch is {limit}");
        let limit = usize::from(self.limit);
        let by_consumers = self.consumed();
        assert!(limit == 0 || by_consumers <= limit, "{by_consumers} deliveries, and the limit is {limit}");
    }

    /// Unsettled deliveries by consumers.
    fn consumed(&self) -> usize {
        self.held.values().filter(|held| held.consumer.is_some()).count()
    }

    /// Whether this consumer must be given a message if there is one.
    pub(crate) fn has_credit(&self, tag: &str) -> bool {
        let consumer = &self.consumers[tag];
        let of_consumer = self.held.values().filter(|held| held.consumer.as_deref() == Some(tag)).count();
        consumer.no_ack
            || (consumer.prefetch == 0 || of_consumer < usize::from(consumer.prefetch))
                && (self.limit == 0 || self.consumed() < usize::from(self.limit))
    }

    pub(crate) fn confirmed(&mut self, number: u64, multiple: bool) {
        let rest = self.unconfirmed.split_off(&(number + 1));
        let mut acked = std::mem::replace(&mut self.unconfirmed, rest);
        let named = acked.remove(&number).expect("a confirm names what is unconfirmed");
        if !multiple {
            self.unconfirmed.append(&mut acked);
            acked = BTreeMap::new();
        }
        for message in acked.into_values().chain([named]) {
            assert!(!self.returns_due.contains(&message), "{message} is confirmed before it came back");
        }
    }

    /// The tags that may be settled.
    pub(crate) fn settleable(&self) -> Vec<u64> {
        self.held.iter().filter(|(_, held)| !held.settling).map(|(tag, _)| *tag).collect()
    }
}
