//! `/api/users`: who may log in. For administrators.

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::access::password::{PasswordHash, SHA256};
use crate::access::{Tags, User};
use crate::http::Api;
use crate::http::body::Sent;
use crate::http::caller::Administrator;
use crate::http::error::ApiError;
use crate::http::listing::Listing;
use crate::http::reply::{Done, Put};
use crate::server::admin::NewPassword;

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/users", get(list))
        .route("/users/without-permissions", get(without_permissions))
        .route("/users/bulk-delete", post(bulk_delete))
        .route("/users/{name}", get(one).put(put).delete(delete))
}

/// A user in JSON, with the hash of its password: for administrators.
pub(in crate::http) fn json_of(user: &User) -> Value {
    let mut limits = serde_json::Map::new();
    for (name, limit) in
        [("max-connections", user.limits.connections_max), ("max-channels", user.limits.channels_max)]
    {
        if let Some(limit) = limit {
            limits.insert(name.to_owned(), limit.into());
        }
    }
    json!({
        "name": user.name,
        "password_hash": user.password.text(),
        "hashing_algorithm": user.password.algorithm(),
        "tags": user.tags.iter().collect::<Vec<_>>(),
        "limits": limits,
    })
}

async fn list(_: Administrator, State(api): State<Api>, listing: Listing) -> Result<Response, ApiError> {
    api.work(move |admin| listing.answer(&["name"], admin.users().iter().map(|user| json_of(user)).collect()))
        .await
}

async fn without_permissions(
    _: Administrator,
    State(api): State<Api>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let users = admin.users_without_permissions();
        listing.answer(&["name"], users.iter().map(|user| json_of(user)).collect())
    })
    .await
}

async fn one(
    _: Administrator,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let user = api.admin.user(&name).ok_or_else(ApiError::not_found)?;
    Ok(Json(json_of(&user)))
}

async fn put(
    _: Administrator,
    State(api): State<Api>,
    Path(name): Path<String>,
    sent: Sent,
) -> Result<Put, ApiError> {
    let tags = tags_in(sent.get("tags").ok_or_else(|| ApiError::bad_request("tags_not_present"))?)?;
    let password = password_in(&sent)?;
    api.work(move |admin| {
        let existed = admin.user(&name).is_some();
        admin.put_user(&name, password, tags)?;
        Ok(Put::over(existed))
    })
    .await
}

async fn delete(
    _: Administrator,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Done, ApiError> {
    api.work(move |admin| Ok(admin.delete_user(&name).map(|()| Done)?)).await
}

/// Deletes all of them, or none if one is not there.
async fn bulk_delete(_: Administrator, State(api): State<Api>, sent: Sent) -> Result<Done, ApiError> {
    let wrong = || ApiError::bad_request("users has to be an array of strings");
    let names = sent.need("users")?.as_array().ok_or_else(wrong)?;
    let names: Vec<String> =
        names.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<_>>().ok_or_else(wrong)?;
    api.work(move |admin| {
        if let Some(missing) = names.iter().find(|name| admin.user(name).is_none()) {
            return Err(ApiError::bad_request(format!("user '{missing}' does not exist")));
        }
        for name in names {
            // Somebody else may have been faster, or it was named twice.
            let _ = admin.delete_user(&name);
        }
        Ok(Done)
    })
    .await
}

/// Tags as an array of texts, or as one text with commas between them.
pub(in crate::http) fn tags_in(value: &Value) -> Result<Tags, ApiError> {
    let wrong = || ApiError::bad_request("tags has to be a string or an array of strings");
    match value {
        Value::String(text) => Ok(Tags::new(text.split(','))),
        Value::Array(values) => {
            let tags: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
            tags.map(Tags::new).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

/// `password`, or `password_hash` with or without `hashing_algorithm`. With neither, or an empty one, the user has no password.
fn password_in(sent: &Sent) -> Result<NewPassword, ApiError> {
    if let Some(hash) = sent.text("password_hash")? {
        let algorithm = sent.text("hashing_algorithm")?.unwrap_or(SHA256);
        return Ok(NewPassword::Hash(PasswordHash::parse(algorithm, hash)?));
    }
    Ok(match sent.text("password")? {
        None | Some("") => NewPassword::None,
        Some(password) => NewPassword::Plain(password.as_bytes().to_vec()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_from_arrays_and_texts() {
        let read = |value| tags_in(&value).map(|tags| tags.iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(read(json!("administrator, foo")).unwrap(), ["administrator", "foo"]);
        assert_eq!(read(json!(["a", "b"])).unwrap(), ["a", "b"]);
        assert_eq!(read(json!("")).unwrap(), Vec::<String>::new());
        assert!(read(json!(7)).is_err() && read(json!([7])).is_err());
    }

    #[test]
    fn hashes_are_rabbitmqs_unless_they_say_what_they_are() {
        let hash = "ZpmIOOfDK2Tbl7FQr3OLEyergbUv0MROv0p5KFQ4C8OdsqNg";
        let read = |value: Value| {
            let Value::Object(fields) = value else { panic!("an object") };
            password_in(&fields.into())
        };
        let Ok(NewPassword::Hash(parsed)) = read(json!({"password_hash": hash})) else { panic!("a hash") };
        assert!(parsed.verify(b"guest"));
        assert!(read(json!({"password_hash": "xx"})).is_err());
        assert!(read(json!({"password_hash": hash, "hashing_algorithm": "foo"})).is_err());
        assert!(matches!(read(json!({"password": ""})), Ok(NewPassword::None)));
        assert!(matches!(read(json!({"password": "x"})), Ok(NewPassword::Plain(_))));
        assert!(read(json!({"password": 7})).is_err());
    }
}
