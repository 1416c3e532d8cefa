//! Remote procedure call, the serving half: answers requests for Fibonacci numbers.

use std::process::ExitCode;

use anyhow::{Result, bail};
use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use warren_examples::{connect, run, setting};

fn main() -> ExitCode {
    run(serve())
}

async fn serve() -> Result<()> {
    let queue = setting("QUEUE", "rpc_queue");
    let connection = connect("rpc_server").await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_declare(queue.as_str().into(), QueueDeclareOptions::default(), FieldTable::default())
        .await?;

    // Several servers share the load evenly if none of them hoards requests.
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let mut requests = channel
        .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    println!(" [x] Awaiting RPC requests");
    while let Some(request) = requests.next().await {
        answer(&channel, &request?).await?;
    }
    bail!("the broker cancelled the consumer")
}

async fn answer(channel: &Channel, request: &Delivery) -> Result<()> {
    let text = String::from_utf8_lossy(&request.data);
    // Up to 90 the answer fits 64 bits, so that servers in any language give the same one.
    let result = match text.parse() {
        Ok(n @ 0..=90) => {
            println!(" [.] fib({n})");
            fib(n).to_string()
        }
        _ => {
            println!(" [.] cannot compute fib({text})");
            "error: expected a whole number from 0 to 90".to_owned()
        }
    };
    if let Some(reply_to) = request.properties.reply_to() {
        // The client recognises its answer by the id it chose.
        let properties = match request.properties.correlation_id() {
            Some(id) => BasicProperties::default().with_correlation_id(id.clone()),
            None => BasicProperties::default(),
        };
        channel
            .basic_publish(
                "".into(),
                reply_to.clone(),
                BasicPublishOptions::default(),
                result.as_bytes(),
                properties,
            )
            .await?;
    }
    request.ack(BasicAckOptions::default()).await?;
    Ok(())
}

fn fib(n: u32) -> u64 {
    let (mut a, mut b) = (0, 1);
    for _ in 0..n {
        (a, b) = (b, a + b);
    }
    a
}
