//! Headers, the sending half: `emit_headers "a report" format=pdf type=report` sends a text with headers.

use std::env;
use std::process::ExitCode;

use anyhow::Result;
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ExchangeKind};
use warren_examples::{connect, run, setting};

fn main() -> ExitCode {
    run(emit())
}

async fn emit() -> Result<()> {
    let exchange = setting("EXCHANGE", "header_logs");
    let text = env::args().nth(1).unwrap_or_else(|| "Hello World!".to_owned());
    let mut headers = FieldTable::default();
    for argument in env::args().skip(2) {
        if let Some((name, value)) = argument.split_once('=') {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
    }
    let connection = connect("emit_headers").await?;
    let channel = connection.create_channel().await?;
    channel
        .exchange_declare(
            exchange.as_str().into(),
            ExchangeKind::Headers,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;

    channel
        .basic_publish(
            exchange.into(),
            "".into(),
            BasicPublishOptions::default(),
            text.as_bytes(),
            BasicProperties::default().with_headers(headers),
        )
        .await?;
    println!(" [x] Sent '{text}'");
    connection.close(200, "OK".into()).await?;
    Ok(())
}
