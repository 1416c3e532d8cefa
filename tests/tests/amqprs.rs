//! amqprs, the other AMQP client for Rust, which shares no code with lapin.

// Helpers of tests are tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

use amqprs::callbacks::{ChannelCallback, DefaultConnectionCallback};
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicGetArguments, BasicNackArguments, BasicPublishArguments,
    BasicQosArguments, BasicRejectArguments, Channel, ConfirmSelectArguments, ConsumerMessage,
    ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments, QueueDeleteArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use async_trait::async_trait;
use lapin::uri::AMQPUri;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;
use warren_tests::{Broker, DEADLINE};

type Result<T> = std::result::Result<T, amqprs::error::Error>;

/// What the broker told a channel of its own accord.
#[derive(Debug, PartialEq)]
enum Event {
    Acked(u64, bool),
    Nacked(u64),
    Returned(u16, String, Vec<u8>),
    Cancelled(String),
    Closed(u16, String),
}

struct Reporter(UnboundedSender<Event>);

impl Reporter {
    fn report(&self, event: Event) {
        // The test may have ended.
        let _ = self.0.send(event);
    }
}

#[async_trait]
impl ChannelCallback for Reporter {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<()> {
        self.report(Event::Closed(close.reply_code(), close.reply_text().clone()));
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, cancel: Cancel) -> Result<()> {
        self.report(Event::Cancelled(cancel.consumer_tag().clone()));
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.report(Event::Acked(ack.delivery_tag(), ack.mutiple()));
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        self.report(Event::Nacked(nack.delivery_tag()));
    }

    async fn publish_return(&mut self, _: &Channel, ret: Return, _: BasicProperties, content: Vec<u8>) {
        self.report(Event::Returned(ret.reply_code(), ret.reply_text().clone(), content));
    }
}

async fn connect(broker: &Broker) -> Connection {
    let uri: AMQPUri = broker.url().parse().expect("the harness knows a valid URL");
    let mut arguments = OpenConnectionArguments::new(
        &uri.authority.host,
        uri.authority.port,
        &uri.authority.userinfo.username,
        &uri.authority.userinfo.password,
    );
    arguments.virtual_host(&uri.vhost).connection_name("amqprs test");
    let connection = Connection::open(&arguments).await.unwrap();
    connection.register_callback(DefaultConnectionCallback).await.unwrap();
    connection
}

async fn open_channel(connection: &Connection) -> (Channel, UnboundedReceiver<Event>) {
    let channel = connection.open_channel(None).await.unwrap();
    let (events, received) = mpsc::unbounded_channel();
    channel.register_callback(Reporter(events)).await.unwrap();
    (channel, received)
}

async fn exclusive_queue(channel: &Channel) -> String {
    let declared = channel.queue_declare(QueueDeclareArguments::exclusive_server_named()).await.unwrap();
    declared.expect("not nowait").0
}

async fn publish(channel: &Channel, exchange: &str, routing_key: &str, body: &[u8]) {
    let arguments = BasicPublishArguments::new(exchange, routing_key);
    channel.basic_publish(BasicProperties::default(), body.to_vec(), arguments).await.unwrap();
}

async fn consume(channel: &Channel, queue: &str) -> UnboundedReceiver<ConsumerMessage> {
    channel.basic_consume_rx(BasicConsumeArguments::new(queue, "")).await.unwrap().1
}

async fn next<T>(receiver: &mut UnboundedReceiver<T>) -> T {
    timeout(DEADLINE, receiver.recv()).await.expect("something within the deadline").expect("an open channel")
}

/// The delivery tag, the redelivered flag and the body of the next delivery.
async fn next_delivery(deliveries: &mut UnboundedReceiver<ConsumerMessage>) -> (u64, bool, String) {
    let message = next(deliveries).await;
    let deliver = message.deliver.expect("a delivery");
    let body = String::from_utf8(message.content.expect("a body")).expect("text");
    (deliver.delivery_tag(), deliver.redelivered(), body)
}

async fn ready_in(channel: &Channel, queue: &str) -> u32 {
    let passive = QueueDeclareArguments::new(queue).passive(true).finish();
    channel.queue_declare(passive).await.unwrap().expect("not nowait").1
}

