//! [`Outbox`]: what other tasks hand to a connection, until its own task takes it.
//!
//! The last lock in the order registry, queue, outbox: whoever holds it takes no other. It is bounded by the windows of
//! the connection's consumers, not by itself: a queue offers a consumer no more than `CONSUMER_WINDOW_*` at a time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::task::Waker;

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use crate::server::access::{LoginRefused, User};
use crate::server::executor::ConnectionReport;
use crate::session::action::Event;

/// The events that wait for one connection, and the way to wake its task.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    /// Mirrors whether anything waits, so that the task need not lock to find nothing.
    pending: AtomicBool,
    killed: AtomicBool,
    waker: AtomicWaker,
}

/// What was taken out of an outbox and is to be handled.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Deliveries, and the ends of consumers: in order, and only while the peer reads.
    pub(super) deliveries: VecDeque<Event>,
    /// What concerns the connection itself (alarms, durability, its end) or the end of a channel: at once, whatever waits in front of it.
    pub(super) news: VecDeque<Event>,
    /// Who wants to know how the connection is doing.
    pub(super) asked: Vec<Sender<ConnectionReport>>,
    /// How a login ended that was checked elsewhere.
    pub(super) login: Option<Result<User, LoginRefused>>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.news.is_empty() && self.login.is_none() && self.asked.is_empty()
    }
}

impl Outbox {
    /// Adds what queues have for the connection's consumers, in order.
    pub(super) fn push_all(&self, events: impl IntoIterator<Item = Event>) {
        self.add(|waiting| waiting.deliveries.extend(events));
    }

    /// Adds something that concerns the connection itself.
    pub(super) fn push_news(&self, event: Event) {
        self.add(|waiting| waiting.news.push_back(event));
    }

    /// Says how the connection's login ended.
    pub(super) fn push_login(&self, result: Result<User, LoginRefused>) {
        self.add(|waiting| waiting.login = Some(result));
    }

    /// Asks how the connection is doing. It answers when it comes to it, or never if it ends before.
    pub(super) fn ask(&self, answer: Sender<ConnectionReport>) {
        self.add(|waiting| waiting.asked.push(answer));
    }

    /// Adds, and wakes the connection's task if nothing had waited.
    fn add(&self, add: impl FnOnce(&mut Waiting)) {
        let was_empty = {
            let mut waiting = self.waiting.lock();
            let was_empty = waiting.is_empty();
            add(&mut waiting);
            if waiting.is_empty() {
                return;
            }
            self.pending.store(true, Ordering::Release);
            was_empty
        };
        if was_empty {
            self.waker.wake();
        }
    }

    /// Moves everything that waits to the end of `into`.
    pub(super) fn take(&self, into: &mut Waiting) {
        if !self.pending.load(Ordering::Acquire) {
            return;
        }
        let mut waiting = self.waiting.lock();
        self.pending.store(false, Ordering::Release);
        into.news.append(&mut waiting.news);
        into.asked.append(&mut waiting.asked);
        if let Some(login) = waiting.login.take() {
            into.login = Some(login);
        }
        if into.deliveries.is_empty() {
            std::mem::swap(&mut waiting.deliveries, &mut into.deliveries);
        } else {
            into.deliveries.append(&mut waiting.deliveries);
        }
    }

    /// Names the task to wake. Call before looking into the outbox, so that nothing pushed in between is missed.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Ends the connection without a word to its peer, whatever it is doing.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether [`Outbox::kill`] was called.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Gives back the memory that a burst left behind. Called by the connection's task when it goes to sleep.
    pub fn shrink(&self) {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            *waiting = Waiting::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::action::SourceId;

    #[test]
    fn take_returns_events_in_the_order_they_were_pushed() {
        let outbox = Outbox::default();
        outbox.push_all([cancelled(1)]);
        outbox.push_all([cancelled(2), cancelled(3)]);
        outbox.push_news(Event::Unblocked);
        let mut taken = Waiting { deliveries: VecDeque::from([cancelled(0)]), ..Waiting::default() };
        outbox.take(&mut taken);
        let sources: Vec<_> = taken.deliveries.iter().map(|event| format!("{event:?}")).collect();
        assert_eq!(sources, [0, 1, 2, 3].map(|id| format!("ConsumerCancelled(SourceId({id}))")));
        assert!(matches!(taken.news.make_contiguous(), [Event::Unblocked]));
        taken = Waiting::default();
        outbox.take(&mut taken);
        assert!(taken.is_empty());
    }

    fn cancelled(source: u32) -> Event {
        Event::ConsumerCancelled(SourceId(source))
    }

    #[test]
    fn only_the_first_event_wakes_the_task() {
        let outbox = Outbox::default();
        let (waker, count) = futures_test_waker();
        outbox.register(&waker);
        outbox.push_all([cancelled(1)]);
        outbox.register(&waker);
        outbox.push_news(Event::Durable(2));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    fn futures_test_waker() -> (Waker, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
        struct Counting(std::sync::Arc<std::sync::atomic::AtomicUsize>);
        impl std::task::Wake for Counting {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        (Waker::from(std::sync::Arc::new(Counting(count.clone()))), count)
    }
}
