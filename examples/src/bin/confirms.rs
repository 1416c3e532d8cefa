//! Publisher confirms: `confirms 1000` publishes that many messages in three ways, then shows what is not a confirm.
//!
//! A confirm of a persistent message in a durable queue means that it is on the broker's disk. Waiting for each one
//! before the next message costs a sync of the disk each time; many on their way share one.

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use warren_examples::{connect, run, setting};

/// The delivery mode of a message that is to survive a restart of the broker.
const PERSISTENT: u8 = 2;
const AT_ONCE: usize = 50;
const MANDATORY: BasicPublishOptions = BasicPublishOptions { mandatory: true, immediate: false };

fn main() -> ExitCode {
    run(confirms())
}

async fn confirms() -> Result<()> {
    let queue = setting("QUEUE", "confirms");
    let count = env::args().nth(1).map_or(Ok(1000), |text| text.parse()).context("say how many messages")?;
    let connection = connect("confirms").await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;
    // After this the broker answers each message with an ack or a nack.
    channel.confirm_select(ConfirmSelectOptions::default()).await?;

    let start = Instant::now();
    one_by_one(&channel, &queue, count).await?;
    say("One by one", count, start);
    let start = Instant::now();
    in_batches(&channel, &queue, count).await?;
    say(&format!("In batches of {AT_ONCE}"), count, start);
    let start = Instant::now();
    pipelined(&channel, &queue, count).await?;
    say(&format!("Pipelined, {AT_ONCE} on their way"), count, start);

    what_is_not_a_confirm(&channel, &queue).await?;
    let kept = channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    println!(" [x] The queue held {kept} messages; it is deleted, so that the next run begins anew");
    connection.close(200, "OK".into()).await?;
    Ok(())
}

async fn one_by_one(channel: &Channel, queue: &str, count: usize) -> Result<()> {
    for _ in 0..count {
        ensure!(is_kept(&publish(channel, queue, "one by one", MANDATORY).await?.await?), NOT_KEPT);
    }
    Ok(())
}

async fn in_batches(channel: &Channel, queue: &str, count: usize) -> Result<()> {
    for start in (0..count).step_by(AT_ONCE) {
        let mut batch = Vec::new();
        for _ in start..count.min(start + AT_ONCE) {
            batch.push(publish(channel, queue, "in a batch", MANDATORY).await?);
        }
        // If one fails, the program knows which of the batch to publish again.
        ensure!(try_join_all(batch).await?.iter().all(is_kept), NOT_KEPT);
    }
    Ok(())
}

async fn pipelined(channel: &Channel, queue: &str, count: usize) -> Result<()> {
    let mut unconfirmed = FuturesUnordered::new();
    for _ in 0..count {
        // The next message is sent as soon as any is confirmed. The bound keeps memory and what may be repeated small.
        if unconfirmed.len() == AT_ONCE
            && let Some(confirmation) = unconfirmed.next().await
        {
            ensure!(is_kept(&confirmation?), NOT_KEPT);
        }
        unconfirmed.push(publish(channel, queue, "pipelined", MANDATORY).await?);
    }
    while let Some(confirmation) = unconfirmed.next().await {
        ensure!(is_kept(&confirmation?), NOT_KEPT);
    }
    Ok(())
}

const NOT_KEPT: &str = "the broker did not keep a message";

/// Sends a message; the future that this returns is done when the broker has answered.
async fn publish(
    channel: &Channel,
    queue: &str,
    text: &str,
    options: BasicPublishOptions,
) -> lapin::Result<PublisherConfirm> {
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    channel.basic_publish("".into(), queue.into(), options, text.as_bytes(), properties).await
}

/// A message that was returned is acknowledged as well: the broker has done with it.
fn is_kept(confirmation: &Confirmation) -> bool {
    matches!(confirmation, Confirmation::Ack(None))
}

async fn what_is_not_a_confirm(channel: &Channel, queue: &str) -> Result<()> {
    let full = format!("{queue}_full");
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(2));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(full.as_str().into(), exclusive, arguments).await?;
    let mut answers = Vec::new();
    for _ in 0..3 {
        let confirmation = publish(channel, &full, "one more", MANDATORY).await?.await?;
        // A nacked message is not kept anywhere: publish it again later, slow down, or tell the user.
        answers.push(if confirmation.is_nack() { "nack" } else { "ack" });
    }
    println!(" [x] Into a queue with room for two: {}", answers.join(", "));

    let nowhere = format!("{queue}_nowhere");
    let confirmation = publish(channel, &nowhere, "lost", MANDATORY).await?.await?;
    let returned = confirmation.take_message().context("a mandatory message without a queue is returned")?;
    println!(
        " [x] Mandatory, without a queue: returned with {} {}",
        returned.reply_code, returned.reply_text
    );
    // Without `mandatory` that is a confirm: the broker did all there was to do with it.
    let confirmation = publish(channel, &nowhere, "lost", BasicPublishOptions::default()).await?.await?;
    ensure!(is_kept(&confirmation), "an ordinary message without a queue is acknowledged");
    println!(" [x] Not mandatory, without a queue: confirmed, and gone");
    Ok(())
}

fn say(what: &str, count: usize, start: Instant) {
    println!(" [x] {what}: {count} confirmed in {} ms", start.elapsed().as_millis());
}
