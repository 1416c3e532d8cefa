//! Running the broker: start, banner, wait for a signal, stop in bounded time.
//!
//! It maps signals to the library's `shutdown` and explains failures to start. `cli.rs` calls it.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::process::{self, ExitCode};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};
use warren::config::{Auth, Config, LogFormat, Sources};
use warren::{Broker, StartError};

use super::reload::ProcessSource;
use super::{banner, files, service};
use crate::logging;

/// Turns of tasks after which a busy worker looks for sockets that have become ready. With tokio's 61, two publishers that
/// keep both workers busy leave consumers no more than some twenty looks a second.
const TURNS_BETWEEN_LOOKS: u32 = 5;

/// Runs a broker until SIGTERM or SIGINT.
pub(super) fn run(mut config: Config, sources: Sources) -> anyhow::Result<ExitCode> {
    let log = logging::install(&config.log)?;
    let files = files::raise_limit();
    files::fit_connections(&mut config.limits, files);
    let source = ProcessSource::new(sources, files, log);
    warn_if_exposed(&config);
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(TURNS_BETWEEN_LOOKS)
        .build()
        .context("starting the runtime")?;
    runtime.block_on(serve(config, source))
}

async fn serve(config: Config, source: ProcessSource) -> anyhow::Result<ExitCode> {
    // Before the broker is reachable, so that no signal meets the default action, which is to die at once.
    let mut signals = Signals::new().context("listening for signals")?;
    let broker = Broker::start_on(config.clone(), service::sockets()?).await.map_err(explain_start)?;
    broker.set_config_source(Arc::new(source));

    if config.log.format == LogFormat::Json {
        // For whoever collects logs and does not see the banner.
        for address in broker.local_addrs().iter().chain(broker.tls_addrs()) {
            info!(%address, "listening");
        }
        for address in broker.http_addrs().iter().chain(broker.https_addrs()) {
            info!(%address, "listening for the HTTP API");
        }
    }
    // Whoever started the broker may have closed standard output; that is no reason to stop.
    let api = (broker.http_addrs(), broker.https_addrs());
    let banner = banner::banner(&config, broker.local_addrs(), broker.tls_addrs(), api);
    let _ = io::stdout().write_all(banner.as_bytes()).and_then(|()| io::stdout().flush());

    service::ready(&status(&broker));
    service::keep_alive(&broker);

    let name = signals.stop(&broker).await.name();
    service::stopping();
    info!(signal = name, "stopping; a second signal stops at once");
    tokio::spawn(async move {
        let signal = signals.next().await;
        info!(signal = signal.name(), "stopped at once");
        process::exit(signal.exit_code());
    });
    broker.shutdown().await;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Where it listens, in a line.
fn status(broker: &Broker) -> String {
    let all = broker.local_addrs().iter().chain(broker.tls_addrs());
    let all: Vec<String> = all.map(ToString::to_string).collect();
    format!("listening on {}", all.join(", "))
}

/// The one combination of settings that lets everybody in who can reach the port.
fn warn_if_exposed(config: &Config) {
    if is_exposed(config) {
        warn!(
            bind = ?config.listen.bind,
            "anybody who can reach this broker can log in with the default password; set WARREN_AUTH_PASSWORD"
        );
    }
}

fn is_exposed(config: &Config) -> bool {
    let served = if config.http.enabled { config.http.bind.as_slice() } else { &[] };
    let reachable = config.listen.bind.iter().chain(served).any(|ip| !ip.is_loopback());
    reachable && !config.auth.is_user_loopback_only() && config.auth.password == Auth::default().password
}

/// Adds what to do to the errors that a user can do something about.
fn explain_start(error: StartError) -> anyhow::Error {
    let (port, kind, flags) = match &error {
        StartError::Listen { address, source } => {
            (address.port(), Some(source.kind()), "--port or --tls-port")
        }
        StartError::ListenHttp { address, source } => {
            (address.port(), Some(source.kind()), "http.tls_port or --http-port")
        }
        _ => (0, None, ""),
    };
    let error = anyhow::Error::from(error);
    let advice = match kind {
        Some(ErrorKind::AddrInUse) => format!(
            "port {port} is in use, perhaps by RabbitMQ or another Warren; \
             stop that program, or choose another port with {flags} (0 picks a free one)"
        ),
        Some(ErrorKind::PermissionDenied) => {
            format!(
                "not allowed to listen on port {port}; ports below 1024 need privileges, choose another with {flags}"
            )
        }
        Some(ErrorKind::AddrNotAvailable) => {
            "this machine has no such address; choose one it has with --bind (WARREN_HTTP_BIND for the HTTP API), or 0.0.0.0 \
             for all"
                .to_owned()
        }
        _ => return error.context("cannot start"),
    };
    anyhow::anyhow!("cannot start: {error:#}\n{advice}")
}

/// The signals that ask a program to stop. SIGHUP does if it comes from a terminal that closes; otherwise it asks for the
/// configuration to be read again.
struct Signals {
    /// Whether there was a terminal at the start.
    terminal: bool,
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

/// Which of them came.
#[derive(Debug, Clone, Copy)]
enum Stop {
    Hangup,
    Interrupt,
    Terminate,
    /// No signal: `warren ctl stop`.
    Operator,
}

impl Stop {
    fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Operator => "none, an operator asked for it",
        }
    }

    /// 128 and the signal's number, as shells report a program that died of it.
    fn exit_code(self) -> i32 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
            Self::Operator => 0,
        }
    }
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminal: io::stdin().is_terminal(),
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits until the broker is to stop, and reloads it meanwhile.
    async fn stop(&mut self, broker: &Broker) -> Stop {
        loop {
            let signal = tokio::select! {
                signal = self.next() => signal,
                () = broker.stop_requested() => return Stop::Operator,
            };
            match signal {
                // A terminal that has closed is none any more.
                Stop::Hangup if !self.terminal || io::stdin().is_terminal() => {
                    let admin = broker.admin();
                    // It reads files, and has logged its result.
                    let _ = tokio::task::spawn_blocking(move || admin.reload()).await;
                }
                signal => return signal,
            }
        }
    }

    async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.hangup.recv() => Stop::Hangup,
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }
}

