//! [`Cursor`]: reads AMQP's scalar types off the front of a byte slice.
//!
//! Every read checks its length and gives `None` at the end of the bytes; what that means to the peer is the caller's to
//! say. Allocates nothing. Used by the parsers of methods and properties.

/// Bytes not read yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(super) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    #[inline]
    pub(super) fn octet(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    #[inline]
    pub(super) fn short(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(super) fn long(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(super) fn long_long(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A short string's bytes, whatever they are.
    #[inline]
    pub(super) fn short_string(&mut self) -> Option<&'a [u8]> {
        let bytes = self.octet()?;
        self.take(usize::from(bytes))
    }

    /// A long string's bytes.
    #[inline]
    pub(super) fn long_string(&mut self) -> Option<&'a [u8]> {
        let bytes = self.long()?;
        self.take(bytes as usize)
    }
}
