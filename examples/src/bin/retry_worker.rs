//! Retries, the receiving half: a failed task comes back after `RETRY_DELAY_MS`, and is given up after `MAX_ATTEMPTS`.
//!
//! The task waits in the broker, so that neither a crash of this worker nor one of the broker loses it, and meanwhile
//! the worker does other tasks. nack with requeue would bring the task back at once, again and again.

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use warren_examples::{connect, retry, run, setting};

/// The delivery mode of a message that is to survive a restart of the broker.
const PERSISTENT: u8 = 2;

fn main() -> ExitCode {
    run(work())
}

async fn work() -> Result<()> {
    let queue = setting("QUEUE", "retry_queue");
    let attempts_max =
        setting("MAX_ATTEMPTS", "3").parse().context("MAX_ATTEMPTS is not a number of attempts")?;
    let connection = connect("retry_worker").await?;
    let channel = connection.create_channel().await?;
    retry::declare(&channel, &queue).await?;
    // So that a task is gone from the queue only when it is safe among the dead ones.
    channel.confirm_select(ConfirmSelectOptions::default()).await?;

    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let mut tasks = channel
        .basic_consume(
            queue.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    println!(" [*] Waiting for messages. To exit press CTRL+C");
    while let Some(task) = tasks.next().await {
        attempt(&channel, &queue, task?, attempts_max).await?;
    }
    bail!("the broker cancelled the consumer")
}

async fn attempt(channel: &Channel, queue: &str, delivery: Delivery, attempts_max: usize) -> Result<()> {
    let task = String::from_utf8_lossy(&delivery.data);
    let attempt = retry::failures(&delivery.properties, queue) + 1;
    println!(" [x] Attempt {attempt} of '{task}'");
    if attempt > task.matches('!').count() {
        println!(" [x] Done");
    } else if attempt < attempts_max {
        println!(" [ ] Failed, will be tried again");
        delivery.nack(BasicNackOptions::default()).await?;
        return Ok(());
    } else {
        println!(" [ ] Failed for good, kept in {queue}.dead");
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = delivery.properties.clone().with_delivery_mode(PERSISTENT);
        let dead = format!("{queue}.dead");
        let confirmation =
            channel.basic_publish("".into(), dead.into(), options, &delivery.data, properties).await?.await?;
        ensure!(
            confirmation.is_ack() && confirmation.take_message().is_none(),
            "the broker did not take the dead task"
        );
    }
    delivery.ack(BasicAckOptions::default()).await?;
    Ok(())
}
