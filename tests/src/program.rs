//! A program under test: a separate process whose output is read line by line while it runs. It does not know what the
//! program is; the tests and the broker's wrapper call it.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{DEADLINE, eventually};

/// How long the output of a program that has ended may stay open: a grandchild may have inherited it.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// A running process. Dropping it kills it; dropping it in a failing test prints what it had written.
pub struct Program {
    name: String,
    child: Child,
    output: Arc<Output>,
}

#[derive(Default)]
struct Output {
    written: Mutex<Written>,
    grown: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<(Stream, String)>,
    open_streams: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

impl Program {
    /// Starts a program; `name` is what failures call it.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let output = Arc::new(Output::default());
        output.lock().open_streams = 2;
        collect(Stream::Stdout, child.stdout.take().expect("stdout is piped"), Arc::clone(&output));
        collect(Stream::Stderr, child.stderr.take().expect("stderr is piped"), Arc::clone(&output));
        Self { name: name.to_owned(), child, output }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its standard output so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines_of(|stream| stream == Stream::Stdout)
    }

    /// What it has written to its standard error so far.
    pub fn error_lines(&self) -> Vec<String> {
        self.lines_of(|stream| stream == Stream::Stderr)
    }

    /// What it has written to either so far.
    pub fn all_lines(&self) -> Vec<String> {
        self.lines_of(|_| true)
    }

    fn lines_of(&self, wanted: impl Fn(Stream) -> bool) -> Vec<String> {
        let written = self.output.lock();
        written.lines.iter().filter(|(stream, _)| wanted(*stream)).map(|(_, text)| text.clone()).collect()
    }

    /// Waits for a line on either output that contains `wanted`, and returns it.
    pub fn wait_for(&self, wanted: &str) -> String {
        self.wait_for_count(wanted, 1).swap_remove(0)
    }

    /// Waits for `count` lines on either output that contain `wanted`, and returns them.
    pub fn wait_for_count(&self, wanted: &str, count: usize) -> Vec<String> {
        let start = Instant::now();
        let mut written = self.output.lock();
        loop {
            let found: Vec<String> = written.containing(wanted).take(count).cloned().collect();
            if found.len() == count {
                return found;
            }
            let left = DEADLINE.saturating_sub(start.elapsed());
            if written.open_streams == 0 || left.is_zero() {
                let why = if written.open_streams == 0 { "ended" } else { "ran until the deadline" };
                drop(written);
                panic!("{} {why} with {} of {count} lines containing {wanted:?}", self.name, found.len());
            }
            written = self.output.wait(written, left);
        }
    }

    /// Waits for the process to end, and for the rest of its output.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let status = eventually(&what, || self.child.try_wait().expect("a child can be waited for"));
        self.drain();
        status
    }

    /// Waits for the process to end well, and returns what it wrote to its standard output.
    pub fn succeed(mut self) -> Vec<String> {
        let status = self.wait_for_exit();
        assert!(status.success(), "{} failed: {status}", self.name);
        self.lines()
    }

    /// Waits for the process to fail, and returns what it wrote to its standard error.
    pub fn fail(mut self) -> Vec<String> {
        let status = self.wait_for_exit();
        assert_eq!(status.code().map(|code| code != 0), Some(true), "{} did not fail: {status}", self.name);
        self.error_lines()
    }

    /// Ends the process as CTRL+C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Asks the process to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends the process without giving it a chance to say goodbye.
    pub fn kill(mut self) {
        self.kill_now();
    }

    fn signal(&self, signal: Signal) {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id is positive");
        // Not yet waited for, so the id still belongs to our child.
        kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// Waits at most `limit` for the process to end.
    pub(crate) fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            let status = self.child.try_wait().expect("a child can be waited for");
            if status.is_some() || start.elapsed() >= limit {
                return status;
            }
            thread::sleep(crate::POLL_INTERVAL);
        }
    }

    pub(crate) fn kill_now(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.drain();
    }

    /// Waits for the rest of the output of a process that has ended.
    pub(crate) fn drain(&self) {
        let start = Instant::now();
        let mut written = self.output.lock();
        while written.open_streams > 0 && start.elapsed() < STRAGGLERS {
            written = self.output.wait(written, STRAGGLERS.saturating_sub(start.elapsed()));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill_now();
        if thread::panicking() {
            println!("--- {} wrote:", self.name);
            for line in self.all_lines() {
                println!("    {line}");
            }
        }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("name", &self.name).field("id", &self.id()).finish_non_exhaustive()
    }
}

impl Output {
    /// A thread that panicked while it held the lines has not damaged them.
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, written: MutexGuard<'a, Written>, limit: Duration) -> MutexGuard<'a, Written> {
        self.grown.wait_timeout(written, limit).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Written {
    fn containing(&self, wanted: &str) -> impl Iterator<Item = &String> {
        self.lines.iter().map(|(_, text)| text).filter(move |text| text.contains(wanted))
    }
}

fn collect(stream: Stream, source: impl Read + Send + 'static, output: Arc<Output>) {
    thread::spawn(move || {
        for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&line).into_owned();
            output.lock().lines.push((stream, text));
            output.grown.notify_all();
        }
        output.lock().open_streams -= 1;
        output.grown.notify_all();
    });
}
