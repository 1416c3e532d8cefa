//! [`Outbox`]: what other tasks hand to a connection, until its own task takes it.
//!
//! The last lock in the order registry, queue, outbox: whoever holds it takes no other. It is bounded by the windows of
//! the connection's consumers, not by itself: a queue offers a consumer no more than `CONSUMER_WINDOW_*` at a time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use crate::session::action::Event;

/// The events that wait for one connection, and the way to wake its task.
#[derive(Debug, Default)]
pub struct Outbox {
    events: Mutex<VecDeque<Event>>,
    /// Mirrors whether `events` holds any, so that the task need not lock to find nothing.
    pending: AtomicBool,
    killed: AtomicBool,
    waker: AtomicWaker,
}

impl Outbox {
    /// Adds events in order and wakes the connection's task if there were none.
    pub fn push_all(&self, events: impl IntoIterator<Item = Event>) {
        let was_empty = {
            let mut held = self.events.lock();
            let was_empty = held.is_empty();
            held.extend(events);
            if held.is_empty() {
                return;
            }
            self.pending.store(true, Ordering::Release);
            was_empty
        };
        if was_empty {
            self.waker.wake();
        }
    }

    /// Adds one event.
    pub fn push(&self, event: Event) {
        self.push_all([event]);
    }

    /// Moves everything that waits to the end of `into`.
    pub fn take(&self, into: &mut VecDeque<Event>) {
        if !self.pending.load(Ordering::Acquire) {
            return;
        }
        let mut held = self.events.lock();
        self.pending.store(false, Ordering::Release);
        if into.is_empty() {
            std::mem::swap(&mut *held, into);
        } else {
            into.append(&mut held);
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
        let mut held = self.events.lock();
        if held.is_empty() {
            *held = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn take_returns_events_in_the_order_they_were_pushed() {
        let outbox = Outbox::default();
        outbox.push(Event::Durable(1));
        outbox.push_all([Event::Durable(2), Event::Durable(3)]);
        let mut taken = VecDeque::from([Event::Durable(0)]);
        outbox.take(&mut taken);
        let epochs: Vec<_> = taken.iter().map(|event| format!("{event:?}")).collect();
        assert_eq!(epochs, ["Durable(0)", "Durable(1)", "Durable(2)", "Durable(3)"]);
        taken.clear();
        outbox.take(&mut taken);
        assert!(taken.is_empty());
    }

    #[test]
    fn only_the_first_event_wakes_the_task() {
        let outbox = Outbox::default();
        let (waker, count) = futures_test_waker();
        outbox.register(&waker);
        outbox.push(Event::Durable(1));
        outbox.register(&waker);
        outbox.push(Event::Durable(2));
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
