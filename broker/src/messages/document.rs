//! Messages as lines of JSON: what `consume --json` and `get --json` print, `publish --json` reads.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use warren_client::lapin::BasicProperties;
use warren_client::lapin::message::Delivery;
use warren_client::{Message, Value};

/// One message. Only the body is needed to publish one.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// The body, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<String>,
    /// The body otherwise, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exchange: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) routing_key: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) headers: BTreeMap<String, serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply_to: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) priority: Option<u8>,
    /// In milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expiration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) persistent: Option<bool>,
    /// Printed, and passed over when it is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) redelivered: Option<bool>,
}

/// One of the properties of a message that are texts.
type SetText = fn(Message, &str) -> Result<Message, warren_client::Error>;

impl Document {
    /// A message of which only the body is known.
    pub(super) fn of_body(body: Vec<u8>) -> Self {
        match String::from_utf8(body) {
            Ok(text) => Self { body: Some(text), ..Self::default() },
            Err(error) => Self { body_base64: Some(STANDARD.encode(error.as_bytes())), ..Self::default() },
        }
    }

    pub(super) fn of(delivery: &Delivery) -> Self {
        let properties: &BasicProperties = &delivery.properties;
        let text =
            |text: &Option<warren_client::lapin::types::ShortString>| text.as_ref().map(ToString::to_string);
        let body = str::from_utf8(&delivery.data).ok().map(str::to_owned);
        let headers = properties.headers().as_ref().map(|headers| {
            let pairs = headers.inner().iter();
            pairs.map(|(name, value)| (name.to_string(), to_json(&Value::from(value.clone())))).collect()
        });
        Self {
            body_base64: body.is_none().then(|| STANDARD.encode(&delivery.data)),
            body,
            exchange: Some(delivery.exchange.to_string()),
            routing_key: Some(delivery.routing_key.to_string()),
            headers: headers.unwrap_or_default(),
            content_type: text(properties.content_type()),
            message_id: text(properties.message_id()),
            correlation_id: text(properties.correlation_id()),
            reply_to: text(properties.reply_to()),
            kind: text(properties.kind()),
            priority: *properties.priority(),
            expiration: text(properties.expiration()).and_then(|text| text.parse().ok()),
            persistent: Some(*properties.delivery_mode() == Some(2)),
            redelivered: Some(delivery.redelivered),
        }
    }

    /// # Errors
    ///
    /// What is wrong with it, for people.
    pub(super) fn message(&self) -> anyhow::Result<Message> {
        let body = match (&self.body, &self.body_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(text)) => STANDARD.decode(text)?,
            _ => anyhow::bail!("a message needs either \"body\" or \"body_base64\""),
        };
        let mut message = Message::bytes(body);
        for (name, value) in &self.headers {
            message = message.header(name, from_json(value)?)?;
        }
        let texts: [(&Option<String>, SetText); 5] = [
            (&self.content_type, Message::content_type),
            (&self.message_id, Message::id),
            (&self.correlation_id, Message::correlation_id),
            (&self.reply_to, Message::reply_to),
            (&self.kind, Message::kind),
        ];
        for (text, set) in texts {
            if let Some(text) = text {
                message = set(message, text)?;
            }
        }
        if let Some(priority) = self.priority {
            message = message.priority(priority);
        }
        if let Some(milliseconds) = self.expiration {
            message = message.expires_after(Duration::from_millis(milliseconds));
        }
        Ok(if self.persistent == Some(false) { message.transient() } else { message })
    }
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(value) => value.as_str().into(),
        Value::Bytes(value) => STANDARD.encode(value).into(),
        // Tables, lists and times, as lapin shows them: for people to read.
        other => format!("{other:?}").into(),
    }
}

/// # Errors
///
/// For what AMQP has no simple value.
fn from_json(value: &serde_json::Value) -> anyhow::Result<Value> {
    Ok(match value {
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::String(value) => Value::from(value.as_str()),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::from(whole),
            (None, Some(other)) => Value::from(other),
            (None, None) => anyhow::bail!("{number} is too large for a header"),
        },
        other => anyhow::bail!("a header is text, a number, true or false, and not {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_way_through_json() {
        let line = r#"{"body":"tea","routing_key":"q","headers":{"a":1,"b":"x","c":true},"message_id":"m",
            "type":"order","priority":3,"expiration":500,"persistent":false}"#;
        let document: Document = serde_json::from_str(line).unwrap();
        let message = document.message().unwrap();
        let mut delivery = Delivery::mock(1, "".into(), "q".into(), false, message.body().to_vec());
        delivery.properties = message.properties().clone();
        let back = Document::of(&delivery);
        assert_eq!(back.body.as_deref(), Some("tea"));
        assert_eq!(back.headers, document.headers);
        assert_eq!((back.message_id, back.kind), (document.message_id, document.kind));
        assert_eq!((back.priority, back.expiration, back.persistent), (Some(3), Some(500), Some(false)));
    }

    #[test]
    fn bytes_that_are_no_text_go_as_base64() {
        let delivery = Delivery::mock(1, "".into(), "q".into(), true, vec![0xff, 0]);
        let document = Document::of(&delivery);
        assert_eq!((document.body.as_deref(), document.body_base64.as_deref()), (None, Some("/wA=")));
        assert_eq!(document.message().unwrap().body(), [0xff, 0]);
        assert_eq!(document.redelivered, Some(true));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for wrong in [
            r"{}",
            r#"{"body":"a","body_base64":"YQ=="}"#,
            r#"{"body":"a","headers":{"h":[1]}}"#,
            r#"{"body_base64":"?"}"#,
        ] {
            let document: Document = serde_json::from_str(wrong).unwrap();
            assert!(document.message().is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<Document>(r#"{"body":"a","key":"q"}"#).is_err(), "unknown names");
    }
}
