//! [`Sources`]: what the deliveries of one connection came from, so that they can be settled there.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use amq_protocol::types::FieldTable;
use foldhash::fast::FixedState;
use slab::Slab;

use crate::engine::QueueId;
use crate::engine::queue::ConsumerId;
use crate::server::queue_handle::{ChannelLimit, QueueHandle};
use crate::session::action::{ChannelId, SourceId};

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A running consumer.
    Consumer(ConsumerId),
    /// `basic.get` on one queue.
    Get,
    /// A consumer that was removed from its queue while the outbox may still hold deliveries of it.
    Ending,
    /// A consumer that has ended and whose deliveries are not all settled.
    Ended,
}

/// What a client asked for with `basic.consume`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    pub(super) consumer_tag: Box<str>,
    pub(super) exclusive: bool,
    pub(super) ack_required: bool,
    pub(super) prefetch: u16,
    pub(super) arguments: FieldTable,
    /// Those who listen to events know that it has ended.
    pub(super) end_told: bool,
}

/// A consumer, or `basic.get` on one queue.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) queue: QueueHandle,
    pub(super) channel: ChannelId,
    pub(super) kind: Kind,
    /// Deliveries handed to the session and not settled.
    pub(super) outstanding: u32,
    /// The channel's limit, if it counts this consumer's deliveries.
    pub(super) limit: Option<Arc<ChannelLimit>>,
    /// The address under which clients reach a direct reply consumer.
    pub(super) reply_address: Option<String>,
    /// What listings show of a consumer.
    pub(super) asked: Option<Box<Asked>>,
}

impl Source {
    /// A source with nothing outstanding.
    pub(super) fn new(queue: QueueHandle, channel: ChannelId, kind: Kind) -> Self {
        Self { queue, channel, kind, outstanding: 0, limit: None, reply_address: None, asked: None }
    }

    /// Its consumer, while it runs.
    pub(super) fn consumer(&self) -> Option<ConsumerId> {
        match self.kind {
            Kind::Consumer(consumer) => Some(consumer),
            Kind::Get | Kind::Ending | Kind::Ended => None,
        }
    }
}

/// All sources of a connection by their ids.
#[derive(Debug, Default)]
pub(super) struct Sources {
    slots: Slab<Source>,
    gets: HashMap<QueueId, SourceId, FixedState>,
    /// All but those for `basic.get`, which channels share.
    by_channel: BTreeSet<(ChannelId, SourceId)>,
}

impl Sources {
    /// The id that the next added source will have: a consumer must be known to its queue under it.
    pub(super) fn next_id(&self) -> SourceId {
        source_id(self.slots.vacant_key())
    }

    pub(super) fn add(&mut self, source: Source) -> SourceId {
        let (channel, is_get) = (source.channel, source.kind == Kind::Get);
        let id = source_id(self.slots.insert(source));
        if !is_get {
            self.by_channel.insert((channel, id));
        }
        id
    }

    /// All sources that run as consumers.
    pub(super) fn consumers(&self) -> impl Iterator<Item = (&Source, ConsumerId)> {
        self.slots.iter().filter_map(|(_, source)| Some((source, source.consumer()?)))
    }

    /// The source for `basic.get` on this queue, made if need be.
    pub(super) fn get_source(&mut self, queue: &QueueHandle, channel: ChannelId) -> SourceId {
        if let Some(&known) = self.gets.get(&queue.id()) {
            return known;
        }
        let id = self.add(Source::new(queue.clone(), channel, Kind::Get));
        self.gets.insert(queue.id(), id);
        id
    }

    pub(super) fn get_mut(&mut self, id: SourceId) -> Option<&mut Source> {
        self.slots.get_mut(id.0 as usize)
    }

    /// Puts the consumers of a channel under its first limit, with what they have outstanding: also that of consumers which
    /// have ended. Those added later come with the limit.
    pub(super) fn put_under_limit(&mut self, channel: ChannelId, limit: &Arc<ChannelLimit>) {
        let of_channel = (channel, SourceId(0))..=(channel, SourceId(u32::MAX));
        for (_, id) in self.by_channel.range(of_channel) {
            let Some(source) = self.slots.get_mut(id.0 as usize) else { continue };
            let counts = match source.kind {
                Kind::Consumer(consumer) => source.queue.limit_consumer(consumer, limit),
                Kind::Ended => {
                    limit.adopt(source.outstanding);
                    true
                }
                // Deliveries in the outbox are not counted yet, so that they could not be given back one by one.
                Kind::Ending | Kind::Get => false,
            };
            if counts {
                source.limit = Some(limit.clone());
            }
        }
    }

    /// Takes a consumer out of service and returns it as it was. Its id stays taken until [`Sources::forget`]: deliveries in
    /// the outbox name it.
    pub(super) fn end(&mut self, id: SourceId) -> Option<(ConsumerId, QueueHandle, Option<String>)> {
        let source = self.get_mut(id)?;
        let consumer = source.consumer()?;
        source.kind = Kind::Ending;
        Some((consumer, source.queue.clone(), source.reply_address.take()))
    }

    /// The outbox holds nothing of this source any more: its id is free once its deliveries are settled.
    pub(super) fn forget(&mut self, id: SourceId) {
        if let Some(source) = self.get_mut(id)
            && source.kind == Kind::Ending
        {
            source.kind = Kind::Ended;
            self.forget_if_done(id);
        }
    }

    /// Frees a source that nothing refers to any more.
    pub(super) fn forget_if_done(&mut self, id: SourceId) {
        let Some(source) = self.slots.get(id.0 as usize) else { return };
        if source.outstanding > 0 || matches!(source.kind, Kind::Consumer(_) | Kind::Ending) {
            return;
        }
        if source.kind == Kind::Get {
            self.gets.remove(&source.queue.id());
        } else {
            self.by_channel.remove(&(source.channel, id));
        }
        self.slots.remove(id.0 as usize);
    }
}

fn source_id(key: usize) -> SourceId {
    // A connection has at most 65,535 channels of a bounded number of consumers each, far below u32::MAX.
    SourceId(u32::try_from(key).unwrap_or(u32::MAX))
}
