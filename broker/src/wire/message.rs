//! [`Message`]: one published message as one shared allocation.
//!
//! Exchange, routing key, the property bytes as received and the body travel together, so that handing a message to a
//! queue or a consumer moves one pointer. Properties are decoded only where a rule needs one. Built by the session's
//! content assembler; read by the engine (routing, queues) and the delivery encoder.

use bytes::Bytes;
use triomphe::ThinArc;

use super::properties::{self, Properties};
use crate::limits::INLINE_BODY_BYTES_MAX;

/// The fixed part of a message, in front of its variable bytes.
#[derive(Debug)]
struct Head {
    exchange_bytes: u8,
    routing_key_bytes: u8,
    persistent: bool,
    priority: u8,
    properties_bytes: u32,
    arrived_ms: u64,
    /// A body too large to copy; boxed so that the many small messages pay 8 bytes for it.
    large_body: Option<Box<Bytes>>,
}

/// A published message. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Message {
    /// Exchange, routing key, properties and, unless it is large, the body, one after the other.
    inner: ThinArc<Head, u8>,
}

/// Where the parts of a message end inside the bytes it is built from.
#[derive(Debug, Clone, Copy, Default)]
pub struct MessageParts {
    /// Length of the exchange name.
    pub exchange_bytes: u8,
    /// Length of the routing key.
    pub routing_key_bytes: u8,
    /// Length of the property flags and list as received.
    pub properties_bytes: u32,
    /// Whether delivery-mode is 2.
    pub persistent: bool,
    /// The priority; 0 if there is none.
    pub priority: u8,
    /// When the broker got the message, in milliseconds since 1970.
    pub arrived_ms: u64,
}

impl Message {
    /// Builds a message whose parts lie one after the other in `bytes`: exchange, routing key, properties, body.
    ///
    /// # Panics
    ///
    /// If the lengths in `parts` exceed `bytes`: the caller measured them itself.
    #[must_use]
    pub fn from_parts(parts: MessageParts, bytes: &[u8]) -> Self {
        let body_at = parts.body_at();
        assert!(body_at <= bytes.len(), "message parts lie outside of their bytes");
        if bytes.len() - body_at > INLINE_BODY_BYTES_MAX {
            return Self::with_large_body(
                parts,
                &bytes[..body_at],
                Bytes::copy_from_slice(&bytes[body_at..]),
            );
        }
        Self { inner: ThinArc::from_header_and_slice(parts.head(None), bytes) }
    }

    /// Builds a message that takes over `body` without copying it; `prefix` holds exchange, routing key and properties.
    ///
    /// # Panics
    ///
    /// If the lengths in `parts` are not exactly those of `prefix`.
    #[must_use]
    pub fn with_large_body(parts: MessageParts, prefix: &[u8], body: Bytes) -> Self {
        assert_eq!(parts.body_at(), prefix.len(), "message parts do not match their bytes");
        Self { inner: ThinArc::from_header_and_slice(parts.head(Some(Box::new(body))), prefix) }
    }

    /// Builds a message from separate pieces, for tests and for messages the broker makes itself.
    ///
    /// # Panics
    ///
    /// If `exchange` or `routing_key` is longer than a short string (255 bytes).
    #[must_use]
    pub fn new(exchange: &str, routing_key: &str, properties: &[u8], persistent: bool, body: &[u8]) -> Self {
        let short = |name: &str| u8::try_from(name.len()).expect("names are short strings");
        let parts = MessageParts {
            exchange_bytes: short(exchange),
            routing_key_bytes: short(routing_key),
            properties_bytes: u32::try_from(properties.len()).expect("properties fit one frame"),
            persistent,
            ..MessageParts::default()
        };
        let bytes = [exchange.as_bytes(), routing_key.as_bytes(), properties, body].concat();
        Self::from_parts(parts, &bytes)
    }

    /// The same message with other properties; a large body is shared, not copied.
    ///
    /// # Panics
    ///
    /// If `properties` measures 4 GiB or more.
    #[must_use]
    pub fn with_properties(&self, properties: &[u8]) -> Self {
        let properties_bytes = u32::try_from(properties.len()).expect("properties fit one frame");
        let parts = MessageParts { properties_bytes, ..self.parts().0 };
        match self.large_body() {
            Some(body) => {
                let prefix = [self.exchange(), self.routing_key(), properties].concat();
                Self::with_large_body(parts, &prefix, body.clone())
            }
            None => {
                let bytes = [self.exchange(), self.routing_key(), properties, self.body()].concat();
                Self::from_parts(parts, &bytes)
            }
        }
    }

