//! Method numbers, and readers for the arguments of the few methods whose answers matter.
//!
//! It refuses to know every method: an unknown one is reported by number. Called by whoever looks at a frame.

use std::fmt;

use super::inbox::FrameError;

/// A class and a method number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodId {
    pub(crate) class: u16,
    pub(crate) method: u16,
}

const fn id(class: u16, method: u16) -> MethodId {
    MethodId { class, method }
}

pub(crate) const CONNECTION_START: MethodId = id(10, 10);
pub(crate) const CONNECTION_START_OK: MethodId = id(10, 11);
pub(crate) const CONNECTION_TUNE: MethodId = id(10, 30);
pub(crate) const CONNECTION_TUNE_OK: MethodId = id(10, 31);
pub(crate) const CONNECTION_OPEN: MethodId = id(10, 40);
pub(crate) const CONNECTION_OPEN_OK: MethodId = id(10, 41);
pub(crate) const CONNECTION_CLOSE: MethodId = id(10, 50);
pub(crate) const CONNECTION_CLOSE_OK: MethodId = id(10, 51);
pub(crate) const CONNECTION_BLOCKED: MethodId = id(10, 60);
pub(crate) const CONNECTION_UNBLOCKED: MethodId = id(10, 61);
pub(crate) const CHANNEL_OPEN: MethodId = id(20, 10);
pub(crate) const CHANNEL_OPEN_OK: MethodId = id(20, 11);
pub(crate) const CHANNEL_CLOSE: MethodId = id(20, 40);
pub(crate) const EXCHANGE_DECLARE: MethodId = id(40, 10);
pub(crate) const EXCHANGE_DECLARE_OK: MethodId = id(40, 11);
pub(crate) const EXCHANGE_DELETE: MethodId = id(40, 20);
pub(crate) const EXCHANGE_DELETE_OK: MethodId = id(40, 21);
pub(crate) const QUEUE_DECLARE: MethodId = id(50, 10);
pub(crate) const QUEUE_DECLARE_OK: MethodId = id(50, 11);
pub(crate) const QUEUE_BIND: MethodId = id(50, 20);
pub(crate) const QUEUE_BIND_OK: MethodId = id(50, 21);
pub(crate) const QUEUE_PURGE: MethodId = id(50, 30);
pub(crate) const QUEUE_PURGE_OK: MethodId = id(50, 31);
pub(crate) const QUEUE_DELETE: MethodId = id(50, 40);
pub(crate) const QUEUE_DELETE_OK: MethodId = id(50, 41);
pub(crate) const BASIC_QOS: MethodId = id(60, 10);
pub(crate) const BASIC_QOS_OK: MethodId = id(60, 11);
pub(crate) const CONSUME: MethodId = id(60, 20);
pub(crate) const CONSUME_OK: MethodId = id(60, 21);
pub(crate) const CANCEL: MethodId = id(60, 30);
pub(crate) const PUBLISH: MethodId = id(60, 40);
pub(crate) const RETURN: MethodId = id(60, 50);
pub(crate) const DELIVER: MethodId = id(60, 60);
pub(crate) const ACK: MethodId = id(60, 80);
pub(crate) const NACK: MethodId = id(60, 120);
pub(crate) const CONFIRM_SELECT: MethodId = id(85, 10);
pub(crate) const CONFIRM_SELECT_OK: MethodId = id(85, 11);

impl fmt::Display for MethodId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            CONNECTION_START => "connection.start",
            CONNECTION_TUNE => "connection.tune",
            CONNECTION_OPEN => "connection.open",
            CONNECTION_OPEN_OK => "connection.open-ok",
            CONNECTION_CLOSE_OK => "connection.close-ok",
            CHANNEL_OPEN_OK => "channel.open-ok",
            EXCHANGE_DECLARE | EXCHANGE_DECLARE_OK => "exchange.declare",
            EXCHANGE_DELETE | EXCHANGE_DELETE_OK => "exchange.delete",
            QUEUE_DECLARE | QUEUE_DECLARE_OK => "queue.declare",
            QUEUE_BIND | QUEUE_BIND_OK => "queue.bind",
            QUEUE_PURGE | QUEUE_PURGE_OK => "queue.purge",
            QUEUE_DELETE | QUEUE_DELETE_OK => "queue.delete",
            BASIC_QOS | BASIC_QOS_OK => "basic.qos",
            CONSUME | CONSUME_OK => "basic.consume",
            PUBLISH => "basic.publish",
            DELIVER => "basic.deliver",
            ACK => "basic.ack",
            NACK => "basic.nack",
            CONFIRM_SELECT | CONFIRM_SELECT_OK => "confirm.select",
            Self { class, method } => return write!(out, "method {class}.{method}"),
        };
        out.write_str(name)
    }
}

/// Reads method arguments in order.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    fn take(&mut self, count: usize) -> Result<&'a [u8], FrameError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(FrameError::Truncated("method"))?;
        self.0 = rest;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(FrameError::Truncated("method"))?;
        self.0 = rest;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, FrameError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FrameError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_be_bytes)
    }

    #[inline]
    pub(crate) fn short(&mut self) -> Result<&'a [u8], FrameError> {
        let size = self.u8()?;
        self.take(usize::from(size))
    }

    pub(crate) fn text(&mut self) -> Result<String, FrameError> {
        self.short().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// What matters of `basic.deliver`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Deliver<'a> {
    pub(crate) consumer_tag: &'a [u8],
    pub(crate) delivery_tag: u64,
    pub(crate) redelivered: bool,
}

impl<'a> Deliver<'a> {
    #[inline]
    pub(crate) fn parse(arguments: &'a [u8]) -> Result<Self, FrameError> {
        let mut reader = Reader(arguments);
        Ok(Self {
            consumer_tag: reader.short()?,
            delivery_tag: reader.u64()?,
            redelivered: reader.u8()? & 1 == 1,
        })
    }
}

/// A confirm, positive or not: the arguments of `basic.ack` and `basic.nack` begin alike.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Confirm {
    pub(crate) delivery_tag: u64,
    pub(crate) multiple: bool,
}

impl Confirm {
    pub(crate) fn parse(arguments: &[u8]) -> Result<Self, FrameError> {
        let mut reader = Reader(arguments);
        Ok(Self { delivery_tag: reader.u64()?, multiple: reader.u8()? & 1 == 1 })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_deliver_is_read_up_to_the_redelivered_flag() {
        let bytes = b"\x022a\x00\x00\x00\x00\x00\x00\x01\x00\x01\x00\x01q";
        let deliver = Deliver::parse(bytes).unwrap();
        assert_eq!(deliver, Deliver { consumer_tag: b"2a", delivery_tag: 256, redelivered: true });
    }

    #[test]
    fn strings_that_lie_about_their_length_are_an_error() {
        assert_eq!(Deliver::parse(b"\x09ab").unwrap_err(), FrameError::Truncated("method"));
        assert!(Confirm::parse(&[0; 8]).is_err());
    }
}
