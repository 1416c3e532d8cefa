//! Retries, the sending half: `retry_send Call the bank!!` queues a task that fails once for each `!`.

use std::env;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use warren_examples::{connect, retry, run, setting, text_of};

/// The delivery mode of a message that is to survive a restart of the broker.
const PERSISTENT: u8 = 2;

fn main() -> ExitCode {
    run(send())
}

async fn send() -> Result<()> {
    let queue = setting("QUEUE", "retry_queue");
    let task = text_of(env::args().skip(1), "Hello World!");
    let connection = connect("retry_send").await?;
    let channel = connection.create_channel().await?;
    retry::declare(&channel, &queue).await?;

    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let persistent = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let confirmation =
        channel.basic_publish("".into(), queue.into(), options, task.as_bytes(), persistent).await?.await?;
    ensure!(
        confirmation.is_ack() && confirmation.take_message().is_none(),
        "the broker did not take the task"
    );
    println!(" [x] Sent '{task}'");
    connection.close(200, "OK".into()).await?;
    Ok(())
}
