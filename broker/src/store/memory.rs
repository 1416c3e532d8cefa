//! [`MemoryStore`]: a store that keeps nothing, so that everything is as durable as it will ever be at once.

use super::{DurableListener, Epoch, Kept, Store};
use crate::engine::QueueId;
use crate::engine::queue::{Seq, SeqRange};
use crate::wire::message::Message;

/// The store of a broker without a data folder: the queues in memory are the only copy.
#[derive(Debug, Default)]
pub struct MemoryStore;

impl Store for MemoryStore {
    fn append(&self, _: QueueId, _: Kept, messages: &mut Vec<(Seq, Message)>) -> Epoch {
        messages.clear();
        Epoch(0)
    }

    fn settle(&self, _: QueueId, _: &[Seq]) {}

    fn settle_ranges(&self, _: QueueId, _: &[SeqRange]) {}

    fn delivered(&self, _: QueueId, _: Seq) {}

    fn returned(&self, _: QueueId, _: &[(Seq, u16)]) {}

    fn remove_queue(&self, _: QueueId) {}

    fn define(&self, _: Vec<u8>, _: Option<Vec<u8>>) {}

    fn durable(&self) -> Epoch {
        Epoch(0)
    }

    fn current(&self) -> Epoch {
        Epoch(0)
    }

    fn on_durable(&self, _: DurableListener) {}
}
