//! Publishing with certainty: every message is persistent, mandatory and confirmed. It does not publish again by itself,
//! because only the caller knows whether a message may arrive twice.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use serde::Serialize;

use crate::Error;

/// The delivery mode of a message that survives a restart of the broker in a durable queue.
const PERSISTENT: u8 = 2;

/// Publishes messages and says what became of each: `Ok` means that the broker has it in a queue.
///
/// All methods take `&self` and wait for the broker's confirmation of one message. To publish faster, publish many at
/// once, for example with `futures::future::try_join_all`: the confirmations then come together.
#[derive(Clone, Debug)]
pub struct Publisher {
    channel: Channel,
}

impl Publisher {
    pub(crate) async fn open(connection: &Connection) -> Result<Self, Error> {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { channel })
    }

    /// Publishes bytes. With the exchange `""` the routing key is the name of a queue.
    ///
    /// ```no_run
    /// # async fn example(publisher: warren_client::Publisher) -> Result<(), warren_client::Error> {
    /// publisher.publish_bytes("", "thumbnails", b"cat.jpg").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Returned`] if no queue was there to take the message, [`Error::Nacked`] if the broker declined it,
    /// [`Error::Closed`] if the exchange does not exist, and [`Error::Lost`].
    pub async fn publish_bytes(&self, exchange: &str, routing_key: &str, body: &[u8]) -> Result<(), Error> {
        let properties = BasicProperties::default().with_content_type("application/octet-stream".into());
        self.publish(exchange, routing_key, body, properties).await
    }

    /// Publishes a value as JSON.
    ///
    /// ```no_run
    /// #[derive(serde::Serialize)]
    /// struct Order {
    ///     item: String,
    ///     count: u32,
    /// }
    ///
    /// # async fn example(publisher: warren_client::Publisher) -> Result<(), warren_client::Error> {
    /// publisher.publish_json("shop", "order.new", &Order { item: "tea".into(), count: 2 }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Encode`] if the value cannot be written as JSON, and as for [`Publisher::publish_bytes`].
    pub async fn publish_json<T>(&self, exchange: &str, routing_key: &str, value: &T) -> Result<(), Error>
    where
        T: Serialize + ?Sized,
    {
        let body = serde_json::to_vec(value).map_err(Error::Encode)?;
        let properties = BasicProperties::default().with_content_type("application/json".into());
        self.publish(exchange, routing_key, &body, properties).await
    }

    /// Publishes bytes with properties of your own; the delivery mode is persistent unless they say otherwise.
    ///
    /// # Errors
    ///
    /// As for [`Publisher::publish_bytes`].
    pub async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<(), Error> {
        let properties = match properties.delivery_mode() {
            Some(_) => properties,
            None => properties.with_delivery_mode(PERSISTENT),
        };
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirmation = self
            .channel
            .basic_publish(exchange.into(), routing_key.into(), options, body, properties)
            .await?
            .await?;
        let (exchange, routing_key) = (exchange.to_owned(), routing_key.to_owned());
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
                Err(Error::Returned { exchange, routing_key, text: returned.reply_text.to_string() })
            }
            // NotRequested cannot be: the channel was put into confirm mode when it was opened. If it were, nothing
            // would be known about the message, so it counts as not accepted.
            Confirmation::Nack(None) | Confirmation::NotRequested => {
                Err(Error::Nacked { exchange, routing_key })
            }
        }
    }
}
