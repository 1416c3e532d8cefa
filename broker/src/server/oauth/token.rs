//! [`Token`]: what a token whose signature is good says.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::TokenRefused;
use crate::access::Scopes;
use crate::config::OAuth;
use crate::limits::ACCESS_NAME_BYTES_MAX;

/// A user, and what it may do until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(in crate::server) name: String,
    pub(in crate::server) scopes: Scopes,
    /// In seconds since 1970.
    pub(in crate::server) expires_s: u64,
}

/// The three parts of a token. Nothing in them is to be believed before the signature was checked.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    text: &'a str,
    header: Map<String, Value>,
    payload: &'a str,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// None if it does not look like a token at all.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Map<String, Value> =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        header.get("alg")?.as_str()?;
        Some(Self { text, header, payload, signature: URL_SAFE_NO_PAD.decode(signature).ok()? })
    }

    /// What the header says of the signature. None also if it asks for an extension that has to be understood (RFC 7515, 4.1.11).
    pub(super) fn algorithm_and_key(&self) -> Option<(&str, Option<String>)> {
        if self.header.contains_key("crit") {
            return None;
        }
        let id = self.header.get("kid").and_then(Value::as_str).map(str::to_owned);
        Some((self.header.get("alg")?.as_str()?, id))
    }

    /// What is signed.
    pub(super) fn signed(&self) -> &[u8] {
        self.text.rsplit_once('.').map_or("", |(signed, _)| signed).as_bytes()
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }
}

impl Token {
    /// Reads the claims of a token whose signature was checked.
    pub(super) fn read(parts: &Parts<'_>, settings: &OAuth, now_s: u64) -> Result<Self, TokenRefused> {
        let payload = URL_SAFE_NO_PAD.decode(parts.payload).map_err(|_| TokenRefused::Malformed)?;
        let claims: Map<String, Value> =
            serde_json::from_slice(&payload).map_err(|_| TokenRefused::Malformed)?;
        let audience = claims.get("aud").map(texts).unwrap_or_default();
        if !audience.iter().any(|one| *one == settings.resource_server_id) {
            return Err(TokenRefused::Audience);
        }
        if !settings.issuer.is_empty() && claims.get("iss").and_then(Value::as_str) != Some(&settings.issuer)
        {
            return Err(TokenRefused::Issuer);
        }
        let expires_s = claims.get("exp").and_then(seconds).ok_or(TokenRefused::NoExpiry)?;
        if expires_s <= now_s {
            return Err(TokenRefused::Expired(expires_s));
        }
        // A claim that is there and no time is none that has passed.
        if claims.get("nbf").is_some_and(|from| seconds(from).is_none_or(|from| from > now_s)) {
            return Err(TokenRefused::NotYet);
        }
        let named = settings.username_claims.iter().find_map(|claim| claims.get(claim)?.as_str());
        let name = named.filter(|name| !name.is_empty() && name.len() <= ACCESS_NAME_BYTES_MAX);
        let name = name.filter(|name| !name.contains(char::is_control)).ok_or(TokenRefused::NoName)?;
        let prefix = match settings.scope_prefix.as_str() {
            "" => Cow::from(format!("{}.", settings.resource_server_id)),
            prefix => Cow::from(prefix),
        };
        let mut scopes: Vec<&str> = claims.get("scope").map(texts).unwrap_or_default();
        scopes.extend(more_scopes(&claims, &settings.additional_scopes));
        Ok(Self { name: name.to_owned(), scopes: Scopes::new(scopes, &prefix), expires_s })
    }
}

/// A time as a number of seconds, a fraction of one left out.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let whole = value.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0)?.trunc();
        format!("{whole:.0}").parse().ok()
    })
}

/// A list of texts, or one text with spaces between them.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => text.split(' ').filter(|part| !part.is_empty()).collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Scopes in another claim, whose path has dots between its names.
fn more_scopes<'a>(claims: &'a Map<String, Value>, path: &str) -> Vec<&'a str> {
    if path.is_empty() {
        return Vec::new();
    }
    let (first, others) = path.split_once('.').unwrap_or((path, ""));
    let start = claims.get(first);
    let names = others.split('.').filter(|name| !name.is_empty());
    names.fold(start, |value, name| value?.get(name)).map(texts).unwrap_or_default()
}
