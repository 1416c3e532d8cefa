//! Patterns, hashes, records and the directory, against what RabbitMQ is known to do.

use super::password::{ARGON2ID, Hashing, PasswordHash, SHA256, SHA512};
use super::required::{Operation, Resource};
use super::*;

const SALT: [u8; 16] = *b"0123456789abcdef";

fn fast(password: &str) -> PasswordHash {
    PasswordHash::new(password.as_bytes(), Hashing::Fast, SALT).unwrap()
}

fn user(name: &str) -> User {
    User {
        name: name.to_owned(),
        password: fast("p"),
        tags: Tags::new(["management"]),
        limits: UserLimits::default(),
    }
}

/// `guest` in `/`, `alex` with nothing, and a second virtual host.
fn directory() -> Directory {
    let mut directory = Directory::with_default_user("guest", fast("guest")).unwrap();
    directory.add_user(user("alex")).unwrap();
    directory.add_vhost("two", VHostSettings::default()).unwrap();
    directory
}

#[test]
fn patterns_match_anywhere_unless_anchored_and_an_empty_one_only_the_empty_name() {
    let table = [
        (".*", "", true),
        (".*", "anything", true),
        ("", "", true),
        ("", "a", false),
        ("^$", "a", false),
        ("order", "my-orders", true),
        ("^order", "my-orders", false),
        ("^order", "orders", true),
        ("^orders$", "orders.eu", false),
        ("^(a|b)-", "b-x", true),
        ("^amq\\.gen", "amq.gen-1", true),
        ("^(?!amq\\.)", "amq.topic", false),
        ("^(?!amq\\.)", "mine", true),
        ("Order", "order", false),
        ("(?i)Order", "order", true),
        ("ä", "bär", true),
    ];
    for (pattern, name, matches) in table {
        assert_eq!(Pattern::new(pattern).unwrap().matches(name), matches, "{pattern:?} and {name:?}");
    }
}

#[test]
fn what_is_no_pattern_or_too_large_a_one_is_refused() {
    for bad in ["(", "[a", "*", "((a{100}){100}){100}", &"a".repeat(4097)] {
        assert!(matches!(Pattern::new(bad), Err(AccessError::BadPattern { .. })), "{bad}");
    }
    assert!(Pattern::new(&"a".repeat(4096)).is_ok());
    assert!(Permissions::new(".*", "(", ".*").is_err());
}

#[test]
fn a_pattern_that_turns_back_too_often_permits_nothing() {
    let slow = Pattern::new("^(a|a)*(?!c)b$").unwrap();
    assert!(!slow.matches(&"a".repeat(60)));
}

#[test]
fn topic_permissions_know_who_asks_and_quote_the_name() {
    let context = |username, client_id| TopicContext { username, vhost: "prod.eu", client_id };
    let permissions = TopicPermissions::new("^{username}\\.", "^{vhost}-{client_id}-{other}?$").unwrap();
    let allows =
        |permission, context, key: &str| permissions.pattern(permission, context).unwrap().matches(key);
    assert!(allows(Permission::Write, context("alex", None), "alex.orders"));
    assert!(!allows(Permission::Write, context("alex", None), "bob.orders"));
    assert!(!allows(Permission::Write, context(".*", None), "bob.orders"));
    assert!(allows(Permission::Write, context(".*", None), ".*.orders"));
    assert!(allows(Permission::Write, context("{vhost}", None), "{vhost}.orders"));
    assert!(allows(Permission::Read, context("alex", Some("c1")), "prod.eu-c1-{other}"));
    assert!(!allows(Permission::Read, context("alex", Some("c1")), "prodxeu-c1-{other}"));
    assert!(allows(Permission::Read, context("alex", None), "prod.eu-{client_id}-{other}"));
    let error = TopicPermissions::new("({username}", "").unwrap_err();
    assert!(error.to_string().starts_with("'({username}' is no valid regular expression"), "{error}");
}

