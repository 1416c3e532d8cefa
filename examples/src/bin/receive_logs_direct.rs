//! Direct routing, the receiving half: `receive_logs_direct warning error` prints the lines of those severities.

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use futures::StreamExt;
use lapin::ExchangeKind;
use lapin::options::{BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use warren_examples::{connect, run, setting};

fn main() -> ExitCode {
    run(receive())
}

async fn receive() -> Result<()> {
    let exchange = setting("EXCHANGE", "direct_logs");
    let severities: Vec<String> = env::args().skip(1).collect();
    ensure!(
        !severities.is_empty(),
        "say which severities to receive, for example: receive_logs_direct warning error"
    );
    let connection = connect("receive_logs_direct").await?;
    let channel = connection.create_channel().await?;
    channel
        .exchange_declare(
            exchange.as_str().into(),
            ExchangeKind::Direct,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;

    let queue =
        channel.queue_declare("".into(), QueueDeclareOptions::exclusive(), FieldTable::default()).await?;
    for severity in severities {
        channel
            .queue_bind(
                queue.name().clone(),
                exchange.as_str().into(),
                severity.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
    }

    let automatic = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut lines =
        channel.basic_consume(queue.name().clone(), "".into(), automatic, FieldTable::default()).await?;
    println!(" [*] Waiting for logs. To exit press CTRL+C");
    while let Some(line) = lines.next().await {
        let line = line?;
        println!(" [x] '{}':'{}'", line.routing_key, String::from_utf8_lossy(&line.data));
    }
    bail!("the broker cancelled the consumer")
}
