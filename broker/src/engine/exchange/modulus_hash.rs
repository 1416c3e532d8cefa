//! [`ModulusHash`]: the hash of the routing keys, modulo the number of bindings, says which binding matches.
//!
//! Nearly every key moves when a binding comes or goes: that is what this type is, and `x-consistent-hash` is not. The bindings
//! stand in the order of a hash over what they are, so that a restart, which makes them anew in any order, moves nothing.

use super::{Entry, Matched, stable_hash::StableHash};

/// The bindings of an `x-modulus-hash` exchange. Adding and removing one costs a look at all.
#[derive(Debug, Default)]
pub(crate) struct ModulusHash {
    bindings: Vec<(u64, Entry)>,
}

impl ModulusHash {
    /// Adds a binding; `place` is the hash over what it is.
    pub(super) fn insert(&mut self, place: u64, entry: Entry) {
        let at = self.bindings.partition_point(|(other, _)| *other < place);
        self.bindings.insert(at, (place, entry));
    }

    pub(super) fn remove(&mut self, binding: u32) {
        self.bindings.retain(|(_, entry)| entry.binding != binding);
    }

    pub(super) fn collect(&self, routing_keys: &[&str], matched: &mut Matched) {
        let Ok(count @ 1..) = u64::try_from(self.bindings.len()) else { return };
        let hash =
            routing_keys.iter().fold(StableHash::new(), |hash, key| hash.with(key.as_bytes())).finish();
        let chosen = usize::try_from(hash % count).ok().and_then(|at| self.bindings.get(at));
        if let Some((_, entry)) = chosen {
            matched.push(entry.target);
        }
    }
}
