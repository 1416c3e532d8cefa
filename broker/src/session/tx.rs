//! [`Transaction`]: what one channel has published and settled since `tx.select` or the last commit.
//!
//! Bounded by [`TX_ITEMS_MAX`] and [`TX_BYTES_MAX`]; it routes nothing and settles nothing. Called by the channel, which sends the contents
//! out as one commit or gives the deliveries back on rollback.

use smallvec::SmallVec;

use super::action::{Action, ChannelId, Publish, Settle, Settlement};
use super::faults;
use super::unacked::Unacked;
use crate::error::AmqpError;
use crate::limits::{TX_BYTES_MAX, TX_ITEMS_MAX};

/// Deliveries that one method settles.
pub(super) type Settled = SmallVec<[Unacked; 2]>;

/// The buffered work of a transaction.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    publishes: Vec<Publish>,
    settles: Vec<(Settlement, Settled)>,
    items: usize,
    /// Memory of the messages in `publishes`.
    bytes: usize,
}

impl Transaction {
    /// Keeps a publish for the commit.
    pub(super) fn publish(&mut self, publish: Publish) -> Result<(), AmqpError> {
        self.count(1)?;
        let bytes = self.bytes.saturating_add(publish.message.memory_bytes());
        if bytes > TX_BYTES_MAX {
            return Err(faults::transaction_too_large(TX_BYTES_MAX, "bytes"));
        }
        self.bytes = bytes;
        self.publishes.push(publish);
        Ok(())
    }

    /// Publishes, and deliveries to settle, that wait for the commit.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.publishes.len(), self.items - self.publishes.len())
    }

    /// What the messages of its publishes occupy in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
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
        if self.items > TX_ITEMS_MAX {
            Err(faults::transaction_too_large(TX_ITEMS_MAX, "operations"))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use smallvec::smallvec;

    use super::super::action::{DeliveryRef, SourceId};
    use super::super::unacked::DeliveryTag;
    use super::*;
    use crate::wire::message::Message;

    fn unacked(tag: u64) -> Unacked {
        Unacked { tag: DeliveryTag(tag), reference: DeliveryRef { source: SourceId(1), slot: 1 } }
    }

    #[test]
    fn the_bound_counts_publishes_and_deliveries_together() {
        let mut transaction = Transaction { items: TX_ITEMS_MAX - 2, ..Transaction::default() };
        transaction.settle(Settlement::Ack, smallvec![unacked(1), unacked(2)]).unwrap();
        let error = transaction.settle(Settlement::Ack, smallvec![unacked(3)]).unwrap_err();
        assert_eq!(error, faults::transaction_too_large(TX_ITEMS_MAX, "operations"));
        assert_eq!(transaction.rollback().count(), 3);
        transaction.settle(Settlement::Ack, smallvec![unacked(1)]).unwrap();
    }

    #[test]
    fn the_bound_in_bytes_is_that_of_the_messages_memory() {
        let message = Message::new("", "q", &[0, 0], false, &[1; 1000]);
        let publish = Publish {
            channel: ChannelId(1),
            message: message.clone(),
            mandatory: false,
            confirm: None,
            direct_reply_to: None,
            fault: None,
        };
        let bytes = TX_BYTES_MAX - message.memory_bytes();
        let mut transaction = Transaction { bytes, ..Transaction::default() };
        transaction.publish(publish.clone()).unwrap();
        assert_eq!(transaction.bytes(), TX_BYTES_MAX);
        let error = transaction.publish(publish).unwrap_err();
        assert_eq!(error, faults::transaction_too_large(TX_BYTES_MAX, "bytes"));
        assert_eq!(error.reply_text(), "RESOURCE_ERROR - transaction exceeds 1073741824 bytes");
        // What was refused is not held.
        assert_eq!(transaction.bytes(), TX_BYTES_MAX);
        assert_eq!(transaction.rollback().count(), 0);
        assert_eq!(transaction.bytes(), 0);
    }
}
