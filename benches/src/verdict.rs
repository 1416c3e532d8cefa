//! The verdict of a phase: what was sent against what arrived and what is left.
//!
//! Called by `phase`; shown by `report`; decides the exit code.

use serde::Serialize;

use crate::check::{Faults, QueueRecord, judge};
use crate::consumer::Received;
use crate::producer::Sent;
use crate::stats::Latency;

/// Whether every message was handled as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// Messages due in the queues: with a fanout exchange each counts once per queue.
    pub(crate) expected: u64,
    pub(crate) consumed: u64,
    pub(crate) left_in_queues: u64,
    #[serde(flatten)]
    pub(crate) faults: Faults,
    pub(crate) foreign: u64,
    pub(crate) wrong_size: u64,
    pub(crate) redelivered: u64,
    pub(crate) returned: u64,
    pub(crate) nacked: u64,
    pub(crate) unfounded_confirms: u64,
}

/// What is known about a phase besides what consumers saw.
pub(crate) struct Evidence<'a> {
    /// Messages sent, by queue and producer, unless another run sent them.
    pub(crate) ledger: Option<&'a [Vec<u64>]>,
    /// Messages that lay in the queues before a drain.
    pub(crate) held: u64,
    /// Messages in the queues at the end.
    pub(crate) left: u64,
    pub(crate) queues: usize,
}

impl Verdict {
    pub(crate) fn of_publishes(sent: &[Sent]) -> Self {
        Self {
            returned: sent.iter().map(|one| one.returned).sum(),
            nacked: sent.iter().map(|one| one.nacked).sum(),
            unfounded_confirms: sent.iter().map(|one| one.unfounded).sum(),
            ..Self::default()
        }
    }

    /// Adds what consumers saw; hands back their latencies, which are no matter of right or wrong.
    pub(crate) fn weigh(&mut self, evidence: &Evidence<'_>, received: Vec<Received>) -> Vec<Latency> {
        let nobody_consumed = received.is_empty();
        let sent = evidence.ledger.map(|ledger| ledger.iter().flatten().sum());
        self.expected = sent.unwrap_or(evidence.held);
        self.left_in_queues = evidence.left;
        let mut by_queue: Vec<Vec<QueueRecord>> = Vec::new();
        by_queue.resize_with(evidence.queues, Vec::new);
        let mut latencies = Vec::new();
        for one in received {
            self.consumed += one.consumed;
            self.foreign += one.foreign;
            self.wrong_size += one.wrong_size;
            self.redelivered += one.redelivered;
            latencies.push(one.latency);
            for (queue, record) in one.records {
                by_queue[queue].push(record);
            }
        }
        if nobody_consumed {
            self.faults.lost = self.expected.saturating_sub(evidence.left);
            self.faults.doubled = evidence.left.saturating_sub(self.expected);
            return latencies;
        }
        for (queue, records) in by_queue.into_iter().enumerate() {
            let sent = evidence.ledger.map(|ledger| ledger[queue].as_slice());
            self.faults.add(judge(records, sent));
        }
        // Without a ledger the end of a sequence is unknown, but the queues told how much they held.
        let distinct = self.consumed.saturating_sub(self.faults.doubled);
        self.faults.lost = self.faults.lost.max(self.expected.saturating_sub(distinct + self.foreign));
        latencies
    }

    /// Everything that is not as it should be, in words.
    pub(crate) fn problems(&self) -> Vec<String> {
        let unexpected_rest = if self.consumed > 0 { self.left_in_queues } else { 0 };
        [
            (self.faults.lost, "lost"),
            (self.faults.doubled, "doubled"),
            (self.faults.reordered, "reordered"),
            (self.nacked, "refused with basic.nack"),
            (self.returned, "returned as unroutable"),
            (self.foreign, "not sent by this program"),
            (self.wrong_size, "of another size than --size"),
            (unexpected_rest, "still in the queues after everything was consumed"),
            (self.unfounded_confirms, "confirmed twice or never published"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Audience;

    fn received(numbers: &[u64]) -> Received {
        let mut record = QueueRecord::new(Audience::Sole);
        for number in numbers {
            record.observe(0, *number);
        }
        Received {
            records: vec![(0, record)],
            consumed: u64::try_from(numbers.len()).unwrap_or(u64::MAX),
            foreign: 0,
            wrong_size: 0,
            redelivered: 0,
            latency: Latency::new(0..1),
        }
    }

    fn weigh(ledger: Option<&[Vec<u64>]>, held: u64, left: u64, received: Vec<Received>) -> Vec<String> {
        let mut verdict = Verdict::default();
        verdict.weigh(&Evidence { ledger, held, left, queues: 1 }, received);
        verdict.problems()
    }

    #[test]
    fn a_clean_phase_has_no_problems() {
        assert!(weigh(Some(&[vec![3]]), 0, 0, vec![received(&[0, 1, 2])]).is_empty());
        assert!(weigh(None, 3, 0, vec![received(&[0, 1, 2])]).is_empty());
        assert!(weigh(Some(&[vec![3]]), 0, 3, vec![]).is_empty());
    }

    #[test]
    fn problems_are_named_with_their_count() {
        assert_eq!(weigh(Some(&[vec![4]]), 0, 0, vec![received(&[0, 2])]), ["2 lost"]);
        assert_eq!(weigh(None, 4, 0, vec![received(&[0, 1])]), ["2 lost"]);
        assert_eq!(weigh(Some(&[vec![2]]), 0, 0, vec![received(&[0, 1, 1])]), ["1 doubled"]);
        assert_eq!(weigh(Some(&[vec![5]]), 0, 3, vec![]), ["2 lost"]);
        let left = weigh(Some(&[vec![2]]), 0, 1, vec![received(&[0, 1])]);
        assert_eq!(left, ["1 still in the queues after everything was consumed"]);
    }
}
