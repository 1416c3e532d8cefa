//! `/api/bindings`: what leads where.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::acting::{actor, arguments_in, check_name, exchange_name, see_vhost, told, vhosts_to_list};
use crate::http::Api;
use crate::http::body::Sent;
use crate::http::caller::Caller;
use crate::http::error::ApiError;
use crate::http::fields::{Fields, Row};
use crate::http::listing::Listing;
use crate::http::reply::Done;
use crate::http::table;
use crate::server::admin::{Admin, BindingView, EndKind};
use crate::session::action::{BindingChange, TopologyRequest};
use crate::wire::table::encode_table;

/// How lists of bindings are sorted.
pub(super) const SORTED_BY: [&str; 5] = ["vhost", "source", "destination", "routing_key", "properties_key"];

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/bindings", get(list))
        .route("/bindings/{vhost}", get(list))
        .route("/bindings/{vhost}/e/{source}/{kind}/{destination}", get(between).post(bind))
        .route("/bindings/{vhost}/e/{source}/{kind}/{destination}/{key}", get(one).delete(unbind))
}

impl Row for BindingView {
    fn fields(&self, out: &mut Fields<'_>) {
        let kind = match self.kind {
            EndKind::Queue => "queue",
            EndKind::Exchange => "exchange",
        };
        out.add("source", || &self.source);
        out.add("vhost", || &self.vhost);
        out.add("destination", || &self.destination);
        out.add("destination_type", || kind);
        out.add("routing_key", || &self.routing_key);
        out.add("arguments", || table::to_json(&self.arguments));
        out.add("properties_key", || properties_key(self));
    }
}

/// What tells a binding from others between the same two: its key, quoted, and a hash of its arguments if it has any.
fn properties_key(view: &BindingView) -> String {
    identity(view, quoted(&view.routing_key))
}

/// The same around a key that is written as it stands.
fn identity(view: &BindingView, mut key: String) -> String {
    let no_arguments = view.arguments.inner().is_empty();
    if key.is_empty() && no_arguments {
        return "~".to_owned();
    }
    if !no_arguments {
        let hash = Sha256::digest(encode_table(&view.arguments));
        key.push('~');
        key.push_str(&URL_SAFE_NO_PAD.encode(&hash[..16]));
    }
    key
}

/// As RabbitMQ quotes it: spaces as `+`, all but letters, digits and `._-` in hexadecimal.
fn quoted(text: &str) -> String {
    let quote = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        byte if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(quote).collect()
}

/// The two ends of bindings, as a path names them.
#[derive(Debug, Clone)]
struct Ends {
    vhost: String,
    source: String,
    kind: EndKind,
    destination: String,
}

impl Ends {
    fn new((vhost, source, kind, destination): (String, String, String, String)) -> Result<Self, ApiError> {
        let kind = match kind.as_str() {
            "q" => EndKind::Queue,
            "e" => EndKind::Exchange,
            _ => return Err(ApiError::not_found()),
        };
        check_name(&source)?;
        check_name(&destination)?;
        let source = exchange_name(&source).to_owned();
        let destination = match kind {
            EndKind::Queue => destination,
            EndKind::Exchange => exchange_name(&destination).to_owned(),
        };
        Ok(Self { vhost, source, kind, destination })
    }

    /// All bindings between the two; 404 if one of them is missing.
    fn bindings(&self, admin: &Admin) -> Result<Vec<BindingView>, ApiError> {
        admin.exchange(&self.vhost, &self.source).ok_or_else(ApiError::not_found)?;
        let all = admin.bindings_to(&self.vhost, self.kind, &self.destination);
        let mut all = all.ok_or_else(ApiError::not_found)?;
        all.retain(|binding| binding.source == self.source);
        Ok(all)
    }

    fn request(
        self,
        change: BindingChange,
        routing_key: String,
        arguments: amq_protocol::types::FieldTable,
    ) -> TopologyRequest {
        let Self { source, destination, kind, .. } = self;
        match kind {
            EndKind::Queue => TopologyRequest::BindQueue {
                change,
                queue: destination,
                exchange: source,
                routing_key,
                arguments,
            },
            EndKind::Exchange => {
                TopologyRequest::BindExchange { change, destination, source, routing_key, arguments }
            }
        }
    }
}

async fn list(
    caller: Caller,
    State(api): State<Api>,
    vhost: Option<Path<String>>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let vhosts = vhosts_to_list(&caller, admin, vhost)?;
        listing.answer(&SORTED_BY, vhosts.iter().flat_map(|vhost| admin.bindings(Some(vhost))).collect())
    })
    .await
}

