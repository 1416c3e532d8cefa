//! The life of a broker process: its banner, its health, its signals.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Long enough for a busy machine; only a failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running `warren`, killed when dropped.
struct Process {
    child: Child,
    banner: Vec<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts `warren` on a free port and reads its banner, which ends with the line on how to stop.
    fn start(args: &[&str]) -> Self {
        let mut child = command(&["--port", "0", "--http-port", "0", "--data", ""])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        let out = child.stdout.take().expect("standard output is piped");
        let mut banner = Vec::new();
        for line in BufReader::new(out).lines() {
            let line = line.expect("the banner is UTF-8");
            let last = line.trim_start().starts_with("stop");
            banner.push(line);
            if last {
                break;
            }
        }
        Self { child, banner }
    }

    /// The addresses of the banner's lines that start with `word`.
    fn addresses(&self, word: &str) -> Vec<String> {
        let lines = self.banner.iter().filter_map(|line| line.trim_start().strip_prefix(word));
        lines.map(|line| line.trim().trim_start_matches("amqp://").to_owned()).collect()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid fits")).expect("a pid is not 0");
        kill_process(pid, signal).expect("the process is there");
    }

    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the broker did not stop");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn stderr(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("standard error is piped")
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WARREN_") {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().expect("the binary can be run")
}

#[test]
fn the_banner_says_where_it_listens_where_data_is_and_how_to_connect() {
    let process = Process::start(&["--bind", "127.0.0.1"]);
    let listening = process.addresses("listening");
    assert_eq!(listening.len(), 1, "{:?}", process.banner);
    assert!(!listening[0].ends_with(":0"), "{:?}", process.banner);
    TcpStream::connect(&listening[0]).unwrap();
    assert_eq!(
        process.addresses("connect"),
        [format!("guest:guest@{} (from this machine only)", listening[0])]
    );
    assert!(process.banner.iter().any(|line| line.contains("data")), "{:?}", process.banner);
    assert!(process.banner.len() <= 8, "{:?}", process.banner);
}

#[test]
fn a_free_port_is_the_same_for_both_loopback_families() {
    let process = Process::start(&[]);
    let mut ports: Vec<String> = process
        .addresses("listening")
        .iter()
        .map(|addr| addr.rsplit(':').next().unwrap().to_owned())
        .collect();
    assert!(!ports.is_empty(), "{:?}", process.banner);
    ports.dedup();
    assert_eq!(ports.len(), 1, "{:?}", process.banner);
}

#[test]
fn health_succeeds_against_a_running_broker() {
    let process = Process::start(&["--bind", "127.0.0.1"]);
    let output = run(&["health", "--address", &process.addresses("listening")[0]]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn sigterm_and_sigint_stop_with_exit_code_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut process = Process::start(&[]);
        process.signal(signal);
        assert_eq!(process.exit_code(), Some(0), "{signal:?}");
    }
}

#[test]
fn sighup_reads_the_configuration_again_and_says_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("warren.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("limits.channel_max = 10\nlog.level = \"warn\"\n");
    let mut process = Process::start(&["--config", file.to_str().unwrap()]);
    let mut log = BufReader::new(process.stderr()).lines();
    let mut until = |text: &str| -> Vec<String> {
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains(text)) {
            lines.push(log.next().expect("the log goes on").unwrap());
        }
        lines
    };
    write("limits.channel_max = 20\nlog.level = \"info\"\nlisten.plaintext = false\n");
    process.signal(Signal::HUP);
    let lines = until("configuration reloaded").join("\n");
    assert!(lines.contains("limits.channel_max") && lines.contains("20"), "{lines}");
    assert!(lines.contains("listen.plaintext") && lines.contains("restarted"), "{lines}");
    // One that cannot be read changes nothing and stops nobody.
    write("limits.chanel_max = 30\n");
    process.signal(Signal::HUP);
    let lines = until("not reloaded").join("\n");
    assert!(lines.contains("channel_max"), "{lines}");
    process.signal(Signal::TERM);
    assert_eq!(process.exit_code(), Some(0));
}

#[test]
fn json_logs_go_to_standard_error_one_object_a_line() {
    let mut process = Process::start(&["--log-format", "json", "--log", "info"]);
    let mut stderr = process.stderr();
    process.signal(Signal::TERM);
    let mut text = String::new();
    stderr.read_to_string(&mut text).unwrap();
    assert!(text.contains("SIGTERM"), "{text}");
    assert!(text.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{text}");
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let output = run(&["--bind", "127.0.0.1", "--port", &port]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains(&format!("port {port} is in use")) && error.contains("--port"), "{error}");
}
