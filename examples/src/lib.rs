//! What all these programs share: where the broker is, and how to fail and stop politely. It hides nothing of AMQP:
//! every program makes its own lapin calls. Only the programs in `src/bin` call it.

pub mod retry;

use std::env;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, ErrorKind};
use tokio::time::timeout;

/// Where a broker started with no configuration listens.
const DEFAULT_URL: &str = "amqp://guest:guest@127.0.0.1:5672/%2F";

/// How long a broker may take to let us in. lapin would wait for as long as the other side keeps the connection open.
const PATIENCE: Duration = Duration::from_secs(10);

/// The value of an environment variable, such as `QUEUE`, or what the program uses without it.
pub fn setting(variable: &str, default: &str) -> String {
    env::var(variable).unwrap_or_else(|_| default.to_owned())
}

/// The program's arguments joined to one text, or the default text if there are none.
pub fn text_of(arguments: impl Iterator<Item = String>, default: &str) -> String {
    let words: Vec<String> = arguments.collect();
    if words.is_empty() { default.to_owned() } else { words.join(" ") }
}

/// How long a worker takes for one dot of a task, as `SECONDS_PER_DOT` says.
///
/// # Errors
///
/// If that is no number of seconds.
pub fn time_per_dot() -> Result<Duration> {
    const WRONG: &str = "SECONDS_PER_DOT is not a number of seconds";
    let seconds: f64 = setting("SECONDS_PER_DOT", "1").parse().context(WRONG)?;
    Duration::try_from_secs_f64(seconds).context(WRONG)
}

/// Connects to the broker named by `AMQP_URL`, which shows the connection as `name`.
///
/// # Errors
///
/// A sentence saying what to do, if the URL makes no sense or the broker cannot be reached or refuses.
pub async fn connect(name: &str) -> Result<Connection> {
    let url = setting("AMQP_URL", DEFAULT_URL);
    let uri: AMQPUri = url.parse().map_err(|problem| {
        anyhow!("AMQP_URL is not usable ({problem}); it should look like {DEFAULT_URL}")
    })?;
    // The address only: the URL holds a password.
    let broker = format!("{}:{}", uri.authority.host, uri.authority.port);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    match timeout(PATIENCE, Connection::connect_uri(uri, properties)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(match error.kind() {
            ErrorKind::ProtocolError(reply) => anyhow!(
                "the broker at {broker} refused the connection: {}. \
                 Check the user, password and virtual host in AMQP_URL.",
                reply.get_message()
            ),
            _ => anyhow!(
                "cannot reach a broker at {broker}: {error}. \
                 Start one (`cargo run --release` runs Warren) or set AMQP_URL to the address of another."
            ),
        }),
        Err(_) => bail!(
            "whatever listens at {broker} does not answer as a broker does. \
             Set AMQP_URL to the address of an AMQP 0-9-1 broker."
        ),
    }
}

/// Runs a program until it returns or CTRL+C is pressed, which is the normal way to end a receiver.
pub fn run(program: impl Future<Output = Result<()>>) -> ExitCode {
    run_to_its_end(async {
        tokio::select! {
            result = program => result,
            // Leaving at once is enough: a broker takes back what a vanished client had not acknowledged.
            interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for CTRL+C"),
        }
    })
}

/// Runs a program until it returns; CTRL+C is its own affair.
pub fn run_to_its_end(program: impl Future<Output = Result<()>>) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime");
    match runtime.and_then(|runtime| runtime.block_on(program)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
