//! [`ChannelDetails`]: what listings show of a channel.

use super::{Channel, Mode};
use crate::session::action::ChannelId;

/// A channel in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelDetails {
    /// Its number.
    pub channel: ChannelId,
    /// What consumers that start now may have unacknowledged, in messages; 0 is unlimited.
    pub prefetch: u16,
    /// What all its consumers together may have unacknowledged, in messages; 0 is unlimited.
    pub channel_prefetch: u16,
    /// Deliveries that are not acknowledged.
    pub unacked: usize,
    /// Publishes that are not confirmed.
    pub unconfirmed: usize,
    /// Publishes that wait for a commit.
    pub uncommitted: usize,
    /// Acknowledgements that wait for a commit.
    pub uncommitted_acks: usize,
    /// Consumers.
    pub consumers: usize,
    /// Whether publishes are confirmed.
    pub confirms: bool,
    /// Whether it is in transactions.
    pub transactional: bool,
    /// When the client last said something on it, in milliseconds since 1970.
    pub heard_ms: u64,
}

impl Channel {
    /// For listings.
    pub(in crate::session) fn details(&self) -> ChannelDetails {
        let (uncommitted, uncommitted_acks) = match &self.mode {
            Mode::Transaction(transaction) => transaction.waiting(),
            Mode::Plain | Mode::Confirm(_) => (0, 0),
        };
        ChannelDetails {
            channel: self.id,
            prefetch: self.qos.prefetch(),
            channel_prefetch: self.qos.channel_limit(),
            unacked: self.unacked.len(),
            unconfirmed: self.unconfirmed(),
            uncommitted,
            uncommitted_acks,
            consumers: self.consumers.len(),
            confirms: matches!(self.mode, Mode::Confirm(_)),
            transactional: matches!(self.mode, Mode::Transaction(_)),
            heard_ms: self.heard_ms,
        }
    }
}
