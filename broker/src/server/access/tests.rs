//! Logins, by what is known of them and by where they come from.

use std::time::Duration;

use super::*;
use crate::access::password::{ARGON2ID, SHA512};
use crate::access::{Tags, UserLimits};
use crate::store::MemoryStore;

const LOCAL: &str = "127.0.0.1";

fn access(failures_per_minute_max: u32, hashing: Hashing) -> AccessControl {
    let password = PasswordHash::new(b"guest", Hashing::Fast, [7; 16]).unwrap();
    let directory = Directory::with_default_user("guest", password).unwrap();
    let auth = Auth { failures_per_minute_max, ..Auth::default() };
    AccessControl::new(directory, Arc::new(MemoryStore), &auth, hashing)
}

fn login(access: &AccessControl, name: &str, password: &str, peer: &str) -> Result<User, LoginRefused> {
    access.login(name, password.as_bytes(), peer.parse().unwrap(), Instant::now())
}

fn add(access: &AccessControl, name: &str, password: PasswordHash) {
    let user = access::User {
        name: name.to_owned(),
        password,
        tags: Tags::new(["impersonator"]),
        limits: UserLimits::default(),
    };
    access.change(|directory| directory.add_user(user)).unwrap();
}

#[test]
fn users_of_a_list_log_in_from_loopback_only() {
    let access = access(60, Hashing::Fast);
    for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
        assert!(login(&access, "guest", "guest", peer).is_ok(), "{peer}");
    }
    let refused = Err(LoginRefused::NotLoopback { user: "guest".to_owned() });
    // Also who is known from before.
    for peer in ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1"] {
        assert_eq!(login(&access, "guest", "guest", peer), refused, "{peer}");
    }
    add(&access, "alex", access.hash(b"123").unwrap());
    assert!(login(&access, "alex", "123", "10.0.0.1").unwrap().impersonator);
}

#[test]
fn wrong_credentials_are_refused_alike() {
    let access = access(60, Hashing::Fast);
    for known in [false, true] {
        for (name, password) in [
            ("guest", "gues"),
            ("guest", "guestt"),
            ("guest", ""),
            ("Guest", "guest"),
            ("", ""),
            ("nobody", "x"),
        ] {
            let result = login(&access, name, password, LOCAL);
            assert_eq!(result, Err(LoginRefused::BadCredentials), "{name}:{password} {known}");
        }
        login(&access, "guest", "guest", LOCAL).unwrap();
    }
}

#[test]
fn after_too_many_failures_only_known_users_are_let_in_from_there() {
    let access = access(3, Hashing::Fast);
    add(&access, "alex", access.hash(b"123").unwrap());
    add(&access, "bob", access.hash(b"456").unwrap());
    login(&access, "alex", "123", LOCAL).unwrap();
    for _ in 0..3 {
        assert_eq!(login(&access, "bob", "wrong", LOCAL), Err(LoginRefused::BadCredentials));
    }
    assert_eq!(login(&access, "bob", "456", LOCAL), Err(LoginRefused::TooManyFailures));
    assert!(login(&access, "alex", "123", LOCAL).is_ok());
    assert!(login(&access, "bob", "456", "10.0.0.1").is_ok());
    let later = Instant::now() + Duration::from_secs(61);
    assert!(access.login("bob", b"456", LOCAL.parse().unwrap(), later).is_ok());
}

#[test]
fn an_old_hash_is_renewed_at_the_next_login() {
    let access = access(60, Hashing::Slow);
    let algorithm = || access.read(|directory| directory.user("guest").unwrap().password.algorithm());
    assert_eq!(algorithm(), SHA512);
    assert!(login(&access, "guest", "wrong", LOCAL).is_err());
    assert_eq!(algorithm(), SHA512);
    let before = access.generation();
    login(&access, "guest", "guest", LOCAL).unwrap();
    assert_eq!(algorithm(), ARGON2ID);
    assert!(access.generation() > before);
    login(&access, "guest", "guest", LOCAL).unwrap();
}

#[test]
fn a_login_is_known_until_the_password_changes_or_the_user_goes() {
    let access = access(60, Hashing::Fast);
    let at_once = |name: &str, password: &str| {
        access.login_at_once(name, password.as_bytes(), LOCAL.parse().unwrap(), Instant::now())
    };
    assert_eq!(at_once("guest", "guest"), None);
    login(&access, "guest", "guest", LOCAL).unwrap();
    assert!(matches!(at_once("guest", "guest"), Some(Ok(_))));
    assert_eq!((at_once("guest", "wrong"), at_once("guest", "")), (None, None));
    let same_password = access.hash(b"guest").unwrap();
    access.change(|directory| directory.set_password("guest", same_password)).unwrap();
    assert_eq!(at_once("guest", "guest"), None);
    login(&access, "guest", "guest", LOCAL).unwrap();
    access.change(|directory| directory.delete_user("guest")).unwrap();
    assert_eq!(at_once("guest", "guest"), None);
    assert!(login(&access, "guest", "guest", LOCAL).is_err());
}
