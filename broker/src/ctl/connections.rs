//! Commands that close connections.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::Session;
use super::command::CloseAllConnections;
use super::failure::{Failure, UNAVAILABLE};
use super::permissions::missing_vhost;

/// `close_connection`.
pub(super) fn close(session: &Session, name: &str, reason: &str) -> Result<(), Failure> {
    session.out.banner(&format!("Closing connection {name}, reason: {reason}..."));
    let closed = session.api.delete_because(&["connections", name], reason);
    closed.map_err(|failure| {
        let text = format!("there is no connection {name}; list_connections name shows what they are called");
        failure.if_not_found(UNAVAILABLE, text)
    })
}

/// `close_all_connections`.
pub(super) fn close_all(session: &Session, args: &CloseAllConnections) -> Result<(), Failure> {
    let vhost = &session.vhost;
    let reason = &args.explanation;
    let (what, found) = if args.global {
        ("across all vhosts".to_owned(), session.api.get(&["connections"])?)
    } else {
        let found = session.api.get(&["vhosts", vhost, "connections"]);
        (format!("vhost \"{vhost}\""), found.map_err(|failure| missing_vhost(session, failure))?)
    };
    let broker = session.api.target().name();
    session.out.banner(&format!("Closing all connections to {broker} ({what}), reason: {reason}..."));
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let names = found.as_array().into_iter().flatten().filter_map(|entry: &Value| entry["name"].as_str());
    let mut closed = 0;
    for name in names.take(limit) {
        if closed > 0 {
            thread::sleep(Duration::from_millis(args.per_connection_delay));
        }
        match session.api.delete_because(&["connections", name], reason) {
            Ok(()) => closed += 1,
            // It has gone by itself.
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => return Err(failure),
        }
    }
    session.out.note(&format!("Closed {closed} connections"));
    Ok(())
}
