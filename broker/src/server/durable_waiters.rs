//! [`DurableWaiters`]: which connections wait for the store to reach which epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::server::outbox::Outbox;
use crate::session::action::Event;
use crate::store::Epoch;

/// Connections by the epoch they wait for. A connection waits once for each epoch in which it stored something.
#[derive(Debug, Default)]
pub(super) struct DurableWaiters {
    waiting: Mutex<BTreeMap<Epoch, Vec<Arc<Outbox>>>>,
}

impl DurableWaiters {
    /// Sees to it that `outbox` is told once `epoch` is durable. The caller must look at the store again afterwards and
    /// call [`DurableWaiters::advance`] if the epoch has passed meanwhile.
    pub(super) fn wait(&self, epoch: Epoch, outbox: &Arc<Outbox>) {
        let mut waiting = self.waiting.lock();
        let outboxes = waiting.entry(epoch).or_default();
        if !outboxes.last().is_some_and(|last| Arc::ptr_eq(last, outbox)) {
            outboxes.push(outbox.clone());
        }
    }

    /// Tells everybody who waits for `durable` or less.
    pub(super) fn advance(&self, durable: Epoch) {
        let passed = {
            let mut waiting = self.waiting.lock();
            let rest = waiting.split_off(&Epoch(durable.0.saturating_add(1)));
            std::mem::replace(&mut *waiting, rest)
        };
        for outbox in passed.into_values().flatten() {
            outbox.push_news(Event::Durable(durable.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::outbox::Waiting;

    #[test]
    fn those_at_or_below_the_durable_epoch_are_told_and_the_others_wait_on() {
        let waiters = DurableWaiters::default();
        let (early, late) = (Arc::new(Outbox::default()), Arc::new(Outbox::default()));
        waiters.wait(Epoch(1), &early);
        waiters.wait(Epoch(1), &early);
        waiters.wait(Epoch(3), &late);
        waiters.advance(Epoch(2));
        let mut events = Waiting::default();
        early.take(&mut events);
        assert!(matches!(events.news.make_contiguous(), [Event::Durable(2)]));
        events.news.clear();
        late.take(&mut events);
        assert!(events.news.is_empty());
        waiters.advance(Epoch(3));
        late.take(&mut events);
        assert!(matches!(events.news.make_contiguous(), [Event::Durable(3)]));
    }
}
