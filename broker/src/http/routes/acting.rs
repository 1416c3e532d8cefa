//! What the routes of queues, exchanges and bindings share: who may see and do what, and what a client is told.

use amq_protocol::types::FieldTable;
use axum::extract::Path;
use serde_json::Value;

use crate::error::{AmqpError, ReplyCode};
use crate::http::body::Sent;
use crate::http::caller::Caller;
use crate::http::error::ApiError;
use crate::http::table;
use crate::server::admin::{Actor, Admin};

/// The virtual hosts that a caller may look at, by name.
pub(super) fn visible_vhosts(caller: &Caller, admin: &Admin) -> Vec<String> {
    let names = admin.vhosts().into_iter().map(|(name, _)| name);
    names.filter(|name| caller.sees(admin, name)).collect()
}

/// Lets only those pass who may look at a virtual host that exists.
pub(super) fn see_vhost(caller: &Caller, admin: &Admin, vhost: &str) -> Result<(), ApiError> {
    if admin.vhost(vhost).is_none() {
        return Err(ApiError::not_found());
    }
    caller.see(admin, vhost)
}

/// The virtual hosts whose contents are to be listed: the one that the path names, if the caller may look at it, or all of those.
pub(super) fn vhosts_to_list(
    caller: &Caller,
    admin: &Admin,
    named: Option<Path<String>>,
) -> Result<Vec<String>, ApiError> {
    match named {
        Some(Path(vhost)) => see_vhost(caller, admin, &vhost).map(|()| vec![vhost]),
        None => Ok(visible_vhosts(caller, admin)),
    }
}

/// The caller as somebody who does something in a virtual host, with its own permissions there.
pub(super) fn actor(caller: &Caller, admin: &Admin, vhost: &str) -> Result<Actor, ApiError> {
    if admin.vhost(vhost).is_none() {
        return Err(ApiError::not_found());
    }
    caller.enter(admin, vhost)?;
    let actor = match caller.login() {
        Some(login) => admin.act_for(login, vhost),
        None => admin.act_as(None, vhost),
    };
    actor.ok_or_else(ApiError::not_found)
}

/// What a client of AMQP would be told, in the form that RabbitMQ gives it here.
pub(super) fn told(error: AmqpError) -> ApiError {
    match error.code {
        ReplyCode::NotFound => ApiError::missing(error.text.to_string()),
        ReplyCode::AccessRefused => ApiError::not_authorised(error.text.to_string()),
        ReplyCode::InternalError => ApiError::internal(),
        _ => ApiError::bad_request(error.text.to_string()),
    }
}

/// The same for a publish, of which RabbitMQ tells code and name as well.
pub(super) fn told_of_publish(error: AmqpError) -> ApiError {
    match error.code {
        ReplyCode::AccessRefused | ReplyCode::InternalError => told(error),
        _ => ApiError::bad_request(format!("{} {}", error.code.code(), error.reply_text())),
    }
}

/// Names of queues, exchanges and keys are short strings.
pub(super) fn check_name(name: &str) -> Result<(), ApiError> {
    if name.len() > usize::from(u8::MAX) {
        return Err(ApiError::bad_request("a name or key is longer than 255 bytes"));
    }
    Ok(())
}

/// The exchange that a path or body names: the default one has a name there.
pub(super) fn exchange_name(name: &str) -> &str {
    if name == "amq.default" { "" } else { name }
}

/// The field `arguments`.
pub(in crate::http) fn arguments_in(sent: &Sent) -> Result<FieldTable, ApiError> {
    table::from_json("arguments", sent.get("arguments"))
}

/// A number that is not negative, also as a text, as rabbitmqadmin sends it.
pub(super) fn number(sent: &Sent, name: &str) -> Result<Option<u64>, ApiError> {
    let wrong = || ApiError::bad_request(format!("{name} has to be a number that is not negative"));
    match sent.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => number.as_u64().map(Some).ok_or_else(wrong),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong()),
        Some(_) => Err(wrong()),
    }
}
