//! Carrying out what follows from a call to a queue, while its lock is held.

use super::{Dead, DeadMessage, STAGED_KEPT_MAX, SharedQueue, State};
use crate::engine::queue::Effect;
use crate::session::action::{Delivery, DeliveryRef, Event, NO_SLOT};
use crate::stats::tally::Tally;
use crate::wire::message::Message;
use crate::wire::properties::{self, Properties};
use crate::wire::table::{TableWriter, fields};

/// The header that says how often a message came back to its queue.
const DELIVERY_COUNT: &str = "x-delivery-count";

impl SharedQueue {
    /// Hands the effects of the running call to the outboxes, the store and the dead letters.
    pub(super) fn apply_effects(&self, state: &mut State) {
        let State { queue, targets, effects, settled, returned, tally, .. } = state;
        if effects.is_empty() {
            return;
        }
        let mut in_outboxes = 0;
        let mut given_up = Vec::new();
        for effect in effects.drain(..) {
            match effect {
                Effect::Deliver { consumer, slot, redelivered, delivery_count, message } => {
                    count_delivery(tally, slot, redelivered);
                    targets.stage(consumer, |source| {
                        let message = match delivery_count {
                            0 => message,
                            count => with_delivery_count(&message, count),
                        };
                        if slot == NO_SLOT {
                            in_outboxes += message.memory_bytes();
                        }
                        let reference = DeliveryRef { source, slot };
                        Event::Deliver(Delivery { reference, redelivered, message })
                    });
                }
                Effect::ConsumerCancelled { consumer } => {
                    targets.stage(consumer, Event::ConsumerCancelled);
                    targets.remove(consumer);
                }
                Effect::Settled { level, seq } => settled.push(level, seq),
                Effect::Returned { level, seq, count } => returned.push(level, (seq, count)),
                Effect::Delivered { level, up_to } => {
                    self.backing.store.delivered(self.store_id(level), up_to);
                }
                Effect::Purged { level, ranges } => {
                    self.backing.store.settle_ranges(self.store_id(level), &ranges);
                }
                Effect::Dead { level, seq, stored, reason, message } => {
                    match queue.settings().and_then(|settings| Dead::destination(settings)) {
                        Some(to) => {
                            given_up.push(DeadMessage::new((level, seq), stored, reason, message, to));
                        }
                        None if stored => settled.push(level, seq),
                        None => {}
                    }
                }
                Effect::TimedOut { consumer } => {
                    let timeout_ms = queue.settings().and_then(|settings| settings.consumer_timeout_ms);
                    targets.time_out(consumer, timeout_ms.unwrap_or_default());
                }
            }
        }
        // What needs no acknowledgement has left the queue's books; until its connection has it, it counts here. Before the
        // other side can count it off.
        self.backing.memory.change(0, in_outboxes);
        targets.flush();
        returned.drain(|level, returned| self.backing.store.returned(self.store_id(level), returned));
        settled.drain(|level, settled| self.backing.store.settle(self.store_id(level), settled));
        effects.shrink_to(STAGED_KEPT_MAX);
        if !given_up.is_empty() {
            self.hand_over_dead(state, given_up);
        }
    }
}

#[inline]
fn count_delivery(tally: &mut Tally, slot: u32, redelivered: bool) {
    match slot {
        NO_SLOT => tally.deliver_no_ack += 1,
        _ => tally.deliver += 1,
    }
    tally.redeliver += u64::from(redelivered);
}

/// The message as it is delivered after it came back so often.
#[cold]
pub(super) fn with_delivery_count(message: &Message, count: u16) -> Message {
    let Ok(view) = Properties::parse(message.properties()) else { return message.clone() };
    let mut table = TableWriter::default();
    for field in fields(view.headers_bytes().unwrap_or(&[0; 4])) {
        if field.name != DELIVERY_COUNT.as_bytes() {
            table.copy(field.bytes);
        }
    }
    table.long(DELIVERY_COUNT, i64::from(count));
    match properties::with_header_bytes(view.raw(), &table.finish()) {
        Ok(properties) => message.with_properties(&properties),
        Err(_) => message.clone(),
    }
}
