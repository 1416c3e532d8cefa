//! `warren ctl` against a real broker: the commands, output and exit codes that scripts of `rabbitmqctl` rely on.

// Helpers of tests are tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

#[path = "ctl/backup.rs"]
mod backup;
#[path = "ctl/exit_codes.rs"]
mod exit_codes;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use warren_tests::{Broker, Program, built, clients, python};

/// What a command wrote, and its exit code.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Done {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(built("warren"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WARREN_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null()).current_dir("/");
    command
}

/// Runs `warren ctl` for the broker on a data folder; the arguments are separated by spaces.
fn ctl(folder: &Path, arguments: &str) -> Done {
    ctl_with(folder, &arguments.split(' ').collect::<Vec<_>>())
}

fn ctl_with(folder: &Path, arguments: &[&str]) -> Done {
    let all = [&["ctl", "--data", folder.to_str().unwrap()], arguments].concat();
    Done::of(command(&all).output().unwrap())
}

/// Runs a command that has to work and returns what it wrote.
fn ok(folder: &Path, arguments: &str) -> String {
    let done = ctl(folder, arguments);
    assert_eq!((done.code, &*done.err), (0, ""), "{arguments}: {done:?}");
    done.out
}

fn login(broker: &Broker, user: &str, password: &str) -> String {
    let mut script = Command::new(python());
    script.arg(clients().join("login.py")).env("AMQP_PORT", broker.port().to_string());
    script.env("AMQP_USER", user).env("AMQP_PASSWORD", password);
    Program::start("pika", &mut script).succeed().join("\n")
}

#[test]
fn the_user_of_the_tutorials_is_made_as_with_rabbitmqctl_and_pika_logs_in() {
    let broker = Broker::warren(&[]);
    let folder = broker.data().unwrap();
    assert_eq!(
        ok(folder, "add_user alex 123"),
        "Adding user \"alex\" ...\nDone. Don't forget to grant the user permissions to some virtual hosts! See 'warren ctl help set_permissions' to learn more.\n"
    );
    assert_eq!(
        ok(folder, "set_user_tags alex administrator"),
        "Setting tags for user \"alex\" to [administrator] ...\n"
    );
    assert_eq!(
        ok(folder, "set_permissions -p / alex .* .* .*"),
        "Setting permissions for user \"alex\" in vhost \"/\" ...\n"
    );
    assert_eq!(login(&broker, "alex", "123"), "PASS");
    // The password outlives other tags, and ends with another one.
    assert_eq!(
        ok(folder, "set_user_tags alex monitoring policymaker"),
        "Setting tags for user \"alex\" to [monitoring, policymaker] ...\n"
    );
    assert_eq!(login(&broker, "alex", "123"), "PASS");
    assert_eq!(ok(folder, "change_password alex 456"), "Changing password for user \"alex\" ...\n");
    assert!(login(&broker, "alex", "123").starts_with("REFUSED"));
    assert_eq!(login(&broker, "alex", "456"), "PASS");
    assert_eq!(
        ok(folder, "list_users"),
        "Listing users ...\nuser\ttags\nalex\t[monitoring, policymaker]\nguest\t[administrator]\n"
    );
    assert_eq!(
        ok(folder, "-q list_users"),
        "user\ttags\nalex\t[monitoring, policymaker]\nguest\t[administrator]\n"
    );
    assert_eq!(ok(folder, "-s list_users"), "alex\t[monitoring, policymaker]\nguest\t[administrator]\n");
    assert_eq!(
        ok(folder, "list_users --json"),
        "[\n{\"user\":\"alex\",\"tags\":[\"monitoring\",\"policymaker\"]}\n,{\"user\":\"guest\",\"tags\":[\"administrator\"]}\n]\n"
    );
    assert_eq!(
        ok(folder, "list_user_permissions alex"),
        "Listing permissions for user \"alex\" ...\nvhost\tconfigure\twrite\tread\n/\t.*\t.*\t.*\n"
    );
    assert_eq!(ok(folder, "authenticate_user alex 456"), "Authenticating user \"alex\" ...\nSuccess\n");
    assert_eq!(ok(folder, "delete_user alex"), "Deleting user \"alex\" ...\n");
    assert!(login(&broker, "alex", "456").starts_with("REFUSED"));
}

