//! `/api/policies` and `/api/operator-policies`. Policies are for policymakers, operator policies for administrators, both only in
//! virtual hosts where they have permissions; lists are for all.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use crate::access::Tag;
use crate::engine::policy::{Policy, PolicyDeclare, PolicyKind};
use crate::http::Api;
use crate::http::body::Sent;
use crate::http::caller::{Administrator, Caller};
use crate::http::error::ApiError;
use crate::http::listing::Listing;
use crate::http::reply::{Done, Put};

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/policies", get(list_all))
        .route("/policies/{vhost}", get(list_of_vhost))
        .route("/policies/{vhost}/{name}", get(one).put(put).delete(delete))
        .route("/operator-policies", get(list_all_operator))
        .route("/operator-policies/{vhost}", get(list_operator_of_vhost))
        .route(
            "/operator-policies/{vhost}/{name}",
            get(one_operator).put(put_operator).delete(delete_operator),
        )
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

/// Lets policymakers pass who have permissions in the virtual host.
fn permit(api: &Api, caller: &Caller, vhost: &str) -> Result<(), ApiError> {
    match caller.has(Tag::Policymaker) && caller.may_enter(&api.admin, vhost) {
        true => Ok(()),
        false => Err(ApiError::not_authorised("User not authorised to access object")),
    }
}

async fn list_all(caller: Caller, api: State<Api>, listing: Listing) -> Result<Response, ApiError> {
    list(caller, api, listing, None, PolicyKind::User).await
}

async fn list_all_operator(caller: Caller, api: State<Api>, listing: Listing) -> Result<Response, ApiError> {
    list(caller, api, listing, None, PolicyKind::Operator).await
}

async fn list_of_vhost(
    caller: Caller,
    api: State<Api>,
    Path(vhost): Path<String>,
    listing: Listing,
) -> Result<Response, ApiError> {
    list(caller, api, listing, Some(vhost), PolicyKind::User).await
}

async fn list_operator_of_vhost(
    caller: Caller,
    api: State<Api>,
    Path(vhost): Path<String>,
    listing: Listing,
) -> Result<Response, ApiError> {
    list(caller, api, listing, Some(vhost), PolicyKind::Operator).await
}

async fn list(
    caller: Caller,
    State(api): State<Api>,
    listing: Listing,
    vhost: Option<String>,
    kind: PolicyKind,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        if let Some(vhost) = &vhost {
            admin.vhost(vhost).ok_or_else(ApiError::not_found)?;
            caller.see(admin, vhost)?;
        }
        let wanted = |policy: &Policy| match &vhost {
            Some(vhost) => policy.vhost() == vhost,
            None => caller.sees(admin, policy.vhost()),
        };
        let policies = admin.policies(kind);
        let items = policies.iter().filter(|policy| wanted(policy)).map(|policy| json_of(policy)).collect();
        listing.answer(&["vhost", "name"], items)
    })
    .await
}

async fn one(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    listing: Listing,
) -> Result<Response, ApiError> {
    permit(&api, &caller, &vhost)?;
    answer_one(&api, PolicyKind::User, &vhost, &name, &listing)
}

async fn one_operator(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    listing: Listing,
) -> Result<Response, ApiError> {
    permit(&api, &caller, &vhost)?;
    answer_one(&api, PolicyKind::Operator, &vhost, &name, &listing)
}

fn answer_one(
    api: &Api,
    kind: PolicyKind,
    vhost: &str,
    name: &str,
    listing: &Listing,
) -> Result<Response, ApiError> {
    let policy = api.admin.policy(kind, vhost, name).ok_or_else(ApiError::not_found)?;
    Ok(listing.one(json_of(&policy)))
}

async fn put(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    sent: Sent,
) -> Result<Put, ApiError> {
    permit(&api, &caller, &vhost)?;
    set(api, PolicyKind::User, vhost, name, sent).await
}

async fn put_operator(
    Administrator(caller): Administrator,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    sent: Sent,
) -> Result<Put, ApiError> {
    permit(&api, &caller, &vhost)?;
    set(api, PolicyKind::Operator, vhost, name, sent).await
}

async fn set(api: Api, kind: PolicyKind, vhost: String, name: String, sent: Sent) -> Result<Put, ApiError> {
    let declare = declare_in(&sent)?;
    api.work(move |admin| {
        let existed = admin.policy(kind, &vhost, &name).is_some();
        admin.set_policy(kind, &vhost, &name, declare)?;
        Ok(Put::over(existed))
    })
    .await
}

async fn delete(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Done, ApiError> {
    permit(&api, &caller, &vhost)?;
    remove(api, PolicyKind::User, vhost, name).await
}

async fn delete_operator(
    Administrator(caller): Administrator,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Done, ApiError> {
    permit(&api, &caller, &vhost)?;
    remove(api, PolicyKind::Operator, vhost, name).await
}

async fn remove(api: Api, kind: PolicyKind, vhost: String, name: String) -> Result<Done, ApiError> {
    api.work(move |admin| Ok(admin.delete_policy(kind, &vhost, &name).map(|()| Done)?)).await
}
