//! [`from_table`]: properties from a field table, the other way round of [`super::to_table`].

use amq_protocol::types::{AMQPValue, FieldTable};

use super::all::name_of;
use super::{P, Property};
use crate::wire::table::encode_table;

/// The flags and list of the properties that the table names; what else is in it is passed over.
///
/// # Errors
///
/// What is wrong, for whoever made the table.
pub fn from_table(table: &FieldTable) -> Result<Vec<u8>, String> {
    let mut flags: u16 = 0;
    let mut bytes = vec![0, 0];
    for property in P::ALL {
        let name = name_of(property);
        let value = match table.inner().get(name) {
            None | Some(AMQPValue::Void) => continue,
            Some(value) => value,
        };
        write(property, value, &mut bytes).ok_or_else(|| {
            let wanted = match property {
                P::Headers => "an object",
                P::DeliveryMode | P::Priority => "a number from 0 to 255",
                P::Timestamp => "a number that is not negative",
                _ => "a text of at most 255 bytes",
            };
            format!("the property {name} has to be {wanted}")
        })?;
        flags |= property.flag();
    }
    bytes[..2].copy_from_slice(&flags.to_be_bytes());
    Ok(bytes)
}

fn write(property: Property, value: &AMQPValue, bytes: &mut Vec<u8>) -> Option<()> {
    match (property, value) {
        (P::Headers, AMQPValue::FieldTable(headers)) => bytes.extend(encode_table(headers)),
        (P::Headers, _) => return None,
        (P::DeliveryMode | P::Priority, value) => bytes.push(u8::try_from(number(value)?).ok()?),
        (P::Timestamp, value) => bytes.extend(number(value)?.to_be_bytes()),
        (_, AMQPValue::LongString(text)) => {
            bytes.push(u8::try_from(text.as_bytes().len()).ok()?);
            bytes.extend_from_slice(text.as_bytes());
        }
        _ => return None,
    }
    Some(())
}

fn number(value: &AMQPValue) -> Option<u64> {
    match value {
        AMQPValue::LongLongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::LongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::Timestamp(number) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::to_table;
    use super::*;

    fn table(pairs: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in pairs {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    #[test]
    fn all_properties_come_back_from_the_wire() {
        let text = |value: &str| AMQPValue::LongString(value.into());
        let given = table(&[
            ("content_type", text("a")),
            ("headers", AMQPValue::FieldTable(table(&[("x", AMQPValue::LongLongInt(1))]))),
            ("delivery_mode", AMQPValue::LongInt(2)),
            ("priority", AMQPValue::LongInt(9)),
            ("expiration", text("5")),
            ("timestamp", AMQPValue::LongInt(77)),
            ("cluster_id", text("z")),
        ]);
        let bytes = from_table(&given).expect("all fit");
        assert_eq!(to_table(&bytes), given);
        assert_eq!(from_table(&FieldTable::default()), Ok(vec![0, 0]));
        assert_eq!(from_table(&table(&[("foo", text("x"))])), Ok(vec![0, 0]));
    }

    #[test]
    fn what_a_property_cannot_be_is_refused() {
        let refused = |name: &str, value| from_table(&table(&[(name, value)])).expect_err("wrong");
        assert_eq!(
            refused("priority", AMQPValue::LongLongInt(256)),
            "the property priority has to be a number from 0 to 255"
        );
        refused("timestamp", AMQPValue::LongLongInt(-1));
        refused("headers", AMQPValue::Boolean(true));
        refused("type", AMQPValue::LongString("x".repeat(256).into()));
    }
}
