//! Commands about policies: users', and operators', which users cannot override.

use serde_json::{Value, json};

use super::command::SetPolicy;
use super::failure::{DATA, Failure, UNAVAILABLE};
use super::{Session, api, vhosts};

/// Whose policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Operator,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Self::User => "policies",
            Self::Operator => "operator-policies",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::User => "policy",
            Self::Operator => "operator policy override",
        }
    }
}

/// `set_policy`, `set_operator_policy`.
pub(super) fn set(session: &Session, kind: Kind, args: &SetPolicy) -> Result<(), Failure> {
    let SetPolicy { name, pattern, definition, priority, apply_to } = args;
    let vhost = &session.vhost;
    session.out.banner(&format!(
        "Setting {} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \"{priority}\" for vhost \"{vhost}\" ...",
        kind.name()
    ));
    let definition = api::object("definition", definition)?;
    let body =
        json!({"pattern": pattern, "definition": definition, "priority": priority, "apply-to": apply_to});
    vhosts::must_exist(session, DATA)?;
    session.api.put(&[kind.path(), vhost, name], &body)
}

/// `clear_policy`, `clear_operator_policy`.
pub(super) fn clear(session: &Session, kind: Kind, name: &str) -> Result<(), Failure> {
    let vhost = &session.vhost;
    session.out.banner(&format!("Clearing {} \"{name}\" on vhost \"{vhost}\" ...", kind.name()));
    vhosts::must_exist(session, UNAVAILABLE)?;
    let cleared = session.api.delete(&[kind.path(), vhost, name]);
    cleared.map_err(|failure| failure.if_not_found(UNAVAILABLE, "Parameter does not exist"))
}

/// `list_policies`, `list_operator_policies`.
pub(super) fn list(session: &Session, kind: Kind) -> Result<(), Failure> {
    let vhost = &session.vhost;
    let what = if kind == Kind::User { "policies" } else { "operator policy overrides" };
    session.out.banner(&format!("Listing {what} for vhost \"{vhost}\" ..."));
    vhosts::must_exist(session, DATA)?;
    let found = session.api.get(&[kind.path(), vhost])?;
    let columns = ["vhost", "name", "pattern", "apply-to", "definition", "priority"];
    let cell = |policy: &Value, column: &str| match &policy[column] {
        // A text, as rabbitmqctl has it, so that it can be given to set_policy again.
        value if column == "definition" => Value::String(value.to_string()),
        value => value.clone(),
    };
    let row = |policy: &Value| columns.iter().map(|column| cell(policy, column)).collect();
    let rows: Vec<Vec<Value>> = found.as_array().into_iter().flatten().map(row).collect();
    session.out.rows(&columns, &rows);
    Ok(())
}
