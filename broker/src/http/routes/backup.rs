//! `/api/local/backup`: a backup on the broker's own machine, for the owner of the data folder. `warren ctl backup` asks for one,
//! looks how it gets on, and gives it up when it is interrupted; if it does not come back to look, that counts as giving up, too.

use std::path::PathBuf;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::acting::number;
use crate::http::Api;
use crate::http::body::Sent;
use crate::http::caller::Owner;
use crate::http::definitions;
use crate::http::error::ApiError;
use crate::http::reply::Done;
use crate::server::admin::{BackupOrder, BackupState, BackupView};

/// Who asked looks several times a second. A machine that is very busy may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new().route("/local/backup", get(show).post(start).delete(cancel))
}

/// Answers when it has begun.
async fn start(_: Owner, State(api): State<Api>, sent: Sent) -> Result<Done, ApiError> {
    let folder = PathBuf::from(sent.need_text("folder")?);
    let rate = number(&sent, "rate")?;
    api.work(move |admin| {
        let definitions = format!("{:#}\n", definitions::export(admin)).into_bytes();
        let order = BackupOrder { folder, definitions, rate, patience: Some(PATIENCE) };
        admin.start_backup(order).map(|()| Done).map_err(|error| ApiError::bad_request(error.to_string()))
    })
    .await
}

async fn show(_: Owner, State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let view = api.admin.backup().ok_or_else(ApiError::not_found)?;
    let BackupView { folder, done_bytes, total_bytes, state } = view;
    let (state, messages, reason) = match state {
        BackupState::Running => ("running", None, None),
        BackupState::Complete { messages } => ("complete", Some(messages), None),
        BackupState::Cancelled => ("cancelled", None, None),
        BackupState::Failed { reason } => ("failed", None, Some(reason)),
    };
    Ok(Json(json!({
        "folder": folder.to_string_lossy(),
        "state": state,
        "done_bytes": done_bytes,
        "total_bytes": total_bytes,
        "messages": messages,
        "reason": reason,
    })))
}

async fn cancel(_: Owner, State(api): State<Api>) -> Done {
    api.admin.cancel_backup();
    Done
}
