//! The command line of the real binary: what it prints, what it refuses, and with which exit code.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

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
    for word in ["--bind", "--port", "--data", "--config", "--log", "--log-format", "config", "health"] {
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
            "w.toml:3: unknown key 'listen.prot'; did you mean 'port'? valid keys here: bind, port\n"
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
