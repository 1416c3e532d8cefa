//! Hello world, the sending half: puts one message into a queue.

use std::process::ExitCode;

use anyhow::Result;
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use warren_examples::{connect, run, setting};

fn main() -> ExitCode {
    run(send())
}

async fn send() -> Result<()> {
    let queue = setting("QUEUE", "hello");
    let connection = connect("send").await?;
    let channel = connection.create_channel().await?;
    // Both halves declare the queue, so that it does not matter which one starts first.
    channel
        .queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;

    // The default exchange, whose name is empty, delivers to the queue named by the routing key.
    channel
        .basic_publish(
            "".into(),
            queue.into(),
            BasicPublishOptions::default(),
            b"Hello World!",
            BasicProperties::default(),
        )
        .await?;
    println!(" [x] Sent 'Hello World!'");
    // Closing also flushes: the broker answers only after it has read everything before.
    connection.close(200, "OK".into()).await?;
    Ok(())
}
