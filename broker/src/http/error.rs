//! [`ApiError`]: what is answered when something does not work, in RabbitMQ's form: `{"error": "bad_request", "reason": "..."}`.

use std::fmt;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::access::AccessError;
use crate::server::PolicyError;

/// What browsers and libraries are told to send. They show it to people.
const REALM: HeaderValue = HeaderValue::from_static("Basic realm=\"Warren\"");

/// An answer that says why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    error: &'static str,
    reason: String,
}

impl ApiError {
    fn new(status: StatusCode, error: &'static str, reason: impl Into<String>) -> Self {
        Self { status, error, reason: reason.into() }
    }

    /// 400: the request is wrong.
    pub(super) fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    /// 400: there is no such page.
    pub(super) fn page_out_of_range(page: usize, size: usize, entries: usize) -> Self {
        let reason = format!("Page out of range, page: {page} page size: {size}, len: {entries}");
        Self::new(StatusCode::BAD_REQUEST, "page_out_of_range", reason)
    }

    /// 400: there can be no such page.
    pub(super) fn invalid_page(page: usize, size: &str) -> Self {
        let reason = format!("Invalid pagination parameters: page number {page}, page size {size}");
        Self::new(StatusCode::BAD_REQUEST, "invalid_pagination_parameters", reason)
    }

    /// 404.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
    }

    /// 404: something that the request needs is missing.
    pub(super) fn missing(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", reason)
    }

    /// 401: nobody, or with a wrong password.
    pub(super) fn login_failed() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorized", "Login failed")
    }

    /// 401: somebody who may not. RabbitMQ answers 401, not 403, and spells it so.
    pub(super) fn not_authorised(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorised", reason)
    }

    /// 403: not even for an administrator.
    pub(super) fn forbidden(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", reason)
    }

    /// 405.
    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method Not Allowed")
    }

    /// 408: the body did not come in time.
    pub(super) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body did not arrive in time")
    }

    /// 409 or 412: there is something in the way.
    pub(super) fn precondition_failed(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", reason)
    }

    /// 503: not now.
    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", reason)
    }

    /// 413.
    pub(super) fn too_large(bytes_max: usize) -> Self {
        let reason = format!("the body is longer than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", reason)
    }

    /// 500: a fault of ours.
    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "see the broker's log")
    }

    /// The same, with what it is about; a bad request, because that was named in one.
    pub(super) fn about(self, what: &str) -> Self {
        let Self { status, error, reason } = self;
        let reason = if reason == "Not Found" { "it does not exist" } else { &reason };
        if status.is_server_error() {
            return Self { status, error, reason: reason.to_owned() };
        }
        Self::bad_request(format!("{what}: {reason}"))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": self.error, "reason": self.reason}));
        let mut response = (self.status, body).into_response();
        if self.error == "not_authorized" {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, REALM);
        }
        response
    }
}

impl From<AccessError> for ApiError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::NoSuchUser(_) | AccessError::NoSuchVHost(_) => Self::not_found(),
            AccessError::Protected(_) => Self::precondition_failed(error.to_string()),
            other => Self::bad_request(other.to_string()),
        }
    }
}

impl From<PolicyError> for ApiError {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::NoVhost(_) | PolicyError::NoPolicy { .. } => Self::not_found(),
            other => Self::bad_request(other.to_string()),
        }
    }
}
