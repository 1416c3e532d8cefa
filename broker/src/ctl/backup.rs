//! `backup`: has the broker copy everything that lasts to a folder, and shows how that gets on.
//!
//! The broker copies; this only looks. Whoever interrupts it wants no backup any more, and the broker gives it up.

use std::io;
use std::path;
use std::time::Duration;

use indicatif::HumanBytes;
use serde_json::{Value, json};
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Session;
use super::command::Backup;
use super::failure::{Failure, INTERRUPTED, IO, SOFTWARE, USAGE};
use super::node::must_be_local;
use crate::progress_bar;

/// How often to look how it gets on.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

const PATH: [&str; 2] = ["local", "backup"];

/// `backup`.
pub(super) fn make(session: &Session, args: &Backup) -> Result<(), Failure> {
    must_be_local(session)?;
    let folder = path::absolute(&args.folder)
        .ok()
        .and_then(|folder| folder.to_str().map(str::to_owned))
        .ok_or_else(|| Failure::new(USAGE, "the folder's path has to be text"))?;
    session.out.banner(&format!("Backing up {} to \"{folder}\" ...", session.api.target().name()));
    let rate = (args.rate > 0).then(|| u64::from(args.rate) * 1024 * 1024);
    let mut signals = Signals::new().map_err(|error| Failure::new(SOFTWARE, error.to_string()))?;
    session.api.post(&PATH, &json!({"folder": folder, "rate": rate}))?;
    let bar = progress_bar::of_bytes("copying");
    let mut is_interrupted = false;
    let last = loop {
        let found = session.api.get(&PATH)?;
        if found["state"] != json!("running") {
            break found;
        }
        bar.set_length(found["total_bytes"].as_u64().unwrap_or_default());
        bar.set_position(found["done_bytes"].as_u64().unwrap_or_default());
        if signals.came_within(LOOK_INTERVAL) && !is_interrupted {
            is_interrupted = true;
            session.api.delete(&PATH)?;
        }
    };
    bar.finish_and_clear();
    tell(session, &last)
}

fn tell(session: &Session, last: &Value) -> Result<(), Failure> {
    let folder = &last["folder"];
    match last["state"].as_str() {
        Some("complete") => {
            let (messages, bytes) = (&last["messages"], last["done_bytes"].as_u64().unwrap_or_default());
            if session.out.is_json() {
                session.out.value(&json!({"folder": folder, "messages": messages, "bytes": bytes}));
            }
            session.out.note(&format!("Messages: {messages}, size: {}", HumanBytes(bytes)));
            Ok(())
        }
        Some("cancelled") => Err(Failure::new(INTERRUPTED, "the backup was given up; nothing of it is left")),
        _ => Err(Failure::new(IO, last["reason"].as_str().unwrap_or("the broker does not say why"))),
    }
}

/// The signals that end a command.
struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        drop(entered);
        Ok(Self { runtime, interrupt, terminate })
    }

    /// Waits for a signal, for so long at most.
    fn came_within(&mut self, patience: Duration) -> bool {
        let Self { runtime, interrupt, terminate } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => true,
                _ = terminate.recv() => true,
                () = tokio::time::sleep(patience) => false,
            }
        })
    }
}
