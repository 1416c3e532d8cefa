//! Layering: defaults, then the file, then the environment, then flags, remembering where each value came from.
//!
//! It collects every problem before it gives up, so that one start shows them all. `cli.rs` calls it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::{invalid_value, unknown_name};
use super::file;
use super::knobs::{Knob, knobs};
use super::value::Input;
use super::{Config, ConfigError};

/// Names the file, as `--config` does.
const CONFIG_VARIABLE: &str = "WARREN_CONFIG";

/// What settings are read from, weakest first. An empty one yields the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file named by `--config`; without it the one named by `WARREN_CONFIG`, if any.
    pub file: Option<PathBuf>,
    /// The environment; variables that do not begin with `WARREN_` are passed over.
    pub env: Vec<(OsString, OsString)>,
    /// Flags as (`--port`, `5672`).
    pub flags: Vec<(&'static str, String)>,
}

/// A configuration, and where each value came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    pub(super) origins: BTreeMap<&'static str, Origin>,
}

/// Where a value came from, when it is not the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    File { name: String, line: usize },
    Variable(&'static str),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Variable(name) => write!(f, "environment, {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

impl Sources {
    /// Reads all sources.
    ///
    /// # Errors
    ///
    /// When a key or variable is unknown, a value is not valid, or the file cannot be read. The error lists all of it.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut problems = Vec::new();
        let mut loaded = Loaded { config: Config::default(), origins: BTreeMap::new() };
        if let Some(path) = self.file.clone().or_else(|| self.file_of_environment()) {
            loaded.apply_file(&path, &mut problems);
        }
        loaded.apply_environment(&self.env, &mut problems);
        loaded.apply_flags(&self.flags, &mut problems);
        if problems.is_empty() { Ok(loaded) } else { Err(ConfigError(problems)) }
    }

    fn file_of_environment(&self) -> Option<PathBuf> {
        let (_, path) = self.env.iter().find(|(name, _)| name == CONFIG_VARIABLE)?;
        (!path.is_empty()).then(|| PathBuf::from(path))
    }
}

impl Loaded {
    fn apply_file(&mut self, path: &Path, problems: &mut Vec<String>) {
        let name = path.display().to_string();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                problems.push(format!("{name}: cannot read this configuration file: {error}"));
                return;
            }
        };
        for entry in file::entries(&name, &text, problems) {
            let origin = Origin::File { name: name.clone(), line: entry.line };
            match (entry.knob.set)(&mut self.config, &entry.value) {
                Some(()) => {
                    self.origins.insert(entry.knob.key, origin);
                }
                None => {
                    let value = shown(entry.knob, &entry.value);
                    problems.push(invalid_value(origin, entry.knob.key, value, entry.knob.expects));
                }
            }
        }
    }

    fn apply_environment(&mut self, env: &[(OsString, OsString)], problems: &mut Vec<String>) {
        let mut variables: Vec<(String, String)> = env
            .iter()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .filter(|(name, value)| name.starts_with("WARREN_") && !is_for_others(name, value))
            .collect();
        variables.sort();
        for (name, value) in variables {
            let value = Input::Plain(value);
            let Some(knob) = knobs().find(|knob| knob.env == name) else {
                let mut names: Vec<&str> = knobs().map(|knob| knob.env).collect();
                names.push(CONFIG_VARIABLE);
                problems.push(unknown_name("environment", "variable", &name, &name, &names));
                continue;
            };
            match (knob.set)(&mut self.config, &value) {
                Some(()) => {
                    self.origins.insert(knob.key, Origin::Variable(knob.env));
                }
                None => {
                    problems.push(invalid_value("environment", knob.env, shown(knob, &value), knob.expects));
                }
            }
        }
    }

    fn apply_flags(&mut self, flags: &[(&'static str, String)], problems: &mut Vec<String>) {
        for (flag, value) in flags {
            let value = Input::Plain(value.clone());
            let Some(knob) = knobs().find(|knob| knob.flag == Some(flag)) else {
                let names: Vec<&str> = knobs().filter_map(|knob| knob.flag).collect();
                problems.push(unknown_name("command line", "flag", flag, flag, &names));
                continue;
            };
            match (knob.set)(&mut self.config, &value) {
                Some(()) => {
                    self.origins.insert(knob.key, Origin::Flag(flag));
                }
                None => problems.push(invalid_value("command line", flag, value, knob.expects)),
            }
        }
    }
}

/// A refused value as a message may quote it.
fn shown(knob: &Knob, value: &Input) -> String {
    if knob.secret { "(hidden)".to_owned() } else { value.to_string() }
}

/// Variables with our prefix that are not settings: the name of the file, where `warren ctl` finds a broker, those of the project's own tests, and those
/// that container engines set for every program near a service called "warren".
fn is_for_others(name: &str, value: &str) -> bool {
    let ours = [CONFIG_VARIABLE, "WARREN_URL", "WARREN_PROFILE", "WARREN_BIN"].contains(&name)
        || name.starts_with("WARREN_TEST_");
    let linked_service = name == "WARREN_SERVICE_HOST"
        || name.starts_with("WARREN_SERVICE_PORT")
        || name
            .strip_prefix("WARREN_PORT_")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        || (name == "WARREN_PORT" && value.starts_with("tcp://"));
    ours || linked_service
}

#[cfg(test)]
mod tests;
