//! Work queue, the receiving half: works through tasks one by one, a second (`SECONDS_PER_DOT`) for each dot.

use std::process::ExitCode;

use anyhow::{Result, bail};
use futures::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use warren_examples::{connect, run, setting, time_per_dot};

fn main() -> ExitCode {
    run(work())
}

async fn work() -> Result<()> {
    let queue = setting("QUEUE", "task_queue");
    let dot = time_per_dot()?;
    let connection = connect("worker").await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;

    // Never more than one unfinished task each, so that a slow task does not hold up those queued behind it.
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let mut tasks = channel
        .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    println!(" [*] Waiting for messages. To exit press CTRL+C");
    while let Some(delivery) = tasks.next().await {
        let delivery = delivery?;
        let task = String::from_utf8_lossy(&delivery.data);
        println!(" [x] Received '{task}'");
        for _ in task.matches('.') {
            tokio::time::sleep(dot).await;
        }
        println!(" [x] Done");
        // Only now: a worker that dies in mid-task leaves the task to another one.
        delivery.ack(BasicAckOptions::default()).await?;
    }
    bail!("the broker cancelled the consumer")
}
