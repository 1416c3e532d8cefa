//! `warren ctl backup` and `warren restore`: what is in a backup, what is refused, and what is left of one that is not completed.
//! Backups under load are in `tests/crash`.

use std::fs;
use std::path::{Path, PathBuf};

use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Value, json};
use tempfile::TempDir;
use warren_tests::{Broker, Program, eventually};

use super::{Done, command, ctl, ctl_with, ok};

/// Where backups and data folders go.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn warren(&self, arguments: &str) -> Done {
        let all: Vec<String> = arguments.split(' ').map(|text| text.replace("T/", &self.text(""))).collect();
        Done::of(command(&all.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap())
    }

    fn backup(&self, broker: &Broker) {
        ok(broker.data().unwrap(), &format!("backup {}", self.text("backup")));
    }
}

async fn open(broker: &Broker) -> Channel {
    let connection = Connection::connect(broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

async fn declare(channel: &Channel, queue: &str, arguments: &[(&str, AMQPValue)]) {
    let table = arguments.iter().fold(FieldTable::default(), |mut table, (name, value)| {
        table.insert((*name).into(), value.clone());
        table
    });
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), durable, table).await.unwrap();
}

async fn publish(channel: &Channel, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) {
    let options = BasicPublishOptions::default();
    let confirm =
        channel.basic_publish(exchange.into(), key.into(), options, body, properties).await.unwrap();
    assert!(confirm.await.unwrap().is_ack());
}

fn lasting() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

async fn get(channel: &Channel, queue: &str) -> Option<(Vec<u8>, bool)> {
    let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap();
    got.map(|got| (got.delivery.data, got.delivery.redelivered))
}

