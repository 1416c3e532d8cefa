//! Tokens, good and bad.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::*;
use crate::access::Permission;
use crate::config::TokenAlgorithm;

const SECRET: &[u8] = b"a secret that nobody will ever guess";
const NOW_S: u64 = 1_700_000_000;

/// A public key of RSA, and what openssl has signed with the private one: `{"sub":"alex","aud":"broker","exp":1700000010}`.
const RSA_N: &str = "yv-kh9DBniMRrkKgVMMlsq9yvFf0vByzXEInTBaieUOpsxL_xgvM-zNFA0Lw0ZxJUlswre9Q3Q2DTsrK5qEX0CRjWsm1lLZALH2msgElEodYWJeBJGh8kDi4evXr-fy6kjwi8vGqQG0JCKJ_tgYEnKF8n-LdcNZOfdCSiw3YGZpz4S3SrIh062A0zJ1OMeSAqPn3ZjSUbF5JF716ZWl_nNlaKaSOjamhlL1c6001iHTn6ixUNboP8-YMKS7nAVaUMGynpMmi2amxtJloso9X69gN5iPeP9e_4TDQucN31Sq4CPE-9nR2ubX_JSQuqUdRKZwWDWxBplQmAlcI9lyL1w";
const RSA_SIGNED: &str =
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGV4IiwiYXVkIjoiYnJva2VyIiwiZXhwIjoxNzAwMDAwMDEwfQ";
const RSA_SIGNATURE: &str = "kT6vpTj0KlxVdUnPSz8A9q-8zGz3wXi0DRwUKKWejKFNAda1tJAuNHUiiGp8XdkRYjhycVA9_2IPx1hBUL5P70k-8sn0x7iM67kA0Pkr_ifKq7peq4ACGuioEaMH2XpdlzjsQsoBccRp0Brb0MMjeZSffj0RwunlIuQNwy1D_SXcol7q-gwGl1IcdqwogmhE_Z7AWj89yJbChB1UoVy-wHOXE0dQ2ObTJPi2Y8Upkh8h-hK3R8D7zYLy7ZJTxr5plVJpjXU1-1zU7AhelwjG1CBsTmQJ-BlIZImiIsQ9fIplCe-GeF27XSemPkQ8RRPZvd1EYe3EaQ4xSc14nm8hAw";

fn file(keys: &Value) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    file
}

fn read(keys: &Value, adjust: impl FnOnce(&mut config::OAuth)) -> Result<OAuth, KeysError> {
    let file = file(keys);
    let mut settings = config::OAuth {
        resource_server_id: "broker".to_owned(),
        keys: Some(file.path().to_owned()),
        algorithms: vec![TokenAlgorithm::Rs256, TokenAlgorithm::Es256, TokenAlgorithm::Hs256],
        ..config::OAuth::default()
    };
    adjust(&mut settings);
    Loaded::read(&settings).map(OAuth::new)
}