#[test]
fn hashes_of_rabbitmq_are_known_and_outdated() {
    let table = [
        // From RabbitMQ's documentation of passwords: salt 908DC60A.
        (SHA256, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "test12"),
        (SHA256, "PyqcAa/0aZVHbqDacFaT2LgMSBoCid/EkCrkbbJcuSI8huQZ", "guest"),
        (
            SHA512,
            "AQIDBANSvkE51MvG7pNDq4NjmP8SFay7rWsolg//30q7jnApCiuE049JxchapptDh7ryvu/VdvUXYHbwdpa9veVAv14=",
            "guest",
        ),
    ];
    for (algorithm, text, password) in table {
        let hash = PasswordHash::parse(algorithm, text).unwrap();
        assert!(hash.verify(password.as_bytes()), "{text}");
        for wrong in ["", "guest ", "Guest", "test1"] {
            assert!(!hash.verify(wrong.as_bytes()), "{text} and {wrong:?}");
        }
        assert!(hash.is_outdated(Hashing::Slow));
        assert_eq!((hash.algorithm(), hash.text().as_str()), (algorithm, text));
    }
}

#[test]
fn new_passwords_are_hashed_with_argon2id() {
    let hash = PasswordHash::new(b"secret", Hashing::Slow, SALT).unwrap();
    assert!(
        hash.text().starts_with("$argon2id$v=19$m=7168,t=5,p=1$MDEyMzQ1Njc4OWFiY2RlZg$"),
        "{}",
        hash.text()
    );
    assert!(hash.verify(b"secret") && !hash.verify(b"Secret") && !hash.verify(b""));
    assert!(!hash.is_outdated(Hashing::Slow));
    assert_eq!(PasswordHash::parse(ARGON2ID, &hash.text()).unwrap(), hash);
    // From the reference implementation's tests (test.c, Argon2id, version 0x13).
    let reference = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let hash = PasswordHash::parse(ARGON2ID, reference).unwrap();
    assert!(hash.verify(b"password") && hash.is_outdated(Hashing::Slow));
    assert!(!format!("{hash:?}").contains("c29t"));
}

#[test]
fn nobody_logs_in_with_an_empty_password() {
    for bad in [&b""[..], &[b'a'; 8193]] {
        assert!(matches!(PasswordHash::new(bad, Hashing::Fast, SALT), Err(AccessError::BadPassword(_))));
    }
    for algorithm in [SHA256, SHA512, ARGON2ID] {
        let none = PasswordHash::parse(algorithm, "").unwrap();
        assert_eq!(none, PasswordHash::none());
        assert!(!none.verify(b"") && !none.verify(b"a") && !none.is_outdated(Hashing::Slow));
    }
    // The digest of a salt and nothing.
    let digest = <sha2::Sha256 as sha2::Digest>::digest([1, 2, 3, 4]);
    let text = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        [&[1, 2, 3, 4], &digest[..]].concat(),
    );
    assert!(!PasswordHash::parse(SHA256, &text).unwrap().verify(b""));
}

