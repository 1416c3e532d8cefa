//! What a topology holds of one queue and of one exchange. Called by [`super`] only.

use std::sync::Arc;

use super::{Handle, History};
use crate::engine::ConnectionId;
use crate::engine::exchange::{ExchangeOptions, RouteTable, Target};
use crate::engine::policy::AppliedPolicies;
use crate::engine::queue::QueueOptions;

#[derive(Debug)]
pub(super) struct QueueEntry<Q> {
    pub(super) options: Arc<QueueOptions>,
    pub(super) owner: Option<ConnectionId>,
    pub(super) queue: Q,
    /// Its place among its owner's queues.
    pub(super) slot_in_exclusive: u32,
    pub(super) incoming: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct ExchangeEntry<Q: Handle> {
    pub(super) options: Arc<ExchangeOptions>,
    pub(super) policies: AppliedPolicies,
    pub(super) routes: RouteTable,
    /// What it keeps for new bindings, if it is of that kind.
    pub(super) history: Option<History<Q::History>>,
    pub(super) meter: Q::Meter,
    /// Bindings from here to queues, and to exchanges: kept apart because only the latter need following.
    pub(super) to_queues: Vec<u32>,
    pub(super) to_exchanges: Vec<u32>,
    pub(super) incoming: Vec<u32>,
}

impl<Q: Handle> ExchangeEntry<Q> {
    pub(super) fn outgoing_mut(&mut self, target: Target) -> &mut Vec<u32> {
        match target {
            Target::Queue(_) => &mut self.to_queues,
            Target::Exchange(_) => &mut self.to_exchanges,
        }
    }

    pub(super) fn any_outgoing(&self) -> Option<u32> {
        self.to_queues.last().or(self.to_exchanges.last()).copied()
    }

    /// Where messages go that reach no queue from here: by argument, else by policy. The default exchange is as it is.
    pub(super) fn alternate_exchange(&self) -> Option<&str> {
        let by_policy = || self.policies.alternate_exchange().filter(|_| !self.options.name.is_empty());
        self.options.alternate_exchange.as_deref().or_else(by_policy)
    }
}
