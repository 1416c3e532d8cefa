//! Commands that empty and delete queues.

use serde_json::json;

use super::Session;
use super::command::DeleteQueue;
use super::failure::{Failure, UNAVAILABLE, USAGE};
use super::path::api_path;

/// `purge_queue`.
pub(super) fn purge(session: &Session, queue: &str) -> Result<(), Failure> {
    let vhost = &session.vhost;
    session.out.banner(&format!("Purging queue '{queue}' in vhost '{vhost}' ..."));
    let purged = session.api.delete(&["queues", vhost, queue, "contents"]);
    purged.map_err(|failure| failure.if_not_found(UNAVAILABLE, "not_found"))
}

/// `delete_queue`.
pub(super) fn delete(session: &Session, args: &DeleteQueue) -> Result<(), Failure> {
    let (vhost, queue) = (&session.vhost, &args.queue);
    let conditions = [(args.if_empty, "if queue is empty"), (args.if_unused, "if queue is unused")];
    let conditions: Vec<&str> =
        conditions.into_iter().filter(|(wanted, _)| *wanted).map(|(_, text)| text).collect();
    let only = if conditions.is_empty() { String::new() } else { format!(" {}", conditions.join(" and ")) };
    session.out.banner(&format!("Deleting queue '{queue}' on vhost '{vhost}'{only} ..."));
    // rabbitmqctl's code for a queue that is not there.
    let missing = |failure: Failure| failure.if_not_found(USAGE, "Queue not found");
    let found = session.api.get(&["queues", vhost, queue]).map_err(missing)?;
    let ready = found["messages_ready"].as_u64().or_else(|| found["messages"].as_u64()).unwrap_or(0);
    let flags = [(args.if_empty, "if-empty=true"), (args.if_unused, "if-unused=true")];
    let flags: Vec<&str> = flags.into_iter().filter(|(wanted, _)| *wanted).map(|(_, text)| text).collect();
    let mut path = api_path(&["queues", vhost, queue]);
    if !flags.is_empty() {
        path = format!("{path}?{}", flags.join("&"));
    }
    session.api.call("DELETE", &path, None).map_err(missing)?;
    session.out.note(&format!("Queue was successfully deleted with {ready} ready messages"));
    Ok(())
}

/// `pause_queue` and `resume_queue`.
pub(super) fn set_paused(session: &Session, queue: &str, action: &str) -> Result<(), Failure> {
    let vhost = &session.vhost;
    let doing = if action == "pause" { "Pausing" } else { "Resuming" };
    session.out.banner(&format!("{doing} queue '{queue}' in vhost '{vhost}' ..."));
    let done = session.api.post(&["queues", vhost, queue, "actions"], &json!({"action": action}));
    done.map(drop).map_err(|failure| failure.if_not_found(UNAVAILABLE, "not_found"))
}
