//! Work queue, the sending half: `new_task First task...` queues one task; each dot is a second of work.

use std::env;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use warren_examples::{connect, run, setting, text_of};

/// The delivery mode of a message that is to survive a restart of the broker.
const PERSISTENT: u8 = 2;

fn main() -> ExitCode {
    run(new_task())
}

async fn new_task() -> Result<()> {
    let queue = setting("QUEUE", "task_queue");
    let task = text_of(env::args().skip(1), "Hello World!");
    let connection = connect("new_task").await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;

    // With confirms, the second await returns once the broker has taken responsibility for the task.
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let confirmation = channel
        .basic_publish(
            "".into(),
            queue.into(),
            BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() },
            task.as_bytes(),
            // A task survives a restart of the broker only if its queue is durable and the message persistent.
            BasicProperties::default().with_delivery_mode(PERSISTENT),
        )
        .await?
        .await?;
    ensure!(
        confirmation.is_ack() && confirmation.take_message().is_none(),
        "the broker did not take the task"
    );
    println!(" [x] Sent '{task}'");
    connection.close(200, "OK".into()).await?;
    Ok(())
}
