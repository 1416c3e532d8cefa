//! [`Transaction`]: what one channel has published and settled since `tx.select` or the last commit.
//!
//! Bounded by [`TX_ITEMS_MAX`]; it routes nothing and settles nothing. Called by the channel, which sends the contents
//! out as one commit or gives the deliveries back on rollback.

use smallvec::SmallVec;

use super::action::{Action, ChannelId, Publish, Settle, Settlement};
use super::faults;
use super::unacked::Unacked;
use crate::error::AmqpError;
use crate::limits::TX_ITEMS_MAX;

/// Deliveries that one method settles.
pub(super) type Settled = SmallVec<[Unacked; 2]>;

/// The buffered work of a transaction.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    publishes: Vec<Publish>,
    settles: Vec<(Settlement, Settled)>,
    items: usize,
}

impl Transaction {
    /// Keeps a publish for the commit.
    pub(super) fn publish(&mut self, publish: Publish) -> Result<(), AmqpError> {
        self.count(1)?;
        self.publishes.push(publish);
        Ok(())
    }

    /// Keeps deliveries to settle at the commit. They stay in the transaction even if the bound is reached: the error
    /// ends the connection, and then they return to their queues.
    pub(super) fn settle(&mut self, settlement: Settlement, deliveries: Settled) -> Result<(), AmqpError> {
        let count = deliveries.len();
        self.settles.push((settlement, deliveries));
        self.count(count)
    }

    /// Hands everything over and starts anew.
    pub(super) fn commit(&mut self, channel: ChannelId) -> Action {
        let Self { publishes, settles, .. } = std::mem::take(self);
        let settles = settles
            .into_iter()
            .map(|(settlement, deliveries)| Settle {
                channel,
                settlement,
                deliveries: deliveries.iter().map(|unacked| unacked.reference).collect(),
            })
            .collect();
        Action::Commit { channel, publishes, settles }
    }

    /// Drops the publishes and returns the deliveries, which are outstanding again.
    pub(super) fn rollback(&mut self) -> impl Iterator<Item = Unacked> + use<> {
        std::mem::take(self).settles.into_iter().flat_map(|(_, deliveries)| deliveries)
    }

    fn count(&mut self, items: usize) -> Result<(), AmqpError> {
        self.items += items;
        if self.items > TX_ITEMS_MAX { Err(faults::transaction_too_large(TX_ITEMS_MAX)) } else { Ok(()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use smallvec::smallvec;

    use super::super::action::{DeliveryRef, SourceId};
    use super::super::unacked::DeliveryTag;
    use super::*;

    fn unacked(tag: u64) -> Unacked {
        Unacked { tag: DeliveryTag(tag), reference: DeliveryRef { source: SourceId(1), slot: 1 } }
    }

    #[test]
    fn the_bound_counts_publishes_and_deliveries_together() {
        let mut transaction = Transaction { items: TX_ITEMS_MAX - 2, ..Transaction::default() };
        transaction.settle(Settlement::Ack, smallvec![unacked(1), unacked(2)]).unwrap();
        let error = transaction.settle(Settlement::Ack, smallvec![unacked(3)]).unwrap_err();
        assert_eq!(error, faults::transaction_too_large(TX_ITEMS_MAX));
        assert_eq!(transaction.rollback().count(), 3);
        transaction.settle(Settlement::Ack, smallvec![unacked(1)]).unwrap();
    }
}
