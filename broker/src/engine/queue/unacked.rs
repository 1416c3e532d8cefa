//! [`UnackedMessages`]: the messages of a queue that were delivered and await settlement, each in a numbered slot.
//!
//! The slot is how the outside names a delivery. Free slots are reused oldest first, which keeps the occupied ones low
//! while deliveries are settled in order, so that the memory of a burst can be given back. Beside each slot stands when
//! its message went out, so that an operator can be told who sits on what. Called by the queue only.

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

/// A moment, in units of 128 milliseconds of the broker's clock, as far as it fits: of two that are less than eight years
/// apart the distance is known. Four bytes for each delivery are what a list of millions can afford.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tick(u32);

/// The bits of a time in milliseconds that a [`Tick`] leaves out.
const TICK_BITS: u32 = 7;

impl Tick {
    /// The moment at a time in milliseconds.
    #[inline]
    pub(super) fn at(now_ms: u64) -> Self {
        let [_, _, _, _, low @ ..] = (now_ms >> TICK_BITS).to_be_bytes();
        Self(u32::from_be_bytes(low))
    }

    /// The time of this moment in milliseconds, to the unit; it is one near `now_ms`.
    pub(super) fn near(self, now_ms: u64) -> u64 {
        let ago = i32::from_be_bytes(Self::at(now_ms).0.wrapping_sub(self.0).to_be_bytes());
        (now_ms >> TICK_BITS).saturating_add_signed(-i64::from(ago)) << TICK_BITS
    }
}

/// What tells a delivery from others that used its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outstanding {
    pub(super) place: Place,
    pub(super) returned: u16,
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
pub(super) struct Place(u64);

const SEQ_BITS: u32 = 56;

impl Place {
    fn new(level: u8, seq: Seq) -> Self {
        debug_assert!(seq.0 >> SEQ_BITS == 0);
        Self(seq.0 | (u64::from(level) << SEQ_BITS))
    }

