//! `warren ctl`: administers a running broker with the commands, output and exit codes of `rabbitmqctl`.
//!
//! A client of the HTTP API and nothing more: over the socket in the data folder of a broker on this machine, or over a URL. It has no
//! way to a broker's inside that other clients lack. `cli.rs` calls it.

mod api;
mod backup;
mod chosen;
mod columns;
mod command;
mod connections;
mod definitions;
mod failure;
mod listing;
mod messages;
mod node;
mod output;
mod parameters;
mod path;
mod permissions;
mod policies;
mod queues;
mod secret;
mod target;
mod text;
mod users;
mod vhosts;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use api::Api;
use command::Command;
use failure::{Failure, UNAVAILABLE, USAGE};
use output::{Format, Output, Wanted};
use target::Target;

/// Exit code for a command line that cannot be understood, as rabbitmqctl's.
pub(crate) const EXIT_USAGE: u8 = USAGE;

/// How long lists may take without `--timeout`, as with rabbitmqctl; other commands take as long as they take.
const LIST_TIMEOUT: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
pub(crate) struct CtlArgs {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of ctl")]
struct Options {
    /// Virtual host
    #[arg(short = 'p', long, global = true, value_name = "VHOST", default_value = "/")]
    vhost: String,
    /// Do not say what is going to be done
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Print results only, without names of columns
    #[arg(short, long, global = true)]
    silent: bool,
    /// Leave the names of columns out
    #[arg(long, global = true)]
    no_table_headers: bool,
    /// Form of the output
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    formatter: Option<Format>,
    /// The same as --formatter json
    #[arg(long, global = true, conflicts_with = "formatter")]
    json: bool,
    /// Seconds after which to give up; "infinity" for never
    #[arg(short, long, global = true, value_name = "SECONDS", value_parser = timeout)]
    timeout: Option<Timeout>,
    /// The HTTP API of a broker elsewhere, http(s)://user:password@host:15672 [env: WARREN_URL] [default: the local broker of --data]
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// File with url, user and password, which nobody else can read [env: WARREN_PROFILE]
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "url")]
    profile: Option<PathBuf>,
    /// Certificates to trust, in PEM, instead of the system's
    #[arg(long, global = true, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Accepted if it names this machine; there is one node
    #[arg(short, long, global = true, hide = true, value_parser = this_node)]
    node: Option<String>,
    /// Accepted and of no effect
    #[arg(short, long, global = true, hide = true)]
    longnames: bool,
}

/// How long a command may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timeout {
    After(Duration),
    Never,
}

/// All that a command needs.
#[derive(Debug)]
struct Session {
    api: Api,
    out: Output,
    vhost: String,
}

/// Carries the command out. `folder` reads the settings for the data folder of the local broker, which `names_folder` says is named on the
/// command line.
pub(crate) fn run(
    args: &CtlArgs,
    names_folder: bool,
    folder: impl FnOnce() -> Result<Option<PathBuf>, String>,
) -> ExitCode {
    let target = args.options.target(names_folder, folder);
    let result = target.and_then(|target| execute(&args.session(target), &args.command));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("Error:\n{failure}");
            ExitCode::from(failure.code)
        }
    }
}

impl Options {
    /// The broker: what the command line says counts before what the environment says.
    fn target(
        &self,
        names_folder: bool,
        folder: impl FnOnce() -> Result<Option<PathBuf>, String>,
    ) -> Result<Target, Failure> {
        let variable = |name| env::var_os(name).filter(|value| !names_folder && !value.is_empty());
        let url = self.url.clone();
        if let Some(url) = url {
            return Target::from_url(&url, self.cacert.clone());
        }
        if let Some(profile) = &self.profile {
            return Target::from_profile(profile);
        }
        if let Some(url) = variable("WARREN_URL") {
            return Target::from_url(&url.to_string_lossy(), self.cacert.clone());
        }
        if let Some(profile) = variable("WARREN_PROFILE") {
            return Target::from_profile(Path::new(&profile));
        }
        match folder().map_err(|error| Failure::new(USAGE, error))? {
            Some(folder) => Ok(Target::local(&folder)),
            None => Err(Failure::new(
                UNAVAILABLE,
                "a broker without a data folder has no local socket: name its HTTP API with --url",
            )),
        }
    }
}

impl CtlArgs {
    fn session(&self, target: Target) -> Session {
        let options = &self.options;
        let format = if options.json { Some(Format::Json) } else { options.formatter };
        let out = Output::new(Wanted {
            format,
            quiet: options.quiet,
            silent: options.silent,
            no_headers: options.no_table_headers,
        });
        let timeout = match options.timeout {
            Some(Timeout::After(timeout)) => Some(timeout),
            Some(Timeout::Never) => None,
            None => self.command.default_timeout(),
        };
        Session { api: Api::new(target, timeout), out, vhost: options.vhost.clone() }
    }
}

impl Command {
    fn default_timeout(&self) -> Option<Duration> {
        match self {
            Self::AwaitStartup => Some(node::STARTUP_TIMEOUT),
            Self::ListQueues(_) | Self::Ping | Self::Status => Some(LIST_TIMEOUT),
            _ => None,
        }
    }
}

fn execute(session: &Session, command: &Command) -> Result<(), Failure> {
    match command {
        Command::AddUser(args) => users::add(session, args),
        Command::ChangePassword { username, password } => {
            users::change_password(session, username, password.clone())
        }
        Command::DeleteUser { username } => users::delete(session, username),
        Command::SetUserTags { username, tag } => users::set_tags(session, username, tag),
        Command::ListUsers => users::list(session),
        Command::AuthenticateUser { username, password } => {
            users::authenticate(session, username, password.clone())
        }
        Command::HashPassword { password } => users::hash_password(session, password.clone()),
        Command::SetUserLimits { username, limits } => users::set_limits(session, username, limits),
        Command::ClearUserLimits { username, limit } => users::clear_limits(session, username, limit),
        Command::ListUserLimits { username, .. } => users::list_limits(session, username.as_deref()),
        other => execute_permission(session, other),
    }
}