    fn head(&self) -> &Head {
        &self.inner.header.header
    }

    fn bytes(&self) -> &[u8] {
        &self.inner.slice
    }

    /// The exchange it was published to, as bytes of valid UTF-8.
    #[must_use]
    pub fn exchange(&self) -> &[u8] {
        &self.bytes()[..usize::from(self.head().exchange_bytes)]
    }

    /// The routing key, as bytes of valid UTF-8.
    #[must_use]
    pub fn routing_key(&self) -> &[u8] {
        let at = usize::from(self.head().exchange_bytes);
        &self.bytes()[at..at + usize::from(self.head().routing_key_bytes)]
    }

    /// The property flags and list exactly as received.
    #[must_use]
    pub fn properties(&self) -> &[u8] {
        let end = self.body_at();
        &self.bytes()[end - self.head().properties_bytes as usize..end]
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match &self.head().large_body {
            Some(body) => body,
            None => &self.bytes()[self.body_at()..],
        }
    }

    /// The body as a shared buffer, if it is kept apart: the encoder then need not copy it.
    #[must_use]
    pub fn large_body(&self) -> Option<&Bytes> {
        self.head().large_body.as_deref()
    }

    /// Whether the publisher asked for it to survive a restart (delivery-mode 2).
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.head().persistent
    }

    /// The publisher's priority; 0 if it gave none.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.head().priority
    }

    /// When the broker got it, in milliseconds since 1970.
    #[must_use]
    pub fn arrived_ms(&self) -> u64 {
        self.head().arrived_ms
    }

    /// When the message itself says that it expires (property expiration), in milliseconds since 1970. Cheap for messages that
    /// say nothing.
    #[must_use]
    #[inline]
    pub fn expires_ms(&self) -> Option<u64> {
        if !properties::has_expiration(self.properties()) {
            return None;
        }
        let properties = Properties::parse(self.properties()).ok()?;
        let expiration = properties.expiration()?.trim_start_matches(['+', '-']);
        Some(self.arrived_ms().saturating_add(expiration.parse().ok()?))
    }

    /// The same message as one that arrives at this moment under another exchange and routing key and with other properties; a
    /// large body is shared, not copied.
    ///
    /// # Panics
    ///
    /// If a name is longer than a short string (255 bytes), or `properties` measures 4 GiB or more.
    #[must_use]
    pub fn republished(&self, exchange: &str, routing_key: &str, properties: &[u8], arrived_ms: u64) -> Self {
        let short = |name: &str| u8::try_from(name.len()).expect("names are short strings");
        let parts = MessageParts {
            exchange_bytes: short(exchange),
            routing_key_bytes: short(routing_key),
            properties_bytes: u32::try_from(properties.len()).expect("properties fit one frame"),
            arrived_ms,
            ..self.parts().0
        };
        let names = [exchange.as_bytes(), routing_key.as_bytes(), properties];
        match self.large_body() {
            Some(body) => Self::with_large_body(parts, &names.concat(), body.clone()),
            None => Self::from_parts(parts, &[&names.concat(), self.body()].concat()),
        }
    }

    /// What the message occupies in memory, in bytes, less the allocator's rounding.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let large = self.head().large_body.as_ref().map_or(0, |body| body.len() + size_of::<Bytes>());
        size_of::<Head>() + 2 * size_of::<usize>() + self.bytes().len() + large
    }

    /// Its bytes as they can be stored: where the parts end, the exchange, routing key and properties one after the
    /// other, and the body. [`Message::from_parts`] makes the same message of them.
    #[must_use]
    pub fn parts(&self) -> (MessageParts, &[u8], &[u8]) {
        let head = self.head();
        let parts = MessageParts {
            exchange_bytes: head.exchange_bytes,
            routing_key_bytes: head.routing_key_bytes,
            properties_bytes: head.properties_bytes,
            persistent: head.persistent,
            priority: head.priority,
            arrived_ms: head.arrived_ms,
        };
        (parts, &self.bytes()[..self.body_at()], self.body())
    }

    /// Tells shared messages apart: equal for clones, different for others while both are alive.
    #[must_use]
    pub fn identity(&self) -> usize {
        self.inner.as_ptr().addr()
    }

    fn body_at(&self) -> usize {
        let head = self.head();
        usize::from(head.exchange_bytes)
            + usize::from(head.routing_key_bytes)
            + head.properties_bytes as usize
    }
}

