//! The part of AMQP 0-9-1 a load generator needs, written for low cost per message.
//!
//! It refuses to be a client library: one channel per connection, no message properties beyond the delivery
//! mode, no tables on the way in. It shares no code with the broker, so that a mistake cannot cancel itself out.
//! Called by `connection`, `batch`, `producer` and `consumer`.

pub(crate) mod encode;
pub(crate) mod inbox;
pub(crate) mod method;

/// Ends every frame.
pub(crate) const FRAME_END: u8 = 0xCE;
/// Type, channel and size before the payload, and the end octet after it.
pub(crate) const FRAME_OVERHEAD: usize = 8;
/// The smallest `frame_max` the specification lets a peer ask for.
pub(crate) const FRAME_MIN: u32 = 4096;

pub(crate) const TYPE_METHOD: u8 = 1;
pub(crate) const TYPE_HEADER: u8 = 2;
pub(crate) const TYPE_BODY: u8 = 3;
pub(crate) const TYPE_HEARTBEAT: u8 = 8;

/// The only channel the generator ever opens on a connection.
pub(crate) const CHANNEL: u16 = 1;
/// What a client says first.
pub(crate) const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
/// A heartbeat frame, whole.
pub(crate) const HEARTBEAT: &[u8] = &[TYPE_HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END];

/// Widens a 32-bit length; exact on every platform that can address a frame.
pub(crate) fn length(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
