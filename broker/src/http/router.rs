//! All routes, and what holds for each of them: who may call at all, and what every answer carries.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use tower_service::Service as _;

use super::error::ApiError;
use super::{Api, caller, openapi, routes, same_origin};

/// What every answer carries: it is for who asked, now, and nothing that a page of somebody else's can use.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::VARY, HeaderValue::from_static("accept, accept-encoding, origin")),
];

/// The routes below `/api`. A resource is a file in `routes` and a line here.
pub(super) fn router(api: Api) -> Router {
    let resources = Router::new()
        .merge(routes::backup::routes())
        .merge(routes::bindings::routes())
        .merge(routes::connections::routes())
        .merge(routes::exchanges::routes())
        .merge(routes::definitions::routes())
        .merge(routes::events::routes())
        .merge(routes::health::routes())
        .merge(routes::limits::routes())
        .merge(routes::local::routes())
        .merge(routes::messages::routes())
        .merge(routes::unacked::routes())
        .merge(routes::node::routes())
        .merge(openapi::routes())
        .merge(routes::overview::routes())
        .merge(routes::parameters::routes())
        .merge(routes::permissions::routes())
        .merge(routes::policies::routes())
        .merge(routes::queues::routes())
        .merge(routes::users::routes())
        .merge(routes::vhosts::routes())
        .merge(routes::whoami::routes());
    // Who asks is found out before anything else is, but only where there is something.
    let resources = resources
        .route_layer(middleware::from_fn_with_state(api.clone(), caller::authenticate))
        .route_layer(middleware::from_fn(same_origin::check));
    let resources = resources.merge(routes::node::open_routes());
    Router::new().nest("/api", resources).fallback(async || ApiError::not_found()).with_state(api)
}

/// Answers one request.
pub(super) async fn answer(mut router: Router, mut request: Request) -> Result<Response, Infallible> {
    without_trailing_slash(&mut request);
    let mut response = router.call(request).await?;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = ApiError::method_not_allowed().into_response();
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    if response.status() == StatusCode::BAD_REQUEST && is_plain_text(&response) {
        response =
            ApiError::bad_request("the path or the query cannot be read: is it UTF-8?").into_response();
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// Whether it is what the framework says of a request that it cannot take apart, not what a route says.
fn is_plain_text(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/plain"))
}

/// `/api/users/` is `/api/users`, as with RabbitMQ.
fn without_trailing_slash(request: &mut Request<Body>) {
    let path = request.uri().path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() == path.len() || trimmed.is_empty() {
        return;
    }
    let with_query = match request.uri().query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    if let Ok(uri) = Uri::try_from(with_query) {
        *request.uri_mut() = uri;
    }
}
