//! Layering and every kind of error message.

use std::io::Write as _;

use super::super::{LogFormat, MemoryLimit};
use super::*;

fn sources(file: Option<&Path>, env: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Sources {
    Sources {
        file: file.map(Path::to_owned),
        env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        flags: flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// The lines of the error that `text` as a file leads to, with the file called `f`.
fn file_problems(text: &str) -> String {
    let file = file(text);
    let error = sources(Some(file.path()), &[], &[]).load().unwrap_err().to_string();
    error.replace(&file.path().display().to_string(), "f")
}

#[test]
fn nothing_given_yields_the_defaults() {
    let loaded = Sources::default().load().unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.origins.is_empty());
}

#[test]
fn later_layers_win() {
    let file = file("[listen]\nport = 1\nbind = [\"::1\"]\n[limits]\nmemory = \"10%\"\nheartbeat = \"7s\"\n");
    let env = [("WARREN_PORT", "2"), ("WARREN_LIMITS_HEARTBEAT", "8s"), ("PATH", "/bin")];
    let loaded = sources(Some(file.path()), &env, &[("--port", "3")]).load().unwrap();

    assert_eq!(loaded.config.listen.port, 3);
    assert_eq!(loaded.config.limits.heartbeat_secs(), 8);
    assert_eq!(loaded.config.limits.memory, MemoryLimit::Percent(10));
    assert_eq!(loaded.config.limits.channel_max, 2047);

    let name = file.path().display().to_string();
    let origin = |key| loaded.origins.get(key).map(ToString::to_string);
    assert_eq!(origin("listen.port").as_deref(), Some("flag --port"));
    assert_eq!(origin("limits.heartbeat").as_deref(), Some("environment, WARREN_LIMITS_HEARTBEAT"));
    assert_eq!(origin("listen.bind"), Some(format!("{name}:3")));
    assert_eq!(origin("limits.channel_max"), None);
}

#[test]
fn the_environment_names_the_file_unless_the_flag_does() {
    let one = file("listen.port = 1\n");
    let two = file("listen.port = 2\n");
    let env = [("WARREN_CONFIG", one.path().to_str().unwrap())];
    assert_eq!(sources(None, &env, &[]).load().unwrap().config.listen.port, 1);
    assert_eq!(sources(Some(two.path()), &env, &[]).load().unwrap().config.listen.port, 2);
}

/// Each key with a value that is not the default, as a file has it, and as the environment does.
const VALUES: &[(&str, &str, &str)] = &[
    ("listen.bind", "[\"0.0.0.0\"]", "0.0.0.0"),
    ("listen.port", "0", "0"),
    ("listen.plaintext", "false", "false"),
    ("listen.proxy_from", "[\"10.0.0.1\", \"10.1.0.0/16\"]", "10.0.0.1, 10.1.0.0/16"),
    ("tls.cert", "\"c.pem\"", "c.pem"),
    ("tls.key", "\"k.pem\"", "k.pem"),
    ("tls.port", "0", "0"),
    ("tls.client_ca", "\"ca.pem\"", "ca.pem"),
    ("tls.require_client_cert", "false", "false"),
    ("tls.login_from", "\"common_name\"", "common_name"),
    ("tls.min_version", "\"1.3\"", "1.3"),
    ("http.enabled", "false", "false"),
    ("http.bind", "[\"0.0.0.0\"]", "0.0.0.0"),
    ("http.port", "0", "0"),
    ("http.plaintext", "false", "false"),
    ("http.tls_port", "15671", "15671"),
    ("data.folder", "\"\"", ""),
    ("store.sync", "\"interval=100ms\"", "interval=100"),
    ("log.level", "\"debug\"", "debug"),
    ("log.format", "\"json\"", "json"),
    ("server.product", "\"RabbitMQ\"", "RabbitMQ"),
    ("server.cluster_name", "\"c\"", "c"),
    ("server.event_exchange", "true", "true"),
    ("server.definitions", "\"d.json\"", "d.json"),
    ("auth.user", "\"u\"", "u"),
    ("auth.password", "\"p\"", "p"),
    ("auth.loopback_only", "[\"a\", \"b\"]", "a, b,"),
    ("auth.failure_delay", "\"0s\"", "0s"),
    ("auth.failures_per_minute_max", "5", "5"),
    ("oauth.resource_server_id", "\"broker\"", "broker"),
    ("oauth.keys", "\"keys.json\"", "keys.json"),
    ("oauth.keys_url", "\"https://h/k\"", "https://h/k"),
    ("oauth.keys_ca", "\"ca.pem\"", "ca.pem"),
    ("oauth.keys_refresh", "\"1s\"", "1s"),
    ("oauth.algorithms", "[\"HS256\", \"ES256\"]", "HS256,ES256"),
    ("oauth.issuer", "\"me\"", "me"),
    ("oauth.scope_prefix", "\"b:\"", "b:"),
    ("oauth.additional_scopes", "\"a.b\"", "a.b"),
    ("oauth.username_claims", "[\"name\"]", "name"),
    ("limits.handshake_timeout", "\"1s\"", "1s"),
    ("limits.heartbeat", "\"0s\"", "0"),
    ("limits.frame_max", "4096", "4KiB"),
    ("limits.channel_max", "1", "1"),
    ("limits.connections_max", "1", "1"),
    ("limits.connections_per_address_max", "2", "2"),
    ("limits.connections_per_second_max", "3", "3"),
    ("limits.queues_max", "4", "4"),
    ("limits.message_bytes_max", "\"1MiB\"", "1048576"),
    ("limits.consumers_per_channel_max", "1", "1"),
    ("limits.memory", "\"1GiB\"", "1073741824"),
    ("limits.disk_free", "\"5%\"", "5%"),
    ("limits.shutdown_grace", "\"500ms\"", "500ms"),
];

#[test]
fn each_knob_can_be_set_in_the_file_and_in_the_environment() {
    let keys: Vec<&str> = VALUES.iter().map(|(key, _, _)| *key).collect();
    assert_eq!(keys, knobs().map(|knob| knob.key).collect::<Vec<_>>());

    for ((key, toml, plain), knob) in VALUES.iter().zip(knobs()) {
        let file = file(&format!("{key} = {toml}\n"));
        let from_file = sources(Some(file.path()), &[], &[]).load().unwrap().config;
        let from_env = sources(None, &[(knob.env, plain)], &[]).load().unwrap().config;
        assert_eq!(from_file, from_env, "{key}");
        assert_ne!(from_file, Config::default(), "{key}");
        assert_eq!((knob.show)(&from_file), *toml, "{key}");
    }
}

#[test]
fn json_logs_and_no_folder_reach_the_typed_configuration() {
    let loaded = sources(None, &[], &[("--log-format", "json"), ("--data", "")]).load().unwrap();
    assert_eq!(loaded.config.log.format, LogFormat::Json);
    assert_eq!(loaded.config.data.folder, None);
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn problems_in_a_file_name_line_key_and_what_is_valid() {
    let table = [
        (
            "[listen]\n\nprot = 5672\n",
            "f:3: unknown key 'listen.prot'; did you mean 'port'? valid keys here: bind, port, plaintext, proxy_from",
        ),
        (
            "listen.colour = 1\n",
            "f:1: unknown key 'listen.colour'; valid keys here: bind, port, plaintext, proxy_from",
        ),
        (
            "# c\n[limit]\nmemory = 1\n",
            "f:2: unknown section 'limit'; did you mean 'limits'? valid sections here: listen, tls, http, data, store, log, server, auth, oauth, limits",
        ),
        ("port = 5672\n", "f:1: key 'port' belongs into section [listen]"),
        (
            "listen = 5672\n",
            "f:1: 'listen' is a section, not a value of type integer; write [listen] and below it one of: bind, port, plaintext, proxy_from",
        ),
        (
            "[listen]\nport = 70000\n",
            "f:2: invalid value 70000 for 'listen.port'; expected a TCP port from 0 to 65535, 0 meaning a free one",
        ),
        (
            "[listen]\nport = \"5672\"\n",
            "f:2: invalid value \"5672\" for 'listen.port'; expected a TCP port from 0 to 65535, 0 meaning a free one",
        ),
        (
            "[listen]\nbind = [\"localhost\"]\n",
            "f:2: invalid value [\"localhost\"] for 'listen.bind'; expected one or more IP addresses, such as \
             [\"127.0.0.1\", \"::1\"] in a file or 127.0.0.1,::1 elsewhere",
        ),
        ("[log]\nformat = \"xml\"\n", "f:2: invalid value \"xml\" for 'log.format'; expected text or json"),
        (
            "[limits]\nframe_max = 4095\n",
            "f:2: invalid value 4095 for 'limits.frame_max'; expected a number of bytes from 4096 to 1048576",
        ),
        (
            "[limits]\nheartbeat = 60\n",
            "f:2: invalid value 60 for 'limits.heartbeat'; expected a time in whole seconds, such as 60s, at most \
             65535s; 0 suggests none",
        ),
        (
            "[store]\nsync = \"interval=0\"\n",
            "f:2: invalid value \"interval=0\" for 'store.sync'; expected always, never, or interval= and a time from \
             1ms to 60s, such as interval=100ms; milliseconds need no unit",
        ),
        (
            "[limits]\ndisk_free = \"all\"\n",
            "f:2: invalid value \"all\" for 'limits.disk_free'; expected a size, such as 5GiB, or a percentage of the \
             disk from \"0%\" to \"95%\"; 0 lets the disk fill up",
        ),
        (
            "auth.loopback_only = 1.5\n",
            "f:1: invalid value 1.5 for 'auth.loopback_only'; expected names of users, such as [\"a\", \"b\"] or a,b, or false for none",
        ),
        (
            "auth.password = 1234\n",
            "f:1: invalid value (hidden) for 'auth.password'; expected a text of 1 to 255 bytes",
        ),
    ];
    for (text, problem) in table {
        assert_eq!(file_problems(text), problem, "{text}");
    }
}

#[test]
fn broken_toml_is_reported_with_its_line() {
    for (text, line) in
        [("[listen]\nport 5672\n", 2), ("[listen]\nport = 1\nport = 2\n", 3), ("a = \"x\n", 1)]
    {
        let problem = file_problems(text);
        assert!(problem.starts_with(&format!("f:{line}: not valid TOML: ")), "{problem}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let file = file("[listen]\nport = -1\n[log]\nlevle = \"info\"\n");
    let sources = sources(Some(file.path()), &[("WARREN_LOG", "loud")], &[("--port", "x")]);
    let lines = sources.load().unwrap_err().to_string();
    assert_eq!(lines.lines().count(), 4, "{lines}");
}

#[test]
fn a_missing_file_is_named() {
    let problem = sources(Some(Path::new("/nonexistent/w.toml")), &[], &[]).load().unwrap_err().to_string();
    assert!(
        problem.starts_with("/nonexistent/w.toml: cannot read this configuration file: No such file"),
        "{problem}"
    );
}

#[test]
fn unknown_variables_stop_the_start_and_the_nearest_is_named() {
    let problem = sources(None, &[("WARREN_PROT", "1")], &[]).load().unwrap_err().to_string();
    let start = "environment: unknown variable 'WARREN_PROT'; did you mean 'WARREN_PORT'? valid variables here: WARREN_BIND,";
    assert!(problem.starts_with(start), "{problem}");

    let problem = sources(None, &[("WARREN_PORT", "many")], &[]).load().unwrap_err().to_string();
    let whole = "environment: invalid value 'many' for 'WARREN_PORT'; expected a TCP port from 0 to 65535, 0 meaning a free one";
    assert_eq!(problem, whole);
}

#[test]
fn invalid_flags_are_named() {
    let problem = sources(None, &[], &[("--port", "many")]).load().unwrap_err().to_string();
    let whole = "command line: invalid value 'many' for '--port'; expected a TCP port from 0 to 65535, 0 meaning a free one";
    assert_eq!(problem, whole);
}

#[test]
fn variables_of_tests_and_of_container_engines_are_passed_over() {
    let env = [
        ("WARREN_BIN", "target/debug/warren"),
        ("WARREN_TEST_SEED", "1"),
        ("WARREN_SERVICE_HOST", "10.0.0.1"),
        ("WARREN_SERVICE_PORT_AMQP", "5672"),
        ("WARREN_PORT", "tcp://10.0.0.1:5672"),
        ("WARREN_PORT_5672_TCP_ADDR", "10.0.0.1"),
    ];
    assert_eq!(sources(None, &env, &[]).load().unwrap().config, Config::default());
}
