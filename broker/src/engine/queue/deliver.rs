//! How messages get from a queue to consumers, and to who asks for one.

use super::consumers::{ConsumerKey, Turn};
use super::ready::{ReadyMessage, held_bytes};
use super::unacked::{Tick, UnackedMessage};
use super::{AckMode, ChannelGate, Effect, NO_SLOT, NothingTaken, Queue, Seq, Taken};
use crate::wire::message::Message;

/// How many messages a call gives up before it does anything else: nobody is to wait long for a queue's lock.
pub(super) const EXPIRED_PER_CALL: usize = 1000;

impl Queue {
    /// Delivers until no message is ready in memory or no consumer can take one: message by message to the consumers of
    /// the highest priority that has an eligible one, in turn. Messages of the highest level first. What is due is given up
    /// before, and what is too much after that. A paused queue delivers nothing.
    pub fn dispatch(
        &mut self,
        now_ms: u64,
        gate: &mut (impl ChannelGate + ?Sized),
        effects: &mut Vec<Effect>,
    ) {
        if self.extras.is_some() && self.expire_due(now_ms, EXPIRED_PER_CALL, effects) {
            // Somebody calls again soon: more is due.
            return;
        }
        let (mut delivered, mut waits) = (None, false);
        while !self.paused {
            let level = self.levels.top();
            if !self.levels.at(level).ready.has_next() {
                break;
            }
            if self.gave_up_head(level, now_ms, effects) {
                continue;
            }
            let Some(turn) = self.consumers.next(gate) else {
                waits = true;
                break;
            };
            let Some(entry) = self.pop(level) else { break };
            self.deliver(level, entry, &turn, now_ms, &mut delivered, effects);
        }
        self.waits = waits;
        effects.extend(delivered.map(|(level, up_to)| Effect::Delivered { level, up_to }));
        if self.extras.is_some() {
            self.drop_excess(effects);
        }
    }

    /// Takes one message for `basic.get`, whatever prefetch limits there are.
    ///
    /// # Errors
    ///
    /// If there is none or the queue is paused, or it is not in memory.
    pub fn take(
        &mut self,
        ack_mode: AckMode,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<Taken, NothingTaken> {
        while self.extras.is_some() && self.expire_due(now_ms, EXPIRED_PER_CALL, effects) {}
        let mut level = self.levels.top();
        while self.gave_up_head(level, now_ms, effects) {
            level = self.levels.top();
        }
        if self.paused {
            return Err(NothingTaken::Empty);
        }
        let Some(entry) = self.pop(level) else {
            let empty = self.levels.len() == 0;
            return Err(if empty { NothingTaken::Empty } else { NothingTaken::PagedOut });
        };
        let HandedOut { message, slot, redelivered, delivery_count, settled, delivered } =
            self.hand_out(level, entry, ack_mode, None, now_ms);
        let remaining = self.ready_count();
        Ok(Taken { message, slot, redelivered, delivery_count, level, remaining, settled, delivered })
    }

    /// Gives a message to a consumer. `delivered` is what the store is to know of this dispatch's deliveries.
    #[inline]
    pub(super) fn deliver(
        &mut self,
        level: u8,
        entry: ReadyMessage,
        turn: &Turn,
        now_ms: u64,
        delivered: &mut Option<(u8, Seq)>,
        effects: &mut Vec<Effect>,
    ) {
        self.consumers.delivered(turn, entry.message.body().len());
        let HandedOut { message, slot, redelivered, delivery_count, settled, delivered: furthest } =
            self.hand_out(level, entry, turn.ack_mode, Some(turn.key), now_ms);
        let consumer = turn.consumer();
        effects.push(Effect::Deliver { consumer, slot, redelivered, delivery_count, message });
        effects.extend(settled.map(|seq| Effect::Settled { level, seq }));
        if let Some(seq) = furthest {
            let before = delivered.replace((level, seq)).filter(|before| before.0 != level);
            effects.extend(before.map(|(level, up_to)| Effect::Delivered { level, up_to }));
        }
    }

    /// Takes the first message of a level, unless that one is not in memory.
    #[inline]
    pub(super) fn pop(&mut self, level: u8) -> Option<ReadyMessage> {
        let entry = self.levels.at_mut(level).ready.pop()?;
        if let Some(extras) = &mut self.extras {
            self.memory_bytes -= extras.deadlines.remove(level, entry.seq, &entry.message);
        }
        Some(entry)
    }

    /// Books a message that leaves for the outside: it stays outstanding in a slot, or is gone.
    #[inline]
    fn hand_out(
        &mut self,
        level: u8,
        entry: ReadyMessage,
        ack_mode: AckMode,
        holder: Option<ConsumerKey>,
        now_ms: u64,
    ) -> HandedOut {
        let ReadyMessage { seq, message, returned, stored } = entry;
        let place = self.levels.at_mut(level);
        let redelivered = returned > 0 || seq < place.restored_delivered;
        let first_time = place.note_delivery(seq);
        let delivery_count = if self.counts_returns() { returned } else { 0 };
        match ack_mode {
            AckMode::Manual => {
                let unacked =
                    UnackedMessage { level, seq, message: message.clone(), holder, returned, stored };
                let slot = self.unacked.insert(unacked, Tick::at(now_ms));
                self.note_delivered(slot, holder, now_ms);
                let delivered = (first_time && stored && self.options.durable).then_some(seq);
                HandedOut { message, slot, redelivered, delivery_count, settled: None, delivered }
            }
            AckMode::Automatic => {
                self.memory_bytes -= held_bytes(&message);
                let settled = stored.then_some(seq);
                HandedOut { message, slot: NO_SLOT, redelivered, delivery_count, settled, delivered: None }
            }
        }
    }
}

/// A message on its way to the outside, and what that means for the store.
struct HandedOut {
    message: Message,
    slot: u32,
    redelivered: bool,
    delivery_count: u16,
    settled: Option<Seq>,
    delivered: Option<Seq>,
}
