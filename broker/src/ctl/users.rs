//! Commands about users, their passwords, tags and limits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::command::AddUser;
use super::failure::{DATA, Failure, SOFTWARE, UNAVAILABLE, no_user};
use super::output::print;
use super::permissions::missing_user;
use super::{Session, api, secret};

/// RabbitMQ's salts, in bytes.
const SALT_BYTES: usize = 4;

/// `add_user`.
pub(super) fn add(session: &Session, args: &AddUser) -> Result<(), Failure> {
    let name = &args.username;
    session.out.banner(&format!("Adding user \"{name}\" ..."));
    let password = secret::password(args.password.clone())?;
    if session.api.exists(&["users", name])? {
        return Err(Failure::new(SOFTWARE, format!("User \"{name}\" already exists")));
    }
    let body = if args.pre_hashed_password {
        json!({"password_hash": password, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""})
    } else {
        json!({"password": password, "tags": ""})
    };
    session.api.put(&["users", name], &body)?;
    session.out.note(
        "Done. Don't forget to grant the user permissions to some virtual hosts! See 'warren ctl help set_permissions' to learn more.",
    );
    Ok(())
}

/// `change_password`.
pub(super) fn change_password(
    session: &Session,
    name: &str,
    password: Option<String>,
) -> Result<(), Failure> {
    session.out.banner(&format!("Changing password for user \"{name}\" ..."));
    // rabbitmqctl's code here is not that of add_user for the same.
    let password = secret::password(password).map_err(|failure| Failure { code: SOFTWARE, ..failure })?;
    let user = user(session, name)?;
    let tags = user.get("tags").cloned().unwrap_or_else(|| json!([]));
    session.api.put(&["users", name], &json!({"password": password, "tags": tags}))
}

/// `delete_user`.
pub(super) fn delete(session: &Session, name: &str) -> Result<(), Failure> {
    session.out.banner(&format!("Deleting user \"{name}\" ..."));
    let missing = no_user(name);
    session.api.delete(&["users", name]).map_err(|failure| failure.if_not_found(missing.code, missing.text))
}

/// `set_user_tags`.
pub(super) fn set_tags(session: &Session, name: &str, tags: &[String]) -> Result<(), Failure> {
    session.out.banner(&format!("Setting tags for user \"{name}\" to [{}] ...", tags.join(", ")));
    let user = user(session, name)?;
    let mut body = json!({"tags": tags});
    // Without these the user could not log in any more.
    for key in ["password_hash", "hashing_algorithm"] {
        if let Some(value) = user.get(key) {
            body[key] = value.clone();
        }
    }
    session.api.put(&["users", name], &body)
}

/// `list_users`.
pub(super) fn list(session: &Session) -> Result<(), Failure> {
    session.out.banner("Listing users ...");
    let users = session.api.get(&["users"])?;
    let row = |user: &Value| vec![user["name"].clone(), tags(&user["tags"])];
    let rows: Vec<_> = users.as_array().into_iter().flatten().map(row).collect();
    session.out.rows(&["user", "tags"], &rows);
    Ok(())
}

/// Tags as a list; older brokers send them as one text.
fn tags(value: &Value) -> Value {
    match value.as_str() {
        Some(text) => text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect(),
        None => value.clone(),
    }
}

/// `authenticate_user`.
pub(super) fn authenticate(session: &Session, name: &str, password: Option<String>) -> Result<(), Failure> {
    session.out.banner(&format!("Authenticating user \"{name}\" ..."));
    let password = secret::password(password)?;
    let checked = if session.api.target().is_local() {
        session.api.post(&["local", "authenticate"], &json!({"name": name, "password": password})).map(drop)
    } else {
        session.api.get_as(name, &password, &["whoami"]).map(drop)
    };
    match checked {
        Ok(()) => {}
        // The password was right, and the user has no tag that lets it use the API.
        Err(failure) if failure.text.contains("Not management user") => {}
        Err(failure) if failure.status == Some(401) => {
            let text =
                format!("Error: failed to authenticate user \"{name}\"\nuser '{name}' - invalid credentials");
            return Err(Failure::new(DATA, text));
        }
        Err(failure) => return Err(failure),
    }
    session.out.note("Success");
    Ok(())
}

