//! The command line of `warren`: its flags and subcommands, and the one place that maps outcomes to exit codes.
//!
//! Flags are handed to the configuration as text and read there, so that a bad value is explained the same way
//! wherever it was written. `main.rs` calls it.

mod banner;
mod data;
mod files;
mod health;
mod reload;
mod restore;
mod run;
mod service;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;
use warren::config::{self, Sources};
#[cfg(test)]
use warren::config::{ConfigError, Loaded};

use crate::ctl::{self, CtlArgs};
#[cfg(feature = "messages")]
use crate::messages;

/// Exit code for a command line or configuration that cannot be used, the same as clap's.
const EXIT_USAGE: u8 = 2;

const AFTER_HELP: &str = "\
Settings come from defaults, then the file, then WARREN_* variables, then flags; later ones win.
  warren config              shows the effective settings and where each comes from
  warren config --reference  explains every setting; its output is a configuration file

Connect with amqp://guest:guest@127.0.0.1:5672/ and stop with Ctrl-C.";

/// Warren, an AMQP 0-9-1 message broker. Without a command it runs the broker; nothing has to be configured.
#[derive(Debug, Parser)]
#[command(name = "warren", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: SettingFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the effective configuration as TOML, with the origin of each value
    Config {
        /// Explain every setting instead: a configuration file with all of them commented out
        #[arg(long)]
        reference: bool,
    },
    /// Check that a broker answers: exit code 0 when it greets as AMQP 0-9-1, else 1
    Health(health::HealthArgs),
    /// Look into the data folder of a broker that is not running
    Data(data::DataArgs),
    /// Check a backup and make a data folder of it, for a broker that is not running
    Restore(restore::RestoreArgs),
    /// Administer a running broker with rabbitmqctl's commands
    Ctl(Box<CtlArgs>),
    #[cfg(feature = "messages")]
    #[command(flatten)]
    Messages(messages::Command),
    /// Print what makes a shell complete this command line
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write a manual page for each command
    Manual {
        /// Existing folder to write them to
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
struct SettingFlags {
    /// Addresses to listen on, several separated by commas [default: 127.0.0.1,::1]
    #[arg(long, global = true, value_name = "ADDRESS", allow_hyphen_values = true)]
    bind: Vec<String>,
    /// TCP port, 0 for a free one [default: 5672]
    #[arg(long, global = true, allow_hyphen_values = true)]
    port: Option<String>,
    /// Certificate in PEM; with --tls-key the broker speaks TLS as well [default: none]
    #[arg(long, global = true, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key of the certificate in PEM [default: none]
    #[arg(long, global = true, value_name = "FILE")]
    tls_key: Option<String>,
    /// TCP port for TLS, 0 for a free one [default: 5671]
    #[arg(long, global = true, value_name = "PORT", allow_hyphen_values = true)]
    tls_port: Option<String>,
    /// TCP port of the HTTP API, 0 for a free one [default: 15672]
    #[arg(long, global = true, value_name = "PORT", allow_hyphen_values = true)]
    http_port: Option<String>,
    /// Data folder; an empty text for none, which keeps everything in memory [default: warren-data]
    #[arg(long, global = true, value_name = "FOLDER")]
    data: Option<String>,
    /// Definitions to read in at the start, an export of Warren or RabbitMQ [default: none]
    #[arg(long, global = true, value_name = "FILE")]
    definitions: Option<String>,
    /// What a confirm waits for: always, interval=100ms or never; see config --reference [default: always]
    #[arg(long, global = true, value_name = "WHEN")]
    sync: Option<String>,
    /// Memory above which publishers wait, as a size or percentage [default: 40%]
    #[arg(long, global = true, value_name = "SIZE", allow_hyphen_values = true)]
    memory_limit: Option<String>,
    /// Free disk space below which publishers wait, as a size or percentage [default: 1GiB]
    #[arg(long, global = true, value_name = "SIZE", allow_hyphen_values = true)]
    disk_free_limit: Option<String>,
    /// Configuration file in TOML [default: none]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to log: a level, or a filter such as info,warren::server=debug [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<String>,
    /// Form of the log: text or json [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl SettingFlags {
    #[cfg(test)]
    fn load(self) -> Result<Loaded, ConfigError> {
        self.sources().load()
    }

    fn sources(self) -> Sources {
        let bind = (!self.bind.is_empty()).then(|| self.bind.join(","));
        let flags = [
            ("--bind", bind),
            ("--port", self.port),
            ("--tls-cert", self.tls_cert),
            ("--tls-key", self.tls_key),
            ("--tls-port", self.tls_port),
            ("--http-port", self.http_port),
            ("--data", self.data),
            ("--definitions", self.definitions),
            ("--sync", self.sync),
            ("--memory-limit", self.memory_limit),
            ("--disk-free-limit", self.disk_free_limit),
            ("--log", self.log),
            ("--log-format", self.log_format),
        ];
        let flags = flags.into_iter().filter_map(|(flag, value)| Some((flag, value?))).collect();
        Sources { file: self.config, env: env::vars_os().collect(), flags }
    }
}

/// The command line. Every command takes all settings, so that a script may name them in front of any; its help shows only those
/// that it uses.
fn command_line() -> clap::Command {
    let mut command = Cli::command();
    let settings: Vec<Arg> = command.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    let names: Vec<String> = command.get_subcommands().map(|found| found.get_name().to_owned()).collect();
    for name in names {
        let used: &[&str] = match name.as_str() {
            "config" | "health" => continue,
            "ctl" | "data" | "restore" => &["data", "config"],
            _ => &[],
        };
        let unused = settings.iter().filter(|setting| !used.contains(&setting.get_id().as_str()));
        let hidden: Vec<Arg> = unused.map(|setting| setting.clone().hide(true)).collect();
        command = command.mut_subcommand(name, |found| found.args(hidden));
    }
    command
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    let parsed = command_line().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return explain_usage(&error),
    };
    match &cli.command {
        Some(Command::Config { reference: true }) => return print(&config::reference()),
        Some(Command::Completions { shell }) => return print(&completions(*shell)),
        Some(Command::Manual { folder }) => return write_manual(folder),
        _ => {}
    }
    #[cfg(feature = "messages")]
    if let Some(Command::Messages(command)) = cli.command {
        return messages::run(command);
    }
    let names_folder = cli.settings.data.is_some();
    let sources = cli.settings.sources();
    if let Some(Command::Ctl(args)) = cli.command {
        return ctl::run(&args, names_folder, || {
            sources.load().map(|loaded| loaded.config.data.folder).map_err(|error| error.to_string())
        });
    }
    let loaded = match sources.load() {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match cli.command {
        Some(Command::Config { .. }) => print(&config::effective(&loaded)),
        Some(Command::Health(args)) => health::check(&args, &loaded.config),
        Some(Command::Data(args)) => data::run(&args, &loaded.config.data),
        Some(Command::Restore(args)) => restore::run(&args, &loaded.config.data),
        Some(Command::Ctl(_) | Command::Completions { .. } | Command::Manual { .. }) => {
            unreachable!("carried out above")
        }
        #[cfg(feature = "messages")]
        Some(Command::Messages(_)) => unreachable!("carried out above"),
        None => run::run(loaded.config, sources).unwrap_or_else(|error| {
            eprintln!("warren: {error:#}");
            ExitCode::FAILURE
        }),
    }
}

/// Prints what clap has to say: help, or what is wrong. Scripts of `rabbitmqctl` look for its exit code.
fn explain_usage(error: &clap::Error) -> ExitCode {
    // Standard error or output may be closed.
    let _ = error.print();
    let is_ctl = env::args_os().any(|argument| argument == "ctl");
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if is_ctl => ExitCode::from(ctl::EXIT_USAGE),
        _ => ExitCode::from(EXIT_USAGE),
    }
}

