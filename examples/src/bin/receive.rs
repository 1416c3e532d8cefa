//! Hello world, the receiving half: prints every message of a queue until CTRL+C.

use std::process::ExitCode;

use anyhow::{Result, bail};
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use warren_examples::{connect, run, setting};

fn main() -> ExitCode {
    run(receive())
}

async fn receive() -> Result<()> {
    let queue = setting("QUEUE", "hello");
    let connection = connect("receive").await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;

    // With automatic acknowledgement a message counts as done the moment it is sent to us.
    let automatic = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut messages =
        channel.basic_consume(queue.into(), "".into(), automatic, FieldTable::default()).await?;
    println!(" [*] Waiting for messages. To exit press CTRL+C");
    while let Some(message) = messages.next().await {
        println!(" [x] Received '{}'", String::from_utf8_lossy(&message?.data));
    }
    bail!("the broker cancelled the consumer")
}
