//! Remote procedure call with direct reply-to: asks the same `rpc_server` without a reply queue of its own.

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result};
use futures::StreamExt;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use warren_examples::{connect, run, setting};

/// Not a real queue: the broker hands what is sent there straight to the channel that consumes from it.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";

fn main() -> ExitCode {
    run(ask())
}

async fn ask() -> Result<()> {
    let queue = setting("QUEUE", "rpc_queue");
    let n = env::args().nth(1).unwrap_or_else(|| "30".to_owned());
    let connection = connect("rpc_direct_client").await?;
    let channel = connection.create_channel().await?;
    // The consumer must exist before the question is asked, on the same channel, and without acknowledgements.
    let automatic = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut answers =
        channel.basic_consume(REPLY_TO.into(), "".into(), automatic, FieldTable::default()).await?;

    println!(" [x] Requesting fib({n})");
    channel
        .basic_publish(
            "".into(),
            queue.into(),
            BasicPublishOptions::default(),
            n.as_bytes(),
            BasicProperties::default().with_reply_to(REPLY_TO.into()),
        )
        .await?;
    let answer = answers.next().await.context("the broker cancelled the consumer")??;
    println!(" [.] Got {}", String::from_utf8_lossy(&answer.data));
    connection.close(200, "OK".into()).await?;
    Ok(())
}