/// What is done one after the other, and what each step writes.
const STEPS: &[(&str, &str)] = &[
    ("add_vhost shop", "Adding vhost \"shop\" ...\n"),
    ("add_vhost shop", "Adding vhost \"shop\" ...\n"),
    ("list_vhosts", "Listing vhosts ...\nname\n/\nshop\n"),
    ("set_vhost_tags shop a b", "Setting tags for virtual host \"shop\" to [a, b] ...\n"),
    ("-q list_vhosts name tags", "name\ttags\n/\t[]\nshop\t[a, b]\n"),
    ("list_vhosts name tracing", "Listing vhosts ...\nname\ttracing\n/\tfalse\nshop\tfalse\n"),
    (
        "set_permissions -p shop alex ^a .* ^b",
        "Setting permissions for user \"alex\" in vhost \"shop\" ...\n",
    ),
    (
        "list_permissions -p shop",
        "Listing permissions for vhost \"shop\" ...\nuser\tconfigure\twrite\tread\nalex\t^a\t.*\t^b\n",
    ),
    (
        "set_topic_permissions -p shop alex logs ^a .*",
        "Setting topic permissions on \"logs\" for user \"alex\" in vhost \"shop\" ...\n",
    ),
    (
        "list_topic_permissions -p shop",
        "Listing topic permissions for vhost \"shop\" ...\nuser\texchange\twrite\tread\nalex\tlogs\t^a\t.*\n",
    ),
    (
        "clear_topic_permissions -p shop alex",
        "Clearing topic permissions for user \"alex\" in vhost \"shop\" ...\n",
    ),
    ("-q list_topic_permissions -p shop", ""),
    ("clear_permissions -p shop alex", "Clearing permissions for user \"alex\" in vhost \"shop\" ...\n"),
    ("-q list_permissions -p shop", ""),
    (
        "set_vhost_limits -p shop {\"max-connections\":64}",
        "Setting vhost limits to \"{\"max-connections\":64}\" for vhost \"shop\" ...\n",
    ),
    ("list_vhost_limits -p shop", "Listing limits for vhost \"shop\" ...\n{\"max-connections\":64}\n"),
    ("clear_vhost_limits -p shop", "Clearing vhost \"shop\" limits ...\n"),
    (
        "set_user_limits alex {\"max-channels\":64}",
        "Setting user limits to \"{\"max-channels\":64}\" for user \"alex\" ...\n",
    ),
    ("list_user_limits --user alex", "Listing limits for user \"alex\" ...\n{\"max-channels\":64}\n"),
    ("clear_user_limits alex all", "Clearing \"all\" limit for user \"alex\" ...\n"),
    (
        "set_policy -p shop --priority 3 --apply-to queues ttl ^o {\"message-ttl\":60000}",
        "Setting policy \"ttl\" for pattern \"^o\" to \"{\"message-ttl\":60000}\" with priority \"3\" for vhost \"shop\" ...\n",
    ),
    (
        "list_policies -p shop",
        "Listing policies for vhost \"shop\" ...\nvhost\tname\tpattern\tapply-to\tdefinition\tpriority\nshop\tttl\t^o\tqueues\t{\"message-ttl\":60000}\t3\n",
    ),
    ("clear_policy -p shop ttl", "Clearing policy \"ttl\" on vhost \"shop\" ...\n"),
    ("delete_vhost shop", "Deleting vhost \"shop\" ...\n"),
];

#[test]
fn virtual_hosts_permissions_limits_and_policies_are_set_listed_and_cleared() {
    let broker = Broker::warren(&[]);
    let folder = broker.data().unwrap();
    ok(folder, "add_user alex 123");
    for (arguments, expected) in STEPS {
        assert_eq!(ok(folder, arguments), *expected, "{arguments}");
    }
    for (arguments, code) in [
        ("delete_vhost shop", 65),
        ("set_vhost_tags shop a", 65),
        ("list_permissions -p shop", 65),
        ("set_vhost_limits -p shop {}", 65),
        ("set_vhost_limits {bad", 69),
        ("set_policy p ( {\"message-ttl\":1}", 69),
        ("set_policy p .* {\"nonsense\":1}", 69),
        ("clear_policy nope", 69),
    ] {
        assert_eq!(ctl(folder, arguments).code, code, "{arguments}");
    }
}

#[test]
fn a_broker_that_is_not_there_is_said_to_be_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let done = ctl(folder.path(), "list_users");
    assert_eq!(done.code, 69, "{done:?}");
    assert!(done.err.contains("ctl.sock") && done.err.contains("--data"), "{done:?}");
    let closed = warren_tests::ClosedPort::take();
    let url = format!("http://guest:s3cret@{}", closed.address());
    let done = Done::of(command(&["ctl", "--url", &url, "ping"]).output().unwrap());
    assert_eq!(done.code, 69, "{done:?}");
    assert!(!done.err.contains("s3cret") && !done.out.contains("s3cret"), "{done:?}");
    let done = Done::of(command(&["ctl", "--url", "http://host.invalid", "ping"]).output().unwrap());
    assert_eq!(done.code, 68, "{done:?}");
    let done = ctl(folder.path(), "-t 0.2 await_startup");
    assert_eq!(done.code, 75, "{done:?}");
}

