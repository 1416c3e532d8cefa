//! The three queues of `retry_send` and `retry_worker`, and how often a message has failed.

use anyhow::{Context, Result};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};

use crate::setting;

/// A queue for tasks; one where failed tasks wait `RETRY_DELAY_MS`; one for those that are given up.
///
/// # Errors
///
/// If `RETRY_DELAY_MS` is not a number, or the broker has such queues with other arguments.
pub async fn declare(channel: &Channel, queue: &str) -> Result<()> {
    let delay_ms: i32 = setting("RETRY_DELAY_MS", "2000")
        .parse()
        .context("RETRY_DELAY_MS is not a number of milliseconds")?;
    let waiting = format!("{queue}.wait");
    // What a worker rejects is dead-lettered: published again by the broker, here to the queue where it waits.
    declare_queue(channel, queue, dead_letters_to(&waiting)).await?;
    // Nobody consumes from this one. What expires in it is dead-lettered too: back to the tasks.
    let mut arguments = dead_letters_to(queue);
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(delay_ms));
    declare_queue(channel, &waiting, arguments).await?;
    declare_queue(channel, &format!("{queue}.dead"), FieldTable::default()).await
}

async fn declare_queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<()> {
    channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await?;
    Ok(())
}

fn dead_letters_to(queue: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(queue.into()));
    arguments
}

/// How often the message was rejected from the queue: the broker counts that in the header x-death.
pub fn failures(properties: &BasicProperties, queue: &str) -> usize {
    let Some(AMQPValue::FieldArray(deaths)) =
        properties.headers().as_ref().and_then(|headers| headers.inner().get("x-death"))
    else {
        return 0;
    };
    deaths.as_slice().iter().map(|death| rejections(death, queue)).sum()
}

fn rejections(death: &AMQPValue, queue: &str) -> usize {
    let AMQPValue::FieldTable(death) = death else { return 0 };
    let is = |name: &str, wanted: &str| match death.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.as_bytes() == wanted.as_bytes(),
        _ => false,
    };
    match death.inner().get("count") {
        Some(AMQPValue::LongLongInt(count)) if is("queue", queue) && is("reason", "rejected") => {
            usize::try_from(*count).unwrap_or(0)
        }
        _ => 0,
    }
}
