//! [`ConfirmTracker`]: which published messages of one channel still have to be confirmed, and how to say it in few frames.
//!
//! It numbers publishes, takes their outcomes in any order and coalesces the answers. It writes no frames and knows no
//! messages; called by the channel. Every operation is O(1) amortised per message and costs a byte per open number.

use std::collections::VecDeque;

use super::action::{Durability, PublishOutcome};

/// What is known of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No outcome yet, or one that waits for the store.
    Open,
    /// To be acked at the next flush.
    Accepted,
    /// To be nacked at the next flush.
    Rejected,
    /// Answered, but an earlier number is not.
    Told,
}

/// A run of consecutive numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    first: u64,
    last: u64,
}

/// Numbers that are safe once the store has reached an epoch.
#[derive(Debug)]
struct Waiting {
    epoch: u64,
    runs: Vec<Run>,
}

/// One frame to send to the publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirm {
    /// `basic.ack`.
    Ack { number: u64, multiple: bool },
    /// `basic.nack`; never `multiple`.
    Nack { number: u64 },
}

/// The confirm sequence of one channel.
#[derive(Debug)]
pub(super) struct ConfirmTracker {
    /// The number of `states[0]`.
    base: u64,
    states: VecDeque<State>,
    /// Sorted by epoch; the store hands epochs out in rising order, so that almost all additions are at the back.
    waiting: VecDeque<Waiting>,
    accepted: Vec<Run>,
    rejected: Vec<Run>,
}

impl ConfirmTracker {
    /// A sequence that starts with 1.
    pub(super) fn new() -> Self {
        Self {
            base: 1,
            states: VecDeque::new(),
            waiting: VecDeque::new(),
            accepted: Vec::new(),
            rejected: Vec::new(),
        }
    }

    /// Gives out the next number.
    pub(super) fn assign(&mut self) -> u64 {
        self.states.push_back(State::Open);
        self.base + self.states.len() as u64 - 1
    }

    /// How many numbers are between the oldest without an answer and the newest.
    pub(super) fn window(&self) -> usize {
        self.states.len()
    }

    /// Whether a flush has something to say.
    pub(super) fn has_news(&self) -> bool {
        !self.accepted.is_empty() || !self.rejected.is_empty()
    }

