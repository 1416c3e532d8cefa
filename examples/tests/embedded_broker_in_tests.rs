//! A real broker in tests: each test starts one in its own process, on a free port and without a data folder.
//!
//! Nothing has to be installed or cleaned up, and tests that run at the same time do not meet. It needs `warren` as a
//! dev-dependency.

use anyhow::{Context, Result, ensure};
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use warren::Broker;
use warren::config::Config;

/// What is tested here: a few lines that somebody wrote around a queue.
struct Orders {
    channel: Channel,
}

impl Orders {
    async fn connect(url: &str) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions::durable();
        channel.queue_declare("orders".into(), options, FieldTable::default()).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { channel })
    }

    async fn place(&self, order: &str) -> Result<()> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let confirmation = self
            .channel
            .basic_publish("".into(), "orders".into(), options, order.as_bytes(), persistent)
            .await?
            .await?;
        ensure!(confirmation.is_ack() && confirmation.take_message().is_none(), "the order was not taken");
        Ok(())
    }

    async fn take(&self) -> Result<Option<String>> {
        let order = self.channel.basic_get("orders".into(), BasicGetOptions { no_ack: true }).await?;
        Ok(order.map(|order| String::from_utf8_lossy(&order.data).into_owned()))
    }
}

/// A broker of one test and where it is; it ends with the test.
async fn broker() -> Result<(Broker, String)> {
    let broker = Broker::start(Config::in_process()).await?;
    let address = *broker.local_addrs().first().context("a broker listens somewhere")?;
    Ok((broker, format!("amqp://guest:guest@{address}/%2F")))
}

#[tokio::test]
async fn an_order_that_was_placed_can_be_taken_once() -> Result<()> {
    let (broker, url) = broker().await?;
    let orders = Orders::connect(&url).await?;
    orders.place("a book").await?;
    assert_eq!(orders.take().await?.as_deref(), Some("a book"));
    assert_eq!(orders.take().await?, None);
    broker.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn each_test_begins_with_an_empty_broker() -> Result<()> {
    let (broker, url) = broker().await?;
    assert_eq!(Orders::connect(&url).await?.take().await?, None);
    broker.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn without_a_broker_an_order_fails() -> Result<()> {
    let (broker, url) = broker().await?;
    let orders = Orders::connect(&url).await?;
    broker.shutdown().await;
    assert!(orders.place("a book").await.is_err());
    Ok(())
}