#[test]
fn it_works_on_a_terminal_of_python_with_connected_clients_and_in_bash() {
    let broker = Broker::warren(&[]);
    let mut script = Command::new(python());
    script.arg(clients().join("ctl_terminal.py")).env("AMQP_URL", broker.url());
    script.env("WARREN", built("warren")).env("DATA", broker.data().unwrap());
    let lines = Program::start("ctl_terminal.py", &mut script).succeed();
    assert_eq!(lines.iter().filter(|line| line.starts_with("PASS ")).count(), 6, "{lines:?}");
}

#[test]
fn passwords_can_come_over_standard_input() {
    let broker = Broker::warren(&[]);
    let folder = broker.data().unwrap().to_str().unwrap();
    let mut child = command(&["ctl", "--data", folder, "add_user", "alex"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"from stdin\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(ctl_with(Path::new(folder), &["authenticate_user", "alex", "from stdin"]).code, 0);
    // What hash_password prints is a password for who knows the one it was made of.
    let hash = ok(Path::new(folder), "hash_password abc");
    assert_eq!(
        ctl_with(Path::new(folder), &["add_user", "bob", hash.trim(), "--pre-hashed-password"]).code,
        0
    );
    ok(Path::new(folder), "authenticate_user bob abc");
}

#[test]
fn the_broker_elsewhere_is_asked_with_a_url_or_a_profile_that_nobody_else_can_read() {
    let mut broker = Broker::warren(&[]);
    let line = broker.program().unwrap().wait_for("http://");
    let at = line.find("http://").unwrap() + "http://".len();
    let authority: String = line[at..].chars().take_while(|c| !c.is_whitespace() && *c != '/').collect();
    let authority = authority.rsplit('@').next().unwrap().to_owned();
    let ask = |url: &str, arguments: &[&str]| {
        Done::of(command(&[&["ctl", "--url", url], arguments].concat()).output().unwrap())
    };
    let url = format!("http://guest:guest@{authority}");
    assert_eq!(ask(&url, &["-q", "list_users"]).out, "user\ttags\nguest\t[administrator]\n");
    let wrong = ask(&format!("http://guest:s3cret@{authority}"), &["list_users"]);
    assert_eq!((wrong.code, &*wrong.err), (77, "Error:\nnot authorised: Login failed\n"), "{wrong:?}");
    for arguments in [["stop"], ["reload"], ["environment"]] {
        assert_eq!(ask(&url, &arguments).code, 64, "{arguments:?}");
    }
    // Not only because the command line says so.
    for request in ["POST /api/local/stop", "POST /api/local/reload", "GET /api/local/environment"] {
        let mut stream = TcpStream::connect(&authority).unwrap();
        let head =
            "host: x\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nconnection: close\r\ncontent-length: 0\r\n";
        write!(stream, "{request} HTTP/1.1\r\n{head}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{request}: {answer}");
    }
    assert_eq!(ask(&url, &["authenticate_user", "guest", "guest"]).code, 0);
    assert_eq!(ask(&url, &["authenticate_user", "guest", "wrong"]).code, 65);

    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("profile.toml");
    fs::write(&profile, format!("url = \"http://{authority}\"\nuser = \"guest\"\npassword = \"guest\"\n"))
        .unwrap();
    let ask =
        || Done::of(command(&["ctl", "-q", "list_users"]).env("WARREN_PROFILE", &profile).output().unwrap());
    fs::set_permissions(&profile, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(ask().code, 65);
    fs::set_permissions(&profile, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(ask().out, "user\ttags\nguest\t[administrator]\n");
}

#[test]
fn an_operator_can_look_at_the_settings_reload_them_and_stop_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("warren.toml");
    fs::write(&file, "[limits]\nchannel_max = 100\n").unwrap();
    let mut broker = Broker::warren(&["--config", file.to_str().unwrap()]);
    let data = broker.data().unwrap().to_owned();
    ok(&data, "await_startup");
    assert!(ok(&data, "ping").ends_with("Ping succeeded\n"));
    assert!(ok(&data, "-q environment").contains("channel_max = 100\n"));
    fs::write(&file, "[limits]\nchannel_max = 200\n").unwrap();
    assert_eq!(
        ok(&data, "-q reload"),
        "setting\tfrom\tto\ttakes_effect\nlimits.channel_max\t100\t200\tnow\n"
    );
    assert!(ok(&data, "-q environment").contains("channel_max = 200\n"));
    assert_eq!(ok(&data, "-q reload"), "Nothing has changed\n");
    fs::write(&file, "[limits]\nchannel_mix = 200\n").unwrap();
    let refused = ctl(&data, "reload");
    assert_eq!(refused.code, 69, "{refused:?}");
    assert!(refused.err.contains("channel_mix"), "{refused:?}");
    fs::write(&file, "").unwrap();
    let report: Value = serde_json::from_str(&ok(&data, "reload --json")).unwrap();
    assert_eq!(report["changes"][0]["to"], json!("2047"));

    ok(&data, "stop");
    assert!(broker.program().unwrap().wait_for_exit().success());
    assert_eq!(ctl(&data, "ping").code, 69);
    broker.start_again();
    assert!(ok(&data, "ping").ends_with("Ping succeeded\n"));
}

#[test]
fn shells_learn_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let done = Done::of(command(&["completions", shell]).output().unwrap());
        assert_eq!((done.code, &*done.err), (0, ""));
        assert!(done.out.contains("set_permissions") && done.out.contains("list_queues"), "{shell}");
    }
}

#[test]
fn queues_of_pika_exchanges_and_bindings_are_listed_as_rabbitmqctl_lists_them() {
    let broker = Broker::warren(&[]);
    let folder = broker.data().unwrap();
    assert_eq!(login(&broker, "guest", "guest"), "PASS");
    let table = [
        (
            "list_queues",
            "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\nname\tmessages\nby-guest\t1\n",
        ),
        (
            "-q list_queues name durable arguments messages_ready policy exclusive consumers",
            "name\tdurable\targuments\tmessages_ready\tpolicy\texclusive\tconsumers\nby-guest\ttrue\t[]\t1\t\tfalse\t0\n",
        ),
        ("-s list_queues name,messages", "by-guest\t1\n"),
        ("list_queues --json name messages", "[\n{\"name\":\"by-guest\",\"messages\":1}\n]\n"),
        ("list_queues --formatter csv", "\"name\",\"messages\"\n\"by-guest\",\"1\"\n"),
        (
            "list_bindings",
            "Listing bindings for vhost /...\nsource_name\tsource_kind\tdestination_name\tdestination_kind\trouting_key\targuments\n\texchange\tby-guest\tqueue\tby-guest\t[]\n",
        ),
        ("list_connections", "Listing connections ...\n"),
        ("list_channels", "Listing channels ...\n"),
        ("list_consumers", "Listing consumers in vhost / ...\n"),
        ("purge_queue by-guest", "Purging queue 'by-guest' in vhost '/' ...\n"),
        (
            "delete_queue by-guest",
            "Deleting queue 'by-guest' on vhost '/' ...\nQueue was successfully deleted with 0 ready messages\n",
        ),
        ("list_queues", "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\n"),
    ];
    for (arguments, expected) in table {
        assert_eq!(ok(folder, arguments), expected, "{arguments}");
    }
    login(&broker, "guest", "guest");
    ok(folder, "purge_queue by-guest");
    assert_eq!(ok(folder, "publish by-guest hello"), "Message published\n");
    assert!(ok(folder, "get by-guest").contains("\thello\t5\tstring\t"));
    assert_eq!(ok(folder, "-q list_queues messages"), "messages\n1\n", "it was put back");
    assert!(ok(folder, "get by-guest --ack remove").contains("\thello\t"));
    assert_eq!(ok(folder, "-q list_queues messages"), "messages\n0\n");
    assert_eq!(ctl(folder, "publish nowhere hello").code, 69);
    assert!(ok(folder, "status").contains("Queues: 1\n"));
    assert!(ok(folder, "list_exchanges").contains("amq.topic\ttopic\n"));
    assert_eq!(ctl(folder, "delete_queue nope").code, 64);
    assert_eq!(ctl(folder, "purge_queue nope").code, 69);
    assert_eq!(ctl(folder, "list_queues -p nope").code, 65);
}

#[test]
fn definitions_are_exported_to_a_private_file_and_make_another_broker_the_same_for_pika() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("definitions.json");
    let first = Broker::warren(&[]);
    let data = first.data().unwrap();
    ok(data, "add_user alex 123");
    ok(data, "set_permissions alex .* .* .*");
    ok(data, "set_policy ttl ^o {\"message-ttl\":60000}");
    assert_eq!(login(&first, "alex", "123"), "PASS");
    let path = file.to_str().unwrap();
    assert_eq!(
        ok(data, &format!("export_definitions {path}")),
        format!("Exporting definitions in JSON to a file at \"{path}\" ...\n")
    );
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let second = Broker::warren(&[]);
    let other = second.data().unwrap();
    ok(other, &format!("import_definitions {path}"));
    for list in ["-q list_users", "-q list_permissions", "-q list_policies", "-q list_queues name durable"] {
        assert_eq!(ok(other, list), ok(data, list), "{list}");
    }
    assert_eq!(login(&second, "alex", "123"), "PASS");
    assert_eq!(ctl(other, "import_definitions /nowhere.json").code, 65);
    fs::write(&file, "{\"users\": [").unwrap();
    assert_eq!(ctl(other, &format!("import_definitions {path}")).code, 65);
}