    /// Whether some numbers wait for the store.
    pub(super) fn awaits_store(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes the outcome of one number. Unknown and already decided numbers are ignored.
    pub(super) fn resolve(&mut self, number: u64, outcome: PublishOutcome, durable: u64) {
        let Some(state) = self.state_mut(number) else { return };
        if *state != State::Open {
            return;
        }
        match outcome {
            PublishOutcome::Rejected => {
                *state = State::Rejected;
                push(&mut self.rejected, number);
            }
            PublishOutcome::Accepted(Durability::AtEpoch(epoch)) if epoch > durable => {
                self.wait_for(epoch, number);
            }
            PublishOutcome::Accepted(_) => {
                *state = State::Accepted;
                push(&mut self.accepted, number);
            }
        }
    }

    /// The store is durable up to `epoch`.
    pub(super) fn reach(&mut self, epoch: u64) {
        while self.waiting.front().is_some_and(|waiting| waiting.epoch <= epoch) {
            let Some(waiting) = self.waiting.pop_front() else { break };
            for run in waiting.runs {
                for number in run.first..=run.last {
                    if let Some(state) = self.state_mut(number) {
                        *state = State::Accepted;
                    }
                }
                self.accepted.push(run);
            }
        }
    }

    /// Says everything that is known: one cumulative ack up to the oldest number that is open or rejected, single acks
    /// beyond it, then the nacks, as RabbitMQ does.
    pub(super) fn flush(&mut self, mut send: impl FnMut(Confirm)) {
        self.flush_leading(&mut send);
        let mut accepted = std::mem::take(&mut self.accepted);
        accepted.sort_unstable();
        for run in &accepted {
            for number in run.first.max(self.base)..=run.last {
                self.tell(number, &mut send, Confirm::Ack { number, multiple: false });
            }
        }
        let mut rejected = std::mem::take(&mut self.rejected);
        rejected.sort_unstable();
        for run in &rejected {
            for number in run.first..=run.last {
                self.tell(number, &mut send, Confirm::Nack { number });
            }
        }
        while self.states.front() == Some(&State::Told) {
            self.states.pop_front();
            self.base += 1;
        }
        self.keep(accepted, rejected);
    }

    /// The cumulative ack: everything in front that is accepted or was told before.
    fn flush_leading(&mut self, send: &mut impl FnMut(Confirm)) {
        let (mut acked, mut last) = (0_u64, 0);
        while let Some(state @ (State::Accepted | State::Told)) = self.states.front() {
            if *state == State::Accepted {
                acked += 1;
                last = self.base;
            }
            self.states.pop_front();
            self.base += 1;
        }
        if acked > 0 {
            send(Confirm::Ack { number: last, multiple: acked > 1 });
        }
    }

    fn tell(&mut self, number: u64, send: &mut impl FnMut(Confirm), confirm: Confirm) {
        if let Some(state) = self.state_mut(number)
            && *state != State::Told
        {
            *state = State::Told;
            send(confirm);
        }
    }

    /// Keeps the small buffers for the next batch and gives the memory of a burst back.
    fn keep(&mut self, mut accepted: Vec<Run>, mut rejected: Vec<Run>) {
        const KEEP_RUNS: usize = 8;
        const KEEP_STATES: usize = 4096;
        accepted.clear();
        accepted.shrink_to(KEEP_RUNS);
        rejected.clear();
        rejected.shrink_to(0);
        (self.accepted, self.rejected) = (accepted, rejected);
        if self.states.is_empty() && self.states.capacity() > KEEP_STATES {
            self.states.shrink_to(0);
        }
    }

    fn wait_for(&mut self, epoch: u64, number: u64) {
        let at = match self.waiting.back() {
            Some(back) if back.epoch == epoch => self.waiting.len() - 1,
            Some(back) if back.epoch > epoch => self.waiting.partition_point(|waiting| waiting.epoch < epoch),
            _ => self.waiting.len(),
        };
        match self.waiting.get_mut(at) {
            Some(waiting) if waiting.epoch == epoch => push(&mut waiting.runs, number),
            _ => self.waiting.insert(at, Waiting { epoch, runs: vec![Run { first: number, last: number }] }),
        }
    }

    fn state_mut(&mut self, number: u64) -> Option<&mut State> {
        let at = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.states.get_mut(at)
    }
}

/// Adds a number to a list of runs, to the last run if it follows it.
fn push(runs: &mut Vec<Run>, number: u64) {
    match runs.last_mut() {
        Some(run) if run.last + 1 == number => run.last = number,
        _ => runs.push(Run { first: number, last: number }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::testing::Random;
    use super::*;

    const NOW: PublishOutcome = PublishOutcome::Accepted(Durability::Immediate);

    fn at(epoch: u64) -> PublishOutcome {
        PublishOutcome::Accepted(Durability::AtEpoch(epoch))
    }

    fn tracker(count: u64) -> ConfirmTracker {
        let mut tracker = ConfirmTracker::new();
        for number in 1..=count {
            assert_eq!(tracker.assign(), number);
        }
        tracker
    }

    fn flush(tracker: &mut ConfirmTracker) -> Vec<Confirm> {
        let mut sent = Vec::new();
        tracker.flush(|confirm| sent.push(confirm));
        sent
    }

    fn ack(number: u64, multiple: bool) -> Confirm {
        Confirm::Ack { number, multiple }
    }

    #[test]
    fn a_complete_batch_is_one_cumulative_ack() {
        let mut tracker = tracker(1000);
        (1..=1000).for_each(|number| tracker.resolve(number, NOW, 0));
        assert_eq!(flush(&mut tracker), [ack(1000, true)]);
        assert_eq!(tracker.window(), 0);
        assert_eq!(flush(&mut tracker), []);
    }

    #[test]
    fn a_single_message_is_acked_without_multiple() {
        let mut tracker = tracker(1);
        tracker.resolve(1, NOW, 0);
        assert_eq!(flush(&mut tracker), [ack(1, false)]);
    }

    #[test]
    fn numbers_beyond_an_open_one_are_acked_singly_and_not_again() {
        let mut tracker = tracker(5);
        for number in [1, 2, 4, 5] {
            tracker.resolve(number, NOW, 0);
        }
        assert_eq!(flush(&mut tracker), [ack(2, true), ack(4, false), ack(5, false)]);
        tracker.resolve(3, NOW, 0);
        assert_eq!(flush(&mut tracker), [ack(3, false)]);
        assert_eq!(tracker.window(), 0);
    }

    #[test]
    fn a_rejected_number_is_nacked_and_stops_the_cumulative_ack() {
        let mut tracker = tracker(4);
        tracker.resolve(3, PublishOutcome::Rejected, 0);
        for number in [1, 2, 4] {
            tracker.resolve(number, NOW, 0);
        }
        assert_eq!(flush(&mut tracker), [ack(2, true), ack(4, false), Confirm::Nack { number: 3 }]);
        assert_eq!(tracker.window(), 0);
    }

    #[test]
    fn numbers_wait_for_their_epoch_in_any_order() {
        let mut tracker = tracker(4);
        tracker.resolve(1, at(7), 0);
        tracker.resolve(2, at(5), 0);
        tracker.resolve(3, at(7), 0);
        tracker.resolve(4, at(4), 4);
        assert_eq!(flush(&mut tracker), [ack(4, false)]);
        tracker.reach(6);
        assert_eq!(flush(&mut tracker), [ack(2, false)]);
        assert!(tracker.awaits_store());
        tracker.reach(7);
        assert_eq!(flush(&mut tracker), [ack(3, true)]);
        assert!(!tracker.awaits_store());
    }

    #[test]
    fn outcomes_of_unknown_or_answered_numbers_are_ignored() {
        let mut tracker = tracker(2);
        tracker.resolve(0, NOW, 0);
        tracker.resolve(3, NOW, 0);
        tracker.resolve(2, NOW, 0);
        assert_eq!(flush(&mut tracker), [ack(2, false)]);
        tracker.resolve(2, PublishOutcome::Rejected, 0);
        assert_eq!(flush(&mut tracker), []);
    }

    #[test]
    fn a_burst_gives_its_memory_back() {
        let mut tracker = tracker(1_000_000);
        (2..=1_000_000).for_each(|number| tracker.resolve(number, NOW, 0));
        assert_eq!(flush(&mut tracker).len(), 999_999);
        tracker.resolve(1, NOW, 0);
        assert_eq!(flush(&mut tracker), [ack(1, false)]);
        assert!(tracker.states.capacity() <= 4096);
    }

    /// Each number that `confirm` answers was unanswered, and safe in just this way.
    fn check(
        confirm: Confirm,
        due: &BTreeMap<u64, PublishOutcome>,
        unanswered: &mut BTreeSet<u64>,
        durable: u64,
    ) {
        let (number, multiple, nack) = match confirm {
            Confirm::Ack { number, multiple } => (number, multiple, false),
            Confirm::Nack { number } => (number, false, true),
        };
        let from = if multiple { 1 } else { number };
        let answered: Vec<u64> = unanswered.range(from..=number).copied().collect();
        assert!(!answered.is_empty(), "{number} answered twice");
        for number in answered {
            let safe = match due[&number] {
                PublishOutcome::Rejected => nack,
                PublishOutcome::Accepted(Durability::AtEpoch(epoch)) => !nack && epoch <= durable,
                PublishOutcome::Accepted(Durability::Immediate) => !nack,
            };
            assert!(safe, "{number} answered wrongly by {confirm:?}");
            unanswered.remove(&number);
        }
    }

    /// Every number is answered exactly once, the right way, and never before it is safe.
    #[test]
    fn random_outcomes_agree_with_a_naive_model() {
        for seed in 1..60 {
            println!("seed {seed}");
            let mut random = Random::new(seed);
            let mut tracker = ConfirmTracker::new();
            let (mut next, mut durable) = (0_u64, 0_u64);
            let mut undecided = BTreeSet::new();
            let mut due: BTreeMap<u64, PublishOutcome> = BTreeMap::new();
            let mut unanswered = BTreeSet::new();
            for _ in 0..2000 {
                match random.below(6) {
                    0 | 1 => {
                        next = tracker.assign();
                        undecided.insert(next);
                        unanswered.insert(next);
                    }
                    2 | 3 if !undecided.is_empty() => {
                        let at_index = random.below(undecided.len().min(4));
                        let number = *undecided.iter().nth(at_index).unwrap();
                        undecided.remove(&number);
                        let outcome = match random.below(5) {
                            0 => PublishOutcome::Rejected,
                            1 | 2 => NOW,
                            _ => at(durable + random.below(4) as u64),
                        };
                        tracker.resolve(number, outcome, durable);
                        due.insert(number, outcome);
                    }
                    4 => {
                        durable += random.below(3) as u64;
                        tracker.reach(durable);
                    }
                    _ => {
                        for confirm in flush(&mut tracker) {
                            check(confirm, &due, &mut unanswered, durable);
                        }
                        let ready = unanswered.iter().filter(|number| match due.get(number) {
                            None => false,
                            Some(PublishOutcome::Accepted(Durability::AtEpoch(epoch))) => *epoch <= durable,
                            Some(_) => true,
                        });
                        assert_eq!(ready.count(), 0, "seed {seed}: a flush left known outcomes unsaid");
                        let oldest = unanswered.first().map_or(next + 1, |number| *number);
                        assert_eq!(tracker.window() as u64, next + 1 - oldest, "seed {seed}");
                    }
                }
            }
        }
    }
}
