//! [`Sent`]: the body of a request, read in bounded time and space, as the JSON object that RabbitMQ wants.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;

use super::Api;
use super::error::ApiError;
use crate::limits::HTTP_BODY_BYTES_MAX;

/// What one permit of `Api::bodies` stands for.
pub(super) const PERMIT_BYTES: usize = 1024;

/// How long a body may take: the longest at less than a megabyte a second.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A body as it came. Holds its room until it is dropped.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl FromRequest<Api> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        tokio::time::timeout(BODY_TIMEOUT, read(request, api)).await.map_err(|_| ApiError::too_slow())?
    }
}

async fn read(request: Request, api: &Api) -> Result<Raw, ApiError> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .map(|value| value.to_str().ok().and_then(|text| text.parse::<usize>().ok()).unwrap_or(usize::MAX));
    let bytes_max = match (announced, request.headers().contains_key(header::TRANSFER_ENCODING)) {
        (None, false) => 0,
        (Some(bytes), false) if bytes > HTTP_BODY_BYTES_MAX => {
            return Err(ApiError::too_large(HTTP_BODY_BYTES_MAX));
        }
        (Some(bytes), false) => bytes,
        (_, true) => HTTP_BODY_BYTES_MAX,
    };
    let permits = u32::try_from(bytes_max.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
    let room = api.bodies.clone().acquire_many_owned(permits).await.map_err(|_| ApiError::internal())?;
    let bytes = Limited::new(request.into_body(), bytes_max).collect().await.map_err(|error| {
        if error.downcast_ref::<LengthLimitError>().is_some() {
            ApiError::too_large(HTTP_BODY_BYTES_MAX)
        } else {
            ApiError::bad_request("the body ended early")
        }
    })?;
    Ok(Raw { bytes: bytes.to_bytes(), _room: room })
}

/// A JSON object that was sent; an empty one for an empty body, as RabbitMQ takes it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    fields: Map<String, Value>,
    _room: Option<OwnedSemaphorePermit>,
}

impl FromRequest<Api> for Sent {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let Raw { bytes, _room } = Raw::from_request(request, api).await?;
        Ok(Self { fields: parse(&bytes)?, _room: Some(_room) })
    }
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::String(_)) => Err(ApiError::bad_request(
            "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?",
        )),
        Ok(_) | Err(_) => Err(ApiError::bad_request("not_json")),
    }
}

impl Sent {
    /// What the field says; `None` if it is not there or `null`.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// Refuses fields that nobody knows: a misspelt condition must not mean none.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.fields.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                Err(ApiError::bad_request(format!("unknown field {name}: there are {}", known.join(", "))))
            }
        }
    }

    /// The same of a field that has to be there.
    pub(super) fn need(&self, name: &str) -> Result<&Value, ApiError> {
        // RabbitMQ's text.
        self.get(name).ok_or_else(|| ApiError::bad_request(format!("[{{key_missing,{name}}}]")))
    }

    /// The same, where `null` is something, too.
    pub(super) fn need_any(&self, name: &str) -> Result<&Value, ApiError> {
        self.fields.get(name).map_or_else(|| self.need(name), Ok)
    }

    /// A text, if the field is there.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let wrong = || ApiError::bad_request(format!("{name} has to be a string"));
        self.get(name).map(|value| value.as_str().ok_or_else(wrong)).transpose()
    }

    /// A text that has to be there.
    pub(super) fn need_text(&self, name: &str) -> Result<&str, ApiError> {
        self.need(name)?;
        Ok(self.text(name)?.unwrap_or_default())
    }

    /// True or false, also as texts, as RabbitMQ takes them; `None` if the field is not there.
    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(_) => Err(ApiError::bad_request(format!("{name} has to be true or false"))),
        }
    }
}

impl From<Map<String, Value>> for Sent {
    fn from(fields: Map<String, Value>) -> Self {
        Self { fields, _room: None }
    }
}
