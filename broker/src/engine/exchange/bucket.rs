//! [`Bucket`]: bindings that match together. Insert and remove take constant time, order means nothing.

use smallvec::SmallVec;

use super::{Entry, Matched, stable_hash::below};

/// A set of bindings, each known by its slot.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// Most keys of most exchanges have one binding, which then needs no allocation of its own.
    entries: SmallVec<[Entry; 1]>,
}

impl Bucket {
    pub(super) fn insert(&mut self, entry: Entry) -> u32 {
        let slot = slot_number(self.entries.len());
        self.entries.push(entry);
        slot
    }

    /// Removes by slot; the binding returned, if any, has moved there.
    pub(super) fn remove(&mut self, slot: u32) -> Option<u32> {
        self.entries.swap_remove(slot as usize);
        if self.entries.is_empty() {
            self.entries = SmallVec::new();
        }
        self.entries.get(slot as usize).map(|moved| moved.binding)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds one binding that random bits choose, each as likely as the others.
    pub(super) fn collect_one(&self, random_bits: u64, matched: &mut Matched) {
        if let Some(entry) = self.entries.get(below(random_bits, self.entries.len())) {
            matched.push(entry.target);
        }
    }

    pub(super) fn collect(&self, matched: &mut Matched) {
        for entry in &self.entries {
            matched.push(entry.target);
        }
    }
}

/// Bindings are numbered by u32 throughout; memory ends long before that many exist.
pub(super) fn slot_number(len: usize) -> u32 {
    u32::try_from(len).expect("fewer than 2^32 bindings fit in memory")
}
