//! [`Warren`]: a broker on a data folder that outlives it, with or without the shim. Unlike the harness's it may refuse to
//! start and may end with an error: that is what some of these tests are about.

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use lapin::{Connection, ConnectionProperties};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;
use warren_tests::{built, eventually};

use crate::shim::Shim;

/// A broker process. Dropping it kills it; dropping it in a failing test prints its log.
#[derive(Debug)]
pub(crate) struct Warren {
    child: Mutex<Child>,
    log: NamedTempFile,
    port: u16,
}

/// How a broker ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl Warren {
    /// Starts it and waits until it is ready, or has ended.
    pub(crate) fn start(data: &Path, shim: Option<&Shim>, arguments: &[&str]) -> Result<Self, Ended> {
        let log = NamedTempFile::new().expect("a temporary file can be made");
        let mut command = Command::new(built("warren"));
        command
            .args(["--port", "0", "--http-port", "0", "--data"])
            .arg(data)
            .args(arguments)
            .env("NO_COLOR", "1");
        for (variable, _) in env::vars_os() {
            if variable.to_string_lossy().starts_with("WARREN_") && variable != "WARREN_LOG" {
                command.env_remove(variable);
            }
        }
        if let Some(shim) = shim {
            shim.apply(&mut command, data);
        }
        let output = || Stdio::from(File::options().append(true).open(log.path()).expect("the log is there"));
        let child = command.stdin(Stdio::null()).stdout(output()).stderr(output()).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start warren ({command:?}): {error}"));
        let mut warren = Self { child: Mutex::new(child), log, port: 0 };
        let ready = eventually("warren is ready or ends", || {
            let status = warren.status();
            match (port_in(&warren.log()), status) {
                (Some(port), _) => Some(Ok(port)),
                (None, Some(status)) => Some(Err(Ended { status, log: warren.log() })),
                (None, None) => None,
            }
        });
        warren.port = ready?;
        Ok(warren)
    }

    /// Starts it where nothing should keep it from starting.
    pub(crate) fn run(data: &Path, shim: Option<&Shim>, arguments: &[&str]) -> Self {
        Self::start(data, shim, arguments).unwrap_or_else(|ended| {
            panic!("warren did not start: {}\n{}", ended.status, ended.log);
        })
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Connection {
        self.try_connect("").await.expect("warren lets us in")
    }

    /// A new connection; the query is what comes behind the question mark of its address.
    pub(crate) async fn try_connect(&self, query: &str) -> lapin::Result<Connection> {
        let url = format!("amqp://guest:guest@127.0.0.1:{}/%2f{query}", self.port);
        Connection::connect(&url, ConnectionProperties::default()).await
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(self) {
        self.kill_now();
    }

    fn kill_now(&self) {
        // Fails only if it has ended already.
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Ends it with SIGTERM.
    pub(crate) fn stop(self) -> Ended {
        let pid =
            i32::try_from(self.child().id()).ok().and_then(Pid::from_raw).expect("a process id is positive");
        // Not yet waited for, so the id still belongs to our child.
        let _ = kill_process(pid, Signal::TERM);
        self.wait_for_exit()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_for_exit(self) -> Ended {
        let status = eventually("warren ends", || self.status());
        Ended { status, log: self.log() }
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&self) -> bool {
        self.status().is_none()
    }

    fn status(&self) -> Option<ExitStatus> {
        self.child().try_wait().expect("a child can be waited for")
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Warren {
    fn drop(&mut self) {
        self.kill_now();
        if thread::panicking() {
            println!("--- warren wrote:\n{}", self.log());
        }
    }
}

/// The port in the first line of a log that announces an address.
fn port_in(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("amqp://")?;
    // The line is complete only with its end.
    let (line, _) = rest.split_once('\n')?;
    let authority = line.split(['/', ' ']).next()?;
    let digits: String = authority.rsplit_once(':')?.1.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