/// Everything that a broker remembers, of each kind something.
async fn furnish(broker: &Broker) {
    let folder = broker.data().unwrap();
    for command in [
        "add_user alex 123",
        "set_user_tags alex monitoring",
        "add_vhost green --description trees",
        "set_permissions -p green alex ^a .* b",
        "set_vhost_limits -p green {\"max-queues\":7}",
        "set_policy -p green ttl ^a {\"message-ttl\":5000} --apply-to queues",
    ] {
        ok(folder, command);
    }
    let channel = open(broker).await;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let table = FieldTable::default;
    channel.exchange_declare("news".into(), ExchangeKind::Topic, durable, table()).await.unwrap();
    declare(&channel, "ranked", &[("x-max-priority", AMQPValue::LongInt(9))]).await;
    declare(&channel, "dead", &[]).await;
    let dead = AMQPValue::LongString("dead".into());
    let default = AMQPValue::LongString("".into());
    let one = AMQPValue::LongInt(1);
    let dying =
        [("x-dead-letter-exchange", default), ("x-dead-letter-routing-key", dead), ("x-max-length", one)];
    declare(&channel, "short", &dying).await;
    let bind = QueueBindOptions::default;
    channel.queue_bind("ranked".into(), "news".into(), "a.#".into(), bind(), table()).await.unwrap();
    for (priority, body) in [(1, "low"), (9, "high"), (1, "low too")] {
        publish(&channel, "", "ranked", body.as_bytes(), lasting().with_priority(priority)).await;
    }
    publish(&channel, "", "ranked", b"gone", BasicProperties::default()).await;
    publish(&channel, "news", "a.b", &vec![b'x'; 3_000_000], lasting()).await;
    for body in ["first", "second"] {
        publish(&channel, "", "short", body.as_bytes(), lasting()).await;
    }
    let ready = || ok(folder, "-s list_queues name messages_ready");
    eventually("the dead letter is there", || ready().contains("dead\t1").then_some(()));
    // Held by a consumer while the backup is made, so it comes back marked.
    declare(&channel, "held", &[]).await;
    publish(&channel, "", "held", b"held", lasting()).await;
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume("held".into(), "c".into(), options, table()).await.unwrap();
    let count = || ok(folder, "-s list_queues name messages_unacknowledged");
    eventually("the message is held", || count().contains("held\t1").then_some(()));
    drop(consumer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_broker_has_what_the_other_had() {
    let (place, broker) = (Place::new(), Broker::warren(&[]));
    furnish(&broker).await;
    let folder = broker.data().unwrap();
    let exported: Value = serde_json::from_str(&ok(folder, "export_definitions -")).unwrap();
    let done = ctl(folder, &format!("backup {}", place.text("backup")));
    assert_eq!((done.code, &*done.err), (0, ""));
    let banner =
        format!("Backing up {} to \"{}\" ...\n", folder.join("ctl.sock").display(), place.text("backup"));
    assert!(done.out.starts_with(&banner) && done.out.contains("Messages: 7, size: "), "{}", done.out);
    let readable: Value =
        serde_json::from_slice(&fs::read(place.path("backup/definitions.json")).unwrap()).unwrap();
    assert_eq!(readable, exported);
    // The first goes on, and its later life is its own.
    publish(&open(&broker).await, "", "ranked", b"later", lasting()).await;

    let checked = place.warren("restore T/backup --check --json");
    let checked: Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!((&checked["messages"], &checked["sound"]), (&json!(7), &json!(true)), "{checked}");
    let done = place.warren("restore T/backup --data T/new");
    assert_eq!((done.code, &*done.err), (0, ""), "{}", done.out);
    assert!(
        done.out.contains("complete and unchanged\nrestored to ") && done.out.contains("\nsound: "),
        "{}",
        done.out
    );
    let done = place.warren("data check --data T/new");
    assert!(done.code == 0 && done.out.starts_with("sound: 4 queues, 7 messages, "), "{done:?}");

    let data = TempDir::new().unwrap();
    fs::remove_dir(data.path()).unwrap();
    fs::rename(place.path("new"), data.path()).unwrap();
    let restored = Broker::warren_on(data);
    let folder = restored.data().unwrap();
    let found: Value = serde_json::from_str(&ok(folder, "export_definitions -")).unwrap();
    assert_eq!(found, exported);
    assert_eq!(ok(folder, "authenticate_user alex 123"), "Authenticating user \"alex\" ...\nSuccess\n");
    let channel = open(&restored).await;
    let body = |text: &str| Some((text.as_bytes().to_vec(), false));
    for expected in [body("high"), body("low"), body("low too"), Some((vec![b'x'; 3_000_000], false)), None] {
        assert!(get(&channel, "ranked").await == expected);
    }
    assert_eq!(get(&channel, "short").await, body("second"));
    assert_eq!(get(&channel, "dead").await, body("first"));
    assert_eq!(get(&channel, "held").await, Some((b"held".to_vec(), true)));
    publish(&channel, "news", "a.c", b"bound", lasting()).await;
    assert_eq!(get(&channel, "ranked").await, body("bound"));
}

#[test]
fn what_is_no_good_is_refused_with_a_code_and_what_to_do() {
    let (place, broker) = (Place::new(), Broker::warren(&[]));
    let folder = broker.data().unwrap();
    fs::create_dir_all(place.path("full/of")).unwrap();
    let refused = |arguments: &[&str]| {
        let done = ctl_with(folder, &[&["backup"], arguments].concat());
        (done.code, done.err)
    };
    let (code, text) = refused(&[&place.text("full")]);
    assert!(
        code == 74 && text.contains("is not empty: it contains 'of'; name a new or an empty folder"),
        "{text}"
    );
    let inside = folder.join("copy");
    let (code, text) = refused(&[inside.to_str().unwrap()]);
    assert!(code == 74 && text.contains("is inside the data folder"), "{text}");
    let (code, text) = refused(&[&place.text("a/b")]);
    assert!(code == 74 && text.contains("the folder above it does not exist"), "{text}");
    let (code, text) = refused(&["--url", "http://127.0.0.1:1", &place.text("x")]);
    assert!(code == 64 && text.contains("only on the broker's machine"), "{text}");
    assert_eq!(refused(&[]).0, 64);

    place.backup(&broker);
    let done = place.warren("restore T/full --data T/new");
    assert!(done.code == 65 && done.err.contains("has no file manifest.json"), "{done:?}");
    let data = folder.to_str().unwrap();
    let done = place.warren(&format!("restore T/backup --data {data}"));
    assert!(done.code == 73 && done.err.contains("is in use by process"), "{done:?}");
    let done = place.warren("restore T/backup --data T/full");
    assert!(done.code == 73 && done.err.contains("is not a data folder of Warren"), "{done:?}");
    assert!(!place.path("new").exists());
    let state = place.path("backup/state");
    let mut bytes = fs::read(&state).unwrap();
    bytes[60] ^= 1;
    fs::write(&state, bytes).unwrap();
    for arguments in ["restore T/backup --data T/new", "restore T/backup --check"] {
        let done = place.warren(arguments);
        assert!(done.code == 65 && done.err.contains("is damaged: state fails its checksum; "), "{done:?}");
    }
    assert!(!place.path("new").exists());
}

#[test]
fn a_relative_folder_is_that_of_the_caller_and_only_the_owner_reads_a_backup() {
    use std::os::unix::fs::PermissionsExt as _;
    let (place, broker) = (Place::new(), Broker::warren(&[]));
    let data = broker.data().unwrap().to_str().unwrap();
    let mut command = command(&["ctl", "--data", data, "backup", "b", "--json"]);
    let done = Done::of(command.current_dir(place.0.path()).output().unwrap());
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&told["folder"], &told["messages"]), (&json!(place.text("b")), &json!(0)));
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("b"), mode("b/log"), mode("b/state"), mode("b/manifest.json")),
        (0o700, 0o700, 0o600, 0o600)
    );
}