fn secret() -> Value {
    json!([{ "kty": "oct", "kid": "one", "k": URL_SAFE_NO_PAD.encode(SECRET) }])
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn token(header: &Value, claims: &Value) -> String {
    let signed = unsigned(header, claims);
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn claims() -> Value {
    json!({ "sub": "alex", "aud": "broker", "exp": NOW_S + 10, "scope": "broker.read:*/* broker.tag:monitoring" })
}

fn judge(oauth: &OAuth, token: &str) -> Option<Result<Token, TokenRefused>> {
    oauth.judge(token.as_bytes(), NOW_S * 1000)
}

/// What becomes of good claims of which one is another, or none.
fn with(oauth: &OAuth, claim: &str, value: Option<Value>) -> Result<Token, TokenRefused> {
    let mut claims = claims();
    let all = claims.as_object_mut().unwrap();
    match value {
        Some(value) => drop(all.insert(claim.to_owned(), value)),
        None => drop(all.remove(claim)),
    }
    judge(oauth, &token(&json!({ "alg": "HS256" }), &claims)).unwrap()
}

#[test]
fn a_good_token_says_who_it_is_and_what_it_may_do() {
    let oauth = read(&secret(), |_| ()).unwrap();
    let token = judge(&oauth, &token(&json!({ "alg": "HS256", "kid": "one" }), &claims())).unwrap().unwrap();
    assert_eq!((token.name.as_str(), token.expires_s), ("alex", NOW_S + 10));
    assert!(
        token.scopes.allow(Permission::Read, "/", "q") && !token.scopes.allow(Permission::Write, "/", "q")
    );
}

#[test]
fn passwords_are_no_tokens() {
    let oauth = read(&secret(), |_| ()).unwrap();
    for password in ["guest", "a.b.c", "", "..", "e30.e30.e30"] {
        assert!(judge(&oauth, password).is_none(), "{password}");
    }
    assert!(judge(&OAuth::new(None), &token(&json!({ "alg": "HS256" }), &claims())).is_none());
}

#[test]
fn claims_are_held_to() {
    let oauth = read(&secret(), |_| ()).unwrap();
    let times = [json!("soon"), json!(null), json!(-1), json!("1700000100")];
    for time in times {
        assert_eq!(with(&oauth, "exp", Some(time.clone())), Err(TokenRefused::NoExpiry), "{time}");
        assert_eq!(with(&oauth, "nbf", Some(time.clone())), Err(TokenRefused::NotYet), "{time}");
    }
    assert_eq!(with(&oauth, "exp", None), Err(TokenRefused::NoExpiry));
    assert_eq!(with(&oauth, "exp", Some(json!(NOW_S))), Err(TokenRefused::Expired(NOW_S)));
    assert!(with(&oauth, "exp", Some(json!(1_700_000_001.5))).is_ok());
    assert_eq!(with(&oauth, "nbf", Some(json!(NOW_S + 1))), Err(TokenRefused::NotYet));
    assert!(with(&oauth, "nbf", Some(json!(NOW_S))).is_ok());
    for audience in
        [None, Some(json!("other")), Some(json!(["other"])), Some(json!(7)), Some(json!("broker2"))]
    {
        assert_eq!(with(&oauth, "aud", audience.clone()), Err(TokenRefused::Audience), "{audience:?}");
    }
    assert!(with(&oauth, "aud", Some(json!(["other", "broker"]))).is_ok());
    for name in [None, Some(json!("")), Some(json!(7)), Some(json!("a\nb")), Some(json!("x".repeat(256)))] {
        assert_eq!(with(&oauth, "sub", name.clone()), Err(TokenRefused::NoName), "{name:?}");
    }
    assert_eq!(with(&oauth, "client_id", Some(json!("other"))).unwrap().name, "alex");
}

#[test]
fn settings_choose_issuer_prefix_claims_and_where_scopes_are() {
    let oauth = read(&secret(), |settings| {
        settings.issuer = "me".to_owned();
        settings.scope_prefix = "b:".to_owned();
        settings.additional_scopes = "realm.roles".to_owned();
        settings.username_claims = vec!["name".to_owned(), "sub".to_owned()];
    })
    .unwrap();
    let mut claims = claims();
    let header = json!({ "alg": "HS256" });
    assert_eq!(judge(&oauth, &token(&header, &claims)).unwrap(), Err(TokenRefused::Issuer));
    claims["iss"] = json!("me");
    claims["name"] = json!("sam");
    claims["realm"] = json!({ "roles": ["b:write:v/*"] });
    let token = judge(&oauth, &token(&header, &claims)).unwrap().unwrap();
    assert_eq!(token.name, "sam");
    assert!(
        token.scopes.allow(Permission::Write, "v", "q") && !token.scopes.allow(Permission::Read, "/", "q")
    );
}

#[test]
fn who_is_not_signed_for_is_nobody() {
    let oauth = read(&secret(), |_| ()).unwrap();
    let good = token(&json!({ "alg": "HS256" }), &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other = unsigned(&json!({ "alg": "HS256" }), &json!({ "sub": "root" }));
    let none = |algorithm: &str| unsigned(&json!({ "alg": algorithm }), &claims());
    for bad in [
        format!("{other}.{signature}"),
        format!("{signed}."),
        format!("{}.", none("none")),
        format!("{}.", none("NONE")),
        format!("{}.{signature}", none("none")),
        token(&json!({ "alg": "RS256" }), &claims()),
        token(&json!({ "alg": "hs256" }), &claims()),
        token(&json!({ "alg": "HS512" }), &claims()),
        token(&json!({ "alg": "HS256", "kid": "two" }), &claims()),
        token(&json!({ "alg": "HS256", "crit": ["exp"] }), &claims()),
    ] {
        assert_eq!(judge(&oauth, &bad), Some(Err(TokenRefused::NotSigned)), "{bad}");
    }
    let long = token(&json!({ "alg": "HS256" }), &json!({ "sub": "x".repeat(TOKEN_BYTES_MAX) }));
    assert_eq!(judge(&oauth, &long), Some(Err(TokenRefused::Malformed)));
}

#[test]
fn a_public_key_is_no_secret() {
    // The oldest trick: HS256 with the public key, which everybody has, as the secret.
    let keys = json!([{ "kty": "RSA", "n": RSA_N, "e": "AQAB" }]);
    let oauth = read(&keys, |_| ()).unwrap();
    let signed = unsigned(&json!({ "alg": "HS256" }), &claims());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode(RSA_N).unwrap());
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())));
    assert_eq!(judge(&oauth, &forged), Some(Err(TokenRefused::NotSigned)));
}

