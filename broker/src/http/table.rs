//! Arguments of queues, exchanges and bindings in JSON, and back, as RabbitMQ translates them.
//!
//! JSON has fewer types: all whole numbers become 64 bits wide, which is one class for every rule about arguments.

use amq_protocol::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use serde_json::{Map, Number, Value};

use super::error::ApiError;
use crate::limits::TABLE_DEPTH_MAX;

/// A table as a JSON object.
pub(super) fn to_json(table: &FieldTable) -> Value {
    let fields = table.inner().iter().map(|(name, value)| (name.as_str().to_owned(), value_to_json(value)));
    Value::Object(fields.collect())
}

fn value_to_json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::ShortShortInt(value) => (*value).into(),
        AMQPValue::ShortShortUInt(value) => (*value).into(),
        AMQPValue::ShortInt(value) => (*value).into(),
        AMQPValue::ShortUInt(value) => (*value).into(),
        AMQPValue::LongInt(value) => (*value).into(),
        AMQPValue::LongUInt(value) => (*value).into(),
        AMQPValue::LongLongInt(value) => (*value).into(),
        AMQPValue::Timestamp(value) => (*value).into(),
        AMQPValue::Float(value) => float(f64::from(*value)),
        AMQPValue::Double(value) => float(*value),
        AMQPValue::DecimalValue(value) => float(f64::from(value.value) / 10_f64.powi(i32::from(value.scale))),
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(value_to_json).collect(),
        AMQPValue::FieldTable(table) => to_json(table),
        AMQPValue::Void => Value::Null,
    }
}

/// JSON has no infinities.
fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// A table from the object that was sent as `name`; an empty one for none, and for the empty array that some libraries send.
pub(super) fn from_json(name: &str, value: Option<&Value>) -> Result<FieldTable, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(FieldTable::default()),
        Some(Value::Array(values)) if values.is_empty() => Ok(FieldTable::default()),
        Some(Value::Object(fields)) => table(fields, 1),
        Some(_) => Err(ApiError::bad_request(format!("{name} has to be a JSON object"))),
    }
}

fn table(fields: &Map<String, Value>, depth: usize) -> Result<FieldTable, ApiError> {
    if depth > TABLE_DEPTH_MAX {
        let reason = format!("arguments are nested more than {TABLE_DEPTH_MAX} deep");
        return Err(ApiError::bad_request(reason));
    }
    let mut table = FieldTable::default();
    for (name, value) in fields {
        let too_long = |_| ApiError::bad_request("the name of an argument is longer than 255 bytes");
        table.insert(ShortString::try_new(name.as_str()).map_err(too_long)?, value_from_json(value, depth)?);
    }
    Ok(table)
}

fn value_from_json(value: &Value, depth: usize) -> Result<AMQPValue, ApiError> {
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => AMQPValue::LongLongInt(number),
            None if number.is_u64() => {
                return Err(ApiError::bad_request(format!("{number} is too large a number")));
            }
            None => AMQPValue::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(values) => {
            if depth >= TABLE_DEPTH_MAX {
                let reason = format!("arguments are nested more than {TABLE_DEPTH_MAX} deep");
                return Err(ApiError::bad_request(reason));
            }
            let mut array = FieldArray::default();
            for value in values {
                array.push(value_from_json(value, depth + 1)?);
            }
            AMQPValue::FieldArray(array)
        }
        Value::Object(fields) => AMQPValue::FieldTable(table(fields, depth + 1)?),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_json_can_say_comes_back_as_it_was() {
        let value = json!({"a": 1, "b": -2.5, "c": "x", "d": [true, null, {"e": [1]}], "f": {}});
        assert_eq!(to_json(&from_json("arguments", Some(&value)).unwrap()), value);
        assert_eq!(to_json(&from_json("arguments", Some(&json!([]))).unwrap()), json!({}));
        assert_eq!(to_json(&from_json("arguments", None).unwrap()), json!({}));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        assert!(from_json("arguments", Some(&json!("x"))).is_err());
        assert!(from_json("arguments", Some(&json!({"n": u64::MAX}))).is_err());
        assert!(from_json("arguments", Some(&json!({"n".repeat(256): 1}))).is_err());
        let nested = |depth| (0..depth).fold(json!({}), |inner, _| json!({"a": inner}));
        assert!(from_json("arguments", Some(&nested(TABLE_DEPTH_MAX - 1))).is_ok());
        assert!(from_json("arguments", Some(&nested(TABLE_DEPTH_MAX))).is_err());
        let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert!(from_json("arguments", Some(&json!({"a": nested(TABLE_DEPTH_MAX)}))).is_err());
    }
}
