//! Logging to standard error, as text for people or JSON for collectors.
//!
//! Standard output stays free for what a command prints. Only the binary calls this: a program that embeds a broker
//! installs its own `tracing` subscriber.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;
use warren::config::{Log, LogFormat};

/// Installs the process's subscriber.
pub(crate) fn install(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(&log.level).context("reading the log filter")?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match log.format {
        LogFormat::Text => builder.compact().with_ansi(io::stderr().is_terminal()).finish().try_init(),
        LogFormat::Json => builder.json().with_current_span(false).finish().try_init(),
    }
    .context("installing the log subscriber")
}