#[tokio::test]
async fn the_server_properties_are_what_amqprs_needs() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let capabilities = connection.server_properties().capabilities();
    assert!(capabilities.publisher_confirms());
    assert!(capabilities.basic_nack());
    assert!(capabilities.consumer_cancel_notify());
    assert!(capabilities.exchange_exchange_bindings());
    assert!(capabilities.direct_reply_to());
    connection.update_secret("guest", "a test").await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn publishes_are_confirmed_and_unroutable_ones_returned_first() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (channel, mut events) = open_channel(&connection).await;
    let queue = exclusive_queue(&channel).await;
    channel.confirm_select(ConfirmSelectArguments::default()).await.unwrap();
    publish(&channel, "", &queue, b"routed").await;
    assert_eq!(next(&mut events).await, Event::Acked(1, false));

    let mandatory = BasicPublishArguments::new("", &broker.queue("nowhere")).mandatory(true).finish();
    channel.basic_publish(BasicProperties::default(), b"lost".to_vec(), mandatory).await.unwrap();
    assert_eq!(next(&mut events).await, Event::Returned(312, "NO_ROUTE".to_owned(), b"lost".to_vec()));
    assert_eq!(next(&mut events).await, Event::Acked(2, false));

    let got = channel.basic_get(BasicGetArguments::new(&queue).no_ack(true).finish()).await.unwrap();
    assert_eq!(got.expect("a message").2, b"routed");
    assert!(channel.basic_get(BasicGetArguments::new(&queue)).await.unwrap().is_none());
    channel.close().await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_body_of_several_frames_arrives_whole() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (channel, _events) = open_channel(&connection).await;
    let queue = exclusive_queue(&channel).await;
    let body: Vec<u8> = (0..=u8::MAX).cycle().take(1024 * 1024 + 1).collect();
    publish(&channel, "", &queue, &body).await;
    publish(&channel, "", &queue, b"").await;
    let mut deliveries = consume(&channel, &queue).await;
    assert!(next(&mut deliveries).await.content.expect("a body") == body);
    assert_eq!(next(&mut deliveries).await.content.unwrap_or_default(), b"");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn deliveries_are_acknowledged_requeued_and_rejected() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (channel, _events) = open_channel(&connection).await;
    let queue = exclusive_queue(&channel).await;
    for body in ["1", "2", "3"] {
        publish(&channel, "", &queue, body.as_bytes()).await;
    }
    let mut deliveries = consume(&channel, &queue).await;
    for n in 1..=3 {
        assert_eq!(next_delivery(&mut deliveries).await, (n, false, n.to_string()));
    }
    channel.basic_ack(BasicAckArguments::new(1, false)).await.unwrap();
    channel.basic_reject(BasicRejectArguments::new(3, false)).await.unwrap();
    channel.basic_nack(BasicNackArguments::new(2, false, true)).await.unwrap();
    assert_eq!(next_delivery(&mut deliveries).await, (4, true, "2".to_owned()));
    channel.basic_ack(BasicAckArguments::new(4, false)).await.unwrap();
    assert_eq!(ready_in(&channel, &queue).await, 0);
    assert!(deliveries.try_recv().is_err());
    connection.close().await.unwrap();
}

#[tokio::test]
async fn prefetch_limits_what_is_unacknowledged() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (channel, _events) = open_channel(&connection).await;
    let queue = exclusive_queue(&channel).await;
    for body in ["1", "2", "3"] {
        publish(&channel, "", &queue, body.as_bytes()).await;
    }
    channel.basic_qos(BasicQosArguments::new(0, 2, false)).await.unwrap();
    let mut deliveries = consume(&channel, &queue).await;
    assert_eq!(next_delivery(&mut deliveries).await.2, "1");
    assert_eq!(next_delivery(&mut deliveries).await.2, "2");
    // Answered after any delivery that the broker had sent on this channel.
    assert_eq!(ready_in(&channel, &queue).await, 1);
    assert!(deliveries.try_recv().is_err());
    channel.basic_ack(BasicAckArguments::new(2, true)).await.unwrap();
    assert_eq!(next_delivery(&mut deliveries).await.2, "3");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_topic_exchange_routes_by_pattern() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (channel, _events) = open_channel(&connection).await;
    let exchange = broker.exchange("topic");
    channel.exchange_declare(ExchangeDeclareArguments::new(&exchange, "topic")).await.unwrap();
    let queue = exclusive_queue(&channel).await;
    channel.queue_bind(QueueBindArguments::new(&queue, &exchange, "old.*")).await.unwrap();
    for key in ["old.boy.python", "old", "old.boy"] {
        publish(&channel, &exchange, key, key.as_bytes()).await;
    }
    let mut deliveries = consume(&channel, &queue).await;
    assert_eq!(next_delivery(&mut deliveries).await.2, "old.boy");
    assert_eq!(ready_in(&channel, &queue).await, 0);
    assert!(deliveries.try_recv().is_err());
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_missing_queue_closes_only_the_channel() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (channel, mut events) = open_channel(&connection).await;
    let (other, _other_events) = open_channel(&connection).await;
    let missing = broker.queue("missing");
    channel.queue_declare(QueueDeclareArguments::new(&missing).passive(true).finish()).await.unwrap_err();
    let text = format!("NOT_FOUND - no queue '{missing}' in vhost '/'");
    assert_eq!(next(&mut events).await, Event::Closed(404, text));
    exclusive_queue(&other).await;
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_consumer_is_told_when_its_queue_is_deleted() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (channel, mut events) = open_channel(&connection).await;
    let queue = exclusive_queue(&channel).await;
    let consumer = BasicConsumeArguments::new(&queue, "watcher");
    let _deliveries = channel.basic_consume_rx(consumer).await.unwrap();
    channel.queue_delete(QueueDeleteArguments::new(&queue)).await.unwrap();
    assert_eq!(next(&mut events).await, Event::Cancelled("watcher".to_owned()));
    connection.close().await.unwrap();
}
