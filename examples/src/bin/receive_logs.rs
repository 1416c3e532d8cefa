//! Publish/subscribe, the receiving half: prints the log lines that are sent while it runs.

use std::process::ExitCode;

use anyhow::{Result, bail};
use futures::StreamExt;
use lapin::ExchangeKind;
use lapin::options::{BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use warren_examples::{connect, run, setting};

fn main() -> ExitCode {
    run(receive())
}

async fn receive() -> Result<()> {
    let exchange = setting("EXCHANGE", "logs");
    let connection = connect("receive_logs").await?;
    let channel = connection.create_channel().await?;
    channel
        .exchange_declare(
            exchange.as_str().into(),
            ExchangeKind::Fanout,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;

    // Named by the broker, ours alone, and gone with this connection.
    let queue =
        channel.queue_declare("".into(), QueueDeclareOptions::exclusive(), FieldTable::default()).await?;
    channel
        .queue_bind(
            queue.name().clone(),
            exchange.into(),
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;

    let automatic = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut lines =
        channel.basic_consume(queue.name().clone(), "".into(), automatic, FieldTable::default()).await?;
    println!(" [*] Waiting for logs. To exit press CTRL+C");
    while let Some(line) = lines.next().await {
        println!(" [x] {}", String::from_utf8_lossy(&line?.data));
    }
    bail!("the broker cancelled the consumer")
}