#[test]
fn rs256_is_checked() {
    let keys = json!([{ "kty": "RSA", "n": RSA_N, "e": "AQAB", "use": "sig", "alg": "RS256" }]);
    let oauth = read(&keys, |_| ()).unwrap();
    let good = format!("{RSA_SIGNED}.{RSA_SIGNATURE}");
    assert_eq!(judge(&oauth, &good).unwrap().unwrap().name, "alex");
    let other = if RSA_SIGNATURE.starts_with('A') { 'B' } else { 'A' };
    let bad = format!("{RSA_SIGNED}.{other}{}", &RSA_SIGNATURE[1..]);
    assert_eq!(judge(&oauth, &bad), Some(Err(TokenRefused::NotSigned)));
    let without = read(&keys, |settings| settings.algorithms = vec![TokenAlgorithm::Es256]);
    assert!(without.is_err());
}

#[test]
fn es256_is_checked() {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.as_ref(), &random).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    let oauth = read(&json!([{ "kty": "EC", "crv": "P-256", "x": x, "y": y }]), |_| ()).unwrap();
    let signed = unsigned(&json!({ "alg": "ES256" }), &claims());
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(&random, signed.as_bytes()).unwrap());
    assert!(judge(&oauth, &format!("{signed}.{signature}")).unwrap().is_ok());
    let other = unsigned(&json!({ "alg": "ES256" }), &json!({ "sub": "root" }));
    assert_eq!(judge(&oauth, &format!("{other}.{signature}")), Some(Err(TokenRefused::NotSigned)));
}

#[test]
fn keys_that_are_of_no_use_are_named_without_their_secrets() {
    let short = json!([{ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(b"short") }]);
    let asymmetric = vec![TokenAlgorithm::Rs256];
    for (keys, algorithms, text) in [
        (&short, vec![TokenAlgorithm::Hs256], "at least 32 bytes"),
        (&secret(), asymmetric.clone(), "no key in it"),
        (&json!([]), asymmetric.clone(), "no key in it"),
        (
            &json!([{ "kty": "RSA", "n": RSA_N, "e": "AQAB", "use": "enc" }]),
            asymmetric.clone(),
            "no key in it",
        ),
        (&json!(["secret"]), asymmetric, "no JWK set, see line 1"),
    ] {
        let error = read(keys, |settings| settings.algorithms = algorithms).unwrap_err().to_string();
        assert!(
            error.contains(text) && error.contains("oauth.keys") && !error.contains("secret\""),
            "{error}"
        );
    }
    let none =
        Loaded::read(&config::OAuth { resource_server_id: "b".to_owned(), ..config::OAuth::default() });
    assert!(none.unwrap_err().to_string().contains("set oauth.keys"));
    assert!(Loaded::read(&config::OAuth::default()).unwrap().is_none());
}
