//! Dead letters that come back to where they have been: wanted, as in retries, or without anybody's doing.

use amq_protocol::protocol::basic;
use amq_protocol::protocol::queue;

use crate::features::{await_count, await_message, dead_letters_to, durable_with, publish_confirmed, watch};
use crate::peer::{Channel, text};
use crate::story::{entry, header, reject_first, reject_first_of_many, summary};
use crate::target::{Test, differs_from_rabbitmq};

/// A queue for work, and one where what was rejected there waits before it goes back.
fn retry_loop(test: &Test, channel: Channel<'_>) -> (String, String) {
    let (work, wait) = (test.queue("work"), test.queue("wait"));
    channel.call(durable_with(&work, &dead_letters_to(&wait)));
    let waiting = [dead_letters_to(&work).as_slice(), &[("x-message-ttl", 20.into())]].concat();
    channel.call(durable_with(&wait, &waiting));
    (work, wait)
}

#[test]
fn a_message_that_is_rejected_goes_round_and_is_counted() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (work, wait) = retry_loop(&test, channel);
    channel.qos(1, false);
    channel.consume(&work, "worker");
    channel.publish("", &work, "task");
    let mut message = channel.expect_deliver();
    for round in 1..=3 {
        channel.send(basic::Reject { delivery_tag: message.delivery_tag, requeue: false });
        message = channel.expect_deliver();
        assert_eq!(summary(&message), [entry(&wait, "expired", round), entry(&work, "rejected", round)]);
        assert_eq!(header(&message, "x-first-death-queue"), work);
        assert_eq!(header(&message, "x-first-death-reason"), "rejected");
        assert!(!message.redelivered);
    }
}

#[test]
fn the_last_death_is_told_beside_the_first() {
    if differs_from_rabbitmq("before 3.13 it told the first only") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (work, wait) = retry_loop(&test, channel);
    let source = test.exchange("source");
    channel.exchange(&source, "fanout");
    channel.bind(&work, &source, "");
    channel.publish(&source, "", "task");
    for _ in 0..2 {
        reject_first_of_many(channel, &work);
    }
    let message = await_message(channel, &work);
    let told = |which: &str| {
        ["queue", "reason", "exchange"].map(|what| header(&message, &format!("x-{which}-death-{what}")))
    };
    assert_eq!(told("first"), [work.as_str(), "rejected", source.as_str()]);
    assert_eq!(told("last"), [wait.as_str(), "expired", ""]);
}

#[test]
fn a_queue_that_is_its_own_dead_letter_queue_gets_rejected_messages_again() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = test.queue("circle");
    channel.call(durable_with(&queue, &dead_letters_to(&queue)));
    channel.publish("", &queue, "round");
    channel.publish("", &queue, "next");
    reject_first(channel, &queue);
    await_count(channel, &queue, 2);
    assert_eq!(channel.get_with(&queue, true).expect("two are ready").text(), "next");
    reject_first(channel, &queue);
    let message = await_message(channel, &queue);
    assert_eq!(summary(&message), [entry(&queue, "rejected", 2)]);
}

#[test]
fn what_would_go_round_by_itself_is_dropped() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (first, second) = (test.queue("first"), test.queue("second"));
    // From the first to the second and a watched one, from the second to the first and the same watched one.
    let exchanges = [test.exchange("from-first"), test.exchange("from-second")];
    let watched = channel.temp_queue();
    for (queue, exchange) in [(&first, &exchanges[0]), (&second, &exchanges[1])] {
        channel.exchange(exchange, "fanout");
        let arguments = [("x-message-ttl", 30.into()), ("x-dead-letter-exchange", text(exchange))];
        channel.call(durable_with(queue, &arguments));
        channel.bind(&watched, exchange, "");
    }
    channel.bind(&second, &exchanges[0], "");
    channel.bind(&first, &exchanges[1], "");
    let watcher = peer.open(2);
    watch(watcher, &watched);
    channel.publish("", &first, "x");
    assert_eq!(summary(&watcher.expect_deliver()), [entry(&first, "expired", 1)]);
    assert_eq!(
        summary(&watcher.expect_deliver()),
        [entry(&second, "expired", 1), entry(&first, "expired", 1)]
    );
    // A witness that comes after it, had it gone round once more.
    channel.publish("", &first, "witness");
    let next = watcher.expect_deliver();
    assert_eq!((next.text(), summary(&next)), ("witness", vec![entry(&first, "expired", 1)]));
}

#[test]
fn a_queue_does_not_dead_letter_into_itself_by_itself() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let name = test.queue("circle");
    for (limit, left) in [("x-max-length", vec!["b"]), ("x-message-ttl", vec![])] {
        let arguments = [dead_letters_to(&name).as_slice(), &[(limit, 1.into())]].concat();
        channel.call(durable_with(&name, &arguments));
        publish_confirmed(channel, &name, &["a", "b"]);
        await_count(channel, &name, u32::try_from(left.len()).expect("few"));
        channel.expect_nothing_from(&name);
        assert_eq!(channel.drain(&name), left, "with {limit}");
        channel.call(queue::Delete { queue: name.as_str().into(), ..Default::default() });
    }
}
