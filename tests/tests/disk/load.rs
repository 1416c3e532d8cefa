//! Clients that publish with confirms and acknowledge out of order, and note what they did.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicPublishOptions, BasicQosOptions, BasicRejectOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind};
use tokio::sync::watch;
use tokio::time::timeout;
use warren_tests::{DEADLINE, eventually_async};

use crate::message::{Id, Size, body, identify};
use crate::notes::{Notes, Queue};
use crate::random::Random;

/// The queues; the last two get what is published to the exchange.
pub(crate) const QUEUES: [&str; 4] = ["orders", "mails", "audit", "search"];

const EXCHANGE: &str = "events";
/// The queues that the exchange leads to.
pub(crate) const FANNED_OUT: [Queue; 2] = [2, 3];

/// Declares everything, which may be there already.
pub(crate) async fn declare(connection: &Connection) {
    try_declare(connection).await.expect("everything can be declared");
}

/// The same where the broker may go away.
///
/// # Errors
///
/// What lapin says.
pub(crate) async fn try_declare(connection: &Connection) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    for queue in QUEUES {
        channel.queue_declare(queue.into(), durable, FieldTable::default()).await?;
    }
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let fanout = ExchangeKind::Fanout;
    channel.exchange_declare(EXCHANGE.into(), fanout, options, FieldTable::default()).await?;
    for queue in FANNED_OUT {
        let (queue, key) = (QUEUES[queue].into(), "".into());
        let options = QueueBindOptions::default();
        channel.queue_bind(queue, EXCHANGE.into(), key, options, FieldTable::default()).await?;
    }
    channel.close(200, "OK".into()).await
}

/// How long nothing may come before a queue is asked whether it is empty.
const PATIENCE: Duration = Duration::from_millis(200);

/// What one publisher does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publishing {
    pub(crate) publisher: u32,
    pub(crate) count: u32,
    /// How many may be unconfirmed at a time.
    pub(crate) window: usize,
    pub(crate) size: Size,
}

/// Publishes to random queues, or to the exchange.
///
/// # Errors
///
/// What lapin says if the broker goes away.
pub(crate) async fn publish(connection: &Connection, notes: &Notes, plan: Publishing) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut random = Random::new(u64::from(plan.publisher));
    let mut unconfirmed = VecDeque::new();
    for number in 0..plan.count {
        let id = Id { publisher: plan.publisher, number };
        let to = random.index(QUEUES.len());
        unconfirmed.push_back((id, send(&channel, notes, id, to, plan.size).await?));
        while unconfirmed.len() >= plan.window {
            let (id, confirm) = unconfirmed.pop_front().expect("a window of at least one");
            note(notes, id, confirm.await?);
        }
    }
    for (id, confirm) in unconfirmed {
        note(notes, id, confirm.await?);
    }
    channel.close(200, "OK".into()).await
}

fn note(notes: &Notes, id: Id, confirmation: Confirmation) {
    if matches!(confirmation, Confirmation::Ack(_)) {
        notes.confirmed(id);
    }
}

async fn send(
    channel: &Channel,
    notes: &Notes,
    id: Id,
    to: Queue,
    size: Size,
) -> lapin::Result<impl Future<Output = lapin::Result<Confirmation>> + Send + use<>> {
    let persistent = BasicProperties::default().with_delivery_mode(2);
    // What would go to the last queue goes to the exchange.
    let is_fanned_out = to == QUEUES.len() - 1;
    let (exchange, key) = if is_fanned_out { (EXCHANGE, "") } else { ("", QUEUES[to]) };
    let one = [to];
    notes.sending(id, if is_fanned_out { &FANNED_OUT } else { &one });
    let options = BasicPublishOptions::default();
    channel.basic_publish(exchange.into(), key.into(), options, &body(id, size), persistent).await
}

/// Works on queues until told to stop: acknowledges most of what it gets, in no order, gives some back, and now and then
/// publishes a message of its own, whose confirm proves that what it acknowledged before is on the disk.
///
/// # Errors
///
/// What lapin says if the broker goes away.
pub(crate) async fn consume(
    connection: &Connection,
    notes: &Notes,
    publisher: u32,
    queues: &[Queue],
    mut stop: watch::Receiver<bool>,
) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.basic_qos(200, BasicQosOptions::default()).await?;
    let mut streams = Vec::new();
    for &queue in queues {
        let options = BasicConsumeOptions::default();
        let consumer =
            channel.basic_consume(QUEUES[queue].into(), "".into(), options, FieldTable::default()).await?;
        streams.push(consumer.map(move |delivery| (queue, delivery)));
    }
    if streams.is_empty() {
        return Ok(());
    }
    let mut deliveries = futures::stream::select_all(streams);
    let mut worker = Worker { channel, notes, publisher, number: 0, held: Vec::new(), unproven: Vec::new() };
    let mut random = Random::new(u64::from(publisher));
    loop {
        tokio::select! {
            delivery = deliveries.next() => match delivery {
                Some((queue, delivery)) => {
                    worker.held.push((queue, delivery?));
                    worker.work(&mut random).await?;
                }
                None => return Ok(()),
            },
            () = async { drop(stop.wait_for(|stop| *stop).await) } => return Ok(()),
        }
    }
}

