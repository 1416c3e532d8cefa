//! The broker under test: a fresh Warren process per test, or the one that `AMQP_URL` names. A Warren can be killed and
//! started again on its data folder. It does not speak AMQP, except to remove from a foreign broker what a test left
//! there.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use tempfile::TempDir;

use crate::{Program, built};

/// How long Warren may take to stop before it is killed and the test fails: its own limit for saying goodbye to clients
/// is shorter.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A broker for one test.
///
/// Dropping it stops a Warren and checks that it stopped cleanly and reported no error of its own while it ran.
#[derive(Debug)]
pub struct Broker {
    url: String,
    port: u16,
    names: Mutex<Vec<Name>>,
    // Declared before the folder, so that the process has ended when the folder is removed. None while a Warren is down.
    program: Option<Program>,
    // None for a broker that is not ours.
    own: Option<Own>,
}

/// What it takes to start a Warren once more.
#[derive(Debug)]
struct Own {
    data: TempDir,
    /// 0 for a free one.
    listen: u16,
    arguments: Vec<String>,
}

#[derive(Clone, Debug)]
enum Name {
    Queue(String),
    Exchange(String),
}

impl Broker {
    /// The broker that `AMQP_URL` names, otherwise a fresh Warren on a free port with an empty data folder.
    pub fn start() -> Self {
        match env::var("AMQP_URL") {
            Ok(url) => Self::foreign(url),
            Err(_) => Self::warren(&[]),
        }
    }

    /// A fresh Warren with further command-line arguments, whatever `AMQP_URL` says.
    pub fn warren(arguments: &[&str]) -> Self {
        Self::on_port(0, arguments)
    }

    /// The same at a fixed port, where it is again after every restart.
    pub fn warren_on_fixed_port(arguments: &[&str]) -> Self {
        Self::on_port(lasting_port(), arguments)
    }

    /// The same on a data folder that is there already.
    pub fn warren_on(data: TempDir) -> Self {
        Self::on_folder(data, 0, &[])
    }

    fn on_port(listen: u16, arguments: &[&str]) -> Self {
        Self::on_folder(TempDir::new().expect("a temporary folder can be made"), listen, arguments)
    }

    fn on_folder(data: TempDir, listen: u16, arguments: &[&str]) -> Self {
        let own = Own { data, listen, arguments: arguments.iter().map(|&text| text.to_owned()).collect() };
        let mut broker =
            Self { url: String::new(), port: 0, names: Mutex::default(), program: None, own: Some(own) };
        broker.start_again();
        broker
    }

    fn foreign(url: String) -> Self {
        let port = port_in(&url).unwrap_or(5672);
        Self { url, port, names: Mutex::default(), program: None, own: None }
    }

    /// Starts a Warren that is down on the data folder that it left, and waits until it is ready.
    pub fn start_again(&mut self) {
        let program = self.own().start();
        let announcement = program.wait_for("amqp://");
        self.port = port_in(&announcement)
            .unwrap_or_else(|| panic!("warren announced an address without a port: {announcement}"));
        self.url = format!("amqp://guest:guest@127.0.0.1:{}/%2F", self.port);
        self.program = Some(program);
    }

    /// Starts a Warren that is down and kills it with SIGKILL after this time, ready or not.
    pub fn die_while_starting(&mut self, after: Duration) {
        self.program = Some(self.own().start());
        thread::sleep(after);
        self.crash();
    }

    /// Ends a Warren with SIGKILL. It must have lived until then and have reported no error.
    pub fn crash(&mut self) {
        let mut program = self.program.take().expect("a Warren that runs");
        if let Some(status) = program.ended_within(Duration::ZERO) {
            panic!("warren ended by itself: {status}");
        }
        program.kill_now();
        assert_no_complaints(&program);
    }

    /// Ends a Warren with SIGTERM. It must end well and have reported no error.
    pub fn shut_down(&mut self) {
        self.begin_shut_down();
        self.finish_shut_down();
    }

    /// Sends SIGTERM only, for a test that has clients to end while Warren waits for them.
    pub fn begin_shut_down(&mut self) {
        self.program.as_ref().expect("a Warren that runs").terminate();
    }

    /// Waits for the end of what [`Broker::begin_shut_down`] began.
    pub fn finish_shut_down(&mut self) {
        let mut program = self.program.take().expect("a Warren that runs");
        assert_ends_well(&mut program);
    }

    /// Restarts a Warren in an orderly way.
    pub fn restart(&mut self) {
        self.shut_down();
        self.start_again();
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("a Warren of ours")
    }

    /// The address for clients, with user and password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the HTTP API of a Warren that runs is, as `host:port`.
    pub fn api(&self) -> String {
        let line = self.program.as_ref().expect("a Warren that runs").wait_for("http://127.0.0.1:");
        let (_, rest) = line.split_once("http://").expect("just found");
        rest.split('/').next().unwrap_or(rest).to_owned()
    }

    /// Whether this is somebody else's broker, of which more cannot be expected than AMQP and RabbitMQ's extensions.
    pub fn is_foreign(&self) -> bool {
        self.own.is_none()
    }

    /// The process of a Warren, to signal it or to look at its log.
    pub fn program(&mut self) -> Option<&mut Program> {
        self.program.as_mut()
    }

