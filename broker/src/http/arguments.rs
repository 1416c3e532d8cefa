//! Field tables in JSON and back, as RabbitMQ's management plugin has them: 64-bit integers, doubles, long strings.

use amq_protocol::types::{AMQPValue, FieldTable};
use serde_json::{Map, Number, Value};

/// How deep arguments may be nested: what the wire takes.
const DEPTH_MAX: usize = 32;

/// A table as a JSON object.
pub(super) fn to_json(table: &FieldTable) -> Map<String, Value> {
    table.inner().iter().map(|(name, value)| (name.as_str().to_owned(), value_to_json(value))).collect()
}

fn value_to_json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => Value::Bool(*value),
        AMQPValue::ShortShortInt(number) => (*number).into(),
        AMQPValue::ShortShortUInt(number) => (*number).into(),
        AMQPValue::ShortInt(number) => (*number).into(),
        AMQPValue::ShortUInt(number) => (*number).into(),
        AMQPValue::LongInt(number) => (*number).into(),
        AMQPValue::LongUInt(number) => (*number).into(),
        AMQPValue::LongLongInt(number) => (*number).into(),
        AMQPValue::Timestamp(seconds) => (*seconds).into(),
        AMQPValue::Float(number) => Number::from_f64(f64::from(*number)).map_or(Value::Null, Value::Number),
        AMQPValue::Double(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
        AMQPValue::DecimalValue(decimal) => format!("{}e-{}", decimal.value, decimal.scale).into(),
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(value_to_json).collect(),
        AMQPValue::FieldTable(table) => Value::Object(to_json(table)),
        AMQPValue::Void => Value::Null,
    }
}

/// A JSON object as a table.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn from_json(object: &Map<String, Value>) -> Result<FieldTable, String> {
    table_from(object, 0)
}

fn table_from(object: &Map<String, Value>, depth: usize) -> Result<FieldTable, String> {
    let mut table = FieldTable::default();
    for (name, value) in object {
        if name.len() > usize::from(u8::MAX) {
            return Err("a name is longer than 255 bytes".to_owned());
        }
        table.insert(name.as_str().into(), value_from(value, depth)?);
    }
    Ok(table)
}

fn value_from(value: &Value, depth: usize) -> Result<AMQPValue, String> {
    if depth >= DEPTH_MAX {
        return Err(format!("arguments are nested deeper than {DEPTH_MAX} levels"));
    }
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => AMQPValue::LongLongInt(number),
            (None, Some(_)) if number.is_u64() => return Err(format!("{number} is too large a number")),
            (None, number) => AMQPValue::Double(number.unwrap_or_default()),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(values) => {
            let values: Result<Vec<_>, _> = values.iter().map(|value| value_from(value, depth + 1)).collect();
            AMQPValue::FieldArray(values?.into())
        }
        Value::Object(object) => AMQPValue::FieldTable(table_from(object, depth + 1)?),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_comes_back_from_a_table() {
        let given = json!({"n": -1, "f": 1.5, "t": "x", "b": true, "v": null, "a": [1, {"k": "v"}]});
        let table = from_json(given.as_object().unwrap()).unwrap();
        assert_eq!(table.inner().get("n"), Some(&AMQPValue::LongLongInt(-1)));
        assert_eq!(Value::Object(to_json(&table)), given);
    }

    #[test]
    fn what_a_table_cannot_hold_is_refused() {
        let refused = |value: Value| from_json(value.as_object().unwrap()).is_err();
        assert!(refused(json!({"n": u64::MAX})));
        let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
        assert!(refused(json!({ "a": deep })));
        let long = "x".repeat(256);
        assert!(refused(json!({ long: 1 })));
    }
}
