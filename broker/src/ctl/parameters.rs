//! Commands about parameters, of virtual hosts and of the whole broker.

use serde_json::{Value, json};

use super::failure::{DATA, Failure, UNAVAILABLE};
use super::{Session, vhosts};

/// What `rabbitmqctl` says when there is nothing to clear.
const MISSING: &str = "Parameter does not exist";

/// `set_parameter`.
pub(super) fn set(session: &Session, component: &str, name: &str, value: &str) -> Result<(), Failure> {
    let vhost = &session.vhost;
    session.out.banner(&format!(
        "Setting runtime parameter \"{name}\" for component \"{component}\" to \"{value}\" in vhost \"{vhost}\" ..."
    ));
    let value = json(value)?;
    vhosts::must_exist(session, DATA)?;
    session.api.put(&["parameters", component, vhost, name], &json!({"value": value}))
}

/// `clear_parameter`.
pub(super) fn clear(session: &Session, component: &str, name: &str) -> Result<(), Failure> {
    let vhost = &session.vhost;
    session.out.banner(&format!(
        "Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{vhost}\" ..."
    ));
    vhosts::must_exist(session, UNAVAILABLE)?;
    let cleared = session.api.delete(&["parameters", component, vhost, name]);
    cleared.map_err(|failure| failure.if_not_found(UNAVAILABLE, MISSING))
}

/// `list_parameters`.
pub(super) fn list(session: &Session) -> Result<(), Failure> {
    let vhost = &session.vhost;
    session.out.banner(&format!("Listing runtime parameters for vhost \"{vhost}\" ..."));
    vhosts::must_exist(session, DATA)?;
    let mut found = session.api.get(&["parameters"])?;
    if let Value::Array(found) = &mut found {
        found.retain(|parameter| parameter["vhost"] == **vhost);
    }
    rows(session, &["component", "name", "value"], &found);
    Ok(())
}

/// `set_global_parameter`.
pub(super) fn set_global(session: &Session, name: &str, value: &str) -> Result<(), Failure> {
    session.out.banner(&format!("Setting global runtime parameter \"{name}\" to \"{value}\" ..."));
    session.api.put(&["global-parameters", name], &json!({"value": json(value)?}))
}

/// `clear_global_parameter`.
pub(super) fn clear_global(session: &Session, name: &str) -> Result<(), Failure> {
    session.out.banner(&format!("Clearing global runtime parameter \"{name}\" ..."));
    let cleared = session.api.delete(&["global-parameters", name]);
    cleared.map_err(|failure| failure.if_not_found(UNAVAILABLE, MISSING))
}

/// `list_global_parameters`.
pub(super) fn list_global(session: &Session) -> Result<(), Failure> {
    session.out.banner("Listing global runtime parameters ...");
    rows(session, &["name", "value"], &session.api.get(&["global-parameters"])?);
    Ok(())
}

/// `set_cluster_name`.
pub(super) fn set_cluster_name(session: &Session, name: &str) -> Result<(), Failure> {
    session.out.banner(&format!("Setting cluster name to {name} ..."));
    session.api.put(&["cluster-name"], &json!({"name": name}))
}

fn json(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::new(UNAVAILABLE, format!("the value is not JSON: {error}")))
}

fn rows(session: &Session, columns: &[&str], found: &Value) {
    let cell = |parameter: &Value, column: &str| match &parameter[column] {
        // A text, as rabbitmqctl has it, so that it can be given to set_parameter again.
        value if column == "value" => Value::String(value.to_string()),
        value => value.clone(),
    };
    let row = |parameter: &Value| columns.iter().map(|column| cell(parameter, column)).collect();
    let rows: Vec<Vec<Value>> = found.as_array().into_iter().flatten().map(row).collect();
    session.out.rows(columns, &rows);
}
