//! `warren rpc`: calls a server, and prints its answer.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use warren_client::{Message, RpcOptions, Value};

use super::{Target, print};

#[derive(Debug, Args)]
pub(crate) struct RpcArgs {
    #[command(flatten)]
    target: Target,
    /// The queue of the server
    #[arg(value_name = "QUEUE")]
    queue: String,
    /// The request
    #[arg(value_name = "BODY")]
    body: String,
    /// How long to wait for the answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    timeout_ms: u64,
    /// What kind of thing the request is
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
}

/// The exit code is 1 if the server says that its answer is an error.
pub(super) async fn run(args: RpcArgs) -> anyhow::Result<ExitCode> {
    let connection = args.target.connect("rpc").await?;
    let options = RpcOptions::default().timeout(Duration::from_millis(args.timeout_ms));
    let client = connection.rpc_client_with(options).await?;
    let mut request = Message::text(args.body);
    if let Some(kind) = &args.content_type {
        request = request.content_type(kind)?;
    }
    let answer = client.request(&args.queue, request).await?;
    let is_error = answer.header("x-rpc-status").is_some_and(|status| status != Value::from("ok"));
    print(answer.body())?;
    drop(answer);
    connection.close().await;
    Ok(if is_error { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
