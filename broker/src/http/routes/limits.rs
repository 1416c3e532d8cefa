//! `/api/vhost-limits` and `/api/user-limits`: how much there may be of what.
//!
//! A limit of -1 is none, as with RabbitMQ.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, put};
use serde_json::{Map, Value, json};

use crate::access::{UserLimits, VHostLimits};
use crate::http::Api;
use crate::http::body::Sent;
use crate::http::caller::{Administrator, Caller};
use crate::http::error::ApiError;
use crate::http::listing::Listing;
use crate::http::reply::Done;
use crate::server::admin::Admin;

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/vhost-limits", get(vhosts))
        .route("/vhost-limits/{vhost}", get(vhost))
        .route("/vhost-limits/{vhost}/{name}", put(put_vhost).delete(delete_vhost))
        .route("/user-limits", get(users))
        .route("/user-limits/{user}", get(user))
        .route("/user-limits/{user}/{name}", put(put_user).delete(delete_user))
}

/// The limits that are set.
pub(in crate::http) fn json_of<const N: usize>(limits: [(&str, Option<u32>); N]) -> Map<String, Value> {
    let set = limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?.into())));
    set.collect()
}

/// A virtual host's limits that are set.
pub(in crate::http) fn of_vhost(limits: &VHostLimits) -> Map<String, Value> {
    json_of([("max-connections", limits.connections_max), ("max-queues", limits.queues_max)])
}

/// A user's limits that are set.
pub(in crate::http) fn of_user(limits: &UserLimits) -> Map<String, Value> {
    json_of([("max-connections", limits.connections_max), ("max-channels", limits.channels_max)])
}

/// Sets one of a virtual host's limits. Texts are RabbitMQ's.
pub(in crate::http) fn change_vhost(
    limits: &mut VHostLimits,
    name: &str,
    value: &Value,
) -> Result<(), ApiError> {
    let limit = match name {
        "max-connections" => &mut limits.connections_max,
        "max-queues" => &mut limits.queues_max,
        _ => return Err(ApiError::bad_request(format!("Unrecognised terms [{name}] in limits"))),
    };
    *limit = limit_in(name, value)?;
    Ok(())
}

/// Sets one of a user's limits.
pub(in crate::http) fn change_user(
    limits: &mut UserLimits,
    name: &str,
    value: &Value,
) -> Result<(), ApiError> {
    let limit = match name {
        "max-connections" => &mut limits.connections_max,
        "max-channels" => &mut limits.channels_max,
        _ => return Err(ApiError::bad_request(format!("Unrecognised terms [{name}] in user-limits"))),
    };
    *limit = limit_in(name, value)?;
    Ok(())
}

fn limit_in(name: &str, value: &Value) -> Result<Option<u32>, ApiError> {
    let wrong = || ApiError::bad_request(format!("{name} should be a number, actually was {value}"));
    let number = value.as_i64().ok_or_else(wrong)?;
    // RabbitMQ takes every negative number as none.
    if number < 0 { Ok(None) } else { u32::try_from(number).map(Some).map_err(|_| wrong()) }
}

async fn vhosts(caller: Caller, State(api): State<Api>, listing: Listing) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let seen = admin.vhosts().into_iter().filter(|(name, _)| caller.sees(admin, name));
        let limited = seen.filter_map(|(name, settings)| vhost_json(&name, &settings.limits));
        listing.answer(&["vhost"], limited.collect())
    })
    .await
}

async fn vhost(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
    listing: Listing,
) -> Result<Response, ApiError> {
    let settings = api.admin.vhost(&name).ok_or_else(ApiError::not_found)?;
    caller.see(&api.admin, &name)?;
    listing.answer(&["vhost"], vhost_json(&name, &settings.limits).into_iter().collect())
}

fn vhost_json(name: &str, limits: &VHostLimits) -> Option<Value> {
    let limits = of_vhost(limits);
    (!limits.is_empty()).then(|| json!({"vhost": name, "value": limits}))
}

async fn put_vhost(
    _: Administrator,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    sent: Sent,
) -> Result<Done, ApiError> {
    let value = sent.need("value")?.clone();
    api.work(move |admin| set_vhost(admin, &vhost, &name, &value)).await
}

/// A limit that was not set is none, too.
async fn delete_vhost(
    _: Administrator,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Done, ApiError> {
    api.work(move |admin| set_vhost(admin, &vhost, &name, &json!(-1))).await
}

fn set_vhost(admin: &Admin, vhost: &str, name: &str, value: &Value) -> Result<Done, ApiError> {
    let mut limits = admin.vhost(vhost).ok_or_else(ApiError::not_found)?.limits;
    change_vhost(&mut limits, name, value)?;
    admin.set_vhost_limits(vhost, limits)?;
    Ok(Done)
}

async fn users(_: Caller, State(api): State<Api>, listing: Listing) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let limited = admin.users().into_iter().filter_map(|user| user_json(&user.name, &user.limits));
        listing.answer(&["user"], limited.collect())
    })
    .await
}

async fn user(
    _: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
    listing: Listing,
) -> Result<Response, ApiError> {
    let user = api.admin.user(&name).ok_or_else(ApiError::not_found)?;
    listing.answer(&["user"], user_json(&name, &user.limits).into_iter().collect())
}

fn user_json(name: &str, limits: &UserLimits) -> Option<Value> {
    let limits = of_user(limits);
    (!limits.is_empty()).then(|| json!({"user": name, "value": limits}))
}

async fn put_user(
    _: Administrator,
    State(api): State<Api>,
    Path((user, name)): Path<(String, String)>,
    sent: Sent,
) -> Result<Done, ApiError> {
    let value = sent.need("value")?.clone();
    api.work(move |admin| set_user(admin, &user, &name, &value)).await
}

async fn delete_user(
    _: Administrator,
    State(api): State<Api>,
    Path((user, name)): Path<(String, String)>,
) -> Result<Done, ApiError> {
    api.work(move |admin| set_user(admin, &user, &name, &json!(-1))).await
}

fn set_user(admin: &Admin, user: &str, name: &str, value: &Value) -> Result<Done, ApiError> {
    let mut limits = admin.user(user).ok_or_else(ApiError::not_found)?.limits;
    change_user(&mut limits, name, value)?;
    admin.set_user_limits(user, limits)?;
    Ok(Done)
}
