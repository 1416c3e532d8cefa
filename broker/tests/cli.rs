//! The command line of the real binary: what it prints, what it refuses, and with which exit code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use warren::engine::QueueId;
use warren::engine::definitions::{Definition, QueueNotes};
use warren::engine::queue::{QueueDeclare, QueueOptions, Seq};
use warren::store::folder::DataFolder;
use warren::store::{Kept, LogStore, Store as _, SyncMode};
use warren::wire::message::Message;

/// Runs `warren` in `folder` with `args` and no other `WARREN_*` variables than `env`.
fn warren_in(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WARREN_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).args(args).envs(env.iter().copied()).output().expect("the binary can be run")
}

fn warren(args: &[&str], env: &[(&str, &str)]) -> Output {
    warren_in(&std::env::temp_dir(), args, env)
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("output is UTF-8")
}

/// The error output of a run that must end with exit code 2 and print nothing else.
fn usage_error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).expect("output is UTF-8")
}

#[test]
fn version_names_the_program_and_its_version() {
    assert_eq!(stdout(&warren(&["--version"], &[])), format!("warren {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_names_every_flag_and_command() {
    let help = stdout(&warren(&["--help"], &[]));
    for word in
        ["--bind", "--port", "--data", "--config", "--log", "--log-format", "config", "health", "data"]
    {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
}

#[test]
fn config_shows_values_and_origins_of_all_layers() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w.toml"), "[listen]\nport = 1\n[limits]\nchannel_max = 7\n").unwrap();
    let env = [("WARREN_PORT", "2"), ("WARREN_LOG", "debug"), ("WARREN_CONFIG", "w.toml")];

    let text = stdout(&warren_in(folder.path(), &["config", "--bind", "::1", "--bind", "127.0.0.1"], &env));

    let spaces_squeezed: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "bind = [\"::1\", \"127.0.0.1\"] # flag --bind",
        "port = 2 # environment, WARREN_PORT",
        "level = \"debug\" # environment, WARREN_LOG",
        "channel_max = 7 # w.toml:4",
        "frame_max = 131072 # default",
    ] {
        assert!(spaces_squeezed.iter().any(|printed| printed == line), "{line} is missing in {text}");
    }
}

#[test]
fn the_printed_reference_is_a_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    let reference = stdout(&warren(&["config", "--reference"], &[]));
    fs::write(folder.path().join("w.toml"), reference).unwrap();

    let with_file = stdout(&warren_in(folder.path(), &["config", "--config", "w.toml"], &[]));

    assert_eq!(with_file, stdout(&warren(&["config"], &[])));
}

#[test]
fn an_unknown_key_stops_the_start_with_file_line_and_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w.toml"), "# mine\n[listen]\nprot = 5672\n").unwrap();
    for args in [&["--config", "w.toml"][..], &["config", "--config", "w.toml"]] {
        let error = usage_error(&warren_in(folder.path(), args, &[]));
        assert_eq!(
            error,
            "w.toml:3: unknown key 'listen.prot'; did you mean 'port'? valid keys here: bind, port, plaintext, proxy_from\n"
        );
    }
}

#[test]
fn bad_values_stop_the_start_wherever_they_are_written() {
    let port = "expected a TCP port from 0 to 65535, 0 meaning a free one\n";
    let flag = usage_error(&warren(&["--port", "70000"], &[]));
    assert_eq!(flag, format!("command line: invalid value '70000' for '--port'; {port}"));
    let negative = usage_error(&warren(&["--port", "-1"], &[]));
    assert_eq!(negative, format!("command line: invalid value '-1' for '--port'; {port}"));
    let variable = usage_error(&warren(&[], &[("WARREN_PORT", "amqp")]));
    assert_eq!(variable, format!("environment: invalid value 'amqp' for 'WARREN_PORT'; {port}"));
}

#[test]
fn an_unknown_variable_stops_the_start_and_the_nearest_is_named() {
    let error = usage_error(&warren(&[], &[("WARREN_BNID", "::1")]));
    assert!(
        error.starts_with("environment: unknown variable 'WARREN_BNID'; did you mean 'WARREN_BIND'?"),
        "{error}"
    );
}

#[test]
fn an_unknown_flag_stops_the_start_and_the_nearest_is_named() {
    let error = usage_error(&warren(&["--prot", "1"], &[]));
    assert!(error.contains("--prot") && error.contains("'--port'"), "{error}");
}

#[test]
fn health_fails_where_nothing_listens() {
    // Bound and closed again, so the port is free and nobody answers on it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = warren(&["health", "--port", &port.to_string()], &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("127.0.0.1:{port}: cannot connect")));
}

/// All files below a folder and their bytes, but for the one that says who has locked it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("lists") {
        let path = entry.expect("lists").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("lock") {
            found.insert(path.clone(), fs::read(path).expect("reads"));
        }
    }
    found
}

/// A data folder in which the queue `orders` holds three messages.
fn data_folder(path: &Path) {
    let folder = DataFolder::open(path).expect("a folder");
    let (store, _) = LogStore::open(folder.path(), SyncMode::Always).expect("opens");
    let declare = QueueDeclare { name: "orders".into(), durable: true, ..QueueDeclare::default() };
    let options = QueueOptions::from_declare("/", declare).expect("is valid");
    let definition = Definition::Queue { id: QueueId(1), options, notes: QueueNotes::default() };
    store.define(definition.key(), Some(definition.value()));
    let messages =
        (0..3).map(|seq| (Seq(seq), Message::new("", "orders", &[0, 0], true, b"to be found again")));
    store.append(QueueId(1), Kept::Durably, &mut messages.collect());
    store.close().expect("closes");
}

#[test]
fn a_stopped_data_folder_is_checked_and_described_and_does_not_change() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    data_folder(&path);
    let before = files(&path);
    let data = |command: &str| warren(&["data", command, "--data", path.to_str().unwrap()], &[]);

    let sound = stdout(&data("check"));
    assert!(sound.starts_with("sound: 1 queue, 3 messages, "), "{sound}");
    let stats = stdout(&data("stats"));
    assert!(stats.contains("vhost '/': 0 exchanges, 1 queue, 0 bindings"), "{stats}");
    assert!(stats.contains("queue 'orders'"), "{stats}");
    assert!(files(&path) == before, "the folder has changed");

    let segment = path.join("log/0000000000000000.log");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(5).position(|window| window == b"found").unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let before = files(&path);
    let damaged = data("check");
    assert_eq!(damaged.status.code(), Some(1), "{damaged:?}");
    let text = String::from_utf8(damaged.stdout).unwrap();
    assert!(
        text.starts_with("damaged: 1 finding; a start would lose 1 message. Whole: 1 queue, 2 messages\n"),
        "{text}"
    );
    assert!(text.contains("loses 1 message of queue 'orders' (number 0)"), "{text}");
    assert!(files(&path) == before, "the folder has changed");
}

#[test]
fn a_data_folder_that_cannot_be_looked_into_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    let check = |path: &Path| warren(&["data", "check", "--data", path.to_str().unwrap()], &[]);
    let refused = |output: &Output| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr.clone()).unwrap()
    };
    assert!(refused(&check(&path)).starts_with("warren data: there is no data in "));
    let _in_use = DataFolder::open(&path).unwrap();
    assert!(refused(&check(&path)).contains(&format!("is in use by process {}", std::process::id())));
    assert!(refused(&check(Path::new(""))).contains("no data folder is configured"));
    usage_error(&warren(&["data", "mend"], &[]));
    usage_error(&warren(&["data"], &[]));
}
