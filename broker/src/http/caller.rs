//! [`Caller`]: who makes a request, and the tags that a route asks for.
//!
//! Over TCP a caller proves who it is in every request, with a name and a password (Basic) or a token (Bearer, or in place of the
//! password), under the same rules as over AMQP. Over the socket in the data folder it is a local administrator. Texts and status
//! codes are RabbitMQ's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Api;
use super::error::ApiError;
use crate::access::{Tag, Tags};
use crate::limits::{ACCESS_NAME_BYTES_MAX, PASSWORD_BYTES_MAX};
use crate::server::admin::{Admin, Login, LoginRefused};

/// What a caller over the local socket is called where a name is asked for.
const LOCAL_NAME: &str = "local";

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// Over the network.
    Tcp(IpAddr),
    /// Over the socket in the data folder.
    Local,
}

/// Who makes a request: somebody with a tag that lets them use the API at all.
#[derive(Debug, Clone)]
pub(super) struct Caller(Arc<Identity>);

#[derive(Debug)]
struct Identity {
    /// `None` for a local administrator, who is no user.
    login: Option<Login>,
    tags: Tags,
}

impl Caller {
    fn local() -> Self {
        Self(Arc::new(Identity { login: None, tags: Tags::new([Tag::Administrator.name()]) }))
    }

    /// The user, or what to call a local administrator.
    pub(super) fn name(&self) -> &str {
        self.user().unwrap_or(LOCAL_NAME)
    }

    /// The user; none for a local administrator.
    pub(super) fn user(&self) -> Option<&str> {
        self.login().map(Login::name)
    }

    /// What it has logged in as; nothing for a local administrator.
    pub(super) fn login(&self) -> Option<&Login> {
        self.0.login.as_ref()
    }

    /// The tags.
    pub(super) fn tags(&self) -> &Tags {
        &self.0.tags
    }

    /// Whether a route for this tag is open.
    pub(super) fn has(&self, tag: Tag) -> bool {
        self.0.tags.permit(tag)
    }

    /// Whether it would be let in now: what lasts asks this from time to time.
    pub(super) fn still_has(&self, admin: &Admin, tag: Tag) -> bool {
        self.login().is_none_or(|login| login.still_has(admin, tag))
    }

    /// How long what it has shown is good; nothing if that is for ever.
    pub(super) fn ends_in(&self, admin: &Admin) -> Option<Duration> {
        self.login().and_then(|login| login.ends_in(admin))
    }

    /// Whether it is this user, or may do everything.
    pub(super) fn is_or_administers(&self, user: &str) -> bool {
        self.has(Tag::Administrator) || self.user() == Some(user)
    }

    /// Whether what is in a virtual host can be looked at: by who has permissions there, and by monitors.
    pub(super) fn sees(&self, admin: &Admin, vhost: &str) -> bool {
        self.has(Tag::Monitoring) || self.may_enter(admin, vhost)
    }

    /// Whether it has permissions in a virtual host. Administrators need them, too; local ones do not.
    pub(super) fn may_enter(&self, admin: &Admin, vhost: &str) -> bool {
        self.login().is_none_or(|login| login.may_enter(admin, vhost))
    }

    /// Lets only those pass who have permissions in a virtual host.
    pub(super) fn enter(&self, admin: &Admin, vhost: &str) -> Result<(), ApiError> {
        match self.may_enter(admin, vhost) {
            true => Ok(()),
            false => Err(ApiError::not_authorised("User not authorised to access virtual host")),
        }
    }

    /// Lets only those pass who may look at a virtual host.
    pub(super) fn see(&self, admin: &Admin, vhost: &str) -> Result<(), ApiError> {
        match self.sees(admin, vhost) {
            true => Ok(()),
            false => Err(ApiError::not_authorised("User not authorised to access virtual host")),
        }
    }

    /// Lets only administrators pass.
    pub(super) fn administers(&self) -> Result<(), ApiError> {
        self.need(Tag::Administrator, "Not administrator user")
    }

    /// Lets those pass who may look at policies and parameters.
    pub(super) fn looks_as_policymaker(&self) -> Result<(), ApiError> {
        self.need(Tag::Policymaker, "User not authorised to access object")
    }

    fn need(&self, tag: Tag, reason: &str) -> Result<(), ApiError> {
        if self.has(tag) { Ok(()) } else { Err(ApiError::not_authorised(reason)) }
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::login_failed)
    }
}

/// A caller who is an administrator: a route that takes one is for administrators only.
#[derive(Debug, Clone)]
pub(super) struct Administrator(pub(super) Caller);

impl FromRequestParts<Api> for Administrator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, api).await?;
        caller.administers().map(|()| Self(caller))
    }
}

/// A caller on this machine who owns the data folder: over the network there are no such routes.
#[derive(Debug, Clone)]
pub(super) struct Owner;

impl FromRequestParts<Api> for Owner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, api).await?;
        if caller.login().is_none() { Ok(Self) } else { Err(ApiError::not_found()) }
    }
}

/// A caller who may look at the broker as a whole.
#[derive(Debug, Clone)]
pub(super) struct Monitor;

impl FromRequestParts<Api> for Monitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, api).await?;
        caller.need(Tag::Monitoring, "Not monitor user").map(|()| Self)
    }
}

