//! `warren consume`: prints messages as they come, and acknowledges each when it is printed.

use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use warren_client::SubscribeOptions;

use super::document::Document;
use super::{Target, print};

/// How many messages are reserved at once.
const PREFETCH: u16 = 100;

#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    #[command(flatten)]
    target: Target,
    /// The queue to consume from
    #[arg(value_name = "QUEUE")]
    queue: String,
    /// End after so many messages [default: go on until Ctrl-C]
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// End when no message has come for so many milliseconds
    #[arg(long, value_name = "MS")]
    idle_ms: Option<u64>,
    /// Print each message as a line of JSON with all that is known of it, which publish --json reads
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: ConsumeArgs) -> anyhow::Result<ExitCode> {
    let connection = args.target.connect("consume").await?;
    let prefetch =
        args.count.map_or(PREFETCH, |count| u16::try_from(count).unwrap_or(PREFETCH).min(PREFETCH));
    let options = SubscribeOptions::default().prefetch(prefetch.max(1));
    let mut messages = connection.subscribe_bytes(args.queue.as_str(), options).await?;
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    for _ in 0..args.count.unwrap_or(u64::MAX) {
        let next = async {
            match args.idle_ms {
                Some(idle) => {
                    tokio::time::timeout(Duration::from_millis(idle), messages.next()).await.ok()?
                }
                None => messages.next().await,
            }
        };
        let delivery = tokio::select! {
            _ = &mut interrupted => break,
            next = next => match next {
                Some(delivery) => delivery?,
                None => break,
            },
        };
        let printed = if args.json {
            print(&serde_json::to_vec(&Document::of(delivery.lapin_delivery()))?)
        } else {
            print(delivery.body())
        };
        match printed {
            Ok(()) => delivery.ack().await?,
            // Who reads has seen enough, such as `head`; the message goes back.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            Err(error) => return Err(error.into()),
        }
    }
    drop(messages);
    connection.close().await;
    Ok(ExitCode::SUCCESS)
}
