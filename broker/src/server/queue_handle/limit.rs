//! [`ChannelLimit`]: a channel's limit on unacknowledged deliveries over all its consumers (`basic.qos` with global set).
//!
//! Queues take credit while they deliver, each under its own lock; the channel's connection gives it back. A consumer that is
//! refused waits in line, and while anybody waits nobody else gets credit: otherwise the queue whose delivery was just
//! acknowledged would always be the first to ask, and a long queue would starve the others. The connection serves the line
//! with [`ChannelLimit::next_in_line`]. Its lock is the innermost one.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::session::action::SourceId;

/// A place in the line of those that wait for credit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// Credit shared by the consumers of one channel.
#[derive(Debug, Default)]
pub struct ChannelLimit {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In messages; 0 is none.
    limit: u32,
    used: u32,
    waiting: BTreeMap<Ticket, SourceId>,
    last_ticket: Ticket,
    /// Who may take credit although others wait.
    served: Option<SourceId>,
}

impl State {
    fn is_full(&self) -> bool {
        self.limit > 0 && self.used >= self.limit
    }
}

impl ChannelLimit {
    /// Changes the limit, in messages; 0 lifts it. The line is to be served then.
    pub fn set(&self, limit: u16) {
        self.state.lock().limit = u32::from(limit);
    }

    /// Takes credit for one delivery to `source` if there is some and it is its turn; else it waits, under `ticket`.
    pub(super) fn try_acquire(&self, source: SourceId, ticket: &mut Ticket) -> bool {
        let mut state = self.state.lock();
        if !state.is_full() && (state.waiting.is_empty() || state.served == Some(source)) {
            state.used += 1;
            return true;
        }
        state.waiting.remove(ticket);
        state.last_ticket.0 += 1;
        *ticket = state.last_ticket;
        state.waiting.insert(*ticket, source);
        false
    }

    /// The consumer that waits under this ticket, if it does, is gone.
    pub(super) fn leave_line(&self, ticket: Ticket) {
        self.state.lock().waiting.remove(&ticket);
    }

    /// Counts deliveries that were outstanding when their consumer came under the limit.
    pub fn adopt(&self, deliveries: u32) {
        self.state.lock().used += deliveries;
    }

    /// Gives back the credit of one settled delivery. Says whether those who wait are to be served now.
    pub fn release(&self) -> bool {
        let mut state = self.state.lock();
        debug_assert!(state.used > 0, "a channel limit was released more often than taken");
        let was_full = state.is_full();
        state.used = state.used.saturating_sub(1);
        was_full && !state.is_full() && !state.waiting.is_empty()
    }

    /// Who has waited longest, while there is credit. It has the first call on it until the next call of this; call until
    /// there is none, or others will wait in vain.
    pub fn next_in_line(&self) -> Option<SourceId> {
        let mut state = self.state.lock();
        state.served = None;
        if !state.is_full() {
            state.served = state.waiting.pop_first().map(|(_, source)| source);
        }
        state.served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SourceId = SourceId(1);
    const B: SourceId = SourceId(2);

    #[test]
    fn who_waits_comes_before_who_just_gave_credit_back() {
        let (limit, mut of_a, mut of_b) = (ChannelLimit::default(), Ticket::default(), Ticket::default());
        limit.set(1);
        assert!(limit.try_acquire(A, &mut of_a));
        assert!(!limit.release(), "nobody waits");
        assert!(limit.try_acquire(A, &mut of_a));
        assert!(!limit.try_acquire(B, &mut of_b));
        assert!(limit.release());
        assert!(!limit.try_acquire(A, &mut of_a));
        assert_eq!(limit.next_in_line(), Some(B));
        assert!(limit.try_acquire(B, &mut of_b));
        assert_eq!(limit.next_in_line(), None);
        assert!(limit.release());
        assert_eq!(limit.next_in_line(), Some(A));
        assert!(limit.try_acquire(A, &mut of_a));
    }

    #[test]
    fn who_is_gone_does_not_wait() {
        let (limit, mut of_a, mut of_b) = (ChannelLimit::default(), Ticket::default(), Ticket::default());
        limit.set(1);
        limit.adopt(1);
        for _ in 0..3 {
            assert!(!limit.try_acquire(B, &mut of_b));
        }
        assert!(!limit.try_acquire(A, &mut of_a));
        limit.leave_line(of_b);
        assert_eq!(limit.next_in_line(), None);
        assert!(limit.release());
        assert_eq!((limit.next_in_line(), limit.next_in_line()), (Some(A), None));
        limit.leave_line(of_a);
        assert!(limit.try_acquire(B, &mut of_b));
    }

    #[test]
    fn only_the_release_that_makes_room_calls_for_service() {
        let (limit, mut of_a) = (ChannelLimit::default(), Ticket::default());
        limit.set(2);
        limit.adopt(3);
        assert!(!limit.try_acquire(A, &mut of_a));
        let calls: Vec<bool> = (0..3).map(|_| limit.release()).collect();
        assert_eq!(calls, [false, true, false]);
    }
}