/// Finds out who makes a request, before anything else of it is looked at.
pub(super) async fn authenticate(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    // A request's body cannot be shared, so what is looked at is taken out first.
    let peer = request.extensions().get::<Peer>().copied();
    let sent = request.headers().get(header::AUTHORIZATION).cloned();
    match identify(&api, peer, sent).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(response) => response,
    }
}

async fn identify(api: &Api, peer: Option<Peer>, sent: Option<HeaderValue>) -> Result<Caller, Response> {
    let peer = match peer {
        Some(Peer::Tcp(peer)) => peer,
        Some(Peer::Local) => return Ok(Caller::local()),
        None => return Err(ApiError::internal().into_response()),
    };
    let Some(sent) = sent else {
        // Not a refused login: browsers and libraries ask like this first.
        let mut response = ApiError::login_failed().into_response();
        *response.body_mut() = axum::body::Body::empty();
        return Err(response);
    };
    let caller = match sent.to_str().ok().and_then(Proof::read) {
        Some(Proof::Password(name, password)) => login(api, name, password, peer).await,
        Some(Proof::Token(token)) => login_with_token(api, &token, peer).await,
        None => Err(ApiError::login_failed()),
    };
    let caller = caller.map_err(ApiError::into_response)?;
    caller.need(Tag::Management, "Not management user").map_err(ApiError::into_response)?;
    Ok(caller)
}

/// Checks a token as if it came from `peer`.
async fn login_with_token(api: &Api, token: &str, peer: IpAddr) -> Result<Caller, ApiError> {
    let checked = api.admin.authenticate_with_token(token.as_bytes(), peer);
    admit(api, "(token)", peer, checked.unwrap_or(Err(LoginRefused::BadCredentials))).await
}

/// Checks a name and a password as if they came from `peer`; a token in the place of a password brings a name of its own.
pub(super) async fn login(
    api: &Api,
    name: String,
    password: Vec<u8>,
    peer: IpAddr,
) -> Result<Caller, ApiError> {
    if let Some(checked) = api.admin.authenticate_with_token(&password, peer) {
        return admit(api, &name, peer, checked).await;
    }
    let checked = match api.admin.authenticate_at_once(&name, &password, peer) {
        Some(checked) => checked,
        None => {
            let _slot = api.admin.hashing_slots().acquire_owned().await.map_err(|_| ApiError::internal())?;
            let (admin, name) = (api.admin.clone(), name.clone());
            tokio::task::spawn_blocking(move || admin.authenticate(&name, &password, peer))
                .await
                .map_err(|_| ApiError::internal())?
        }
    };
    admit(api, &name, peer, checked.map(Login::from)).await
}

async fn admit(
    api: &Api,
    name: &str,
    peer: IpAddr,
    checked: Result<Login, LoginRefused>,
) -> Result<Caller, ApiError> {
    match checked {
        Ok(login) => {
            let tags = login.tags().clone();
            Ok(Caller(Arc::new(Identity { login: Some(login), tags })))
        }
        Err(reason) => {
            tracing::warn!(%peer, user = ?name, %reason, "login refused (HTTP)");
            tokio::time::sleep(api.admin.login_failure_delay()).await;
            Err(ApiError::login_failed())
        }
    }
}

/// What a caller proves itself with.
enum Proof {
    /// A name and a password.
    Password(String, Vec<u8>),
    /// A token.
    Token(String),
}

impl Proof {
    /// From `Basic bmFtZTpwYXNzd29yZA==` or `Bearer e30.e30.x`.
    fn read(header: &str) -> Option<Self> {
        let (scheme, credentials) = header.split_once(' ')?;
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => basic(credentials).map(|(name, password)| Self::Password(name, password)),
            "bearer" => Some(Self::Token(credentials.trim().to_owned())),
            _ => None,
        }
    }
}

/// Name and password in base64.
fn basic(credentials: &str) -> Option<(String, Vec<u8>)> {
    let bytes = STANDARD.decode(credentials.trim()).ok()?;
    let colon = bytes.iter().position(|&byte| byte == b':')?;
    let (name, password) = (&bytes[..colon], &bytes[colon + 1..]);
    if name.len() > ACCESS_NAME_BYTES_MAX || password.len() > PASSWORD_BYTES_MAX {
        return None;
    }
    Some((String::from_utf8(name.to_vec()).ok()?, password.to_vec()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_whatever_is_in_the_password() {
        let proof = |header: &str| match Proof::read(header)? {
            Proof::Password(name, password) => Some((name, password)),
            Proof::Token(token) => Some((String::new(), token.into_bytes())),
        };
        let read = |text: &str| proof(&format!("Basic {}", STANDARD.encode(text)));
        assert_eq!(read("a:b").unwrap(), ("a".to_owned(), b"b".to_vec()));
        assert_eq!(read("a:b:c").unwrap().1, b"b:c");
        assert_eq!(read("a:").unwrap().1, b"");
        assert_eq!(read("a"), None);
        assert_eq!(proof("bearer  a.b.c ").unwrap().1, b"a.b.c");
        assert_eq!(proof("Digest YTpi"), None);
        assert_eq!(proof("basic YTpi").unwrap().0, "a");
        assert_eq!(proof("Basic !"), None);
        assert_eq!(proof("Basic"), None);
        assert_eq!(read(&format!("{}:x", "n".repeat(256))), None);
    }
}
