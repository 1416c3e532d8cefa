//! `/api/permissions` and `/api/topic-permissions`: what users may do in virtual hosts. For administrators.

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{delete, get};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};

use crate::access::{AccessError, Permissions, TopicPermissions};
use crate::http::Api;
use crate::http::body::Sent;
use crate::http::caller::Administrator;
use crate::http::error::ApiError;
use crate::http::listing::Listing;
use crate::http::reply::{Done, Put};
use crate::server::admin::{Admin, GrantView};

/// How permissions are sorted.
const SORTED_BY: [&str; 2] = ["vhost", "user"];

pub(in crate::http) fn routes() -> Router<Api> {
    let permissions = Router::new()
        .route("/permissions", get(list))
        .route("/users/{name}/permissions", get(of_user))
        .route("/vhosts/{name}/permissions", get(of_vhost))
        .layer(Extension(Rows(|view| json_of(view).into_iter().collect())));
    let topic_permissions = Router::new()
        .route("/topic-permissions", get(list))
        .route("/users/{name}/topic-permissions", get(of_user))
        .route("/vhosts/{name}/topic-permissions", get(of_vhost))
        .layer(Extension(Rows(|view| topics_json_of(view).collect())));
    Router::new()
        .merge(permissions)
        .merge(topic_permissions)
        .route("/permissions/{vhost}/{user}", get(one).put(put).delete(clear))
        .route("/topic-permissions/{vhost}/{user}", get(topics_of).put(put_topic).delete(clear_topics))
        .route("/topic-permissions/{vhost}/{user}/{exchange}", delete(clear_topic))
}

/// What a list shows of a grant.
#[derive(Clone, Copy)]
struct Rows(fn(&GrantView) -> Vec<Value>);

impl Rows {
    /// The list, of the grants that are wanted.
    fn answer(
        self,
        admin: &Admin,
        listing: &Listing,
        wanted: impl Fn(&GrantView) -> bool,
    ) -> Result<Response, ApiError> {
        let grants = admin.grants();
        let rows = grants.iter().filter(|view| wanted(view)).flat_map(self.0);
        listing.answer(&SORTED_BY, rows.collect())
    }
}

/// Permissions in JSON; none if there are topic permissions only.
pub(in crate::http) fn json_of(view: &GrantView) -> Option<Value> {
    let permissions = view.grant.permissions.as_ref()?;
    Some(json!({
        "user": view.user,
        "vhost": view.vhost,
        "configure": permissions.configure.as_str(),
        "write": permissions.write.as_str(),
        "read": permissions.read.as_str(),
    }))
}

/// Topic permissions in JSON, one for each exchange.
pub(in crate::http) fn topics_json_of(view: &GrantView) -> impl Iterator<Item = Value> {
    view.grant.topics.iter().map(|(exchange, permissions)| {
        json!({
            "user": view.user,
            "vhost": view.vhost,
            "exchange": exchange,
            "write": permissions.write(),
            "read": permissions.read(),
        })
    })
}

/// Permissions from JSON.
pub(in crate::http) fn permissions_in(sent: &Sent) -> Result<Permissions, ApiError> {
    Ok(Permissions::new(sent.need_text("configure")?, sent.need_text("write")?, sent.need_text("read")?)?)
}

/// The exchange and what may be done with its topics, from JSON.
pub(in crate::http) fn topic_in(sent: &Sent) -> Result<(String, TopicPermissions), ApiError> {
    let exchange = sent.need_text("exchange")?.to_owned();
    Ok((exchange, TopicPermissions::new(sent.need_text("write")?, sent.need_text("read")?)?))
}

/// What one user is granted in one virtual host.
fn granted(admin: &Admin, vhost: &str, user: &str) -> Option<GrantView> {
    let grant = admin.grant(user, vhost)?;
    Some(GrantView { user: user.to_owned(), vhost: vhost.to_owned(), grant })
}

