//! `move_messages.py`, killed in the middle and started again: every message is at the other broker afterwards.

use std::collections::BTreeSet;
use std::process::Command;

use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use warren_tests::{Broker, Program, python, workspace};

const MESSAGES: u32 = 3000;
const QUEUE: &str = "moved";

async fn channel_with_queue(broker: &Broker) -> Channel {
    let connection = Connection::connect(broker.url(), ConnectionProperties::default()).await;
    let channel = connection.expect("a connection").create_channel().await.expect("a channel");
    let options = QueueDeclareOptions::durable();
    channel.queue_declare(QUEUE.into(), options, FieldTable::default()).await.expect("a queue");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    channel
}

async fn fill(channel: &Channel) {
    let mut confirms = Vec::new();
    for number in 0..MESSAGES {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let (options, body) = (BasicPublishOptions::default(), number.to_string());
        let sent = channel.basic_publish("".into(), QUEUE.into(), options, body.as_bytes(), properties).await;
        confirms.push(sent.expect("a message can be sent"));
    }
    for confirm in confirms {
        assert!(confirm.await.expect("an answer").is_ack());
    }
}

async fn drain(channel: &Channel) -> Vec<String> {
    let mut bodies = Vec::new();
    let options = BasicGetOptions { no_ack: true };
    while let Some(message) = channel.basic_get(QUEUE.into(), options).await.expect("an answer") {
        bodies.push(String::from_utf8_lossy(&message.data).into_owned());
    }
    bodies
}

#[tokio::test]
async fn no_message_is_lost_when_moving_is_interrupted() {
    let (from, to) = (Broker::warren(&[]), Broker::warren(&[]));
    let source = channel_with_queue(&from).await;
    let target = channel_with_queue(&to).await;
    fill(&source).await;
    let start = || {
        let mut command = Command::new(python());
        command.arg(workspace().join("examples/python/move_messages.py"));
        Program::start("move_messages", command.args([from.url(), to.url(), QUEUE]))
    };
    let interrupted = start();
    interrupted.wait_for(" [x] Moved ");
    interrupted.kill();
    let lines = start().succeed();
    let last = lines.last().expect("it says something");
    assert!(last.starts_with(" [x] The queue is empty, "), "{last}");
    assert_eq!(drain(&source).await, [""; 0]);
    let moved: BTreeSet<u32> =
        drain(&target).await.iter().map(|body| body.parse().expect("a number")).collect();
    assert_eq!(moved, (0..MESSAGES).collect());
}
