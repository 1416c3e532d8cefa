//! `warren get`: prints the messages that are in a queue now, and does not wait for others.

use std::process::ExitCode;

use clap::Args;
use warren_client::lapin::options::{BasicAckOptions, BasicGetOptions};

use super::document::Document;
use super::{Target, print};

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    target: Target,
    /// The queue to get from
    #[arg(value_name = "QUEUE")]
    queue: String,
    /// How many messages at most
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    count: u64,
    /// Leave the messages in the queue; they are marked as delivered before
    #[arg(long)]
    keep: bool,
    /// Print each message as a line of JSON with all that is known of it, which publish --json reads
    #[arg(long)]
    json: bool,
}

/// The exit code is 1 if there was no message.
pub(super) async fn run(args: GetArgs) -> anyhow::Result<ExitCode> {
    let connection = args.target.connect("get").await?;
    let channel = connection.lapin_channel().await?;
    anyhow::ensure!(args.queue.len() <= 255, "the name of the queue has more than 255 bytes");
    let mut found = 0;
    while found < args.count {
        let got = channel.basic_get(args.queue.as_str().into(), BasicGetOptions::default()).await;
        let Some(message) = got.map_err(warren_client::Error::from)? else { break };
        found += 1;
        if args.json {
            print(&serde_json::to_vec(&Document::of(&message.delivery))?)?;
        } else {
            print(&message.delivery.data)?;
        }
        if !args.keep {
            message.delivery.ack(BasicAckOptions::default()).await.map_err(warren_client::Error::from)?;
        }
    }
    // What was not acknowledged goes back.
    connection.close().await;
    Ok(if found > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