/// A name that is not there is a wrong request here, not a missing page.
fn unknown(error: AccessError) -> ApiError {
    match error {
        // RabbitMQ's text.
        AccessError::NoSuchUser(_) | AccessError::NoSuchVHost(_) => {
            ApiError::bad_request("vhost_or_user_not_found")
        }
        other => other.into(),
    }
}

async fn list(
    _: Administrator,
    State(api): State<Api>,
    Extension(rows): Extension<Rows>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| rows.answer(admin, &listing, |_| true)).await
}

async fn of_user(
    _: Administrator,
    State(api): State<Api>,
    Extension(rows): Extension<Rows>,
    Path(name): Path<String>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        admin.user(&name).ok_or_else(ApiError::not_found)?;
        rows.answer(admin, &listing, |view| view.user == name)
    })
    .await
}

async fn of_vhost(
    _: Administrator,
    State(api): State<Api>,
    Extension(rows): Extension<Rows>,
    Path(name): Path<String>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        admin.vhost(&name).ok_or_else(ApiError::not_found)?;
        rows.answer(admin, &listing, |view| view.vhost == name)
    })
    .await
}

async fn one(
    _: Administrator,
    State(api): State<Api>,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let found = granted(&api.admin, &vhost, &user).as_ref().and_then(json_of);
    found.map(Json).ok_or_else(ApiError::not_found)
}

async fn put(
    _: Administrator,
    State(api): State<Api>,
    Path((vhost, user)): Path<(String, String)>,
    sent: Sent,
) -> Result<Put, ApiError> {
    let permissions = permissions_in(&sent)?;
    api.work(move |admin| {
        let existed = admin.may_enter(&user, &vhost);
        admin.set_permissions(&user, &vhost, permissions).map_err(unknown)?;
        Ok(Put::over(existed))
    })
    .await
}

async fn clear(
    _: Administrator,
    State(api): State<Api>,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<Done, ApiError> {
    api.work(move |admin| {
        if !admin.may_enter(&user, &vhost) {
            return Err(ApiError::not_found());
        }
        admin.clear_permissions(&user, &vhost)?;
        Ok(Done)
    })
    .await
}

async fn topics_of(
    _: Administrator,
    State(api): State<Api>,
    Path((vhost, user)): Path<(String, String)>,
    listing: Listing,
) -> Result<Response, ApiError> {
    let grant = granted(&api.admin, &vhost, &user).filter(|view| !view.grant.topics.is_empty());
    let grant = grant.ok_or_else(ApiError::not_found)?;
    listing.answer(&SORTED_BY, topics_json_of(&grant).collect())
}

async fn put_topic(
    _: Administrator,
    State(api): State<Api>,
    Path((vhost, user)): Path<(String, String)>,
    sent: Sent,
) -> Result<Put, ApiError> {
    let (exchange, permissions) = topic_in(&sent)?;
    api.work(move |admin| {
        // Created or updated is said of all of them together, as by RabbitMQ.
        let existed = granted(admin, &vhost, &user).is_some_and(|view| !view.grant.topics.is_empty());
        admin.set_topic_permissions(&user, &vhost, &exchange, permissions).map_err(unknown)?;
        Ok(Put::over(existed))
    })
    .await
}

async fn clear_topics(
    _: Administrator,
    State(api): State<Api>,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<Done, ApiError> {
    api.work(move |admin| clear_of(admin, &vhost, &user, None)).await
}

async fn clear_topic(
    _: Administrator,
    State(api): State<Api>,
    Path((vhost, user, exchange)): Path<(String, String, String)>,
) -> Result<Done, ApiError> {
    api.work(move |admin| clear_of(admin, &vhost, &user, Some(&exchange))).await
}

fn clear_of(admin: &Admin, vhost: &str, user: &str, exchange: Option<&str>) -> Result<Done, ApiError> {
    if granted(admin, vhost, user).is_none_or(|view| view.grant.topics.is_empty()) {
        return Err(ApiError::not_found());
    }
    admin.clear_topic_permissions(user, vhost, exchange)?;
    Ok(Done)
}
