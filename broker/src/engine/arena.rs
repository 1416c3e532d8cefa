//! [`Arena`]: values under dense numbers that are used again once free.

use std::ops::{Index, IndexMut};

/// No vacant slot.
const NONE: u32 = u32::MAX;

/// A growing array with a list of free places. A number stays valid until its value is removed.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    slots: Vec<Slot<T>>,
    first_vacant: u32,
    len: usize,
}

#[derive(Debug)]
enum Slot<T> {
    Vacant { next: u32 },
    Occupied(T),
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), first_vacant: NONE, len: 0 }
    }
}

impl<T> Arena<T> {
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        let at = self.first_vacant;
        if let Some(slot) = self.slots.get_mut(at as usize) {
            if let Slot::Vacant { next } = slot {
                self.first_vacant = *next;
            }
            *slot = Slot::Occupied(value);
            return at;
        }
        let at = u32::try_from(self.slots.len()).expect("fewer than 2^32 objects fit in memory");
        self.slots.push(Slot::Occupied(value));
        at
    }

    pub(crate) fn remove(&mut self, at: u32) -> Option<T> {
        let slot = self.slots.get_mut(at as usize).filter(|slot| matches!(slot, Slot::Occupied(_)))?;
        let removed = std::mem::replace(slot, Slot::Vacant { next: self.first_vacant });
        self.first_vacant = at;
        self.len -= 1;
        match removed {
            Slot::Occupied(value) => Some(value),
            Slot::Vacant { .. } => None,
        }
    }

    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        match self.slots.get(at as usize) {
            Some(Slot::Occupied(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.slots).filter_map(|(at, slot)| match slot {
            Slot::Occupied(value) => Some((at, value)),
            Slot::Vacant { .. } => None,
        })
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Occupied(value) => Some(value),
            Slot::Vacant { .. } => None,
        })
    }
}

/// Panics on a number that is not in use: numbers never come from a peer, so that is a fault of ours.
impl<T> Index<u32> for Arena<T> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        match &self.slots[at as usize] {
            Slot::Occupied(value) => value,
            Slot::Vacant { .. } => panic!("number {at} is not in use"),
        }
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        match &mut self.slots[at as usize] {
            Slot::Occupied(value) => value,
            Slot::Vacant { .. } => panic!("number {at} is not in use"),
        }
    }
}
