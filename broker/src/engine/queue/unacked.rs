//! [`UnackedMessages`]: the messages of a queue that were delivered and await settlement, each in a numbered slot.
//!
//! The slot is how the outside names a delivery. Free slots are reused oldest first, which keeps the occupied ones low
//! while deliveries are settled in order, so that the memory of a burst can be given back. Called by the queue only.

use super::Seq;
use super::consumers::ConsumerKey;
use crate::wire::message::Message;

/// Below this capacity no memory is given back.
const CAPACITY_KEPT: usize = 16;

/// The end of the list of free slots.
const NONE: u32 = u32::MAX;

/// A message that awaits settlement. Whether it was delivered before is not kept: whatever returns from here was.
#[derive(Debug)]
pub(super) struct UnackedMessage {
    pub(super) level: u8,
    pub(super) seq: Seq,
    pub(super) message: Message,
    /// Whose credit it uses; none if it was taken with `basic.get`.
    pub(super) holder: Option<ConsumerKey>,
    /// How often it came back to the queue until now.
    pub(super) returned: u16,
    /// The store keeps it.
    pub(super) stored: bool,
}

/// What tells a delivery from others that used its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outstanding {
    place: Place,
    returned: u16,
    pub(super) holder: Option<ConsumerKey>,
}

/// All of an [`UnackedMessage`] beside the message and its number, in as many bytes as a list of millions can afford:
/// the holder in the low bits, 0 for none; whether it is stored in the next one; how often it was returned in the high 16.
#[derive(Debug, Clone, Copy)]
struct Note(u64);

const STORED: u64 = 1 << ConsumerKey::BITS;
const RETURNED_SHIFT: u32 = 48;
const _: () = assert!(ConsumerKey::BITS < RETURNED_SHIFT);

impl Note {
    fn new(holder: Option<ConsumerKey>, returned: u16, stored: bool) -> Self {
        let holder = holder.map_or(0, ConsumerKey::to_bits);
        let stored = if stored { STORED } else { 0 };
        Self(holder | stored | (u64::from(returned) << RETURNED_SHIFT))
    }

    fn holder(self) -> Option<ConsumerKey> {
        ConsumerKey::from_bits(self.0 & (STORED - 1))
    }

    fn returned(self) -> u16 {
        let [high, low, ..] = self.0.to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    fn is_stored(self) -> bool {
        self.0 & STORED != 0
    }
}

/// A level and a number: the level in the high 8 bits. At a million messages a second, the numbers last 2000 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(u64);

const SEQ_BITS: u32 = 56;

impl Place {
    fn new(level: u8, seq: Seq) -> Self {
        debug_assert!(seq.0 >> SEQ_BITS == 0);
        Self(seq.0 | (u64::from(level) << SEQ_BITS))
    }

    fn level(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    fn seq(self) -> Seq {
        Seq(self.0 & ((1 << SEQ_BITS) - 1))
    }
}

#[derive(Debug)]
enum Slot {
    Occupied {
        place: Place,
        message: Message,
        note: Note,
    },
    /// A link of the list of free slots. Doubly linked, so that slots at the end can leave it when they are given back.
    Free {
        older: u32,
        newer: u32,
    },
}

impl Slot {
    fn outstanding(&self) -> Option<Outstanding> {
        match self {
            Self::Occupied { place, note, .. } => {
                Some(Outstanding { place: *place, returned: note.returned(), holder: note.holder() })
            }
            Self::Free { .. } => None,
        }
    }
}

/// The outstanding messages by slot.
#[derive(Debug)]
pub(super) struct UnackedMessages {
    slots: Vec<Slot>,
    oldest_free: u32,
    newest_free: u32,
    occupied: u32,
    /// Of the messages.
    body_bytes: u64,
}

impl Default for UnackedMessages {
    fn default() -> Self {
        Self { slots: Vec::new(), oldest_free: NONE, newest_free: NONE, occupied: 0, body_bytes: 0 }
    }
}

impl UnackedMessages {
    pub(super) fn len(&self) -> usize {
        self.occupied as usize
    }

    /// The bytes of their bodies.
    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Keeps a message and names its slot.
    pub(super) fn insert(&mut self, unacked: UnackedMessage) -> u32 {
        let UnackedMessage { level, seq, message, holder, returned, stored } = unacked;
        let (place, note) = (Place::new(level, seq), Note::new(holder, returned, stored));
        self.body_bytes += message.body().len() as u64;
        let occupied = Slot::Occupied { place, message, note };
        self.occupied += 1;
        let slot = self.oldest_free;
        if slot != NONE {
            self.unlink(slot);
            self.slots[slot as usize] = occupied;
            return slot;
        }
        // `NONE` is also what the outside takes for "no slot", so it must stay free.
        let slot = u32::try_from(self.slots.len()).ok().filter(|&slot| slot != NONE);
        self.slots.push(occupied);
        slot.expect("fewer than 2^32 - 1 deliveries fit into memory")
    }

    /// What is in a slot.
    pub(super) fn look(&self, slot: u32) -> Option<Outstanding> {
        self.slots.get(slot as usize).and_then(Slot::outstanding)
    }

