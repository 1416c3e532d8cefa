//! Headers, the receiving half: `receive_headers all format=pdf type=report` prints what carries all of these.
//!
//! With `any` in place of `all`, one matching header is enough.

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ExchangeKind};
use warren_examples::{connect, run, setting};

fn main() -> ExitCode {
    run(receive())
}

async fn receive() -> Result<()> {
    let exchange = setting("EXCHANGE", "header_logs");
    let wanted = wanted(env::args().skip(1))
        .context("say what to receive, for example: receive_headers all format=pdf type=report")?;
    let connection = connect("receive_headers").await?;
    let channel = connection.create_channel().await?;
    channel
        .exchange_declare(
            exchange.as_str().into(),
            ExchangeKind::Headers,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;

    let queue =
        channel.queue_declare("".into(), QueueDeclareOptions::exclusive(), FieldTable::default()).await?;
    channel
        .queue_bind(queue.name().clone(), exchange.into(), "".into(), QueueBindOptions::default(), wanted)
        .await?;

    let automatic = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut messages =
        channel.basic_consume(queue.name().clone(), "".into(), automatic, FieldTable::default()).await?;
    println!(" [*] Waiting for messages. To exit press CTRL+C");
    while let Some(message) = messages.next().await {
        let message = message?;
        println!(" [x] '{}' ({})", String::from_utf8_lossy(&message.data), listed(&message.properties));
    }
    bail!("the broker cancelled the consumer")
}

/// The arguments of the binding; none if the command line is not `all` or `any` and then `name=value` pairs.
fn wanted(mut arguments: impl Iterator<Item = String>) -> Option<FieldTable> {
    let kind = arguments.next().filter(|kind| kind == "all" || kind == "any")?;
    let mut table = FieldTable::default();
    table.insert("x-match".into(), AMQPValue::LongString(kind.into()));
    for argument in arguments {
        let (name, value) = argument.split_once('=')?;
        table.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    Some(table)
}

/// The headers in alphabetical order, as `name=value`.
fn listed(properties: &BasicProperties) -> String {
    let Some(headers) = properties.headers() else { return String::new() };
    let mut pairs: Vec<String> = headers
        .inner()
        .iter()
        .map(|(name, value)| match value {
            AMQPValue::LongString(text) => format!("{name}={text}"),
            other => format!("{name}={other:?}"),
        })
        .collect();
    pairs.sort();
    pairs.join(", ")
}
