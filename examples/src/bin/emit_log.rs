//! Publish/subscribe, the sending half: `emit_log some text` reaches every `receive_logs` that is running.

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
    let exchange = setting("EXCHANGE", "logs");
    let line = text_of(env::args().skip(1), "info: Hello World!");
    let connection = connect("emit_log").await?;
    let channel = connection.create_channel().await?;
    channel
        .exchange_declare(
            exchange.as_str().into(),
            ExchangeKind::Fanout,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;

    // A fanout exchange ignores the routing key. With nobody listening the line is dropped, which suits a live log.
    channel
        .basic_publish(
            exchange.into(),
            "".into(),
            BasicPublishOptions::default(),
            line.as_bytes(),
            BasicProperties::default(),
        )
        .await?;
    println!(" [x] Sent '{line}'");
    connection.close(200, "OK".into()).await?;
    Ok(())
}
