//! Consumers as the session knows them: a tag per channel, a [`SourceId`] per connection.
//!
//! [`ConsumerTags`] belongs to a channel and answers "which source has this tag", [`Sources`] to the connection and
//! answers "where does a delivery of this source go". The channel keeps the two in step; neither knows queues.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use super::action::{ChannelId, SourceId};

/// The consumers of one channel by tag. A tree: tags are the client's choice, and trees cannot be made slow by choosing.
#[derive(Debug, Default)]
pub(super) struct ConsumerTags {
    by_tag: BTreeMap<Box<str>, SourceId>,
}

impl ConsumerTags {
    pub(super) fn len(&self) -> usize {
        self.by_tag.len()
    }

    pub(super) fn find(&self, tag: &str) -> Option<SourceId> {
        self.by_tag.get(tag).copied()
    }

    pub(super) fn insert(&mut self, tag: &str, source: SourceId) {
        self.by_tag.insert(tag.into(), source);
    }

    pub(super) fn remove(&mut self, tag: &str) {
        self.by_tag.remove(tag);
    }

    pub(super) fn sources(&self) -> Vec<SourceId> {
        self.by_tag.values().copied().collect()
    }
}

/// Where the deliveries of one source go.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) channel: ChannelId,
    pub(super) tag: Box<str>,
}

/// All consumers of one connection by source. The server chooses the ids, so that a fixed hash cannot be attacked.
#[derive(Debug, Default)]
pub(super) struct Sources {
    by_id: HashMap<SourceId, Consumer, FixedState>,
}

impl Sources {
    #[inline]
    pub(super) fn find(&self, source: SourceId) -> Option<&Consumer> {
        self.by_id.get(&source)
    }

    pub(super) fn insert(&mut self, source: SourceId, channel: ChannelId, tag: &str) {
        self.by_id.insert(source, Consumer { channel, tag: tag.into() });
    }

    pub(super) fn remove(&mut self, source: SourceId) -> Option<Consumer> {
        let removed = self.by_id.remove(&source);
        if self.by_id.is_empty() {
            self.by_id.shrink_to_fit();
        }
        removed
    }
}
