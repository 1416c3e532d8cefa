//! [`Counts`]: what one channel has done, told to others as it happens. Called by the channel only.

use std::sync::Arc;

use crate::session::action::{Action, Delivery, NO_SLOT, PublishOutcome, Settlement};
use crate::stats::tally::{Count, SharedTally};

/// See the module's documentation. Each method is an addition or two in memory.
#[derive(Debug, Default)]
pub(super) struct Counts(Arc<SharedTally>);

impl Counts {
    /// For those who watch.
    pub(super) fn shared(&self) -> Arc<SharedTally> {
        self.0.clone()
    }

    #[inline]
    pub(super) fn published(&self) {
        self.0.count(Count::Publish, 1);
    }

    #[inline]
    pub(super) fn resolved(&self, outcome: PublishOutcome) {
        if let PublishOutcome::Accepted(_) = outcome {
            self.0.count(Count::Confirm, 1);
        }
    }

    pub(super) fn returned(&self) {
        self.0.count(Count::ReturnUnroutable, 1);
    }

    #[inline]
    pub(super) fn delivered(&self, delivery: &Delivery) {
        let is_settled = delivery.reference.slot == NO_SLOT;
        self.0.count(if is_settled { Count::DeliverNoAck } else { Count::Deliver }, 1);
        self.0.count(Count::Redeliver, u64::from(delivery.redelivered));
    }

    /// A message was asked for with `basic.get`.
    pub(super) fn got(&self, delivery: &Delivery) {
        let is_settled = delivery.reference.slot == NO_SLOT;
        self.0.count(if is_settled { Count::GetNoAck } else { Count::Get }, 1);
        self.0.count(Count::Redeliver, u64::from(delivery.redelivered));
    }

    pub(super) fn got_nothing(&self) {
        self.0.count(Count::GetEmpty, 1);
    }

    #[inline]
    pub(super) fn settled(&self, settlement: Settlement, deliveries: usize) {
        if settlement == Settlement::Ack {
            self.0.count(Count::Ack, deliveries as u64);
        }
    }

    /// A transaction happens when it is committed, as in RabbitMQ.
    pub(super) fn committed(&self, commit: &Action) {
        let Action::Commit { publishes, settles, .. } = commit else { return };
        self.0.count(Count::Publish, publishes.len() as u64);
        for settle in settles {
            self.settled(settle.settlement, settle.deliveries.len());
        }
    }
}
