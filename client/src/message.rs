//! What is published: a body and what is said about it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use serde::Serialize;

use crate::value::short;
use crate::{Error, Value};

/// Delivery modes.
const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;

/// A message to publish. It is persistent unless it is made [transient](Message::transient).
///
/// ```
/// use std::time::Duration;
/// use warren_client::Message;
///
/// #[derive(serde::Serialize)]
/// struct Order {
///     item: String,
///     count: u32,
/// }
///
/// # fn main() -> Result<(), warren_client::Error> {
/// let order = Message::json(&Order { item: "tea".into(), count: 2 })?
///     .header("shop", "vienna")?
///     .priority(5)
///     .expires_after(Duration::from_secs(60));
/// let picture = Message::bytes(vec![0xff, 0xd8]).content_type("image/jpeg")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a message does nothing until it is published"]
pub struct Message {
    body: Vec<u8>,
    properties: BasicProperties,
}

impl Message {
    fn new(body: Vec<u8>, content_type: &str) -> Self {
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        Self { body, properties: properties.with_content_type(content_type.into()) }
    }

    /// A value as JSON.
    ///
    /// ```
    /// # fn main() -> Result<(), warren_client::Error> {
    /// # use warren_client::Message;
    /// let numbers = Message::json(&[1, 2, 3])?;
    /// assert_eq!(numbers.body(), b"[1,2,3]");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Encode`] if it cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let body = serde_json::to_vec(value).map_err(|error| Error::Encode(error.into()))?;
        Ok(Self::new(body, "application/json"))
    }

    /// Bytes.
    ///
    /// ```
    /// # use warren_client::Message;
    /// let picture = Message::bytes([0xff, 0xd8]);
    /// assert_eq!(picture.body(), [0xff, 0xd8]);
    /// ```
    pub fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self::new(body.into(), "application/octet-stream")
    }

    /// Text.
    ///
    /// ```
    /// # use warren_client::Message;
    /// let greeting = Message::text("hello");
    /// assert_eq!(greeting.body(), b"hello");
    /// ```
    pub fn text(body: impl Into<String>) -> Self {
        Self::new(body.into().into_bytes(), "text/plain; charset=utf-8")
    }

    /// A body with properties as lapin has them. They are used as they are.
    ///
    /// ```
    /// # use warren_client::Message;
    /// use warren_client::lapin::BasicProperties;
    ///
    /// let message = Message::with_properties("hello", BasicProperties::default().with_app_id("shop".into()));
    /// assert_eq!(*message.properties().delivery_mode(), None, "not even persistent, because it was not said");
    /// ```
    pub fn with_properties(body: impl Into<Vec<u8>>, properties: BasicProperties) -> Self {
        Self { body: body.into(), properties }
    }

    /// A header.
    ///
    /// ```
    /// # fn main() -> Result<(), warren_client::Error> {
    /// # use warren_client::Message;
    /// let order = Message::text("tea").header("shop", "vienna")?.header("cups", 2)?;
    /// let headers = order.properties().headers().as_ref().map(|headers| headers.inner().len());
    /// assert_eq!(headers, Some(2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the name has more than 255 bytes.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Result<Self, Error> {
        let name = short("name of the header", name)?;
        let mut headers = self.properties.headers().clone().unwrap_or_default();
        headers.insert(name, value.into().to_amqp());
        self.properties = self.properties.with_headers(headers);
        Ok(self)
    }

    /// What kind of thing the body is, such as `image/jpeg`.
    ///
    /// ```
    /// # fn main() -> Result<(), warren_client::Error> {
    /// # use warren_client::Message;
    /// let picture = Message::bytes([0xff, 0xd8]).content_type("image/jpeg")?;
    /// let kind = picture.properties().content_type().as_ref().map(|kind| kind.as_str());
    /// assert_eq!(kind, Some("image/jpeg"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it has more than 255 bytes.
    pub fn content_type(mut self, kind: &str) -> Result<Self, Error> {
        self.properties = self.properties.with_content_type(short("content type", kind)?);
        Ok(self)
    }

    /// What tells this message from all others. Whoever receives it can use it to notice that the same message came twice.
    /// Without one of yours a publisher gives it a random one.
    ///
    /// ```
    /// # fn main() -> Result<(), warren_client::Error> {
    /// # use warren_client::Message;
    /// let order = Message::text("tea").id("order-17")?;
    /// let id = order.properties().message_id().as_ref().map(|id| id.as_str());
    /// assert_eq!(id, Some("order-17"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it has more than 255 bytes.
    pub fn id(mut self, id: &str) -> Result<Self, Error> {
        self.properties = self.properties.with_message_id(short("message id", id)?);
        Ok(self)
    }

    /// What this message belongs to, such as the request that it answers.
    ///
    /// ```
    /// # fn main() -> Result<(), warren_client::Error> {
    /// # use warren_client::Message;
    /// let answer = Message::text("it is on its way").correlation_id("order-17")?;
    /// let id = answer.properties().correlation_id().as_ref().map(|id| id.as_str());
    /// assert_eq!(id, Some("order-17"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it has more than 255 bytes.
    pub fn correlation_id(mut self, id: &str) -> Result<Self, Error> {
        self.properties = self.properties.with_correlation_id(short("correlation id", id)?);
        Ok(self)
    }

    /// The queue in which an answer is awaited.
    ///
    /// ```
    /// # fn main() -> Result<(), warren_client::Error> {
    /// # use warren_client::Message;
    /// let question = Message::text("where is it?").reply_to("answers")?;
    /// let queue = question.properties().reply_to().as_ref().map(|queue| queue.as_str());
    /// assert_eq!(queue, Some("answers"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it has more than 255 bytes.
    pub fn reply_to(mut self, queue: &str) -> Result<Self, Error> {
        self.properties = self.properties.with_reply_to(short("name of the queue for replies", queue)?);
        Ok(self)
    }

    /// The name of the kind of message.
    ///
    /// ```
    /// # fn main() -> Result<(), warren_client::Error> {
    /// # use warren_client::Message;
    /// let event = Message::text("{}").kind("order.created")?;
    /// let kind = event.properties().kind().as_ref().map(|kind| kind.as_str());
    /// assert_eq!(kind, Some("order.created"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it has more than 255 bytes.
    pub fn kind(mut self, kind: &str) -> Result<Self, Error> {
        self.properties = self.properties.with_type(short("kind of the message", kind)?);
        Ok(self)
    }

    /// Queues that know priorities deliver higher ones first.
    ///
    /// ```
    /// # use warren_client::Message;
    /// let urgent = Message::text("fire").priority(9);
    /// assert_eq!(*urgent.properties().priority(), Some(9));
    /// ```
    pub fn priority(mut self, priority: u8) -> Self {
        self.properties = self.properties.with_priority(priority);
        self
    }

    /// Who has not received it after this time does not receive it any more. Whole milliseconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use warren_client::Message;
    /// let offer = Message::text("today only").expires_after(Duration::from_secs(60));
    /// let milliseconds = offer.properties().expiration().as_ref().map(|time| time.as_str());
    /// assert_eq!(milliseconds, Some("60000"));
    /// ```
    pub fn expires_after(mut self, time: Duration) -> Self {
        self.properties = self.properties.with_expiration(time.as_millis().to_string().into());
        self
    }

    /// When it was made.
    ///
    /// ```
    /// # use warren_client::Message;
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// let old = Message::text("hello").timestamp(UNIX_EPOCH + Duration::from_secs(86_400));
    /// assert_eq!(*old.properties().timestamp(), Some(86_400));
    /// ```
    pub fn timestamp(mut self, at: SystemTime) -> Self {
        let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.properties = self.properties.with_timestamp(seconds);
        self
    }

    /// It need not survive a restart of the broker.
    ///
    /// ```
    /// # use warren_client::Message;
    /// let reading = Message::text("21.5").transient();
    /// assert_eq!(*reading.properties().delivery_mode(), Some(1));
    /// ```
    pub fn transient(mut self) -> Self {
        self.properties = self.properties.with_delivery_mode(TRANSIENT);
        self
    }

    /// The bytes.
    ///
    /// ```
    /// # use warren_client::Message;
    /// assert_eq!(Message::text("tea").body(), b"tea");
    /// ```
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The properties as lapin has them.
    ///
    /// ```
    /// # use warren_client::Message;
    /// let message = Message::text("tea");
    /// assert_eq!(*message.properties().delivery_mode(), Some(2), "persistent");
    /// ```
    pub fn properties(&self) -> &BasicProperties {
        &self.properties
    }

    /// Its id, which it is given if it has none.
    pub(crate) fn identify(&mut self) -> String {
        if let Some(id) = self.properties.message_id() {
            return id.to_string();
        }
        let id = crate::random::identifier();
        self.properties = std::mem::take(&mut self.properties).with_message_id(id.as_str().into());
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_about_a_message_is_in_its_properties() {
        let message = Message::text("tea")
            .header("a", 1)
            .and_then(|message| message.header("b", "two"))
            .and_then(|message| message.id("m-1"))
            .unwrap()
            .expires_after(Duration::from_millis(1500))
            .transient();
        let properties = message.properties();
        assert_eq!(properties.headers().as_ref().map(|headers| headers.inner().len()), Some(2));
        assert_eq!(properties.expiration().as_ref().map(|text| text.as_str()), Some("1500"));
        assert_eq!(*properties.delivery_mode(), Some(TRANSIENT));
        assert_eq!(message.clone().identify(), "m-1");
    }

    #[test]
    fn an_id_is_made_once() {
        let mut message = Message::bytes(vec![1]);
        let id = message.identify();
        assert_eq!(message.identify(), id);
        assert_ne!(Message::bytes(vec![1]).identify(), id);
    }
}
