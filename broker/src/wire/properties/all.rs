//! [`to_table`]: all properties of a message as a field table, for those who watch messages instead of consuming them.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::{P, Property, PropertyList};
use crate::wire::cursor::Cursor;
use crate::wire::table::decode_table;

/// The properties that are there, under RabbitMQ's names: headers as a table, numbers as integers, texts as long strings. Of
/// malformed bytes those in front of the fault.
#[must_use]
pub fn to_table(properties: &[u8]) -> FieldTable {
    let mut table = FieldTable::default();
    let mut cursor = Cursor::new(properties);
    let Some(flags) = cursor.short() else { return table };
    let mut list = PropertyList { flags, cursor };
    for property in P::ALL {
        match value_of(&mut list, property) {
            Some(value) => {
                table.insert(name_of(property).into(), value);
            }
            None if flags & property.flag() != 0 => break,
            None => {}
        }
    }
    table
}

fn value_of(list: &mut PropertyList<'_>, property: Property) -> Option<AMQPValue> {
    match property {
        P::Headers => {
            list.table(property).ok()?.and_then(|table| decode_table(table).ok()).map(AMQPValue::FieldTable)
        }
        P::DeliveryMode | P::Priority => {
            list.octet(property).ok()?.map(|number| AMQPValue::LongInt(number.into()))
        }
        P::Timestamp => list.long_long(property).ok()?.map(|seconds| {
            // RabbitMQ writes 32 bits whatever the number is.
            i32::try_from(seconds).map_or_else(|_| AMQPValue::Timestamp(seconds), AMQPValue::LongInt)
        }),
        _ => list.text(property).ok()?.map(|text| AMQPValue::LongString(text.into())),
    }
}

pub(super) fn name_of(property: Property) -> &'static str {
    match property {
        P::ContentType => "content_type",
        P::ContentEncoding => "content_encoding",
        P::Headers => "headers",
        P::DeliveryMode => "delivery_mode",
        P::Priority => "priority",
        P::CorrelationId => "correlation_id",
        P::ReplyTo => "reply_to",
        P::Expiration => "expiration",
        P::MessageId => "message_id",
        P::Timestamp => "timestamp",
        P::Type => "type",
        P::UserId => "user_id",
        P::AppId => "app_id",
        P::ClusterId => "cluster_id",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_properties_have_their_names_and_types() {
        // Every flag but that of the table; each text is one letter.
        let mut bytes = vec![0xdf, 0xfc];
        for text in ["a", "b"] {
            bytes.extend([1, text.as_bytes()[0]]);
        }
        bytes.extend([2, 9]);
        for text in ["c", "d", "5", "e"] {
            bytes.extend([1, text.as_bytes()[0]]);
        }
        bytes.extend(77_u64.to_be_bytes());
        for text in ["f", "g", "h", "i"] {
            bytes.extend([1, text.as_bytes()[0]]);
        }
        let table = to_table(&bytes);
        let text = |value: &str| Some(AMQPValue::LongString(value.into()));
        let number = |value| Some(AMQPValue::LongInt(value));
        for (name, value) in [
            ("content_type", text("a")),
            ("content_encoding", text("b")),
            ("headers", None),
            ("delivery_mode", number(2)),
            ("priority", number(9)),
            ("correlation_id", text("c")),
            ("reply_to", text("d")),
            ("expiration", text("5")),
            ("message_id", text("e")),
            ("timestamp", number(77)),
            ("type", text("f")),
            ("user_id", text("g")),
            ("app_id", text("h")),
            ("cluster_id", text("i")),
        ] {
            assert_eq!(table.inner().get(name), value.as_ref(), "{name}");
        }
        assert_eq!(to_table(&[0, 0]), FieldTable::default());
        assert_eq!(to_table(&[0x80, 0, 200]), FieldTable::default());
    }
}