fn execute_permission(session: &Session, command: &Command) -> Result<(), Failure> {
    match command {
        Command::SetPermissions { username, configure, write, read } => {
            permissions::set(session, username, [configure, write, read])
        }
        Command::ClearPermissions { username } => permissions::clear(session, username),
        Command::ListPermissions => permissions::list(session),
        Command::ListUserPermissions { username } => permissions::list_of_user(session, username),
        Command::SetTopicPermissions { username, exchange, write, read } => {
            permissions::set_topic(session, username, exchange, write, read)
        }
        Command::ClearTopicPermissions { username, exchange } => {
            permissions::clear_topic(session, username, exchange.as_deref())
        }
        Command::ListTopicPermissions => permissions::list_topic(session),
        Command::ListUserTopicPermissions { username } => permissions::list_topic_of_user(session, username),
        Command::AddVhost(args) => vhosts::add(session, args),
        Command::DeleteVhost { vhost_name } => vhosts::delete(session, vhost_name),
        Command::SetVhostTags { vhost_name, tag } => vhosts::set_tags(session, vhost_name, tag),
        Command::ListVhosts { column } => listing::vhosts(session, column),
        Command::SetVhostLimits { limits } => vhosts::set_limits(session, limits),
        Command::ClearVhostLimits => vhosts::clear_limits(session),
        Command::ListVhostLimits { global } => vhosts::list_limits(session, *global),
        Command::SetPolicy(args) => policies::set(session, policies::Kind::User, args),
        Command::ClearPolicy { name } => policies::clear(session, policies::Kind::User, name),
        Command::ListPolicies => policies::list(session, policies::Kind::User),
        Command::SetOperatorPolicy(args) => policies::set(session, policies::Kind::Operator, args),
        Command::ClearOperatorPolicy { name } => policies::clear(session, policies::Kind::Operator, name),
        Command::ListOperatorPolicies => policies::list(session, policies::Kind::Operator),
        other => execute_parameter(session, other),
    }
}

fn execute_parameter(session: &Session, command: &Command) -> Result<(), Failure> {
    match command {
        Command::SetParameter { component_name, name, value } => {
            parameters::set(session, component_name, name, value)
        }
        Command::ClearParameter { component_name, name } => parameters::clear(session, component_name, name),
        Command::ListParameters => parameters::list(session),
        Command::SetGlobalParameter { name, value } => parameters::set_global(session, name, value),
        Command::ClearGlobalParameter { name } => parameters::clear_global(session, name),
        Command::ListGlobalParameters => parameters::list_global(session),
        Command::SetClusterName { name } => parameters::set_cluster_name(session, name),
        other => execute_resource(session, other),
    }
}

fn execute_resource(session: &Session, command: &Command) -> Result<(), Failure> {
    match command {
        Command::ListQueues(args) => listing::queues(session, &args.column),
        Command::ListExchanges { column } => listing::exchanges(session, column),
        Command::ListBindings { column } => listing::bindings(session, column),
        Command::ListConnections { column } => listing::connections(session, column),
        Command::ListChannels { column } => listing::channels(session, column),
        Command::ListConsumers { column } => listing::consumers(session, column),
        Command::PurgeQueue { queue } => queues::purge(session, queue),
        Command::DeleteQueue(args) => queues::delete(session, args),
        Command::CloseConnection { connection, explanation } => {
            connections::close(session, connection, explanation)
        }
        Command::CloseAllConnections(args) => connections::close_all(session, args),
        Command::ExportDefinitions { file, .. } => definitions::export(session, file),
        Command::ImportDefinitions { file, .. } => definitions::import(session, file.as_deref()),
        Command::Publish(args) => messages::publish(session, args),
        Command::Get(args) => messages::get(session, args),
        Command::Browse(args) => chosen::browse(session, args),
        Command::ListUnacked(args) => chosen::unacked(session, args),
        Command::Move(args) => chosen::move_to(session, args),
        Command::DeleteMessages(args) => chosen::delete(session, args),
        Command::PauseQueue { queue } => queues::set_paused(session, queue, "pause"),
        Command::ResumeQueue { queue } => queues::set_paused(session, queue, "resume"),
        Command::Status => node::status(session),
        Command::Ping => node::ping(session),
        Command::AwaitStartup => node::await_startup(session),
        Command::Stop => node::stop(session),
        Command::Reload => node::reload(session),
        Command::Environment => node::environment(session),
        Command::Backup(args) => backup::make(session, args),
        other => unreachable!("{other:?} is carried out by the functions above"),
    }
}

fn timeout(text: &str) -> Result<Timeout, String> {
    if text == "infinity" {
        return Ok(Timeout::Never);
    }
    let seconds: f64 = text.parse().map_err(|_| "expected seconds, or infinity".to_owned())?;
    let timeout =
        Duration::try_from_secs_f64(seconds).map_err(|_| "expected seconds, or infinity".to_owned())?;
    // rabbitmqctl takes 0 for never.
    Ok(if timeout.is_zero() { Timeout::Never } else { Timeout::After(timeout) })
}

/// Commands meant for another machine must not reach this one's broker.
fn this_node(text: &str) -> Result<String, String> {
    let host = text.split_once('@').map_or("localhost", |(_, host)| host);
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if host == "localhost" || host == own.trim() {
        Ok(text.to_owned())
    } else {
        Err("that is another machine; name its broker's HTTP API with --url".to_owned())
    }
}
