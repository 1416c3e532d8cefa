//! [`History`]: the messages that an `x-recent-history` exchange keeps for new bindings, as the topology sees them.
//!
//! The messages themselves are behind the server's handle. The topology only counts the bindings that were made, so that each of them
//! gets every message exactly once: through its route if the message was routed when the binding was there, else from the history.

use super::{Handle, Topology};

/// A recent history exchange on the way of a message.
#[derive(Debug, Clone)]
pub struct History<H> {
    /// The server's handle of its messages.
    pub handle: H,
    /// How many bindings were ever made from the exchange: a route that was found before a newer one does not lead there.
    pub version: u64,
    /// How many messages it keeps at most.
    pub messages_max: u32,
}

impl<Q: Handle> Topology<Q> {
    /// The history of an exchange, if it keeps one.
    #[must_use]
    pub fn history(&self, exchange: &str) -> Option<&History<Q::History>> {
        let number = self.exchange_names.get(exchange)?;
        self.exchanges[*number].history.as_ref()
    }
}