impl MessageParts {
    /// Where the body begins.
    #[must_use]
    pub fn body_at(&self) -> usize {
        usize::from(self.exchange_bytes)
            + usize::from(self.routing_key_bytes)
            + self.properties_bytes as usize
    }

    fn head(self, large_body: Option<Box<Bytes>>) -> Head {
        Head {
            exchange_bytes: self.exchange_bytes,
            routing_key_bytes: self.routing_key_bytes,
            persistent: self.persistent,
            priority: self.priority,
            properties_bytes: self.properties_bytes,
            arrived_ms: self.arrived_ms,
            large_body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_as_they_went_in_on_both_sides_of_the_inline_bound() {
        for size in [0, 1, INLINE_BODY_BYTES_MAX, INLINE_BODY_BYTES_MAX + 1] {
            let body = vec![7; size];
            let message = Message::new("logs", "a.b", &[0x10, 0, 2], true, &body);
            assert_eq!(message.exchange(), b"logs");
            assert_eq!(message.routing_key(), b"a.b");
            assert_eq!(message.properties(), [0x10, 0, 2]);
            assert_eq!(message.body(), body);
            assert_eq!(message.large_body().is_some(), size > INLINE_BODY_BYTES_MAX);
            assert!(message.is_persistent());
        }
    }

    #[test]
    fn other_properties_leave_the_rest_as_it_was_and_share_a_large_body() {
        for size in [0, 1, INLINE_BODY_BYTES_MAX, INLINE_BODY_BYTES_MAX + 1] {
            let message = Message::new("logs", "a.b", &[0x10, 0, 2], true, &vec![7; size]);
            let changed = message.with_properties(&[0x18, 0, 2, 9]);
            assert_eq!(changed.properties(), [0x18, 0, 2, 9]);
            assert_eq!(message.properties(), [0x10, 0, 2]);
            assert_eq!((changed.exchange(), changed.routing_key()), (&b"logs"[..], &b"a.b"[..]));
            assert_eq!(changed.body(), message.body());
            assert!(changed.is_persistent());
            let bodies = [&message, &changed].map(|message| message.large_body().map(|body| body.as_ptr()));
            assert_eq!(bodies[0], bodies[1]);
        }
    }

    #[test]
    fn a_message_expires_so_long_after_it_arrived() {
        let expiring = |expiration: &str| {
            let length = u8::try_from(expiration.len()).expect("it is short");
            let properties = [&[1, 0, length], expiration.as_bytes()].concat();
            let parts = MessageParts {
                properties_bytes: 3 + u32::from(length),
                arrived_ms: 1000,
                ..MessageParts::default()
            };
            Message::from_parts(parts, &properties).expires_ms()
        };
        assert_eq!(
            [expiring("0"), expiring("+5"), expiring("-0"), expiring("007")],
            [Some(1000), Some(1005), Some(1000), Some(1007)]
        );
        assert_eq!(Message::new("", "", &[0, 0], false, b"x").expires_ms(), None);
    }

    #[test]
    fn a_republished_message_has_new_names_and_its_old_body() {
        for size in [1, INLINE_BODY_BYTES_MAX + 1] {
            let message = Message::new("logs", "a.b", &[0x10, 0, 2], true, &vec![7; size]);
            let again = message.republished("dead", "key", &[0, 0], 77);
            assert_eq!((again.exchange(), again.routing_key()), (&b"dead"[..], &b"key"[..]));
            assert_eq!(
                (again.properties(), again.body(), again.arrived_ms()),
                (&[0, 0][..], message.body(), 77)
            );
            assert!(again.is_persistent());
        }
    }

    #[test]
    fn a_small_message_costs_few_bytes_beside_its_body() {
        assert_eq!(size_of::<Message>(), 8);
        assert!(Message::new("", "queue", &[0, 0], false, &[0; 100]).memory_bytes() <= 150);
    }
}
