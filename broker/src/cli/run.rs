//! Running the broker: it sets the process up and, until there is a server to start, says so.
//!
//! `cli.rs` calls it.

use std::process::ExitCode;

use warren::config::Config;

use super::files;
use crate::logging;

/// Prepares the process for a broker.
pub(super) fn run(mut config: Config) -> anyhow::Result<ExitCode> {
    logging::install(&config.log)?;
    files::fit_connections(&mut config.limits, files::raise_limit());
    anyhow::bail!("this version has no server yet")
}
