//! Priorities, the sending half: `priority_send 9 Fire!` sends a line of priority 9, of those from 0 to 9.

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use warren_examples::{connect, run, setting, text_of};

/// The delivery mode of a message that is to survive a restart of the broker.
const PERSISTENT: u8 = 2;

fn main() -> ExitCode {
    run(send())
}

async fn send() -> Result<()> {
    let queue = setting("QUEUE", "priority_queue");
    let level: u8 = match env::args().nth(1) {
        Some(text) => text.parse().context("a priority is a number from 0 to 9")?,
        None => 0,
    };
    let line = text_of(env::args().skip(2), "Hello World!");
    let connection = connect("priority_send").await?;
    let channel = connection.create_channel().await?;
    // How many levels there are belongs to the queue: it keeps a sequence for each.
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-priority".into(), AMQPValue::LongInt(9));
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await?;

    let properties = BasicProperties::default().with_priority(level).with_delivery_mode(PERSISTENT);
    channel
        .basic_publish("".into(), queue.into(), BasicPublishOptions::default(), line.as_bytes(), properties)
        .await?;
    println!(" [x] Sent {level}:'{line}'");
    connection.close(200, "OK".into()).await?;
    Ok(())
}