/// The script for a shell.
fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command_line(), "warren", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes the pages for `man`.
fn write_manual(folder: &Path) -> ExitCode {
    match clap_mangen::generate_to(command_line(), folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("warren: cannot write manual pages to {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

/// Prints to standard output; a reader that has gone away, such as `head`, is no failure.
fn print(text: &str) -> ExitCode {
    use std::io::{Write as _, stdout};
    let _ = stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command_line().debug_assert();
    }

    #[test]
    fn the_help_shows_every_flag_that_a_setting_has() {
        let help = command_line().render_help().to_string();
        let reference = config::reference();
        let flags: Vec<&str> =
            reference.lines().filter_map(|line| line.split_once(", flag ")?.1.strip_suffix('.')).collect();
        assert!(flags.len() >= 8, "{flags:?}");
        for flag in flags {
            assert!(help.contains(&format!("{flag} <")), "{flag} is missing in {help}");
        }
    }

    #[test]
    fn the_help_of_a_command_shows_the_settings_that_it_uses_and_it_takes_all() {
        let help = |path: &[&str]| {
            let mut command = command_line();
            command.build();
            let mut found = &mut command;
            for name in path {
                found = found.find_subcommand_mut(name).unwrap();
            }
            found.render_help().to_string()
        };
        let shown = |path: &[&str], flag: &str| help(path).contains(flag);
        assert!(shown(&["ctl", "list_users"], "--data") && !shown(&["ctl", "list_users"], "--bind"));
        assert!(shown(&["restore"], "--data") && !shown(&["restore"], "--sync"));
        assert!(shown(&["config"], "--sync") && shown(&["health"], "--port"));
        assert!(!shown(&["completions"], "--data"));
        for arguments in [["warren", "--data", "x", "ctl", "ping"], ["warren", "ctl", "ping", "--data", "x"]]
        {
            let matches = command_line().try_get_matches_from(arguments).unwrap();
            assert_eq!(Cli::from_arg_matches(&matches).unwrap().settings.data.as_deref(), Some("x"));
        }
        for arguments in [["warren", "--port", "1", "ctl", "ping"], ["warren", "ctl", "ping", "--port", "1"]]
        {
            let matches = command_line().try_get_matches_from(arguments).unwrap();
            assert_eq!(Cli::from_arg_matches(&matches).unwrap().settings.port.as_deref(), Some("1"));
        }
    }

    #[test]
    fn every_flag_reaches_its_setting() {
        let args = ["warren", "--sync", "interval=5", "--memory-limit", "512MiB", "--disk-free-limit", "10%"];
        let config = Cli::parse_from(args).settings.load().unwrap().config;
        assert_eq!(config.store.sync, config::Sync::Interval(Duration::from_millis(5)));
        assert_eq!(config.limits.memory, config::MemoryLimit::Bytes(512 << 20));
        assert_eq!(config.limits.disk_free, config::DiskFreeLimit::Percent(10));
    }
}
