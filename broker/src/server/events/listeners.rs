//! [`EventListener`]: hears of events as they happen, beside the exchange.
//!
//! All listeners read one bounded ring. One that is too slow misses the oldest and is told how many, so that nobody who
//! tells of something waits and memory stays bounded. While there is none, telling costs the look at one number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use amq_protocol::types::FieldTable;
use tokio::sync::broadcast;

use crate::limits::EVENT_LISTENERS_MAX;

/// Events that a listener may be behind.
const BEHIND_MAX: usize = 1024;

/// Something that happened in the broker.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldEvent {
    /// RabbitMQ's name for it: `queue.created`.
    pub kind: &'static str,
    /// What is told of it.
    pub headers: FieldTable,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What a listener hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Something happened.
    Event(Arc<ToldEvent>),
    /// So many events were missed, because they came faster than they were taken.
    Missed(u64),
}

/// Where events are told to those who listen.
#[derive(Debug)]
pub(super) struct Listeners {
    sender: broadcast::Sender<Arc<ToldEvent>>,
    count: Arc<AtomicUsize>,
}

impl Default for Listeners {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BEHIND_MAX), count: Arc::default() }
    }
}

impl Listeners {
    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    pub(super) fn tell(&self, event: ToldEvent) {
        // The error says that the last one has just left.
        let _ = self.sender.send(Arc::new(event));
    }

    /// One more; none if there are [`EVENT_LISTENERS_MAX`].
    pub(super) fn add(&self) -> Option<EventListener> {
        let more = |count: usize| (count < EVENT_LISTENERS_MAX).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(EventListener { receiver: self.sender.subscribe(), _place: Place(self.count.clone()) })
    }
}

/// A place among the listeners, given back when this is dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Hears of all that happens from when it was made. See [`Admin::listen`](crate::server::admin::Admin::listen).
#[derive(Debug)]
pub struct EventListener {
    receiver: broadcast::Receiver<Arc<ToldEvent>>,
    _place: Place,
}

impl EventListener {
    /// Waits for what happens next; none when the broker is gone. Can be dropped and called again.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.receiver.recv().await {
            Ok(event) => Some(Heard::Event(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(listeners: &Listeners, number: u64) {
        listeners.tell(ToldEvent { kind: "queue.created", headers: FieldTable::default(), at_ms: number });
    }

    #[tokio::test]
    async fn a_slow_listener_misses_the_oldest_and_is_told_how_many() {
        let listeners = Listeners::default();
        let mut listener = listeners.add().expect("there is room");
        let behind = BEHIND_MAX as u64;
        (0..behind + 7).for_each(|number| tell(&listeners, number));
        assert_eq!(listener.next().await, Some(Heard::Missed(7)));
        for expected in 7..behind + 7 {
            let Some(Heard::Event(event)) = listener.next().await else { panic!("an event is missing") };
            assert_eq!(event.at_ms, expected);
        }
        drop(listeners);
        assert_eq!(listener.next().await, None);
    }

    #[test]
    fn there_is_room_for_so_many_and_again_when_one_leaves() {
        let listeners = Listeners::default();
        assert!(!listeners.any());
        let mut all: Vec<_> = std::iter::from_fn(|| listeners.add()).collect();
        assert_eq!(all.len(), EVENT_LISTENERS_MAX);
        all.pop();
        assert!(listeners.add().is_some());
        drop(all);
        assert!(!listeners.any());
    }
}
