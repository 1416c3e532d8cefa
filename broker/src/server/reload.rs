//! Taking a changed configuration over while the broker runs: [`Broker::reload`].
//!
//! All or nothing: what cannot be read, a certificate among it, leaves everything as it was. What is different is returned and logged.

use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::config::{self, Change, Config, ConfigError, Takes};
use crate::server::admin::Admin;
use crate::server::admission::AdmissionLimits;
use crate::server::oauth::{KeysError, Loaded};
use crate::server::shared::Shared;
use crate::server::tls::TlsSetup;
use crate::server::{Broker, TlsError, session_config};

/// Where the configuration of a broker comes from, to be read again.
pub trait ConfigSource: fmt::Debug + Send + Sync + 'static {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn load(&self) -> Result<Config, ConfigError>;

    /// Filters the log by this from now on. False if that cannot be changed.
    fn set_log_level(&self, level: &str) -> bool;
}

/// What came of reading the configuration again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadReport {
    /// What is different from what the broker ran with, in the order of the reference.
    pub changes: Vec<Change>,
    /// Whether there is TLS, whose certificate and key were read again, too.
    pub certificates: bool,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The files for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The keys of tokens cannot be used.
    #[error(transparent)]
    OAuth(#[from] KeysError),
    /// Nobody has said where the configuration comes from.
    #[error("this broker was not started from a configuration that could be read again")]
    NoSource,
}

/// What the broker runs with.
#[derive(Debug)]
pub(super) struct Running {
    config: Mutex<Config>,
    source: OnceLock<Arc<dyn ConfigSource>>,
    pub(super) tls: OnceLock<Arc<TlsSetup>>,
}

impl Running {
    pub(super) fn new(config: &Config) -> Self {
        Self { config: Mutex::new(config.clone()), source: OnceLock::new(), tls: OnceLock::new() }
    }

    /// Looks at the settings, as of the last reload.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Config) -> T) -> T {
        look(&self.config.lock())
    }
}

impl Broker {
    /// Says where the configuration comes from, for [`Admin::reload`]. Only the first call counts.
    pub fn set_config_source(&self, source: Arc<dyn ConfigSource>) {
        // The error says that there is one already.
        let _ = self.shared.running.source.set(source);
    }

    /// Takes over what can change while the broker runs, and lists all that differs from what it runs with. Certificates are read
    /// again even if nothing else has changed. New limits hold for what is opened from now on.
    ///
    /// # Errors
    ///
    /// [`ReloadError::Tls`] if the certificates cannot be used; then nothing is changed.
    pub fn reload(&self, config: &Config) -> Result<ReloadReport, ReloadError> {
        self.shared.reload(config)
    }
}

impl Admin {
    /// Reads the configuration again from where it came, and does as [`Broker::reload`].
    ///
    /// # Errors
    ///
    /// Why nothing was changed.
    pub fn reload(&self) -> Result<ReloadReport, ReloadError> {
        let shared = self.shared();
        let source = shared.running.source.get().ok_or(ReloadError::NoSource)?;
        let result = source.load().map_err(ReloadError::from).and_then(|config| shared.reload(&config));
        if let Err(error) = &result {
            tracing::error!(%error, "the configuration was not reloaded; everything stays as it was");
        }
        result
    }
}

impl Admin {
    /// The settings that the broker runs with, in TOML, secrets hidden.
    #[must_use]
    pub fn environment(&self) -> String {
        self.shared().running.read(config::running)
    }

    /// Asks whoever runs the broker to stop it; see [`Broker::stop_requested`].
    pub fn request_stop(&self) {
        tracing::info!("an operator wants the broker to stop");
        self.shared().stop_requested.notify_one();
    }
}

impl Broker {
    /// Waits until an operator wants the broker to stop. Whoever runs it then calls [`Broker::shutdown`].
    pub async fn stop_requested(&self) {
        self.shared.stop_requested.notified().await;
    }
}

impl Shared {
    fn reload(&self, new: &Config) -> Result<ReloadReport, ReloadError> {
        let source = self.running.source.get();
        let mut running = self.running.config.lock();
        let mut adopted = running.clone();
        let mut changes = adopted.adopt(new, source.is_some());
        let oauth = Loaded::read(&adopted.oauth)?;
        let tls = self.running.tls.get();
        if let Some(tls) = tls {
            tls.reload_with(&adopted.tls)?;
        }
        if adopted.log.level != running.log.level
            && !source.is_some_and(|source| source.set_log_level(&adopted.log.level))
        {
            adopted.log.level.clone_from(&running.log.level);
            for change in changes.iter_mut().filter(|change| change.key == "log.level") {
                change.takes = Takes::Restart;
            }
        }
        self.access.oauth().replace(oauth);
        self.admission.set_limits(AdmissionLimits::from(&adopted.limits));
        self.queue_limit.set(adopted.limits.queues_max);
        self.access.set_settings(&adopted.auth);
        self.set_session_config(session_config(&adopted, &self.access, self.clock));
        self.memory.set_limit_bytes(adopted.limits.memory_bytes());
        self.set_disk_free_limit(adopted.limits.disk_free);
        *running = adopted;
        drop(running);
        self.check_memory();
        let report = ReloadReport { changes, certificates: tls.is_some() };
        report.log();
        Ok(report)
    }
}

impl Shared {
    /// Tells sessions from now on what has changed besides the configuration.
    pub(super) fn renew_session_config(&self) {
        let running = self.running.config.lock();
        self.set_session_config(session_config(&running, &self.access, self.clock));
    }
}

impl ReloadReport {
    fn log(&self) {
        for Change { key, from, to, takes } in &self.changes {
            match takes {
                Takes::Effect => tracing::info!(setting = key, from, to, "setting changed"),
                Takes::Restart => {
                    tracing::warn!(
                        setting = key,
                        from,
                        to,
                        "setting changed; it takes effect when the broker is restarted"
                    );
                }
            }
        }
        let restart = self.changes.iter().filter(|change| change.takes == Takes::Restart).count();
        let changed = self.changes.len() - restart;
        tracing::info!(changed, restart, certificates = self.certificates, "configuration reloaded");
    }
}
