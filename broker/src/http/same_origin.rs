//! Keeps web pages of others from changing anything with the password that a browser remembers (CSRF).
//!
//! Browsers say where a request comes from; programs that are not browsers say nothing and are let through.

use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::error::ApiError;

/// Refuses requests that could change something and that a page of another site makes.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let is_harmless = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if is_harmless || !is_foreign(request.headers()) {
        return next.run(request).await;
    }
    ApiError::forbidden("a web page of another origin may not do this").into_response()
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(header::ORIGIN.as_str()) else { return false };
    let host = text(header::HOST.as_str());
    origin.split_once("://").map(|(_, origin)| origin) != host
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn browsers_on_other_sites_are_told_apart_from_programs() {
        let foreign = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            is_foreign(&headers.collect())
        };
        assert!(!foreign(&[("host", "a:15672")]));
        assert!(!foreign(&[("host", "a:15672"), ("origin", "http://a:15672")]));
        assert!(!foreign(&[("host", "a:15672"), ("sec-fetch-site", "same-origin")]));
        assert!(!foreign(&[("host", "a:15672"), ("sec-fetch-site", "none")]));
        assert!(foreign(&[("host", "a:15672"), ("origin", "http://b")]));
        assert!(foreign(&[("host", "a:15672"), ("origin", "null")]));
        assert!(foreign(&[("host", "a"), ("origin", "http://a"), ("sec-fetch-site", "same-site")]));
    }
}