#[test]
fn what_is_no_hash_is_refused() {
    let table = [
        (SHA256, "no base64!", "it is not base64"),
        (SHA256, "AQID", "length of a salt"),
        (SHA512, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "length of a salt"),
        (ARGON2ID, "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "not of the form"),
        (ARGON2ID, "$argon2id$v=19$t=2,m=256,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "not of the form m="),
        (
            ARGON2ID,
            "$argon2id$v=19$m=999999999,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "more than 256 MiB",
        ),
        (ARGON2ID, "$argon2id$v=19$m=1,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "too low"),
        (ARGON2ID, "$argon2id$v=19$m=256,t=2,p=1$c29t$AAAAAAAAAAAAAAAAAAAAAA", "salt has not"),
        ("rabbit_password_hashing_md5", "AQID", "unknown hashing algorithm"),
    ];
    for (algorithm, text, reason) in table {
        let error = PasswordHash::parse(algorithm, text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn tags_include_others() {
    let tags = Tags::new(["monitoring", "", "own", "monitoring", " own "]);
    assert_eq!(tags.iter().collect::<Vec<_>>(), ["monitoring", "own"]);
    assert!(tags.permit(Tag::Monitoring) && tags.permit(Tag::Management));
    assert!(!tags.permit(Tag::Policymaker) && !tags.permit(Tag::Administrator) && !tags.has(Tag::Management));
    let tags = Tags::new(["administrator"]);
    assert!(tags.permit(Tag::Policymaker) && !tags.permit(Tag::Impersonator));
}

/// RabbitMQ's channel module, method by method.
#[test]
fn every_operation_needs_what_it_needs_in_rabbitmq() {
    use Operation as O;
    use Permission::{Configure, Read, Write};
    use Resource::{Exchange, Queue};
    let table: [(Operation<'_>, &[_]); 17] = [
        (O::DeclareQueue("q"), &[(Configure, Queue("q"))]),
        (
            O::DeclareDeadLettering { queue: "q", exchange: "d" },
            &[(Read, Queue("q")), (Write, Exchange("d"))],
        ),
        (O::DeclareDeadLettering { queue: "q", exchange: "" }, &[(Read, Queue("q")), (Write, Exchange(""))]),
        (O::DeleteQueue("q"), &[(Configure, Queue("q"))]),
        (O::PurgeQueue("q"), &[(Read, Queue("q"))]),
        (O::BindQueue { queue: "q", exchange: "e" }, &[(Write, Queue("q")), (Read, Exchange("e"))]),
        (O::BindQueue { queue: "q", exchange: "" }, &[(Write, Queue("q"))]),
        (O::Consume("q"), &[(Read, Queue("q"))]),
        (O::Get("q"), &[(Read, Queue("q"))]),
        (O::Publish("e"), &[(Write, Exchange("e"))]),
        (O::Publish(""), &[(Write, Exchange(""))]),
        (O::DeclareExchange("e"), &[(Configure, Exchange("e"))]),
        (O::DeclareExchange(""), &[]),
        (
            O::DeclareAlternate { exchange: "e", alternate: "a" },
            &[(Read, Exchange("e")), (Write, Exchange("a"))],
        ),
        (O::DeleteExchange("e"), &[(Configure, Exchange("e"))]),
        (O::DeleteExchange(""), &[]),
        (O::BindExchange { destination: "d", source: "s" }, &[(Write, Exchange("d")), (Read, Exchange("s"))]),
    ];
    for (operation, required) in table {
        assert_eq!(operation.required().collect::<Vec<_>>(), required, "{operation:?}");
    }
    assert_eq!(Exchange("").name(), "amq.default");
    assert_eq!((Queue("").name(), Queue("q").kind(), Exchange("e").kind()), ("", "queue", "exchange"));
}

fn parameter(vhost: &str) -> Parameter {
    let value = serde_json::json!({"uri": ["amqp://", 1, -1.5, null]});
    Parameter { vhost: vhost.into(), component: "shovel".into(), name: "s".into(), value }
}

#[test]
fn records_come_back_as_they_were() {
    let records = [
        Record::VHost("/".into(), VHostSettings::default()),
        Record::VHost(
            "zwei \"ä\"".into(),
            VHostSettings {
                description: "for tests".into(),
                tags: Tags::new(["a", "b"]),
                default_queue_type: Some("quorum".into()),
                limits: VHostLimits { connections_max: Some(0), queues_max: Some(7) },
                protected_from_deletion: true,
            },
        ),
        Record::User(user("alex")),
        Record::User(User {
            password: PasswordHash::none(),
            limits: UserLimits { connections_max: Some(1), channels_max: Some(2) },
            ..user("none")
        }),
        Record::Permissions {
            vhost: "/".into(),
            user: "alex".into(),
            permissions: Permissions::new("", "^a", ".*").unwrap(),
        },
        Record::TopicPermissions {
            vhost: "/".into(),
            user: "alex".into(),
            exchange: "amq.topic".into(),
            permissions: TopicPermissions::new("^{username}", "").unwrap(),
        },
        Record::Parameter(parameter("/")),
        Record::GlobalParameter("cluster_name".into(), "c".into()),
    ];
    for record in &records {
        let (key, value) = (record.key(), record.value());
        assert!(is_key(&key));
        assert_eq!(Record::decode(&key, &value).as_ref(), Ok(record));
        assert!(Record::decode(b"\x02", &value).unwrap_err().starts_with("its value is that of "));
        assert!(Record::decode(&key, &value[1..]).is_err());
    }
    // What is on disk must not change by accident.
    let text = |record: &Record| String::from_utf8(record.value()).unwrap();
    assert_eq!(
        text(&records[0]),
        r#"{"version":1,"kind":"vhost","name":"/","description":"","tags":[],"protected_from_deletion":false}"#
    );
    assert_eq!(
        text(&records[4]),
        r#"{"version":1,"kind":"permissions","vhost":"/","user":"alex","configure":"","write":"^a","read":".*"}"#
    );
    assert_eq!(records[4].key(), b"\x06\0\0\0\x01/\0\0\0\x04alex");
}

#[test]
fn rights_are_those_of_one_user_in_one_vhost() {
    let mut directory = directory();
    assert!(directory.rights("nobody", "/").is_none());
    assert!(directory.rights("alex", "/").unwrap().grant.is_none());
    assert!(directory.rights("guest", "two").unwrap().grant.is_none());
    let rights = directory.rights("guest", "/").unwrap();
    let permissions = rights.grant.as_ref().unwrap().permissions.as_ref().unwrap();
    assert!(permissions.allow(Permission::Configure, "x") && rights.user.tags.has(Tag::Administrator));

    let before = directory.generation();
    directory.set_permissions("alex", "/", Permissions::new("^c", "^w", "^r").unwrap()).unwrap();
    assert!(directory.generation() > before);
    let rights = directory.rights("alex", "/").unwrap();
    let permissions = rights.grant.as_ref().unwrap().permissions.as_ref().unwrap();
    for (permission, name) in
        [(Permission::Configure, "c"), (Permission::Write, "w"), (Permission::Read, "r")]
    {
        assert!(permissions.allow(permission, name) && !permissions.allow(permission, "x"));
    }
    assert!(directory.rights("alex", "two").unwrap().grant.is_none());
    directory.clear_permissions("alex", "/").unwrap();
    assert!(directory.rights("alex", "/").unwrap().grant.is_none());
}

#[test]
fn changes_are_refused_with_their_reason() {
    let mut directory = directory();
    let all = Permissions::all;
    let protected = VHostSettings { protected_from_deletion: true, ..VHostSettings::default() };
    directory.add_vhost("kept", protected).unwrap();
    let table = [
        (directory.add_user(user("alex")), "user 'alex' already exists"),
        (directory.add_user(user("")), "a user needs a name of 1 to 255 bytes without control characters"),
        (
            directory.add_user(user("a\nb")),
            "a user needs a name of 1 to 255 bytes without control characters",
        ),
        (directory.set_user_tags("bob", Tags::default()), "user 'bob' does not exist"),
        (directory.delete_user("bob"), "user 'bob' does not exist"),
        (directory.set_permissions("bob", "/", all()), "user 'bob' does not exist"),
        (directory.set_permissions("alex", "three", all()), "virtual host 'three' does not exist"),
        (directory.add_vhost("/", VHostSettings::default()), "virtual host '/' already exists"),
        (
            directory.add_vhost(&"v".repeat(256), VHostSettings::default()),
            "a virtual host needs a name of 1 to 255 bytes without control characters",
        ),
        (
            directory.delete_vhost("kept").map(drop),
            "virtual host 'kept' is protected from deletion; remove the protection first",
        ),
        (directory.delete_vhost("three").map(drop), "virtual host 'three' does not exist"),
        (
            directory.set_vhost(
                "/",
                VHostSettings { default_queue_type: Some("stream".into()), ..VHostSettings::default() },
            ),
            "unknown queue type 'stream'; known are classic and quorum",
        ),
    ];
    for (result, text) in table {
        assert_eq!(result.unwrap_err().to_string(), text);
    }
}

/// Applies changes as a store would.
fn apply(kept: &mut std::collections::BTreeMap<Vec<u8>, Vec<u8>>, changes: Vec<Change>) {
    for Change { key, value } in changes {
        match value {
            Some(value) => drop(kept.insert(key, value)),
            None => drop(kept.remove(&key)),
        }
    }
}

#[test]
fn what_is_written_restores_the_same_directory() {
    let mut directory = directory();
    let mut kept = std::collections::BTreeMap::new();
    let topic = |write| TopicPermissions::new(write, ".*").unwrap();
    directory.set_permissions("alex", "/", Permissions::all()).unwrap();
    directory.set_permissions("alex", "two", Permissions::all()).unwrap();
    directory.set_topic_permissions("alex", "/", "amq.topic", topic("^a")).unwrap();
    directory.set_topic_permissions("alex", "/", "other", topic("^b")).unwrap();
    directory.set_topic_permissions("guest", "two", "amq.topic", topic("^c")).unwrap();
    directory.set_user_limits("alex", UserLimits { connections_max: Some(3), channels_max: None }).unwrap();
    directory.set_parameter(parameter("two")).unwrap();
    directory.set_parameter(parameter("/")).unwrap();
    directory.set_global_parameter("g", 1.into()).unwrap();
    directory.set_global_parameter("h", 2.into()).unwrap();
    assert!(directory.clear_global_parameter("g") && !directory.clear_global_parameter("g"));
    apply(&mut kept, directory.take_changes());
    let same = |kept: &std::collections::BTreeMap<Vec<u8>, Vec<u8>>, directory: &Directory| {
        let records = kept.iter().map(|(key, value)| Record::decode(key, value).unwrap());
        let (restored, orphans) = Directory::restore(records);
        assert!(orphans.is_empty(), "{orphans:?}");
        assert!(restored.users().eq(directory.users()));
        assert!(restored.vhosts().eq(directory.vhosts()));
        assert!(restored.grants().eq(directory.grants()));
        assert!(restored.parameters().eq(directory.parameters()));
        assert!(restored.global_parameters().eq(directory.global_parameters()));
    };
    same(&kept, &directory);
    assert_eq!(kept.len(), 13);

    directory.clear_topic_permissions("alex", "/", Some("other")).unwrap();
    apply(&mut kept, directory.take_changes());
    assert_eq!(kept.len(), 12);
    directory.clear_topic_permissions("alex", "/", None).unwrap();
    let last = directory.delete_vhost("two").unwrap();
    apply(&mut kept, directory.take_changes());
    // The virtual host itself is removed last.
    assert_eq!(kept.len(), 8);
    apply(&mut kept, vec![last]);
    same(&kept, &directory);
    directory.delete_user("alex").unwrap();
    apply(&mut kept, directory.take_changes());
    same(&kept, &directory);
    assert_eq!(kept.len(), 5);
}

#[test]
fn what_belongs_to_nobody_is_left_out_of_what_is_restored() {
    let permissions =
        Record::Permissions { vhost: "gone".into(), user: "alex".into(), permissions: Permissions::all() };
    let (directory, orphans) = Directory::restore([permissions.clone(), Record::User(user("alex"))]);
    assert_eq!((directory.grants().count(), directory.users().count()), (0, 1));
    assert_eq!(orphans, [permissions]);
}
