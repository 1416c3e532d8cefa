//! [`DeliveryTimes`]: since when deliveries are outstanding, for queues with a consumer timeout.
//!
//! Deliveries are noted in the order in which they went out. What is settled stays noted until it is the oldest, or until such
//! notes are the greater part. What was taken with `basic.get` is not noted: nobody could be told. Called by the queue only.

use std::collections::VecDeque;

use super::consumers::ConsumerKey;
use super::unacked::Outstanding;
use super::{Effect, Queue};

/// Below this number of notes nothing is cleared up.
const NOTES_KEPT: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Note {
    delivered_ms: u64,
    slot: u32,
    /// What was delivered: its slot may have another message by now, or the same a second time.
    what: Outstanding,
}

/// The outstanding deliveries to consumers, the oldest first.
#[derive(Debug, Default)]
pub(super) struct DeliveryTimes {
    notes: VecDeque<Note>,
}

impl Queue {
    /// Notes a delivery to a consumer.
    pub(super) fn note_delivered(&mut self, slot: u32, holder: Option<ConsumerKey>, now_ms: u64) {
        if holder.is_none() || self.consumer_timeout_ms().is_none() {
            return;
        }
        let (Some(extras), Some(what)) = (&mut self.extras, self.unacked.look(slot)) else { return };
        let notes = &mut extras.delivery_times.notes;
        if notes.len() > NOTES_KEPT && notes.len() / 2 > self.unacked.len() {
            notes.retain(|note| self.unacked.look(note.slot) == Some(note.what));
            notes.shrink_to(2 * notes.len());
        }
        notes.push_back(Note { delivered_ms: now_ms, slot, what });
    }

    /// Begins or ends to note deliveries, as the settings say. The time of those that are not noted begins now.
    pub(super) fn begin_delivery_times(&mut self, now_ms: u64) {
        let wanted = self.consumer_timeout_ms().is_some();
        let Some(extras) = &mut self.extras else { return };
        let notes = &mut extras.delivery_times.notes;
        if !wanted {
            *notes = VecDeque::new();
        } else if notes.is_empty() {
            let held = self.unacked.slots().filter(|(_, what)| what.holder.is_some());
            notes.extend(held.map(|(slot, what)| Note { delivered_ms: now_ms, slot, what }));
        }
    }

    /// When the oldest delivery will have been outstanding for too long, or earlier.
    pub(super) fn timeout_due_ms(&self) -> Option<u64> {
        let timeout_ms = self.consumer_timeout_ms()?;
        let oldest = self.extras.as_ref()?.delivery_times.notes.front()?;
        Some(oldest.delivered_ms.saturating_add(timeout_ms))
    }

    /// Names the consumers that hold deliveries for too long, each once. They are named again when as much time has passed.
    pub(super) fn time_out(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let Some(timeout_ms) = self.consumer_timeout_ms() else { return };
        let Some(extras) = &mut self.extras else { return };
        let notes = &mut extras.delivery_times.notes;
        let (mut named, mut again) = (Vec::new(), Vec::new());
        while let Some(&note) = notes.front() {
            let held = self.unacked.look(note.slot) == Some(note.what);
            if held && note.delivered_ms.saturating_add(timeout_ms) > now_ms {
                break;
            }
            notes.pop_front();
            let holder = note.what.holder.filter(|_| held);
            if let Some(consumer) = holder.and_then(|holder| self.consumers.id(holder)) {
                again.push(Note { delivered_ms: now_ms, ..note });
                if !named.contains(&consumer) {
                    named.push(consumer);
                }
            }
        }
        notes.extend(again);
        effects.extend(named.into_iter().map(|consumer| Effect::TimedOut { consumer }));
    }

    fn consumer_timeout_ms(&self) -> Option<u64> {
        self.set(|settings| settings.consumer_timeout_ms)
    }
}

#[cfg(test)]
impl Queue {
    /// How many deliveries are noted, outstanding or not.
    pub(super) fn noted_deliveries(&self) -> usize {
        self.extras.as_ref().map_or(0, |extras| extras.delivery_times.notes.len())
    }
}
