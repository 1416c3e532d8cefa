//! [`Direct`]: a binding matches when its key equals the routing key.

use foldhash::{HashMap, HashMapExt};

use super::{Bucket, Entry, Matched};

/// The bindings of a direct exchange, by key.
#[derive(Debug)]
pub(crate) struct Direct {
    buckets: HashMap<Box<str>, Bucket>,
}

impl Default for Direct {
    fn default() -> Self {
        Self { buckets: HashMap::new() }
    }
}

impl Direct {
    pub(super) fn insert(&mut self, routing_key: &str, entry: Entry) -> u32 {
        if let Some(bucket) = self.buckets.get_mut(routing_key) {
            return bucket.insert(entry);
        }
        self.buckets.entry(routing_key.into()).or_default().insert(entry)
    }

    pub(super) fn remove(&mut self, routing_key: &str, slot: u32) -> Option<u32> {
        let bucket = self.buckets.get_mut(routing_key)?;
        let moved = bucket.remove(slot);
        if bucket.is_empty() {
            self.buckets.remove(routing_key);
        }
        moved
    }

    pub(super) fn collect(&self, routing_key: &str, matched: &mut Matched) {
        if let Some(bucket) = self.buckets.get(routing_key) {
            bucket.collect(matched);
        }
    }
}
