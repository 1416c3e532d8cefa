//! A worker for `new_task` that stops as a service should: on SIGTERM or CTRL+C it takes no further task, finishes the
//! one it has, acknowledges it, and closes its connection.
//!
//! Killing a worker loses nothing either, but the task it had is done again by another worker, from its beginning.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::signal::unix::{SignalKind, signal};
use warren_examples::{connect, run_to_its_end, setting, time_per_dot};

fn main() -> ExitCode {
    run_to_its_end(work())
}

async fn work() -> Result<()> {
    // From here on neither signal ends the program; the futures below are done when one has come.
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot listen for CTRL+C")?;
    let mut terminated = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let queue = setting("QUEUE", "task_queue");
    let dot = time_per_dot()?;
    let connection = connect("graceful_shutdown").await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let mut tasks = channel
        .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    println!(" [*] Waiting for messages. To exit press CTRL+C");
    loop {
        // Whether to stop is looked at between tasks only, and before the next one.
        let delivery = tokio::select! {
            biased;
            _ = interrupted.recv() => break,
            _ = terminated.recv() => break,
            delivery = tasks.next() => match delivery {
                Some(delivery) => delivery?,
                None => bail!("the broker cancelled the consumer"),
            },
        };
        let task = String::from_utf8_lossy(&delivery.data);
        println!(" [x] Received '{task}'");
        for _ in task.matches('.') {
            tokio::time::sleep(dot).await;
        }
        println!(" [x] Done");
        delivery.ack(BasicAckOptions::default()).await?;
    }
    // What was sent to us and not begun goes to another worker as soon as the connection is closed.
    connection.close(200, "OK".into()).await?;
    println!(" [x] Stopped");
    Ok(())
}