/// A broker with so much that a slow backup takes minutes.
async fn with_a_lot() -> Broker {
    let broker = Broker::warren(&[]);
    let channel = open(&broker).await;
    declare(&channel, "lot", &[]).await;
    for _ in 0..20 {
        publish(&channel, "", "lot", &vec![b'x'; 3_000_000], lasting()).await;
    }
    broker
}

fn slow_backup(broker: &Broker, folder: &Path) -> Program {
    let mut command = command(&["ctl", "backup", "--rate", "1", "--data"]);
    let program = Program::start("backup", command.arg(broker.data().unwrap()).arg(folder));
    eventually("the backup is under way", || folder.join("log").exists().then_some(()));
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_backup_leaves_nothing_and_another_can_be_made() {
    let (place, broker) = (Place::new(), with_a_lot().await);
    let mut first = slow_backup(&broker, &place.path("backup"));
    let other = ctl(broker.data().unwrap(), &format!("backup {}", place.text("other")));
    assert!(other.code == 69 && other.err.contains("another backup is being made"), "{other:?}");
    first.interrupt();
    assert_eq!(first.wait_for_exit().code(), Some(130));
    assert!(first.error_lines().join(" ").contains("nothing of it is left"));
    assert!(!place.path("backup").exists());
    ok(broker.data().unwrap(), &format!("backup {} --rate 0", place.text("backup")));
    assert_eq!(place.warren("restore T/backup --check").code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stops_gives_its_backup_up_and_one_that_dies_leaves_none_that_is_taken() {
    let (place, mut broker) = (Place::new(), with_a_lot().await);
    let mut program = slow_backup(&broker, &place.path("backup"));
    broker.shut_down();
    assert!(matches!(program.wait_for_exit().code(), Some(69 | 74 | 130)));
    assert!(!place.path("backup").exists());
    broker.start_again();
    let mut program = slow_backup(&broker, &place.path("backup"));
    broker.crash();
    assert_eq!(program.wait_for_exit().code(), Some(69));
    let done = place.warren("restore T/backup --data T/new");
    assert!(done.code == 65 && done.err.contains("or one that was not completed"), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_broker_starts_on_what_a_killed_restore_has_left_and_the_next_restore_goes_on() {
    let (place, broker) = (Place::new(), with_a_lot().await);
    place.backup(&broker);
    // Killed as soon as there is something, which is long before all is there.
    let mut command = command(&["restore", "--data"]);
    let program = Program::start("restore", command.arg(place.path("new")).arg(place.path("backup")));
    eventually("the restore has begun", || place.path("new/log").exists().then_some(()));
    program.kill();
    if !place.path("new/format").exists() {
        let done = place.warren("--data T/new --port 0 --http-port 0");
        assert!(done.code == 1 && done.err.contains("restoring a backup into it was cut off"), "{done:?}");
    }
    let _ = fs::remove_file(place.path("new/format"));
    fs::write(place.path("new/restoring"), "").unwrap();
    let done = place.warren("restore T/backup --data T/new");
    assert_eq!((done.code, &*done.err), (0, ""), "{}", done.out);
}
