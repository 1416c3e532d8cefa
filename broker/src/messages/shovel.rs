//! `warren shovel`: moves the messages of a queue from one broker to another.
//!
//! A message is acknowledged where it was when the other broker has confirmed it, so it may be interrupted at any moment, also
//! by kill -9, and started again. What was on its way then arrives twice.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use warren_client::lapin::BasicProperties;
use warren_client::lapin::options::QueueDeclareOptions;
use warren_client::lapin::types::FieldTable;
use warren_client::{Connection, Delivery, Message, Options, Publisher, SubscribeOptions, Subscription};

use crate::progress_bar;

/// How many messages may be on their way, and arrive twice if the command is killed.
const ON_THEIR_WAY: u16 = 200;

/// Without a message for so long the queue is asked whether it is empty.
const IDLE: Duration = Duration::from_millis(500);

/// Says by which exchange a message came to its first queue.
const ORIGINAL_EXCHANGE: &str = "x-original-exchange";

/// Says by which routing key.
const ORIGINAL_KEY: &str = "x-original-routing-key";

#[derive(Debug, Args)]
pub(crate) struct ShovelArgs {
    /// The address of the broker to take messages from
    #[arg(long, value_name = "URL")]
    from: String,
    /// The address of the broker to bring them to
    #[arg(long, value_name = "URL")]
    to: String,
    /// The queue to empty
    #[arg(value_name = "QUEUE")]
    queue: String,
    /// The queue at the other broker, which must be there [default: the one of the same name]
    #[arg(long, value_name = "QUEUE")]
    to_queue: Option<String>,
}

pub(super) async fn run(args: ShovelArgs) -> anyhow::Result<ExitCode> {
    let target = args.to_queue.as_deref().unwrap_or(&args.queue);
    let options = |url: &str| Options::new(url).name("warren shovel");
    let to = Connection::open(options(&args.to)).await.context("the broker to bring messages to")?;
    messages_in(&to, target).await.with_context(|| {
        format!("the queue {target} must be at the other broker, with the arguments it shall have; declare it there or import definitions")
    })?;
    let from = Connection::open(options(&args.from)).await.context("the broker to take messages from")?;
    messages_in(&from, &args.queue).await.with_context(|| format!("the queue {} to empty", args.queue))?;
    let publisher = to.publisher().await?;
    let messages =
        from.subscribe_bytes(args.queue.as_str(), SubscribeOptions::default().prefetch(ON_THEIR_WAY)).await?;
    let bar = progress_bar::of_messages();
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut moved = 0_u64;
    let outcome = {
        let mut work = std::pin::pin!(shovel(&from, &args.queue, messages, &publisher, target));
        loop {
            tokio::select! {
                _ = &mut interrupted => break Ok(false),
                next = work.try_next() => match next {
                    Ok(Some(())) => {
                        moved += 1;
                        bar.inc(1);
                    }
                    Ok(None) => break Ok(true),
                    Err(error) => break Err(error),
                },
            }
        }
    };
    bar.finish_and_clear();
    from.close().await;
    to.close().await;
    let is_empty = outcome.with_context(|| {
        format!("stopped after {moved} messages; nothing is lost, start the same command again to go on")
    })?;
    println!("{moved} messages moved, {}", if is_empty { "the queue is empty" } else { "interrupted" });
    Ok(ExitCode::SUCCESS)
}

/// Moves messages in their order until the queue is empty; an item for each that has arrived.
fn shovel<'a>(
    from: &'a Connection,
    queue: &'a str,
    messages: Subscription<Vec<u8>>,
    publisher: &'a Publisher,
    target: &'a str,
) -> impl stream::Stream<Item = anyhow::Result<()>> + 'a {
    let taken = stream::try_unfold(messages, move |mut messages| async move {
        loop {
            match tokio::time::timeout(IDLE, messages.next()).await {
                Ok(Some(delivery)) => return Ok(Some((delivery?, messages))),
                Ok(None) => return Ok(None),
                Err(_) if messages_in(from, queue).await? == 0 => return Ok(None),
                Err(_) => {}
            }
        }
    });
    let sent = taken.and_then(move |delivery| async move {
        let message = for_elsewhere(&delivery)?;
        let confirm = publisher.enqueue("", target, message).await?;
        Ok((delivery, confirm))
    });
    let acknowledged = sent.map_ok(|(delivery, confirm)| async move {
        confirm.await?;
        delivery.ack().await.map_err(anyhow::Error::from)
    });
    acknowledged.try_buffered(usize::from(ON_THEIR_WAY / 2))
}

/// How many messages are ready in a queue.
async fn messages_in(connection: &Connection, queue: &str) -> anyhow::Result<u32> {
    let channel = connection.lapin_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let count = channel.queue_declare(queue.into(), passive, FieldTable::default()).await?.message_count();
    channel.close(200, "".into()).await?;
    Ok(count)
}

/// The message without what makes sense only where it was: copies that were made by its CC header, and the user that its
/// broker has checked.
fn for_elsewhere(delivery: &Delivery<Vec<u8>>) -> anyhow::Result<Message> {
    let mut properties = without_user(delivery.properties());
    let headers = properties.headers().clone().unwrap_or_default();
    let kept = headers.inner().iter().filter(|(name, _)| name.as_str() != "CC");
    let headers: std::collections::BTreeMap<_, _> =
        kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    let is_moved_again = headers.contains_key(ORIGINAL_KEY);
    properties = properties.with_headers(headers.into());
    let message = Message::with_properties(delivery.body(), properties);
    if is_moved_again {
        return Ok(message);
    }
    Ok(message
        .header(ORIGINAL_EXCHANGE, delivery.exchange())?
        .header(ORIGINAL_KEY, delivery.routing_key())?)
}

/// The properties but for the user; there is no way to take one of them away.
fn without_user(all: &BasicProperties) -> BasicProperties {
    let mut kept = BasicProperties::default();
    macro_rules! keep {
        ($($property:ident $with:ident),*) => {
            $(if let Some(value) = all.$property().clone() {
                kept = kept.$with(value);
            })*
        };
    }
    keep!(
        content_type with_content_type,
        content_encoding with_content_encoding,
        headers with_headers,
        delivery_mode with_delivery_mode,
        priority with_priority,
        correlation_id with_correlation_id,
        reply_to with_reply_to,
        expiration with_expiration,
        message_id with_message_id,
        timestamp with_timestamp,
        kind with_type,
        app_id with_app_id,
        cluster_id with_cluster_id
    );
    kept
}
