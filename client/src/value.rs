//! Values of headers and arguments, in Rust's types.

use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::Error;

/// The value of a header or of an argument of a queue, exchange or binding. Most are made with `into()`.
///
/// ```
/// use warren_client::Value;
///
/// assert_eq!(Value::from(3), Value::Int(3));
/// assert_eq!(Value::from("quorum"), Value::Text("quorum".to_owned()));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes that are no text.
    Bytes(Vec<u8>),
    /// Something else that AMQP knows, such as a table or a time.
    Other(AMQPValue),
}

impl Value {
    /// The text, if it is one.
    ///
    /// ```
    /// # use warren_client::Value;
    /// assert_eq!(Value::from("tea").as_text(), Some("tea"));
    /// assert_eq!(Value::from(3).as_text(), None);
    /// ```
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, if it is one.
    ///
    /// ```
    /// # use warren_client::Value;
    /// assert_eq!(Value::from(3).as_int(), Some(3));
    /// assert_eq!(Value::from("3").as_int(), None);
    /// ```
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn from_amqp(value: &AMQPValue) -> Self {
        match value {
            AMQPValue::Boolean(value) => Self::Bool(*value),
            AMQPValue::ShortShortInt(value) => Self::Int((*value).into()),
            AMQPValue::ShortShortUInt(value) => Self::Int((*value).into()),
            AMQPValue::ShortInt(value) => Self::Int((*value).into()),
            AMQPValue::ShortUInt(value) => Self::Int((*value).into()),
            AMQPValue::LongInt(value) => Self::Int((*value).into()),
            AMQPValue::LongUInt(value) => Self::Int((*value).into()),
            AMQPValue::LongLongInt(value) => Self::Int(*value),
            AMQPValue::Float(value) => Self::Float((*value).into()),
            AMQPValue::Double(value) => Self::Float(*value),
            AMQPValue::ShortString(value) => Self::Text(value.to_string()),
            AMQPValue::LongString(value) => match str::from_utf8(value.as_bytes()) {
                Ok(text) => Self::Text(text.to_owned()),
                Err(_) => Self::Bytes(value.as_bytes().to_vec()),
            },
            AMQPValue::ByteArray(value) => Self::Bytes(value.as_slice().to_vec()),
            other => Self::Other(other.clone()),
        }
    }

    pub(crate) fn to_amqp(&self) -> AMQPValue {
        match self {
            Self::Bool(value) => AMQPValue::Boolean(*value),
            Self::Int(value) => AMQPValue::LongLongInt(*value),
            Self::Float(value) => AMQPValue::Double(*value),
            Self::Text(value) => AMQPValue::LongString(value.as_str().into()),
            // Not every broker and client knows byte arrays; a long string holds any bytes.
            Self::Bytes(value) => AMQPValue::LongString(value.clone().into()),
            Self::Other(value) => value.clone(),
        }
    }
}

/// As lapin has it.
impl From<AMQPValue> for Value {
    fn from(value: AMQPValue) -> Self {
        Self::from_amqp(&value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// A name or key as AMQP has it: no more than 255 bytes.
///
/// # Errors
///
/// [`Error::Invalid`].
pub(crate) fn short(what: &str, text: &str) -> Result<ShortString, Error> {
    ShortString::try_new(text).map_err(|_| {
        let length = text.len();
        Error::invalid(format!("the {what} is {length} bytes long, AMQP allows 255: choose a shorter one"))
    })
}

/// # Errors
///
/// [`Error::Invalid`] for a name that is too long.
pub(crate) fn table(pairs: &[(String, Value)]) -> Result<FieldTable, Error> {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(short("name of an argument", name)?, value.to_amqp());
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_way_there_and_back() {
        for value in [
            Value::Bool(true),
            Value::Int(-5),
            Value::Float(0.5),
            Value::Text("tea".to_owned()),
            Value::Bytes(vec![0xff, 0]),
        ] {
            assert_eq!(Value::from_amqp(&value.to_amqp()), value);
        }
        assert_eq!(Value::from_amqp(&AMQPValue::ShortShortUInt(200)), Value::Int(200));
    }

    #[test]
    fn names_of_255_bytes_are_the_longest() {
        assert!(short("name", &"x".repeat(255)).is_ok());
        let error = short("name", &"x".repeat(256)).unwrap_err();
        assert!(error.to_string().contains("256 bytes"), "{error}");
    }
}
