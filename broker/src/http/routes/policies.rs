//! `/api/policies` and `/api/operator-policies`. Policies are for policymakers in virtual hosts where they have permissions, and
//! for administrators; operator policies for administrators only; lists are for all.

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::{Value, json};

use super::acting::vhosts_to_list;
use crate::access::Tag;
use crate::engine::policy::{Policy, PolicyDeclare, PolicyKind};
use crate::http::Api;
use crate::http::body::Sent;
use crate::http::caller::Caller;
use crate::http::error::ApiError;
use crate::http::listing::Listing;
use crate::http::reply::{Done, Put};
use crate::server::admin::Admin;

pub(in crate::http) fn routes() -> Router<Api> {
    let policies = Router::new()
        .route("/policies", get(list))
        .route("/policies/{vhost}", get(list))
        .route("/policies/{vhost}/{name}", get(one).put(put).delete(remove))
        .layer(Extension(PolicyKind::User));
    let operator_policies = Router::new()
        .route("/operator-policies", get(list))
        .route("/operator-policies/{vhost}", get(list))
        .route("/operator-policies/{vhost}/{name}", get(one).put(put).delete(remove))
        .layer(Extension(PolicyKind::Operator));
    policies.merge(operator_policies)
}

/// A policy in JSON.
pub(in crate::http) fn json_of(policy: &Policy) -> Value {
    let PolicyDeclare { pattern, apply_to, priority, definition } = policy.to_declare();
    json!({
        "vhost": policy.vhost(),
        "name": policy.name(),
        "pattern": pattern,
        "apply-to": apply_to,
        "definition": definition,
        "priority": priority,
    })
}

/// A policy from JSON.
pub(in crate::http) fn declare_in(sent: &Sent) -> Result<PolicyDeclare, ApiError> {
    let mut declare = PolicyDeclare::new(sent.need_text("pattern")?, sent.need("definition")?.clone());
    if let Some(apply_to) = sent.text("apply-to")? {
        declare.apply_to = apply_to.to_owned();
    }
    if let Some(priority) = sent.get("priority") {
        // RabbitMQ's text; rabbitmqadmin sends numbers as texts.
        let number = priority.as_i64().or_else(|| priority.as_str()?.parse().ok());
        declare.priority = number.ok_or_else(|| {
            ApiError::bad_request(format!(
                "Validation failed\n\npriority should be a number, actually was {priority}\n"
            ))
        })?;
    }
    Ok(declare)
}

/// Lets administrators pass, and policymakers in virtual hosts where they have permissions. Operators' policies are for administrators
/// only. RabbitMQ asks for the same.
pub(super) fn permit(admin: &Admin, caller: &Caller, kind: PolicyKind, vhost: &str) -> Result<(), ApiError> {
    if kind == PolicyKind::Operator || caller.has(Tag::Administrator) {
        return caller.administers();
    }
    match caller.has(Tag::Policymaker) && caller.may_enter(admin, vhost) {
        true => Ok(()),
        false => Err(ApiError::not_authorised("User not authorised to access object")),
    }
}

async fn list(
    caller: Caller,
    State(api): State<Api>,
    Extension(kind): Extension<PolicyKind>,
    vhost: Option<Path<String>>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let vhosts = vhosts_to_list(&caller, admin, vhost)?;
        let policies = admin.policies(kind);
        let wanted = policies.iter().filter(|policy| vhosts.iter().any(|vhost| vhost == policy.vhost()));
        listing.answer(&["vhost", "name"], wanted.map(|policy| json_of(policy)).collect())
    })
    .await
}

async fn one(
    caller: Caller,
    State(api): State<Api>,
    Extension(kind): Extension<PolicyKind>,
    Path((vhost, name)): Path<(String, String)>,
    listing: Listing,
) -> Result<Response, ApiError> {
    permit(&api.admin, &caller, kind, &vhost)?;
    let policy = api.admin.policy(kind, &vhost, &name).ok_or_else(ApiError::not_found)?;
    Ok(listing.one(json_of(&policy)))
}

async fn put(
    caller: Caller,
    State(api): State<Api>,
    Extension(kind): Extension<PolicyKind>,
    Path((vhost, name)): Path<(String, String)>,
    sent: Sent,
) -> Result<Put, ApiError> {
    permit(&api.admin, &caller, kind, &vhost)?;
    let declare = declare_in(&sent)?;
    api.work(move |admin| {
        let existed = admin.policy(kind, &vhost, &name).is_some();
        admin.set_policy(kind, &vhost, &name, declare)?;
        Ok(Put::over(existed))
    })
    .await
}

async fn remove(
    caller: Caller,
    State(api): State<Api>,
    Extension(kind): Extension<PolicyKind>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Done, ApiError> {
    permit(&api.admin, &caller, kind, &vhost)?;
    api.work(move |admin| Ok(admin.delete_policy(kind, &vhost, &name).map(|()| Done)?)).await
}