#[test]
fn messages_are_browsed_moved_and_deleted_and_queues_are_paused() {
    let broker = Broker::warren(&[]);
    let data = broker.data().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queues.json");
    let queue = |name: &str| json!({"name": name, "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}});
    fs::write(&file, json!({"queues": [queue("here"), queue("there")]}).to_string()).unwrap();
    ok(data, &format!("import_definitions {}", file.to_str().unwrap()));
    for number in 0..6 {
        let properties = format!("{{\"headers\":{{\"odd\":{}}}}}", number % 2 == 1);
        ok(data, &format!("publish here body{number} --properties {properties}"));
    }
    let column = |arguments: &str, column: usize| -> Vec<String> {
        let lines = ok(data, &format!("-s {arguments}"));
        lines.lines().map(|line| line.split('\t').nth(column).unwrap().to_owned()).collect()
    };
    assert_eq!(column("browse here --count 2", 6), ["body0", "body1"]);
    assert_eq!(column("browse here --from 4", 6), ["body4", "body5"]);
    assert_eq!(column("browse here --after 2 --header odd=true", 6), ["body3", "body5"]);
    assert_eq!(column("browse here --text y3 --body-bytes 4", 6), ["body"]);
    assert_eq!(column("browse here --routing-key here --exchange amq.default --count 1", 0), ["0"]);
    assert!(ok(data, "browse here --json --count 1").contains("\"redelivered\":false"));
    assert_eq!(ctl(data, "browse nowhere").code, 69);
    assert_eq!(ctl(data, "browse here --after x").code, 69);

    assert_eq!(ok(data, "-q move here there --ids 1,3"), "2 messages moved\n");
    assert_eq!(ok(data, "-q move here there --header odd=false --count 1"), "1 messages moved\n");
    assert_eq!(column("browse there", 6), ["body1", "body3", "body0"]);
    let done = ctl(data, "-q move here there --ids 1,5");
    assert_eq!((done.code, &*done.out), (69, "1 messages moved\n"));
    assert!(done.err.contains("not in the queue any more: 1"), "{done:?}");
    let done = ctl(data, "-q move here amq.direct --to-exchange --to-key nobody --all");
    assert_eq!((done.code, &*done.out), (69, "0 messages moved\n"));
    assert_eq!(ok(data, "-q move here amq.topic --to-exchange --text nothing-like-it"), "0 messages moved\n");
    for wrong in [
        "move here there",
        "delete_messages here",
        "move here there --all --ids 1",
        "delete_messages here --ids 1 --text x",
    ] {
        assert_eq!(ctl(data, wrong).code, 64, "{wrong}");
    }
    assert_eq!(ctl(data, "move here here --all").code, 69);
    assert_eq!(ctl(data, "move here nowhere --all").code, 69);

    assert_eq!(ok(data, "-q delete_messages here --ids 2"), "1 messages deleted\n");
    assert_eq!(
        ok(data, "delete_messages there --all --json"),
        "{\"deleted\":4,\"gone\":0,\"not_found\":[]}\n"
    );
    assert_eq!(column("browse here", 6), ["body4"]);

    assert_eq!(ok(data, "pause_queue here"), "Pausing queue 'here' in vhost '/' ...\n");
    assert_eq!(ok(data, "-q list_queues name paused"), "name\tpaused\nhere\ttrue\nthere\tfalse\n");
    assert_eq!(ok(data, "-s get here"), "");
    assert_eq!(ok(data, "-q resume_queue here"), "");
    assert!(ok(data, "get here").contains("\tbody4\t"));
    assert_eq!(ctl(data, "pause_queue nowhere").code, 69);
}
