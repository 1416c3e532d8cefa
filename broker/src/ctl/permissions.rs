//! Commands about what users may do.

use serde_json::{Value, json};

use super::failure::{DATA, Failure, UNAVAILABLE, no_vhost};
use super::{Session, users};

/// `set_permissions`: configure, write, read.
pub(super) fn set(session: &Session, name: &str, patterns: [&str; 3]) -> Result<(), Failure> {
    let vhost = &session.vhost;
    session.out.banner(&format!("Setting permissions for user \"{name}\" in vhost \"{vhost}\" ..."));
    let [configure, write, read] = patterns;
    let body = json!({"configure": configure, "write": write, "read": read});
    let set = session.api.put(&["permissions", vhost, name], &body);
    set.map_err(|failure| users::explain(session, failure, name))
}

/// `clear_permissions`.
pub(super) fn clear(session: &Session, name: &str) -> Result<(), Failure> {
    let vhost = &session.vhost;
    session.out.banner(&format!("Clearing permissions for user \"{name}\" in vhost \"{vhost}\" ..."));
    cleared(session, name, session.api.delete(&["permissions", vhost, name]))
}

/// What is not there need not be cleared, but user and virtual host have to be there.
fn cleared(session: &Session, name: &str, result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(failure) if failure.is_not_found() => {
            let explained = users::explain(session, failure, name);
            if explained.is_not_found() { Ok(()) } else { Err(explained) }
        }
        other => other,
    }
}

/// `list_permissions`.
pub(super) fn list(session: &Session) -> Result<(), Failure> {
    let vhost = &session.vhost;
    session.out.banner(&format!("Listing permissions for vhost \"{vhost}\" ..."));
    let found = session.api.get(&["vhosts", vhost, "permissions"]);
    let found = found.map_err(|failure| missing_vhost(session, failure))?;
    rows(session, &["user", "configure", "write", "read"], &found);
    Ok(())
}

/// `list_user_permissions`.
pub(super) fn list_of_user(session: &Session, name: &str) -> Result<(), Failure> {
    session.out.banner(&format!("Listing permissions for user \"{name}\" ..."));
    let found = session.api.get(&["users", name, "permissions"]);
    let found = found.map_err(|failure| missing_user(failure, name))?;
    rows(session, &["vhost", "configure", "write", "read"], &found);
    Ok(())
}

/// `set_topic_permissions`.
pub(super) fn set_topic(
    session: &Session,
    name: &str,
    exchange: &str,
    write: &str,
    read: &str,
) -> Result<(), Failure> {
    let vhost = &session.vhost;
    session.out.banner(&format!(
        "Setting topic permissions on \"{exchange}\" for user \"{name}\" in vhost \"{vhost}\" ..."
    ));
    let body = json!({"exchange": exchange, "write": write, "read": read});
    let set = session.api.put(&["topic-permissions", vhost, name], &body);
    set.map_err(|failure| users::explain(session, failure, name))
}

/// `clear_topic_permissions`.
pub(super) fn clear_topic(session: &Session, name: &str, exchange: Option<&str>) -> Result<(), Failure> {
    let vhost = &session.vhost;
    let on = exchange.map_or_else(String::new, |exchange| format!(" on \"{exchange}\""));
    session
        .out
        .banner(&format!("Clearing topic permissions{on} for user \"{name}\" in vhost \"{vhost}\" ..."));
    let path = ["topic-permissions", vhost, name, exchange.unwrap_or_default()];
    let path = if exchange.is_some() { &path[..] } else { &path[..3] };
    cleared(session, name, session.api.delete(path))
}

/// `list_topic_permissions`.
pub(super) fn list_topic(session: &Session) -> Result<(), Failure> {
    let vhost = &session.vhost;
    session.out.banner(&format!("Listing topic permissions for vhost \"{vhost}\" ..."));
    let found = session.api.get(&["vhosts", vhost, "topic-permissions"]);
    let found = found.map_err(|failure| missing_vhost(session, failure))?;
    rows(session, &["user", "exchange", "write", "read"], &found);
    Ok(())
}

/// `list_user_topic_permissions`.
pub(super) fn list_topic_of_user(session: &Session, name: &str) -> Result<(), Failure> {
    session.out.banner(&format!("Listing topic permissions for user \"{name}\" ..."));
    let found = session.api.get(&["users", name, "topic-permissions"]);
    let found = found.map_err(|failure| missing_user(failure, name))?;
    rows(session, &["vhost", "exchange", "write", "read"], &found);
    Ok(())
}

fn rows(session: &Session, columns: &[&str], found: &Value) {
    let row = |entry: &Value| columns.iter().map(|&column| entry[column].clone()).collect();
    let rows: Vec<Vec<Value>> = found.as_array().into_iter().flatten().map(row).collect();
    session.out.rows(columns, &rows);
}

/// rabbitmqctl's code here is not that of other commands for the same.
pub(super) fn missing_user(failure: Failure, name: &str) -> Failure {
    failure.if_not_found(UNAVAILABLE, format!("User \"{name}\" does not exist"))
}

pub(super) fn missing_vhost(session: &Session, failure: Failure) -> Failure {
    let missing = no_vhost(DATA, &session.vhost);
    failure.if_not_found(missing.code, missing.text)
}
