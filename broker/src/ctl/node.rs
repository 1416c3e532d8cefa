//! Commands about the broker itself.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};

use super::Session;
use super::failure::{Failure, UNAVAILABLE, USAGE};
use super::output::print;

/// How long `await_startup` waits, as rabbitmqctl does.
pub(super) const STARTUP_TIMEOUT: Duration = Duration::from_mins(5);

/// How often to look whether something has happened.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// `ping`.
pub(super) fn ping(session: &Session) -> Result<(), Failure> {
    session.out.banner(&format!("Will ping {}.", session.api.target().name()));
    session.api.get(&["whoami"])?;
    session.out.note("Ping succeeded");
    Ok(())
}

/// `await_startup`.
pub(super) fn await_startup(session: &Session) -> Result<(), Failure> {
    loop {
        match session.api.get(&["whoami"]) {
            // A broker that does not listen yet.
            Err(failure) if failure.code == UNAVAILABLE && failure.status.is_none() => {
                thread::sleep(LOOK_INTERVAL);
            }
            other => return other.map(drop),
        }
    }
}

/// `stop`. Returns when the broker's process has ended.
pub(super) fn stop(session: &Session) -> Result<(), Failure> {
    must_be_local(session)?;
    session.out.banner(&format!("Stopping and halting {} ...", session.api.target().name()));
    let answer = session.api.post(&["local", "stop"], &json!({}))?;
    let pid = answer["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    while pid.is_some_and(is_running) {
        session.api.check_deadline()?;
        thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

/// Whether a process has not ended; one that has, and that nobody has taken note of, is still known to the system.
fn is_running(pid: Pid) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let has_ended =
        state.is_ok_and(|state| state.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")));
    !has_ended && test_kill_process(pid).is_ok()
}

/// `reload`.
pub(super) fn reload(session: &Session) -> Result<(), Failure> {
    must_be_local(session)?;
    session.out.banner(&format!("Reloading the configuration of {} ...", session.api.target().name()));
    let mut report = session.api.post(&["local", "reload"], &json!({}))?;
    if session.out.is_json() {
        session.out.value(&report);
        return Ok(());
    }
    let mut rows = Vec::new();
    for change in report["changes"].as_array_mut().into_iter().flatten() {
        let takes = if change["restart"] == json!(true) { "after a restart" } else { "now" };
        rows.push(vec![change["key"].take(), change["from"].take(), change["to"].take(), json!(takes)]);
    }
    if rows.is_empty() {
        session.out.note("Nothing has changed");
    } else {
        session.out.rows(&["setting", "from", "to", "takes_effect"], &rows);
    }
    if report["certificates"] == json!(true) {
        session.out.note("Certificates were read again");
    }
    Ok(())
}

/// `environment`.
pub(super) fn environment(session: &Session) -> Result<(), Failure> {
    must_be_local(session)?;
    session.out.banner(&format!("Settings of {} ...", session.api.target().name()));
    let found = session.api.get(&["local", "environment"])?;
    session.out.value(&found["settings"]);
    Ok(())
}

pub(super) fn must_be_local(session: &Session) -> Result<(), Failure> {
    if session.api.target().is_local() {
        return Ok(());
    }
    Err(Failure::new(USAGE, "this works only on the broker's machine, with --data"))
}

/// `status`.
pub(super) fn status(session: &Session) -> Result<(), Failure> {
    session.out.banner(&format!("Status of {} ...", session.api.target().name()));
    let overview = session.api.get(&["overview"])?;
    let nodes = session.api.get(&["nodes"])?;
    if session.out.is_json() {
        session.out.value(&json!({"overview": overview, "nodes": nodes}));
        return Ok(());
    }
    print(&described(&overview, &nodes[0]));
    Ok(())
}

/// A line of the status: its name, and a field of the answer.
type Line = (&'static str, &'static str);

const RUNTIME: &[Line] = &[("Product", "product_name"), ("Version", "product_version"), ("Node", "node")];

const PROCESS: &[Line] = &[
    ("OS PID", "os_pid"),
    ("Uptime (ms)", "uptime"),
    ("Memory used (bytes)", "mem_used"),
    ("Memory limit (bytes)", "mem_limit"),
    ("Memory alarm", "mem_alarm"),
    ("Free disk space (bytes)", "disk_free"),
    ("Free disk space limit (bytes)", "disk_free_limit"),
    ("Disk alarm", "disk_free_alarm"),
    ("File descriptors", "fd_used"),
    ("File descriptor limit", "fd_total"),
];

const OBJECTS: &[Line] = &[
    ("Connections", "connections"),
    ("Channels", "channels"),
    ("Consumers", "consumers"),
    ("Exchanges", "exchanges"),
    ("Queues", "queues"),
];

const MESSAGES: &[Line] = &[
    ("Messages", "messages"),
    ("Messages ready", "messages_ready"),
    ("Messages unacknowledged", "messages_unacknowledged"),
];

/// What people want to know first; nothing that the broker did not say.
fn described(overview: &Value, node: &Value) -> String {
    let mut out = section("Runtime", RUNTIME, overview);
    out.push_str(&section("Resources", PROCESS, node));
    out.push_str(&section("Totals", OBJECTS, &overview["object_totals"]));
    out.push_str(&section("Queues", MESSAGES, &overview["queue_totals"]));
    let listeners = overview["listeners"].as_array().into_iter().flatten();
    for listener in listeners {
        let [address, port, protocol] = ["ip_address", "port", "protocol"].map(|key| shown(&listener[key]));
        let _ = writeln!(out, "Interface: {address}, port: {port}, protocol: {protocol}");
    }
    out
}

fn section(title: &str, lines: &[Line], values: &Value) -> String {
    let mut out = String::new();
    for (name, field) in lines {
        if let Some(value) = values.get(field).filter(|value| !value.is_null()) {
            let _ = writeln!(out, "{name}: {}", shown(value));
        }
    }
    if out.is_empty() { out } else { format!("{title}\n\n{out}\n") }
}

/// Text without quotation marks.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
