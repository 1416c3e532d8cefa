//! Remote procedure call, the asking half: `rpc_client 30` prints the 30th Fibonacci number.

use std::env;
use std::process::{self, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use futures::StreamExt;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use warren_examples::{connect, run, setting};

fn main() -> ExitCode {
    run(ask())
}

async fn ask() -> Result<()> {
    let queue = setting("QUEUE", "rpc_queue");
    let n = env::args().nth(1).unwrap_or_else(|| "30".to_owned());
    let connection = connect("rpc_client").await?;
    let channel = connection.create_channel().await?;
    let replies =
        channel.queue_declare("".into(), QueueDeclareOptions::exclusive(), FieldTable::default()).await?;
    let automatic = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut answers =
        channel.basic_consume(replies.name().clone(), "".into(), automatic, FieldTable::default()).await?;

    let correlation_id: ShortString =
        format!("{}-{}", process::id(), SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos()).into();
    println!(" [x] Requesting fib({n})");
    channel
        .basic_publish(
            "".into(),
            queue.into(),
            BasicPublishOptions::default(),
            n.as_bytes(),
            BasicProperties::default()
                .with_reply_to(replies.name().clone())
                .with_correlation_id(correlation_id.clone()),
        )
        .await?;
    while let Some(answer) = answers.next().await {
        let answer = answer?;
        // A reply queue may hold the late answer to an earlier question.
        if answer.properties.correlation_id().as_ref() == Some(&correlation_id) {
            println!(" [.] Got {}", String::from_utf8_lossy(&answer.data));
            connection.close(200, "OK".into()).await?;
            return Ok(());
        }
    }
    bail!("the broker cancelled the consumer")
}
