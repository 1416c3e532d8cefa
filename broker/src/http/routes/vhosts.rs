//! `/api/vhosts`: virtual hosts. Listed for who may look at them, changed by administrators.

use std::cell::OnceCell;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use crate::access::{AccessError, Permissions, VHostSettings};
use crate::http::Api;
use crate::http::body::Sent;
use crate::http::caller::{Administrator, Caller};
use crate::http::error::ApiError;
use crate::http::fields::{Fields, Row};
use crate::http::listing::Listing;
use crate::http::measures::{self, Totals};
use crate::http::reply::{Done, Put};
use crate::http::routes::users::tags_in;
use crate::server::admin::Admin;

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/vhosts", get(list))
        .route("/vhosts/{name}", get(one).put(put).delete(delete_one))
        .route("/vhosts/{name}/deletion/protection", post(protect).delete(unprotect))
        .route("/vhosts/{name}/start/{node}", post(start))
}

/// A virtual host.
struct VHostRow<'a> {
    admin: &'a Admin,
    name: &'a str,
    settings: &'a VHostSettings,
    /// Summed up if somebody asks.
    totals: OnceCell<Totals>,
}

impl<'a> VHostRow<'a> {
    fn new(admin: &'a Admin, name: &'a str, settings: &'a VHostSettings) -> Self {
        Self { admin, name, settings, totals: OnceCell::new() }
    }

    fn totals(&self) -> &Totals {
        self.totals.get_or_init(|| Totals::of(self.admin, &[self.name]))
    }
}

impl Row for VHostRow<'_> {
    fn fields(&self, out: &mut Fields<'_>) {
        let Self { admin, name, settings, .. } = self;
        out.add("name", || name);
        out.add("description", || &settings.description);
        out.add("tags", || settings.tags.iter().collect::<Vec<_>>());
        out.add("default_queue_type", || settings.default_queue_type.as_deref().unwrap_or("classic"));
        out.add("protected_from_deletion", || settings.protected_from_deletion);
        out.add("metadata", || metadata_of(settings));
        out.add("tracing", || admin.is_traced(name));
        out.add("cluster_state", || json!({admin.node_name(): "running"}));
        // Nothing of a virtual host without queues, as by RabbitMQ.
        if out.wants("messages") {
            measures::add(out, &self.totals().lengths);
        }
        if out.wants("message_stats") {
            out.add_some("message_stats", measures::if_any(&self.totals().message_stats));
        }
    }
}

/// What definitions and `metadata` say of it.
pub(in crate::http) fn metadata_of(settings: &VHostSettings) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("description".to_owned(), settings.description.as_str().into());
    metadata.insert("tags".to_owned(), settings.tags.iter().collect::<Vec<_>>().into());
    if let Some(queue_type) = &settings.default_queue_type {
        metadata.insert("default_queue_type".to_owned(), queue_type.as_str().into());
    }
    if settings.protected_from_deletion {
        metadata.insert("protected_from_deletion".to_owned(), true.into());
    }
    metadata
}

/// The names of settings in JSON.
pub(in crate::http) const SETTINGS: [&str; 4] =
    ["description", "tags", "default_queue_type", "protected_from_deletion"];

/// Settings from JSON; what is not mentioned stays as it is in `settings`.
pub(in crate::http) fn settings_in(
    sent: &Sent,
    mut settings: VHostSettings,
) -> Result<VHostSettings, ApiError> {
    if let Some(description) = sent.text("description")? {
        settings.description = description.to_owned();
    }
    if let Some(tags) = sent.get("tags") {
        settings.tags = tags_in(tags)?;
    }
    if let Some(queue_type) = sent.text("default_queue_type")? {
        // Exports of RabbitMQ 3 say undefined where nothing was chosen.
        settings.default_queue_type =
            Some(queue_type.to_owned()).filter(|name| !matches!(name.as_str(), "" | "undefined"));
    }
    if let Some(protected) = sent.boolean("protected_from_deletion")? {
        settings.protected_from_deletion = protected;
    }
    Ok(settings)
}

async fn list(caller: Caller, State(api): State<Api>, listing: Listing) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let vhosts = admin.vhosts();
        let seen = vhosts.iter().filter(|(name, _)| caller.sees(admin, name));
        let rows = seen.map(|(name, settings)| VHostRow::new(admin, name, settings)).collect();
        listing.answer_paged(&["name"], rows)
    })
    .await
}

async fn one(
    _: Administrator,
    State(api): State<Api>,
    Path(name): Path<String>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let settings = admin.vhost(&name).ok_or_else(ApiError::not_found)?;
        Ok(listing.one(VHostRow::new(admin, &name, &settings)))
    })
    .await
}

/// Who makes one may do everything in it, as with RabbitMQ.
async fn put(
    Administrator(caller): Administrator,
    State(api): State<Api>,
    Path(name): Path<String>,
    sent: Sent,
) -> Result<Put, ApiError> {
    let traced = sent.boolean("tracing")?;
    api.work(move |admin| {
        let known = admin.vhost(&name);
        let settings = settings_in(&sent, known.as_deref().cloned().unwrap_or_default())?;
        match known {
            Some(_) => admin.set_vhost(&name, settings)?,
            None => {
                admin.add_vhost(&name, settings)?;
                if let Some(user) = caller.user() {
                    admin.set_permissions(user, &name, Permissions::all())?;
                }
            }
        }
        if let Some(traced) = traced {
            admin.set_traced(&name, traced);
        }
        Ok(Put::over(known.is_some()))
    })
    .await
}

async fn delete_one(
    _: Administrator,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Done, ApiError> {
    api.work(move |admin| Ok(admin.delete_vhost(&name).map(|()| Done)?)).await
}

async fn protect(
    _: Administrator,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Done, ApiError> {
    api.work(move |admin| set_protected(admin, &name, true)).await
}

async fn unprotect(
    _: Administrator,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Done, ApiError> {
    api.work(move |admin| set_protected(admin, &name, false)).await
}

fn set_protected(admin: &Admin, name: &str, protected: bool) -> Result<Done, ApiError> {
    let known = admin.vhost(name).ok_or_else(|| AccessError::NoSuchVHost(name.to_owned()))?;
    let settings = VHostSettings { protected_from_deletion: protected, ..VHostSettings::clone(&known) };
    admin.set_vhost(name, settings)?;
    Ok(Done)
}

/// Virtual hosts always run: there is nothing to start.
async fn start(
    _: Administrator,
    State(api): State<Api>,
    Path((name, node)): Path<(String, String)>,
) -> Result<Done, ApiError> {
    let is_there = api.admin.vhost(&name).is_some() && node == api.admin.node_name();
    if is_there { Ok(Done) } else { Err(ApiError::not_found()) }
}
