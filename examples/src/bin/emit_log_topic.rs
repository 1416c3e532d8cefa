//! Topics, the sending half: `emit_log_topic kern.critical A line` sends a line about a dotted topic.

use std::env;
use std::process::ExitCode;

use anyhow::Result;
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};
use warren_examples::{connect, run, setting, text_of};

fn main() -> ExitCode {
    run(emit())
}

async fn emit() -> Result<()> {
    let exchange = setting("EXCHANGE", "topic_logs");
    let topic = env::args().nth(1).unwrap_or_else(|| "anonymous.info".to_owned());
    let line = text_of(env::args().skip(2), "Hello World!");
    let connection = connect("emit_log_topic").await?;
    let channel = connection.create_channel().await?;
    channel
        .exchange_declare(
            exchange.as_str().into(),
            ExchangeKind::Topic,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;

    channel
        .basic_publish(
            exchange.into(),
            topic.as_str().into(),
            BasicPublishOptions::default(),
            line.as_bytes(),
            BasicProperties::default(),
        )
        .await?;
    println!(" [x] Sent '{topic}':'{line}'");
    connection.close(200, "OK".into()).await?;
    Ok(())
}