#[cfg(test)]
mod tests {
    use warren::config::Secret;

    use super::*;

    #[test]
    fn a_port_in_use_is_explained_with_what_to_do() {
        let source = io::Error::from(ErrorKind::AddrInUse);
        let error = StartError::Listen { address: "127.0.0.1:5672".parse().unwrap(), source };
        let text = format!("{:#}", explain_start(error));
        assert!(text.starts_with("cannot start: cannot listen on 127.0.0.1:5672: "), "{text}");
        assert!(text.contains("port 5672 is in use") && text.contains("--port"), "{text}");
    }

    #[test]
    fn a_port_in_use_for_the_http_api_is_explained_with_its_own_flag() {
        let source = io::Error::from(ErrorKind::AddrInUse);
        let error = StartError::ListenHttp { address: "127.0.0.1:15672".parse().unwrap(), source };
        let text = format!("{:#}", explain_start(error));
        assert!(text.contains("for the HTTP API") && text.contains("--http-port (0"), "{text}");
    }

    #[test]
    fn only_the_default_password_on_an_open_address_is_warned_about() {
        let mut config = Config::default();
        config.auth.loopback_only.clear();
        assert!(!is_exposed(&config));
        config.listen.bind = vec!["0.0.0.0".parse().unwrap()];
        assert!(is_exposed(&config));
        config.auth.password = Secret("tulip".to_owned());
        assert!(!is_exposed(&config));
        config.auth = Auth::default();
        assert!(!is_exposed(&config));
    }

    #[test]
    fn other_errors_keep_their_causes() {
        let text = format!("{:#}", explain_start(StartError::NoAddress));
        assert_eq!(
            text,
            "cannot start: no address to listen on: none is configured, or this machine has none of them"
        );
    }
}
