//! The few answers that most routes give when something has worked.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// What a `PUT` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// 201: there was none.
    Created,
    /// 204: there was one.
    Updated,
}

impl Put {
    /// By whether there was one.
    pub(super) fn over(existed: bool) -> Self {
        if existed { Self::Updated } else { Self::Created }
    }
}

impl IntoResponse for Put {
    fn into_response(self) -> Response {
        match self {
            Self::Created => StatusCode::CREATED,
            Self::Updated => StatusCode::NO_CONTENT,
        }
        .into_response()
    }
}

/// 204: it is done, and there is nothing to say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done;

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}
