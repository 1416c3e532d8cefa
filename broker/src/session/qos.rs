//! [`Qos`]: the prefetch limits that one channel has set.
//!
//! It only remembers and decides what changes; the limits are enforced by the queues and the server's channel gate.
//! Called by the channel.

use amq_protocol::protocol::basic;

use super::faults;
use crate::error::AmqpError;

/// The prefetch limits of one channel.
#[derive(Debug, Default)]
pub(super) struct Qos {
    /// What consumers started from now on get, in messages; 0 is unlimited.
    prefetch: u16,
    /// The limit for all consumers of the channel together; 0 is none.
    channel_limit: u16,
}

impl Qos {
    /// The per-consumer limit at this moment.
    pub(super) fn prefetch(&self) -> u16 {
        self.prefetch
    }

    /// The limit of the channel.
    pub(super) fn channel_limit(&self) -> u16 {
        self.channel_limit
    }

    /// Takes `basic.qos` and returns the new channel-wide limit if that changed.
    ///
    /// `global=false` also removes a channel-wide limit set earlier, as in RabbitMQ.
    pub(super) fn handle(&mut self, qos: &basic::Qos, prefetch_size: u32) -> Result<Option<u16>, AmqpError> {
        if prefetch_size != 0 {
            return Err(faults::prefetch_size(prefetch_size));
        }
        let channel_limit = if qos.global {
            qos.prefetch_count
        } else {
            self.prefetch = qos.prefetch_count;
            0
        };
        let changed = channel_limit != self.channel_limit;
        self.channel_limit = channel_limit;
        Ok(changed.then_some(channel_limit))
    }
}

/// The `prefetch_size` of an encoded `basic.qos`, which the parser passes over.
pub(super) fn prefetch_size(payload: &[u8]) -> u32 {
    payload.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qos(prefetch_count: u16, global: bool) -> basic::Qos {
        basic::Qos { prefetch_count, global }
    }

    #[test]
    fn a_per_consumer_limit_removes_the_channel_wide_one() {
        let mut limits = Qos::default();
        assert_eq!(limits.handle(&qos(5, false), 0), Ok(None));
        assert_eq!(limits.handle(&qos(9, true), 0), Ok(Some(9)));
        assert_eq!(limits.prefetch(), 5);
        assert_eq!(limits.handle(&qos(9, true), 0), Ok(None));
        assert_eq!(limits.handle(&qos(7, false), 0), Ok(Some(0)));
        assert_eq!(limits.prefetch(), 7);
    }

    #[test]
    fn a_limit_in_bytes_is_refused_and_changes_nothing() {
        let mut limits = Qos::default();
        assert_eq!(limits.handle(&qos(5, false), 7), Err(faults::prefetch_size(7)));
        assert_eq!(limits.prefetch(), 0);
        assert_eq!(prefetch_size(&[0, 60, 0, 10, 0, 0, 1, 2, 0, 1, 0]), 258);
    }
}
