//! [`MessageFilter`]: which messages are meant, by what is in them.

use amq_protocol::types::AMQPValue;
use memchr::memmem::Finder;

use crate::wire::message::Message;
use crate::wire::properties::Properties;

/// Conditions that all have to hold; without any every message is meant.
#[derive(Debug, Clone, Default)]
pub struct MessageFilter {
    /// Headers by name: there, or with this value if one is given. Numbers and booleans are compared as they are written.
    pub headers: Vec<(String, Option<String>)>,
    /// The body contains this.
    pub text: Option<String>,
    /// Published to this exchange.
    pub exchange: Option<String>,
    /// With this routing key.
    pub routing_key: Option<String>,
    /// The property `message_id` is this.
    pub message_id: Option<String>,
}

/// A filter that is ready to be used on many messages.
#[derive(Debug)]
pub(super) struct Matcher<'a> {
    filter: &'a MessageFilter,
    text: Option<Finder<'a>>,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(filter: &'a MessageFilter) -> Self {
        Self { filter, text: filter.text.as_ref().map(|text| Finder::new(text.as_bytes())) }
    }

    /// Whether a message is meant. The body is searched last.
    pub(super) fn matches(&self, message: &Message) -> bool {
        let is = |wanted: &Option<String>, found: &[u8]| {
            wanted.as_ref().is_none_or(|wanted| wanted.as_bytes() == found)
        };
        is(&self.filter.exchange, message.exchange())
            && is(&self.filter.routing_key, message.routing_key())
            && self.matches_properties(message)
            && self.text.as_ref().is_none_or(|text| text.find(message.body()).is_some())
    }

    fn matches_properties(&self, message: &Message) -> bool {
        let MessageFilter { headers, message_id, .. } = self.filter;
        if headers.is_empty() && message_id.is_none() {
            return true;
        }
        let Ok(properties) = Properties::parse(message.properties()) else { return false };
        if message_id.as_ref().is_some_and(|wanted| properties.message_id() != Some(wanted.as_bytes())) {
            return false;
        }
        if headers.iter().any(|(name, _)| !properties.has_header(name.as_bytes())) {
            return false;
        }
        let Some(table) = properties.headers() else { return headers.is_empty() };
        headers.iter().all(|(name, wanted)| {
            let value = table.inner().get(name.as_str());
            wanted.as_ref().is_none_or(|wanted| value.is_some_and(|value| says(value, wanted)))
        })
    }
}

/// Whether a value is written like this.
fn says(value: &AMQPValue, wanted: &str) -> bool {
    match value {
        AMQPValue::LongString(text) => text.as_bytes() == wanted.as_bytes(),
        AMQPValue::ShortString(text) => text.as_str() == wanted,
        AMQPValue::ByteArray(bytes) => bytes.as_slice() == wanted.as_bytes(),
        AMQPValue::Boolean(value) => value.to_string() == wanted,
        AMQPValue::ShortShortInt(value) => value.to_string() == wanted,
        AMQPValue::ShortShortUInt(value) => value.to_string() == wanted,
        AMQPValue::ShortInt(value) => value.to_string() == wanted,
        AMQPValue::ShortUInt(value) => value.to_string() == wanted,
        AMQPValue::LongInt(value) => value.to_string() == wanted,
        AMQPValue::LongUInt(value) => value.to_string() == wanted,
        AMQPValue::LongLongInt(value) => value.to_string() == wanted,
        AMQPValue::Timestamp(value) => value.to_string() == wanted,
        AMQPValue::Float(value) => value.to_string() == wanted,
        AMQPValue::Double(value) => value.to_string() == wanted,
        AMQPValue::Void => wanted == "null",
        AMQPValue::DecimalValue(_) | AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use amq_protocol::types::FieldTable;

    use super::*;
    use crate::wire::properties::with_headers;

    fn message(headers: &[(&str, AMQPValue)], body: &[u8]) -> Message {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), value.clone());
        }
        let properties = with_headers(&[0, 0], &table).unwrap_or_default();
        Message::new("events", "order.paid", &properties, true, body)
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn all_conditions_have_to_hold() {
        let message = message(
            &[("tenant", AMQPValue::LongString("acme".into())), ("try", AMQPValue::LongInt(3))],
            b"order 4711 of \xff",
        );
        let any = MessageFilter::default;
        let header = |name: &str, value: Option<&str>| MessageFilter {
            headers: vec![(name.to_owned(), value.map(str::to_owned))],
            ..any()
        };
        let table = [
            (any(), true),
            (MessageFilter { text: text("4711"), ..any() }, true),
            (MessageFilter { text: text("4712"), ..any() }, false),
            (MessageFilter { exchange: text("events"), ..any() }, true),
            (MessageFilter { exchange: text(""), ..any() }, false),
            (MessageFilter { routing_key: text("order.paid"), text: text("order"), ..any() }, true),
            (MessageFilter { routing_key: text("order"), text: text("order"), ..any() }, false),
            (MessageFilter { message_id: text("1"), ..any() }, false),
            (header("tenant", Some("acme")), true),
            (header("tenant", Some("other")), false),
            (header("tenant", None), true),
            (header("region", None), false),
            (header("try", Some("3")), true),
            (header("try", Some("4")), false),
        ];
        for (filter, expected) in table {
            assert_eq!(Matcher::new(&filter).matches(&message), expected, "{filter:?}");
        }
        assert!(!Matcher::new(&header("tenant", None)).matches(&Message::new("", "", &[0, 0], true, b"")));
    }
}