    pub(super) fn level(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    pub(super) fn seq(self) -> Seq {
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
    /// When what is in each slot went out; without meaning for free ones. As long as `slots`.
    times: Vec<Tick>,
    oldest_free: u32,
    newest_free: u32,
    occupied: u32,
    /// Of the messages.
    body_bytes: u64,
}

impl Default for UnackedMessages {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            times: Vec::new(),
            oldest_free: NONE,
            newest_free: NONE,
            occupied: 0,
            body_bytes: 0,
        }
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

    /// Keeps a message that goes out now, and names its slot.
    pub(super) fn insert(&mut self, unacked: UnackedMessage, now: Tick) -> u32 {
        let UnackedMessage { level, seq, message, holder, returned, stored } = unacked;
        let (place, note) = (Place::new(level, seq), Note::new(holder, returned, stored));
        self.body_bytes += message.body().len() as u64;
        let occupied = Slot::Occupied { place, message, note };
        self.occupied += 1;
        let slot = self.oldest_free;
        if slot != NONE {
            self.unlink(slot);
            self.slots[slot as usize] = occupied;
            self.times[slot as usize] = now;
            return slot;
        }
        // `NONE` is also what the outside takes for "no slot", so it must stay free.
        let slot = u32::try_from(self.slots.len()).ok().filter(|&slot| slot != NONE);
        self.slots.push(occupied);
        self.times.push(now);
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

    /// What is outstanding among `count` slots from `first` on, and since when.
    pub(super) fn times(&self, first: u32, count: usize) -> impl Iterator<Item = (u32, Tick)> {
        let slots = self.slots.iter().zip(&self.times).skip(first as usize).take(count);
        let outstanding = |(slot, (what, &time)): (u32, (&Slot, &Tick))| {
            matches!(what, Slot::Occupied { .. }).then_some((slot, time))
        };
        (first..).zip(slots).filter_map(outstanding)
    }

    /// How many slots there are, taken or free.
    pub(super) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// The message in a slot, if it is the one that went out then.
    pub(super) fn message_since(&self, slot: u32, time: Tick) -> Option<(Outstanding, &Message)> {
        let at = slot as usize;
        match (self.slots.get(at)?, self.times.get(at)?) {
            (what @ Slot::Occupied { message, .. }, &since) if since == time => {
                Some((what.outstanding()?, message))
            }
            _ => None,
        }
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
        self.times.truncate(self.slots.len());
        let capacity = self.slots.capacity();
        if capacity > CAPACITY_KEPT && self.slots.len() <= capacity / 4 {
            let kept = CAPACITY_KEPT.max(capacity / 2);
            self.slots.shrink_to(kept);
            self.times.shrink_to(kept);
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

    const NOW: Tick = Tick(0);

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
                    let slot = messages.insert(noted, NOW);
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
        let slots: Vec<u32> = (0..5).map(|seq| messages.insert(unacked(seq), NOW)).collect();
        assert_eq!(messages.remove(slots[2]).map(|found| found.seq), Some(Seq(2)));
        assert!(messages.remove(slots[2]).is_none());
        assert!(messages.remove(77).is_none());
        assert!(messages.remove(u32::MAX).is_none());
        assert_eq!(messages.len(), 4);
        assert_eq!(messages.insert(unacked(9), NOW), slots[2], "the free slot is used before a new one");
    }

    #[test]
    fn memory_is_given_back_while_a_few_deliveries_stay_outstanding() {
        let mut messages = UnackedMessages::default();
        let mut outstanding: std::collections::VecDeque<u32> =
            (0..100_000).map(|seq| messages.insert(unacked(seq), NOW)).collect();
        // The oldest is settled first; then ten remain outstanding at any moment.
        for seq in 0..300_000 {
            let slot = outstanding.pop_front().unwrap_or(NONE);
            assert!(messages.remove(slot).is_some());
            if outstanding.len() < 10 {
                outstanding.push_back(messages.insert(unacked(seq), NOW));
            }
        }
        assert_eq!(messages.len(), outstanding.len());
        assert!(messages.slots.capacity() <= 64, "still {} slots", messages.slots.capacity());
        outstanding.iter().for_each(|&slot| drop(messages.remove(slot)));
        assert_eq!((messages.len(), messages.slots.len(), messages.times.len()), (0, 0, 0));
        assert!(messages.times.capacity() <= 64, "still {} times", messages.times.capacity());
        assert_eq!((messages.oldest_free, messages.newest_free), (NONE, NONE));
    }

    #[test]
    fn a_moment_is_known_to_an_eighth_of_a_second_also_where_its_number_wraps() {
        for then_ms in [500, 511, 512, 1_795_000_000_123, (1 << 39) - 1, 1 << 39] {
            for later_ms in [-500, -1, 0, 1, 127, 128, 3_600_000, 86_400_000 * 365] {
                let known = Tick::at(then_ms).near(then_ms.saturating_add_signed(later_ms));
                assert!(known <= then_ms && then_ms - known < 128, "{then_ms} became {known}");
            }
        }
    }

    #[test]
    fn a_slot_says_since_when_its_message_is_out() {
        let mut messages = UnackedMessages::default();
        let (early, late) = (Tick::at(1_000), Tick::at(9_000));
        let slots: Vec<u32> = (0..4).map(|seq| messages.insert(unacked(seq), early)).collect();
        assert!(messages.remove(slots[1]).is_some());
        let times: Vec<_> = messages.times(0, 3).collect();
        assert_eq!(times, [(0, early), (2, early)], "a free slot is left out, and counts");
        assert_eq!(messages.times(3, 100).collect::<Vec<_>>(), [(3, early)]);
        assert_eq!(messages.times(4, 100).count(), 0);

        assert_eq!(messages.insert(unacked(7), late), slots[1]);
        let found = messages.message_since(slots[1], late).unwrap();
        assert_eq!(found.0.place.seq(), Seq(7));
        assert!(messages.message_since(slots[1], early).is_none(), "another message is in this slot by now");
        assert!(messages.message_since(77, early).is_none());
    }
}
