//! [`MessageView`]: what an exchange may look at of a message, beside its routing keys.
//!
//! Most exchanges look at nothing, so nothing is decoded before one asks. Randomness comes in here as a number: the engine has
//! none of its own. Made by the server for each message whose route it does not know.

use std::cell::OnceCell;

use amq_protocol::types::FieldTable;

use super::stable_hash::mix;
use crate::wire::properties::Properties;

/// A message as routing sees it.
#[derive(Debug)]
pub struct MessageView<'a> {
    properties: &'a [u8],
    headers: OnceCell<FieldTable>,
    random: u64,
}

impl<'a> MessageView<'a> {
    /// A view of property bytes as they came. `random` is what random exchanges choose by.
    #[must_use]
    pub fn new(properties: &'a [u8], random: u64) -> Self {
        Self { properties, headers: OnceCell::new(), random }
    }

    /// The header table, decoded at the first call; empty if there is none.
    pub(crate) fn headers(&self) -> &FieldTable {
        self.headers
            .get_or_init(|| self.properties().and_then(|properties| properties.headers()).unwrap_or_default())
    }

    /// The properties; none if they are malformed, which they are not: they were checked when they were read.
    pub(super) fn properties(&self) -> Option<Properties<'a>> {
        Properties::parse(self.properties).ok()
    }

    /// The random bits for one exchange, so that two on the way of a message choose independently.
    pub(super) fn random_bits(&self, exchange: u32) -> u64 {
        mix(self.random ^ mix(u64::from(exchange) + 1))
    }

    /// Whether the headers were asked for.
    #[cfg(test)]
    pub(crate) fn has_decoded_headers(&self) -> bool {
        self.headers.get().is_some()
    }
}
