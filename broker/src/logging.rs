//! Logging to standard error, as text for people or JSON for collectors.
//!
//! Standard output stays free for what a command prints. Only the binary calls this: a program that embeds a broker
//! installs its own `tracing` subscriber.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::SubscriberInitExt as _;
use warren::config::{Log, LogFormat};

/// Changes what is logged.
pub(crate) struct Filter(Box<dyn Fn(EnvFilter) -> bool + Send + Sync>);

impl Filter {
    fn new<S: 'static>(handle: Handle<EnvFilter, S>) -> Self {
        Self(Box::new(move |filter| handle.reload(filter).is_ok()))
    }

    /// Filters by this from now on. False if it cannot be read.
    pub(crate) fn set(&self, level: &str) -> bool {
        EnvFilter::builder().parse(level).is_ok_and(|filter| (self.0)(filter))
    }
}

/// Installs the process's subscriber.
pub(crate) fn install(log: &Log) -> anyhow::Result<Filter> {
    let filter = EnvFilter::builder().parse(&log.level).context("reading the log filter")?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match log.format {
        LogFormat::Text => {
            let builder = builder.compact().with_ansi(io::stderr().is_terminal()).with_filter_reloading();
            let filter = Filter::new(builder.reload_handle());
            builder.finish().try_init().map(|()| filter)
        }
        LogFormat::Json => {
            let builder = builder.json().with_current_span(false).with_filter_reloading();
            let filter = Filter::new(builder.reload_handle());
            builder.finish().try_init().map(|()| filter)
        }
    }
    .context("installing the log subscriber")
}
