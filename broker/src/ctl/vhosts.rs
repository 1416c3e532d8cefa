//! Commands about virtual hosts and their limits.

use serde_json::{Map, Value, json};

use super::command::AddVhost;
use super::failure::{DATA, Failure, UNAVAILABLE, no_vhost};
use super::output::print;
use super::permissions::missing_vhost;
use super::{Session, api};

/// The limits a virtual host can have.
const LIMITS: [&str; 2] = ["max-connections", "max-queues"];

/// `add_vhost`. One that is there stays as it is, unless the command says more than its name.
pub(super) fn add(session: &Session, args: &AddVhost) -> Result<(), Failure> {
    let name = &args.vhost_name;
    session.out.banner(&format!("Adding vhost \"{name}\" ..."));
    let given = [
        ("description", &args.description),
        ("tags", &args.tags),
        ("default_queue_type", &args.default_queue_type),
    ];
    let given = given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value.as_ref()?))));
    let body: Map<String, Value> = given.collect();
    if body.is_empty() && session.api.exists(&["vhosts", name])? {
        return Ok(());
    }
    session.api.put(&["vhosts", name], &Value::Object(body))
}

/// `delete_vhost`.
pub(super) fn delete(session: &Session, name: &str) -> Result<(), Failure> {
    session.out.banner(&format!("Deleting vhost \"{name}\" ..."));
    let deleted = session.api.delete(&["vhosts", name]);
    let missing = no_vhost(DATA, name);
    deleted.map_err(|failure| failure.if_not_found(missing.code, missing.text))
}

/// `set_vhost_tags`.
pub(super) fn set_tags(session: &Session, name: &str, tags: &[String]) -> Result<(), Failure> {
    session.out.banner(&format!("Setting tags for virtual host \"{name}\" to [{}] ...", tags.join(", ")));
    if !session.api.exists(&["vhosts", name])? {
        return Err(Failure::new(DATA, format!("Virtual host \"{name}\" does not exist")));
    }
    session.api.put(&["vhosts", name], &json!({"tags": tags}))
}

/// `set_vhost_limits`.
pub(super) fn set_limits(session: &Session, limits: &str) -> Result<(), Failure> {
    let vhost = &session.vhost;
    session.out.banner(&format!("Setting vhost limits to \"{limits}\" for vhost \"{vhost}\" ..."));
    let limits = api::object("definition", limits)?;
    must_exist(session, DATA)?;
    for (limit, value) in limits.as_object().into_iter().flatten() {
        session.api.put(&["vhost-limits", vhost, limit], &json!({"value": value}))?;
    }
    Ok(())
}

/// `clear_vhost_limits`.
pub(super) fn clear_limits(session: &Session) -> Result<(), Failure> {
    let vhost = &session.vhost;
    session.out.banner(&format!("Clearing vhost \"{vhost}\" limits ..."));
    must_exist(session, UNAVAILABLE)?;
    for limit in LIMITS {
        match session.api.delete(&["vhost-limits", vhost, limit]) {
            Err(failure) if !failure.is_not_found() => return Err(failure),
            _ => {}
        }
    }
    Ok(())
}

/// `list_vhost_limits`.
pub(super) fn list_limits(session: &Session, global: bool) -> Result<(), Failure> {
    if global {
        session.out.banner("Listing limits for all vhosts ...");
        let found = session.api.get(&["vhost-limits"])?;
        let row = |entry: &Value| vec![entry["vhost"].clone(), Value::String(entry["value"].to_string())];
        let rows: Vec<_> = found.as_array().into_iter().flatten().map(row).collect();
        session.out.rows(&["vhost", "limits"], &rows);
        return Ok(());
    }
    let vhost = &session.vhost;
    session.out.banner(&format!("Listing limits for vhost \"{vhost}\" ..."));
    let found = session.api.get(&["vhost-limits", vhost]);
    let found = found.map_err(|failure| missing_vhost(session, failure))?;
    let limits = found.get(0).map_or_else(|| Value::Object(Map::new()), |entry| entry["value"].clone());
    print(&format!("{limits}\n"));
    Ok(())
}

/// Fails with this code if the virtual host is not there: rabbitmqctl's is [`UNAVAILABLE`] where something is to be cleared, else [`DATA`].
pub(super) fn must_exist(session: &Session, code: u8) -> Result<(), Failure> {
    if session.api.exists(&["vhosts", &session.vhost])? {
        Ok(())
    } else {
        Err(no_vhost(code, &session.vhost))
    }
}
