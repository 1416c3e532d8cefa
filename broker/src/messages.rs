//! `warren publish`, `consume`, `get`, `rpc` and `shovel`: messages for shells and scripts, at any AMQP 0-9-1 broker. They are programs
//! on top of the client library, and know nothing of the broker that is in the same binary.

mod consume;
mod document;
mod get;
mod publish;
mod rpc;
mod shovel;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use tokio::sync::watch;
use warren_client::{Connection, Options, State};

use consume::ConsumeArgs;
use get::GetArgs;
use publish::PublishArgs;
use rpc::RpcArgs;
use shovel::ShovelArgs;

/// Where to.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The broker's address
    #[arg(
        long,
        env = "AMQP_URL",
        value_name = "URL",
        default_value = "amqp://guest:guest@127.0.0.1:5672/%2F",
        hide_env_values = true
    )]
    url: String,
}

impl Target {
    /// Connects under the name of a command, by which the broker lists it.
    async fn connect(&self, command: &str) -> anyhow::Result<Connection> {
        let connection = Connection::open(Options::new(&self.url).name(format!("warren {command}"))).await?;
        tokio::spawn(report(format!("warren {command}"), connection.watch()));
        Ok(connection)
    }
}

/// Says when the broker goes away and comes back, so that a command that waits does not do so in silence.
async fn report(command: String, mut states: watch::Receiver<State>) {
    states.mark_unchanged();
    while states.changed().await.is_ok() {
        let news = match &*states.borrow_and_update() {
            State::Reconnecting { attempt: 0, reason } => reason.to_string(),
            State::Connected { address } => format!("connected to {address} again"),
            _ => continue,
        };
        // Standard error may be closed.
        let _ = writeln!(io::stderr(), "{command}: {news}");
    }
}

/// One of the commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish messages: bodies, lines of standard input, or lines of JSON; each is confirmed
    Publish(PublishArgs),
    /// Print messages as they come
    Consume(ConsumeArgs),
    /// Print messages that are in a queue; exit code 1 if there is none
    Get(GetArgs),
    /// Call a server and print its answer
    Rpc(RpcArgs),
    /// Move the messages of a queue to another broker
    Shovel(ShovelArgs),
}

/// Carries out a command. Its exit code is 0 if all of it succeeded, otherwise 1.
pub(crate) fn run(command: Command) -> ExitCode {
    let name = match &command {
        Command::Publish(_) => "publish",
        Command::Consume(_) => "consume",
        Command::Get(_) => "get",
        Command::Rpc(_) => "rpc",
        Command::Shovel(_) => "shovel",
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let result = runtime.block_on(async {
            match command {
                Command::Publish(args) => publish::run(args).await,
                Command::Consume(args) => consume::run(args).await,
                Command::Get(args) => get::run(args).await,
                Command::Rpc(args) => rpc::run(args).await,
                Command::Shovel(args) => shovel::run(args).await,
            }
        });
        // Reading standard input cannot be interrupted, and must not hold the end up.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            // Standard error may be closed.
            let _ = writeln!(io::stderr(), "warren {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints at once, so that what is acknowledged after it is out.
///
/// # Errors
///
/// Those of standard output, such as a reader that has gone away.
fn print(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.write_all(b"\n")?;
    out.flush()
}
