//! [`SessionConfig`]: what all sessions of one listener have in common.
//!
//! Made once by the server and shared; plain data.

use std::time::Duration;

use amq_protocol::types::FieldTable;

use crate::clock::Clock;

/// The settings of a session.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// What `connection.start` says about the broker.
    pub server_properties: FieldTable,
    /// Tells when a message arrived.
    pub clock: Clock,
    /// Channels per connection at most; 0 is no limit.
    pub channel_max: u16,
    /// Bytes per frame at most; 0 is no limit.
    pub frame_max: u32,
    /// The heartbeat interval on offer, in seconds; 0 is none.
    pub heartbeat_s: u16,
    /// From the first byte to `connection.open-ok` at most.
    pub handshake_timeout: Duration,
    /// The largest body that may be published, in bytes.
    pub message_bytes_max: u64,
    /// Consumers per channel at most.
    pub consumers_per_channel_max: u32,
    /// Fresh random bytes, for the tags of consumers that bring none.
    pub random: fn() -> [u8; 16],
}