    /// All that is outstanding, by slot.
    pub(super) fn slots(&self) -> impl Iterator<Item = (u32, Outstanding)> {
        (0..).zip(&self.slots).filter_map(|(slot, what)| Some((slot, what.outstanding()?)))
    }

    /// Takes a message out; none if the slot holds none.
    pub(super) fn remove(&mut self, slot: u32) -> Option<UnackedMessage> {
        let place = self.slots.get_mut(slot as usize)?;
        if matches!(place, Slot::Free { .. }) {
            return None;
        }
        let freed = Slot::Free { older: self.newest_free, newer: NONE };
        let Slot::Occupied { place, message, note } = std::mem::replace(place, freed) else {
            return None;
        };
        match self.newest_free {
            NONE => self.oldest_free = slot,
            newest => self.link_newer(newest, slot),
        }
        self.newest_free = slot;
        self.occupied -= 1;
        self.body_bytes -= message.body().len() as u64;
        self.give_back();
        let (holder, returned, stored) = (note.holder(), note.returned(), note.is_stored());
        let (level, seq) = (place.level(), place.seq());
        Some(UnackedMessage { level, seq, message, holder, returned, stored })
    }

    /// Drops the free slots at the end, and their memory once there is a lot of it.
    fn give_back(&mut self) {
        while let (Some(Slot::Free { .. }), Ok(behind)) = (self.slots.last(), u32::try_from(self.slots.len()))
        {
            self.unlink(behind - 1);
            self.slots.pop();
        }
        let capacity = self.slots.capacity();
        if capacity > CAPACITY_KEPT && self.slots.len() <= capacity / 4 {
            self.slots.shrink_to(CAPACITY_KEPT.max(capacity / 2));
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Slot::Free { older, newer } = self.slots[slot as usize] else {
            unreachable!("only free slots are in the list of free slots");
        };
        match older {
            NONE => self.oldest_free = newer,
            older => self.link_newer(older, newer),
        }
        match newer {
            NONE => self.newest_free = older,
            newer => self.link_older(newer, older),
        }
    }

    fn link_newer(&mut self, slot: u32, to: u32) {
        if let Slot::Free { newer, .. } = &mut self.slots[slot as usize] {
            *newer = to;
        }
    }

    fn link_older(&mut self, slot: u32, to: u32) {
        if let Slot::Free { older, .. } = &mut self.slots[slot as usize] {
            *older = to;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn unacked(seq: u64) -> UnackedMessage {
        let message = Message::new("", "", &[], false, &[]);
        UnackedMessage { level: 0, seq: Seq(seq), message, holder: None, returned: 0, stored: false }
    }

    #[test]
    fn a_slot_takes_24_bytes() {
        assert_eq!(size_of::<Slot>(), 24);
    }

    #[test]
    fn what_is_noted_about_a_message_comes_back_with_it() {
        let mut messages = UnackedMessages::default();
        let largest = ConsumerKey::from_bits((1 << ConsumerKey::BITS) - 1);
        let smallest = ConsumerKey::from_bits(1 << 20);
        assert!(largest.is_some() && smallest.is_some());
        for holder in [None, smallest, largest] {
            for (returned, stored) in [(0, false), (0, true), (u16::MAX, false), (0x1234, true)] {
                for (level, seq) in [(0, 7), (1, 0), (255, (1 << 56) - 1)] {
                    let noted = UnackedMessage { level, holder, returned, stored, ..unacked(seq) };
                    let slot = messages.insert(noted);
                    let found = messages.remove(slot).unwrap();
                    assert_eq!((found.holder, found.returned, found.stored), (holder, returned, stored));
                    assert_eq!((found.level, found.seq), (level, Seq(seq)));
                }
            }
        }
    }

    #[test]
    fn a_slot_gives_its_message_once() {
        let mut messages = UnackedMessages::default();
        let slots: Vec<u32> = (0..5).map(|seq| messages.insert(unacked(seq))).collect();
        assert_eq!(messages.remove(slots[2]).map(|found| found.seq), Some(Seq(2)));
        assert!(messages.remove(slots[2]).is_none());
        assert!(messages.remove(77).is_none());
        assert!(messages.remove(u32::MAX).is_none());
        assert_eq!(messages.len(), 4);
        assert_eq!(messages.insert(unacked(9)), slots[2], "the free slot is used before a new one");
    }

    #[test]
    fn memory_is_given_back_while_a_few_deliveries_stay_outstanding() {
        let mut messages = UnackedMessages::default();
        let mut outstanding: std::collections::VecDeque<u32> =
            (0..100_000).map(|seq| messages.insert(unacked(seq))).collect();
        // The oldest is settled first; then ten remain outstanding at any moment.
        for seq in 0..300_000 {
            let slot = outstanding.pop_front().unwrap_or(NONE);
            assert!(messages.remove(slot).is_some());
            if outstanding.len() < 10 {
                outstanding.push_back(messages.insert(unacked(seq)));
            }
        }
        assert_eq!(messages.len(), outstanding.len());
        assert!(messages.slots.capacity() <= 64, "still {} slots", messages.slots.capacity());
        outstanding.iter().for_each(|&slot| drop(messages.remove(slot)));
        assert_eq!((messages.len(), messages.slots.len()), (0, 0));
        assert_eq!((messages.oldest_free, messages.newest_free), (NONE, NONE));
    }
}
