//! `warren publish`, `consume`, `get` and `rpc`, as shells and scripts use them.

// Helpers of tests are tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use warren_client::{Connection, Queue};
use warren_tests::{Broker, Program, built};

/// Runs a command with this standard input, and returns its exit code and what it wrote.
fn warren(broker: &Broker, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = Command::new(built("warren"));
    command.args(arguments).env("AMQP_URL", broker.url());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The same for a command that has to work without a word of complaint.
fn ok(broker: &Broker, arguments: &[&str], input: &str) -> String {
    let (code, out, err) = warren(broker, arguments, input);
    assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}: {out}");
    out
}

async fn declared(broker: &Broker, names: &[&String]) {
    let connection = Connection::open(broker.url()).await.unwrap();
    for name in names {
        connection.declare_queue(Queue::new(name.as_str())).await.unwrap();
    }
    connection.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_go_in_and_come_out() {
    let broker = Broker::start();
    let queue = broker.queue("lines");
    declared(&broker, &[&queue]).await;
    assert_eq!(ok(&broker, &["publish", &queue], "one\ntwo\n\nthree"), "");
    ok(&broker, &["publish", &queue, "four", "five"], "");
    ok(&broker, &["publish", &queue, "--whole"], "six\nseven");
    assert_eq!(ok(&broker, &["get", &queue, "--keep"], ""), "one\n");
    assert_eq!(ok(&broker, &["get", &queue, "--count", "2"], ""), "one\ntwo\n");
    let rest = ok(&broker, &["consume", &queue, "--count", "5"], "");
    assert_eq!(rest, "\nthree\nfour\nfive\nsix\nseven\n");
    assert_eq!(warren(&broker, &["get", &queue], ""), (1, String::new(), String::new()));
    assert_eq!(ok(&broker, &["consume", &queue, "--idle-ms", "50"], ""), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_carries_all_of_a_message_from_one_queue_to_another() {
    let broker = Broker::start();
    let (queue, other) = (broker.queue("from"), broker.queue("to"));
    declared(&broker, &[&queue, &other]).await;
    let first = json!({"body": "tea", "routing_key": &queue, "headers": {"a": 1, "b": "x"}, "message_id": "m-1",
        "type": "order", "priority": 3, "persistent": false});
    let second = json!({"body_base64": "/wA=", "routing_key": &queue, "content_type": "image/png"});
    ok(&broker, &["publish", "--json"], &format!("{first}\n{second}\n"));
    let lines = ok(&broker, &["consume", &queue, "--json", "--count", "2"], "");
    let there = |lines: &str| -> Vec<Value> {
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let messages = there(&lines);
    for (name, value) in first.as_object().unwrap() {
        assert_eq!(&messages[0][name], value, "{name}");
    }
    assert_eq!(messages[1]["body_base64"], "/wA=");
    assert_eq!(
        (&messages[1]["content_type"], &messages[1]["persistent"]),
        (&json!("image/png"), &json!(true))
    );

    ok(&broker, &["publish", &other, "--json", "--header", "moved=yes"], &lines);
    let moved = there(&ok(&broker, &["get", &other, "--count", "10", "--json"], ""));
    assert_eq!(moved.len(), 2);
    assert_eq!((&moved[0]["body"], &moved[0]["message_id"]), (&json!("tea"), &json!("m-1")));
    assert_eq!(moved[0]["headers"], json!({"a": 1, "b": "x", "moved": "yes"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_and_counted() {
    let broker = Broker::start();
    let queue = broker.queue("fails");
    declared(&broker, &[&queue]).await;
    let nowhere = broker.queue("nowhere");
    let (code, _, err) = warren(&broker, &["publish", &nowhere, "a", "b"], "");
    assert_eq!(code, 1);
    assert!(
        err.contains("message 2: no queue for a message")
            && err.ends_with("2 of 2 messages were not published\n"),
        "{err}"
    );
    ok(&broker, &["publish", &nowhere, "a", "--allow-unroutable"], "");
    let lines = format!("{}\nno json\n", json!({"body": "fine", "routing_key": &queue}));
    let (code, _, err) = warren(&broker, &["publish", "--json"], &lines);
    assert!(code == 1 && err.contains("message 2: "), "{err}");
    assert_eq!(ok(&broker, &["get", &queue], ""), "fine\n", "what came before was published");
    for arguments in [&["consume", &nowhere][..], &["get", &nowhere]] {
        let (code, _, err) = warren(&broker, arguments, "");
        assert!(code == 1 && err.contains(&nowhere), "{err}");
    }
    let (code, _, err) =
        warren(&broker, &["publish", &queue, "a", "--url", "amqp://u:sesame@127.0.0.1:1"], "");
    assert!(
        code == 1 && err.contains("no broker answers at 127.0.0.1:1") && !err.contains("sesame"),
        "{err}"
    );
    assert_eq!(err.matches("Connection refused").count(), 1, "{err}");
    assert_eq!(warren(&broker, &["publish"], "").0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_answered_or_fail_at_once() {
    let broker = Broker::start();
    let queue = broker.queue("calls");
    let connection = Connection::open(broker.url()).await.unwrap();
    let serving = connection.serve(&queue, 2, async |number: i64| match number {
        0 => Err("not zero"),
        number => Ok(number * 2),
    });
    let _server = serving.await.unwrap();
    assert_eq!(ok(&broker, &["rpc", &queue, "21"], ""), "42\n");
    assert_eq!(warren(&broker, &["rpc", &queue, "0"], "").0, 1);
    let nowhere = broker.queue("nowhere");
    let (code, _, err) = warren(&broker, &["rpc", &nowhere, "1"], "");
    assert!(code == 1 && err.contains("no server takes calls"), "{err}");
    connection.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_goes_on_until_it_is_interrupted() {
    let broker = Broker::start();
    let queue = broker.queue("stream");
    declared(&broker, &[&queue]).await;
    let mut command = Command::new(built("warren"));
    command.args(["consume", &queue]).env("AMQP_URL", broker.url());
    let consumer = Program::start("warren consume", &mut command);
    for body in ["one", "two"] {
        ok(&broker, &["publish", &queue, body], "");
        consumer.wait_for(body);
    }
    consumer.interrupt();
    consumer.succeed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shovel_moves_everything_though_it_is_killed() {
    const MESSAGES: usize = 20_000;
    let (here, there) = (Broker::start(), Broker::start());
    let (queue, target) = (here.queue("orders"), there.queue("orders-there"));
    declared(&here, &[&queue]).await;
    let shovel = |to_queue: &str| {
        let mut command = Command::new(built("warren"));
        let urls = ["--from", here.url(), "--to", there.url()];
        command.args(["shovel", &queue, "--to-queue", to_queue]).args(urls);
        command
    };
    let (code, _, err) = ended(shovel(&target));
    assert!(code == 1 && err.contains("must be at the other broker"), "{err}");
    declared(&there, &[&target]).await;

    let line = |number: usize| json!({"body": number.to_string(), "message_id": format!("m-{number}"), "headers": {"n": number}});
    let lines: String = (0..MESSAGES).map(|number| format!("{}\n", line(number))).collect();
    ok(&here, &["publish", &queue, "--json"], &lines);
    let running = Program::start("warren shovel", &mut shovel(&target));
    warren_tests::eventually("some messages have arrived", || {
        let (_, out, _) = warren(&there, &["get", &target, "--keep"], "");
        (!out.is_empty()).then_some(())
    });
    running.kill();

    let (code, out, err) = ended(shovel(&target));
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.ends_with(" messages moved, the queue is empty\n"), "{out}");
    let text = ok(&there, &["consume", &target, "--idle-ms", "500", "--json"], "");
    let messages: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(messages.len() < MESSAGES + 201, "{} arrived", messages.len());
    // Twice is what was on its way when it was killed.
    let mut seen = std::collections::BTreeSet::new();
    let first: Vec<&Value> =
        messages.iter().filter(|message| seen.insert(message["body"].to_string())).collect();
    assert_eq!(first.len(), MESSAGES);
    for (number, message) in first.into_iter().enumerate() {
        let expected = line(number);
        assert_eq!((&message["body"], &message["message_id"]), (&expected["body"], &expected["message_id"]));
        let headers = json!({"n": number, "x-original-exchange": "", "x-original-routing-key": &queue});
        assert_eq!(message["headers"], headers);
    }
    assert_eq!(warren(&here, &["get", &queue], "").0, 1, "nothing is left");
}

/// The exit code of a command and what it wrote.
fn ended(mut command: Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}
