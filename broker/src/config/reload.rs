//! What a running broker takes over from a configuration that has changed, and what has to wait for a restart.
//!
//! It compares and copies values. What a new value does is the server's, which calls it.

use super::Config;
use super::file;
use super::knobs::{Knob, knobs};

/// Sections and settings that take effect while the broker runs. All others need a restart.
const LIVE: &[&str] = &[
    "auth.failure_delay",
    "auth.failures_per_minute_max",
    "auth.loopback_only",
    "limits.*",
    "listen.proxy_from",
    "log.level",
    "oauth.*",
    "server.cluster_name",
    "server.product",
];

/// The same, if TLS was set up at the start and still is.
const LIVE_WITH_TLS: &[&str] =
    &["tls.cert", "tls.client_ca", "tls.key", "tls.login_from", "tls.min_version", "tls.require_client_cert"];

/// When a changed setting takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// It has.
    Effect,
    /// When the broker is started again.
    Restart,
}

/// A setting that is not what the broker runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `section.name`.
    pub key: &'static str,
    /// The value that the broker ran with, in TOML; `(hidden)` if it is a secret.
    pub from: String,
    /// The value in the configuration now.
    pub to: String,
    /// When it takes effect.
    pub takes: Takes,
}

impl Config {
    /// Takes over from `new` what can change while a broker runs, and lists all that is different. `log_level` says whether that of
    /// the log can.
    pub(crate) fn adopt(&mut self, new: &Self, log_level: bool) -> Vec<Change> {
        let has_tls = self.tls.pair().is_some() && new.tls.pair().is_some();
        let is_live = |key: &str| match key {
            "log.level" => log_level,
            _ => lists(LIVE, key) || (has_tls && lists(LIVE_WITH_TLS, key)),
        };
        let mut changes = Vec::new();
        for knob in knobs() {
            let (from, to) = ((knob.show)(self), (knob.show)(new));
            if from == to {
                continue;
            }
            let is_taken = is_live(knob.key) && self.read(knob, &to);
            let takes = if is_taken { Takes::Effect } else { Takes::Restart };
            let shown = |value: String| if knob.secret { "(hidden)".to_owned() } else { value };
            changes.push(Change { key: knob.key, from: shown(from), to: shown(to), takes });
        }
        changes
    }

    /// Sets one value from its form in TOML.
    fn read(&mut self, knob: &Knob, value: &str) -> bool {
        let line = format!("{} = {value}\n", knob.key);
        let mut problems = Vec::new();
        let entries = file::entries("", &line, &mut problems);
        entries.iter().any(|entry| (entry.knob.set)(self, &entry.value).is_some())
    }
}

fn lists(keys: &[&str], key: &str) -> bool {
    keys.iter().any(|listed| match listed.strip_suffix('*') {
        Some(section) => key.starts_with(section),
        None => *listed == key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_setting_exists() {
        for listed in LIVE.iter().chain(LIVE_WITH_TLS) {
            assert!(knobs().any(|knob| lists(&[listed], knob.key)), "{listed}");
        }
    }

    #[test]
    fn what_can_change_is_taken_over_and_the_rest_is_listed_until_a_restart() {
        let mut running = Config::default();
        let mut new = Config::default();
        new.limits.channel_max = 7;
        new.auth.loopback_only = vec!["a b".to_owned(), "c".to_owned()];
        new.listen.port = 1;
        new.auth.password.0 = "tulip".to_owned();
        new.tls.cert = Some("cert.pem".into());
        let changes = running.adopt(&new, true);
        let listed: Vec<(&str, Takes)> = changes.iter().map(|change| (change.key, change.takes)).collect();
        assert_eq!(
            listed,
            [
                ("listen.port", Takes::Restart),
                ("tls.cert", Takes::Restart),
                ("auth.password", Takes::Restart),
                ("auth.loopback_only", Takes::Effect),
                ("limits.channel_max", Takes::Effect),
            ]
        );
        assert!(!format!("{changes:?}").contains("tulip"));
        assert_eq!((running.limits.channel_max, running.listen.port), (7, 5672));
        assert_eq!(running.auth.loopback_only, new.auth.loopback_only);
        // What still waits is listed again, the rest is done.
        assert_eq!(running.adopt(&new, true).len(), 3);
        assert!(running.clone().adopt(&running, true).is_empty());
    }

    #[test]
    fn the_level_of_the_log_changes_only_where_there_is_somebody_to_change_it() {
        let mut new = Config::default();
        new.log.level = "debug".to_owned();
        assert_eq!(Config::default().adopt(&new, false)[0].takes, Takes::Restart);
        assert_eq!(Config::default().adopt(&new, true)[0].takes, Takes::Effect);
    }
}