    /// The data folder of a Warren.
    pub fn data(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.data.path())
    }

    /// What is in the data folder of a Warren, in bytes.
    pub fn data_bytes(&self) -> u64 {
        self.data().map_or(0, bytes_in)
    }

    /// A queue name that no other test uses; a foreign broker loses the queue at the end of the test.
    pub fn queue(&self, base: &str) -> String {
        let name = unique(base);
        self.remember(Name::Queue(name.clone()));
        name
    }

    /// An exchange name that no other test uses; a foreign broker loses the exchange at the end of the test.
    pub fn exchange(&self, base: &str) -> String {
        let name = unique(base);
        self.remember(Name::Exchange(name.clone()));
        name
    }

    /// Has a foreign broker lose the queue and the exchange of this name at the end of the test, for names that a program
    /// makes up itself.
    pub fn forget_at_the_end(&self, name: &str) {
        self.remember(Name::Queue(name.to_owned()));
        self.remember(Name::Exchange(name.to_owned()));
    }

    fn remember(&self, name: Name) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    }
}

impl Own {
    fn start(&self) -> Program {
        let mut command = Command::new(built("warren"));
        let port = self.listen.to_string();
        command
            .args(["--port", &port, "--http-port", "0", "--data"])
            .arg(self.data.path())
            .args(&self.arguments);
        command.current_dir(self.data.path());
        for (variable, _) in env::vars_os() {
            // The settings of the person who runs the tests must not change what they see, except for how much is logged.
            if variable.to_string_lossy().starts_with("WARREN_") && variable != "WARREN_LOG" {
                command.env_remove(variable);
            }
        }
        Program::start("warren", command.env("NO_COLOR", "1"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        match (&mut self.program, &mut self.own) {
            // After a failure the log is what matters, which the program prints when it is dropped, and the data.
            (_, Some(own)) if thread::panicking() => {
                own.data.disable_cleanup(true);
                println!("--- warren's data folder is left at {}", own.data.path().display());
            }
            (Some(program), _) => {
                program.terminate();
                assert_ends_well(program);
            }
            (None, Some(_)) => {}
            (None, None) => {
                let names = self.names.get_mut().unwrap_or_else(PoisonError::into_inner);
                remove(self.url.clone(), std::mem::take(names));
            }
        }
    }
}

/// How a Warren ends that was told to.
fn assert_ends_well(program: &mut Program) {
    let status = program.ended_within(STOP_LIMIT);
    program.drain();
    let status = status.unwrap_or_else(|| panic!("warren was still running {STOP_LIMIT:?} after SIGTERM"));
    assert!(status.success(), "warren did not stop cleanly: {status}");
    assert_no_complaints(program);
}

fn assert_no_complaints(program: &Program) {
    let complaints: Vec<String> = program.all_lines().into_iter().filter(|line| is_complaint(line)).collect();
    assert!(complaints.is_empty(), "warren logged errors of its own: {complaints:#?}");
}

/// A peer's fault is logged as a warning at most, so an error in the log, or a panic, is Warren's own.
fn is_complaint(line: &str) -> bool {
    line.split_whitespace().any(|word| word == "ERROR")
        || line.contains("\"level\":\"ERROR\"")
        || line.contains("panicked at")
}

/// Files that go away meanwhile count nothing.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

fn unique(base: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("{base}-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// A free port that stays free while a broker is down: below those that the system hands out by itself, to listeners
/// that ask for any and to connections.
fn lasting_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    // Test processes that run at the same time begin at different places.
    let start = std::process::id().wrapping_mul(97);
    (0..COUNT)
        .map(|_| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT + FIRST)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port between 20000 and 32000")
}

/// The port in the first `amqp://host:port` of a text.
fn port_in(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("amqp://")?;
    let authority = rest.split(['/', ' ']).next()?;
    let digits: String = authority.rsplit_once(':')?.1.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Removes what a test declared. Errors do not matter: the next test uses other names.
fn remove(url: String, names: Vec<Name>) {
    let removal = async move {
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        for name in names {
            // An error closes the channel, so each has its own.
            let channel = connection.create_channel().await?;
            let _ = match name {
                Name::Queue(name) => {
                    channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.map(drop)
                }
                Name::Exchange(name) => {
                    channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await
                }
            };
        }
        connection.close(200, "OK".into()).await
    };
    // A thread of its own, because a test may drop its broker inside an async runtime.
    let removed = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map(|runtime| runtime.block_on(removal))
    });
    let _ = removed.join();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_in_an_announcement_and_in_a_url() {
        assert_eq!(port_in("listening on amqp://127.0.0.1:40123"), Some(40123));
        assert_eq!(port_in("  connect with amqp://guest:guest@127.0.0.1:5680/%2F today"), Some(5680));
        assert_eq!(port_in("ready: amqp://127.0.0.1:1, amqp://[::1]:2"), Some(1));
        assert_eq!(port_in("amqp://127.0.0.1"), None);
        assert_eq!(port_in("no address"), None);
    }

    #[test]
    fn errors_and_panics_in_a_log_are_complaints_and_warnings_are_not() {
        assert!(is_complaint("2026-01-01T00:00:00Z ERROR warren::server: the store failed"));
        assert!(is_complaint(r#"{"timestamp":"2026","level":"ERROR","message":"x"}"#));
        assert!(is_complaint("thread 'main' panicked at src/main.rs:1:1:"));
        assert!(!is_complaint("2026-01-01T00:00:00Z  WARN warren::server: 501 FRAME_ERROR from a client"));
    }
}
