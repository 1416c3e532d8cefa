//! Priorities, the receiving half: of what waits, the highest priority comes first, and within one the oldest.

use std::process::ExitCode;

use anyhow::{Result, bail};
use futures::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use warren_examples::{connect, run, setting};

fn main() -> ExitCode {
    run(receive())
}

async fn receive() -> Result<()> {
    let queue = setting("QUEUE", "priority_queue");
    let connection = connect("priority_receive").await?;
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-priority".into(), AMQPValue::LongInt(9));
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await?;

    // What has been sent to us already cannot be overtaken, so take one at a time.
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let mut lines = channel
        .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    println!(" [*] Waiting for messages. To exit press CTRL+C");
    while let Some(delivery) = lines.next().await {
        let delivery = delivery?;
        let priority = delivery.properties.priority().unwrap_or(0);
        println!(" [x] {priority}:'{}'", String::from_utf8_lossy(&delivery.data));
        delivery.ack(BasicAckOptions::default()).await?;
    }
    bail!("the broker cancelled the consumer")
}