struct Worker<'a> {
    channel: Channel,
    notes: &'a Notes,
    publisher: u32,
    number: u32,
    held: Vec<(Queue, Delivery)>,
    unproven: Vec<(Queue, Id)>,
}

impl Worker<'_> {
    async fn work(&mut self, random: &mut Random) -> lapin::Result<()> {
        while self.held.len() > random.index(80) {
            let index = random.index(self.held.len());
            let (queue, delivery) = self.held.swap_remove(index);
            let id = identify(&delivery.data).expect("an intact message");
            let tag = delivery.delivery_tag;
            let again = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
            match random.below(20) {
                0 => self.channel.basic_nack(tag, again).await?,
                kind => {
                    self.notes.settling(queue, id);
                    if kind == 1 {
                        self.channel.basic_reject(tag, BasicRejectOptions { requeue: false }).await?;
                    } else {
                        self.channel.basic_ack(tag, BasicAckOptions::default()).await?;
                    }
                    self.unproven.push((queue, id));
                }
            }
        }
        if self.unproven.len() > random.index(60) {
            let proof = Id { publisher: self.publisher, number: self.number };
            self.number += 1;
            self.notes.settled_before(&std::mem::take(&mut self.unproven), proof);
            let confirm = send(&self.channel, self.notes, proof, 0, Size::Mixed).await?;
            note(self.notes, proof, confirm.await?);
        }
        Ok(())
    }
}

/// Gets so many messages from a queue and acknowledges them.
pub(crate) async fn take(connection: &Connection, notes: &Notes, queue: Queue, count: usize) {
    let channel = connection.create_channel().await.unwrap();
    for _ in 0..count {
        assert!(take_one(&channel, notes, queue).await, "a message is there");
    }
}

/// The same for all messages of all queues.
pub(crate) async fn take_all(connection: &Connection, notes: &Notes) {
    let channel = connection.create_channel().await.unwrap();
    for queue in 0..QUEUES.len() {
        while take_one(&channel, notes, queue).await {}
    }
}

async fn take_one(channel: &Channel, notes: &Notes, queue: Queue) -> bool {
    let got = channel.basic_get(QUEUES[queue].into(), BasicGetOptions::default()).await.unwrap();
    let Some(got) = got else { return false };
    notes.settling(queue, identify(&got.delivery.data).expect("an intact message"));
    channel.basic_ack(got.delivery.delivery_tag, BasicAckOptions::default()).await.unwrap();
    true
}

/// Waits until no queue has a message that no consumer has.
pub(crate) async fn until_consumed(connection: &Connection) {
    let channel = connection.create_channel().await.unwrap();
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    eventually_async("everything is consumed", async || {
        for queue in QUEUES {
            let found = channel.queue_declare(queue.into(), passive, FieldTable::default()).await.unwrap();
            if found.message_count() > 0 {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// Takes everything out of the queues; one that is not there is empty.
pub(crate) async fn drain(connection: &Connection) -> Vec<Vec<Vec<u8>>> {
    let mut queues = Vec::new();
    for queue in QUEUES {
        queues.push(timeout(DEADLINE, drain_one(connection, queue)).await.expect("drained in time"));
    }
    queues
}

async fn drain_one(connection: &Connection, queue: &str) -> Vec<Vec<u8>> {
    let channel = connection.create_channel().await.unwrap();
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let Ok(found) = channel.queue_declare(queue.into(), passive, FieldTable::default()).await else {
        return Vec::new();
    };
    let count = usize::try_from(found.message_count()).unwrap();
    let mut bodies = Vec::with_capacity(count);
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let tag = "drain".into();
    let mut consumer =
        channel.basic_consume(queue.into(), tag, options, FieldTable::default()).await.unwrap();
    while bodies.len() < count {
        match timeout(PATIENCE, consumer.next()).await {
            Ok(delivery) => bodies.push(delivery.expect("an open channel").unwrap().data.to_vec()),
            // Messages that turn out to be damaged are counted until then.
            Err(_) => {
                let left = channel.queue_declare(queue.into(), passive, FieldTable::default()).await.unwrap();
                if left.message_count() == 0 {
                    break;
                }
            }
        }
    }
    channel.basic_cancel("drain".into(), BasicCancelOptions::default()).await.unwrap();
    // On a busy machine deliveries may have been under way for long; they come in front of the answer.
    while let Some(delivery) = consumer.next().await {
        bodies.push(delivery.unwrap().data.to_vec());
    }
    // More than it said would be found here, or have come to the consumer.
    while let Some(more) = channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap() {
        bodies.push(more.delivery.data.to_vec());
    }
    bodies
}

/// Whether the exchange still leads to its queues, which are empty.
pub(crate) async fn is_fanned_out(connection: &Connection) -> bool {
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let published = channel.basic_publish(EXCHANGE.into(), "".into(), options, b"probe", properties).await;
    let Ok(confirm) = published else { return false };
    if confirm.await.is_err() {
        return false;
    }
    let mut arrived = true;
    for queue in FANNED_OUT {
        arrived &=
            channel.basic_get(QUEUES[queue].into(), BasicGetOptions::default()).await.unwrap().is_some();
    }
    arrived
}