/// `hash_password`. Asks no broker.
pub(super) fn hash_password(session: &Session, password: Option<String>) -> Result<(), Failure> {
    let password = secret::password(password)?;
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt)
        .map_err(|error| Failure::new(SOFTWARE, format!("the system gives no random numbers: {error}")))?;
    let digest = Sha256::new().chain_update(salt).chain_update(password.as_bytes()).finalize();
    let mut hash = salt.to_vec();
    hash.extend_from_slice(&digest);
    session.out.value(&Value::String(STANDARD.encode(hash)));
    Ok(())
}

/// `set_user_limits`.
pub(super) fn set_limits(session: &Session, name: &str, limits: &str) -> Result<(), Failure> {
    session.out.banner(&format!("Setting user limits to \"{limits}\" for user \"{name}\" ..."));
    let limits = api::object("definition", limits)?;
    must_exist(session, name)?;
    for (limit, value) in limits.as_object().into_iter().flatten() {
        session.api.put(&["user-limits", name, limit], &json!({"value": value}))?;
    }
    Ok(())
}

/// `clear_user_limits`.
pub(super) fn clear_limits(session: &Session, name: &str, limit: &str) -> Result<(), Failure> {
    session.out.banner(&format!("Clearing \"{limit}\" limit for user \"{name}\" ..."));
    must_exist(session, name)?;
    let limits: &[&str] = if limit == "all" { &["max-connections", "max-channels"] } else { &[limit] };
    for limit in limits {
        match session.api.delete(&["user-limits", name, limit]) {
            Err(failure) if !failure.is_not_found() => return Err(failure),
            _ => {}
        }
    }
    Ok(())
}

/// `list_user_limits`.
pub(super) fn list_limits(session: &Session, name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name else {
        session.out.banner("Listing limits for all users ...");
        let found = session.api.get(&["user-limits"])?;
        let row = |entry: &Value| vec![entry["user"].clone(), Value::String(entry["value"].to_string())];
        let rows: Vec<_> = found.as_array().into_iter().flatten().map(row).collect();
        session.out.rows(&["user", "limits"], &rows);
        return Ok(());
    };
    session.out.banner(&format!("Listing limits for user \"{name}\" ..."));
    must_exist(session, name)?;
    let found = session.api.get(&["user-limits", name])?;
    let limits = found.get(0).map_or_else(|| Value::Object(Map::new()), |entry| entry["value"].clone());
    print(&format!("{limits}\n"));
    Ok(())
}

/// Fails if the user is not there, with rabbitmqctl's code where limits are concerned.
fn must_exist(session: &Session, name: &str) -> Result<(), Failure> {
    let found = session.api.get(&["users", name]);
    found.map(drop).map_err(|failure| missing_user(failure, name))
}

/// A user, who has to exist.
pub(super) fn user(session: &Session, name: &str) -> Result<Value, Failure> {
    let missing = no_user(name);
    session.api.get(&["users", name]).map_err(|failure| failure.if_not_found(missing.code, missing.text))
}

/// Says what is missing if a change of a user's rights in a virtual host failed: the user, the virtual host, or something else.
pub(super) fn explain(session: &Session, failure: Failure, name: &str) -> Failure {
    if !matches!(failure.status, Some(400 | 404)) {
        return failure;
    }
    if let Ok(false) = session.api.exists(&["users", name]) {
        return no_user(name);
    }
    match session.api.exists(&["vhosts", &session.vhost]) {
        Ok(false) => Failure::new(UNAVAILABLE, format!("Virtual host {} does not exist", session.vhost)),
        _ => failure,
    }
}