async fn between(
    caller: Caller,
    State(api): State<Api>,
    Path(ends): Path<(String, String, String, String)>,
    listing: Listing,
) -> Result<Response, ApiError> {
    let ends = Ends::new(ends)?;
    api.work(move |admin| {
        see_vhost(&caller, admin, &ends.vhost)?;
        listing.answer(&SORTED_BY, ends.bindings(admin)?)
    })
    .await
}

async fn bind(
    caller: Caller,
    State(api): State<Api>,
    Path(ends): Path<(String, String, String, String)>,
    sent: Sent,
) -> Result<Response, ApiError> {
    let ends = Ends::new(ends)?;
    let routing_key = sent.text("routing_key")?.unwrap_or_default().to_owned();
    check_name(&routing_key)?;
    let arguments = arguments_in(&sent)?;
    api.work(move |admin| {
        let mut actor = actor(&caller, admin, &ends.vhost)?;
        let view = BindingView {
            vhost: ends.vhost.clone(),
            source: ends.source.clone(),
            destination: ends.destination.clone(),
            kind: ends.kind,
            routing_key: routing_key.clone(),
            arguments: arguments.clone(),
        };
        actor.topology(ends.request(BindingChange::Bind, routing_key, arguments)).map_err(told)?;
        let mut response = StatusCode::CREATED.into_response();
        if let Ok(location) = HeaderValue::try_from(location(&view)) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    })
    .await
}

/// Where a binding is in this API.
fn location(view: &BindingView) -> String {
    let kind = match view.kind {
        EndKind::Queue => "q",
        EndKind::Exchange => "e",
    };
    // In a path `+` is itself.
    let part = |text: &str| quoted(text).replace('+', "%20");
    let key = properties_key(view).replace('%', "%25");
    format!(
        "/api/bindings/{}/e/{}/{kind}/{}/{key}",
        part(&view.vhost),
        part(&view.source),
        part(&view.destination)
    )
}

async fn one(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, source, kind, destination, key)): Path<(String, String, String, String, String)>,
    listing: Listing,
) -> Result<Response, ApiError> {
    let ends = Ends::new((vhost, source, kind, destination))?;
    api.work(move |admin| {
        see_vhost(&caller, admin, &ends.vhost)?;
        let view = find(ends.bindings(admin)?, &key)?;
        Ok(listing.one(view))
    })
    .await
}

async fn unbind(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, source, kind, destination, key)): Path<(String, String, String, String, String)>,
) -> Result<Done, ApiError> {
    let ends = Ends::new((vhost, source, kind, destination))?;
    api.work(move |admin| {
        let mut actor = actor(&caller, admin, &ends.vhost)?;
        let BindingView { routing_key, arguments, .. } = find(ends.bindings(admin)?, &key)?;
        actor.topology(ends.request(BindingChange::Unbind, routing_key, arguments)).map_err(told)?;
        Ok(Done)
    })
    .await
}

/// By its `properties_key`. Some clients put that into a path as it is, so that its quotes are gone here; RabbitMQ finds the binding.
fn find(bindings: Vec<BindingView>, key: &str) -> Result<BindingView, ApiError> {
    let at = bindings.iter().position(|binding| properties_key(binding) == key);
    let at = at.or_else(|| {
        bindings.iter().position(|binding| identity(binding, binding.routing_key.clone()) == key)
    });
    at.and_then(|at| bindings.into_iter().nth(at)).ok_or_else(ApiError::not_found)
}

#[cfg(test)]
mod tests {
    use amq_protocol::types::{AMQPValue, FieldTable};

    use super::*;

    #[test]
    fn a_binding_is_named_by_its_key_and_its_arguments() {
        let named = |routing_key: &str, arguments: FieldTable| {
            properties_key(&BindingView {
                vhost: "/".to_owned(),
                source: "e".to_owned(),
                destination: "q".to_owned(),
                kind: EndKind::Queue,
                routing_key: routing_key.to_owned(),
                arguments,
            })
        };
        let mut arguments = FieldTable::default();
        arguments.insert("x".into(), AMQPValue::LongInt(1));
        assert_eq!(named("", FieldTable::default()), "~");
        assert_eq!(named("a.b-c_d", FieldTable::default()), "a.b-c_d");
        assert_eq!(named("a b~#*/é", FieldTable::default()), "a+b%7E%23%2A%2F%C3%A9");
        let with = named("k", arguments.clone());
        assert!(with.starts_with("k~") && with.len() == 2 + 22, "{with}");
        assert!(named("", arguments).starts_with('~'));
    }
}
