//! Reading the configuration again while the broker runs: from the same file and flags and the environment of the start.
//!
//! What it means for the broker is the library's to say. `run.rs` hands it over.

use std::fmt;

use warren::config::{Config, ConfigError, Sources};
use warren::server::ConfigSource;

use super::files;
use crate::logging::Filter;

/// Where this process has its configuration from.
pub(super) struct ProcessSource {
    sources: Sources,
    /// The limit on open files.
    files: Option<u64>,
    log: Filter,
}

impl ProcessSource {
    pub(super) fn new(sources: Sources, files: Option<u64>, log: Filter) -> Self {
        Self { sources, files, log }
    }
}

/// The environment may hold secrets.
impl fmt::Debug for ProcessSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProcessSource")
    }
}

impl ConfigSource for ProcessSource {
    fn load(&self) -> Result<Config, ConfigError> {
        let mut config = self.sources.load()?.config;
        files::fit_connections(&mut config.limits, self.files);
        Ok(config)
    }

    fn set_log_level(&self, level: &str) -> bool {
        self.log.set(level)
    }
}
