//! Dead letters: why messages become such, where they go, and the story that their headers tell.

use std::time::{SystemTime, UNIX_EPOCH};

use amq_protocol::protocol::basic::{self, AMQPProperties};
use amq_protocol::protocol::{exchange, queue};
use amq_protocol::types::{AMQPValue, FieldArray, FieldTable};

use crate::features::{await_count, await_message, expiring, headers, queue_with, watched_queue};
use crate::peer::{Channel, table, text};
use crate::story::{deaths, entry, header, reject_first, reject_one, string, summary};
use crate::target::{Test, differs_from_rabbitmq};

fn strings<'a>(values: impl IntoIterator<Item = &'a str>) -> AMQPValue {
    AMQPValue::FieldArray(FieldArray::from(values.into_iter().map(text).collect::<Vec<_>>()))
}

fn with_headers<'a>(entries: impl IntoIterator<Item = (&'a str, AMQPValue)>) -> AMQPProperties {
    AMQPProperties::default().with_headers(table(entries))
}

#[test]
fn rejected_messages_are_dead_letters_and_returned_ones_are_not() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[]);
    for body in ["acked", "rejected", "returned", "nacked", "nacked too"] {
        channel.publish("", &queue, body);
    }
    for _ in 0..5 {
        channel.get(&queue).expect("ready");
    }
    channel.ack(1);
    channel.send(basic::Reject { delivery_tag: 2, requeue: false });
    channel.requeue(3);
    channel.send(basic::Nack { delivery_tag: 5, multiple: true, requeue: false });
    assert_eq!(dead.expect_bodies(3), ["rejected", "nacked", "nacked too"]);
    assert_eq!(channel.drain(&queue), ["returned"]);
    dead.expect_nothing_from(&queue);
}

#[test]
fn purged_and_deleted_messages_are_no_dead_letters() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[]);
    channel.publish("", &queue, "purged");
    channel.publish("", &queue, "purged");
    assert_eq!(channel.call(queue::Purge { queue: queue.as_str().into(), nowait: false }).message_count, 2);
    channel.publish("", &queue, "deleted");
    channel.call(queue::Delete { queue: queue.as_str().into(), ..Default::default() });
    dead.expect_nothing();
}

#[test]
fn the_first_death_is_told_in_full() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let source = test.exchange("source");
    channel.exchange(&source, "topic");
    let (queue, dead) = watched_queue(&peer, &[]);
    channel.bind(&queue, &source, "#");
    let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    channel.publish(&source, "a.key", "x");
    reject_first(channel, &queue);
    let message = dead.expect_deliver();
    let [death] = &deaths(&message)[..] else { panic!("one death: {message:?}") };
    let AMQPValue::Timestamp(time) = death.inner()["time"] else { panic!("no time in {death:?}") };
    assert!((before..before + 60).contains(&time), "{time} is {before}, or a little later, in seconds");
    let wanted = [
        ("count", AMQPValue::LongLongInt(1)),
        ("reason", text("rejected")),
        ("queue", text(&queue)),
        ("time", AMQPValue::Timestamp(time)),
        ("exchange", text(&source)),
        ("routing-keys", strings(["a.key"])),
    ];
    assert_eq!(death, &table(wanted));
    assert_eq!(header(&message, "x-first-death-queue"), queue);
    assert_eq!(header(&message, "x-first-death-reason"), "rejected");
    assert_eq!(header(&message, "x-first-death-exchange"), source);
}

#[test]
fn the_fields_of_a_death_keep_their_order_and_types() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[]);
    reject_one(channel, &queue, &AMQPProperties::default(), "x");
    let message = dead.expect_deliver();
    let bytes = &message.content.properties;
    let fields: [&[u8]; 6] =
        [b"\x05countl", b"\x06reasonS", b"\x05queueS", b"\x04timeT", b"\x08exchangeS", b"\x0crouting-keysA"];
    let places: Vec<usize> = fields
        .iter()
        .map(|field| {
            let found = bytes.windows(field.len()).position(|window| window == *field);
            found.unwrap_or_else(|| panic!("no {:?}", String::from_utf8_lossy(field)))
        })
        .collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn each_reason_has_its_name() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[("x-max-length", 1.into())]);
    let mut told = Vec::new();
    reject_one(channel, &queue, &AMQPProperties::default(), "x");
    told.push(dead.expect_deliver());
    channel.publish("", &queue, "dropped");
    channel.publish_with("", &queue, &expiring(20), b"expires");
    told.push(dead.expect_deliver());
    told.push(dead.expect_deliver());
    let told: Vec<_> = told.iter().map(summary).collect();
    let wanted = ["rejected", "maxlen", "expired"].map(|reason| vec![entry(&queue, reason, 1)]);
    assert_eq!(told, wanted);
}

#[test]
fn an_expiration_moves_into_the_story() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[]);
    channel.publish_with("", &queue, &expiring(20), b"expired");
    let message = dead.expect_deliver();
    assert_eq!(message.properties.expiration(), &None);
    assert_eq!(string(&deaths(&message)[0], "original-expiration"), "20");
    // Whatever the reason.
    reject_one(channel, &queue, &expiring(60_000), "rejected");
    let message = dead.expect_deliver();
    assert_eq!(message.properties.expiration(), &None);
    assert_eq!(string(&deaths(&message)[0], "original-expiration"), "60000");
}

#[test]
fn a_dead_letter_keeps_everything_else() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[]);
    let properties = with_headers([("mine", 1.into())])
        .with_content_type("text/plain".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_priority(7)
        .with_correlation_id("correlation".into())
        .with_reply_to("reply".into())
        .with_message_id("message".into())
        .with_timestamp(1_700_000_000)
        .with_type("type".into())
        .with_user_id("guest".into())
        .with_app_id("app".into());
    reject_one(channel, &queue, &properties, "body");
    let message = dead.expect_deliver();
    assert_eq!(message.text(), "body");
    assert!(!message.redelivered, "it is new to its queue");
    assert_eq!(headers(&message).inner()["mine"], 1.into());
    let story = message.properties.headers().clone().expect("a story");
    assert_eq!(message.properties, properties.with_headers(story));
}

#[test]
fn a_dead_letter_comes_from_the_dead_letter_exchange_under_its_old_key_or_the_queues() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let graveyard = test.exchange("graveyard");
    channel.exchange(&graveyard, "topic");
    let dead = channel.temp_queue();
    channel.bind(&dead, &graveyard, "#");
    let exchange = ("x-dead-letter-exchange", text(&graveyard));
    let queue = queue_with(channel, std::slice::from_ref(&exchange));
    reject_one(channel, &queue, &AMQPProperties::default(), "x");
    let message = await_message(channel, &dead);
    assert_eq!(
        (message.exchange.as_str(), message.routing_key.as_str()),
        (graveyard.as_str(), queue.as_str())
    );
    let queue = queue_with(channel, &[exchange, ("x-dead-letter-routing-key", text("new.key"))]);
    reject_one(channel, &queue, &AMQPProperties::default(), "x");
    let message = await_message(channel, &dead);
    assert_eq!((message.exchange.as_str(), message.routing_key.as_str()), (graveyard.as_str(), "new.key"));
    assert_eq!(
        deaths(&message)[0].inner()["routing-keys"],
        strings([queue.as_str()]),
        "the key it came with"
    );
}

/// A fanout exchange in front of a queue with these arguments.
fn behind_fanout(test: &Test, channel: Channel<'_>, arguments: &[(&str, AMQPValue)]) -> (String, String) {
    let source = test.exchange("source");
    channel.exchange(&source, "fanout");
    let queue = queue_with(channel, arguments);
    channel.bind(&queue, &source, "");
    (source, queue)
}

#[test]
fn keys_of_copies_count_unless_the_queue_has_a_key_of_its_own() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let graveyard = test.exchange("graveyard");
    channel.exchange(&graveyard, "direct");
    let dead = ["key", "copy", "own"].map(|key| {
        let queue = channel.temp_queue();
        channel.bind(&queue, &graveyard, key);
        queue
    });
    let dead_letter_exchange = ("x-dead-letter-exchange", text(&graveyard));
    let properties = with_headers([("CC", strings(["copy"])), ("BCC", strings(["blind"]))]);

    let (source, queue) = behind_fanout(&test, channel, std::slice::from_ref(&dead_letter_exchange));
    channel.publish_with(&source, "key", &properties, b"x");
    reject_first(channel, &queue);
    for queue in &dead[..2] {
        let message = await_message(channel, queue);
        assert_eq!(message.routing_key, "key");
        assert_eq!(deaths(&message)[0].inner()["routing-keys"], strings(["key", "copy"]));
        assert_eq!(headers(&message).inner()["CC"], strings(["copy"]));
        assert!(!headers(&message).contains_key("BCC"));
    }

    let own_key = ("x-dead-letter-routing-key", text("own"));
    let (source, queue) = behind_fanout(&test, channel, &[dead_letter_exchange, own_key]);
    channel.publish_with(&source, "key", &properties, b"x");
    reject_first(channel, &queue);
    let message = await_message(channel, &dead[2]);
    assert_eq!(deaths(&message)[0].inner()["routing-keys"], strings(["key", "copy"]));
    assert!(!headers(&message).contains_key("CC"), "the keys of the copies are no longer used: {message:?}");
    assert!(dead[..2].iter().all(|queue| channel.count(queue) == 0));
}

#[test]
fn the_original_expiration_is_the_first_field_of_a_death() {
    if differs_from_rabbitmq("before 4.0 it was the last") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[]);
    reject_one(channel, &queue, &expiring(60_000), "x");
    let bytes = dead.expect_deliver().content.properties;
    let start = b"\x13original-expirationS\0\0\0\x0560000\x05countl";
    assert!(bytes.windows(start.len()).any(|window| window == start), "{}", String::from_utf8_lossy(&bytes));
}

#[test]
fn without_their_exchange_dead_letters_are_gone_and_with_it_they_arrive() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let graveyard = test.exchange("graveyard");
    let queue = queue_with(channel, &[("x-dead-letter-exchange", text(&graveyard))]);
    let (other, witness) = watched_queue(&peer, &[]);
    reject_one(channel, &queue, &AMQPProperties::default(), "too early");
    // RabbitMQ's queue has lost it when it answers, Warren when a later dead letter arrives.
    channel.count(&queue);
    reject_one(channel, &other, &AMQPProperties::default(), "witness");
    witness.expect_deliver();
    channel.exchange(&graveyard, "fanout");
    let dead = channel.temp_queue();
    channel.bind(&dead, &graveyard, "");
    reject_one(channel, &queue, &AMQPProperties::default(), "in time");
    assert_eq!(await_message(channel, &dead).text(), "in time");
    channel.call(exchange::Delete { exchange: graveyard.as_str().into(), ..Default::default() });
    reject_one(channel, &queue, &AMQPProperties::default(), "too late");
    channel.count(&queue);
    reject_one(channel, &other, &AMQPProperties::default(), "witness");
    witness.expect_deliver();
    assert_eq!(channel.count(&dead), 0);
}

#[test]
fn dead_letters_follow_bindings_of_exchanges_and_alternate_exchanges_even_of_internal_ones() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (graveyard, alternate) = (test.exchange("graveyard"), test.exchange("alternate"));
    channel.exchange(&alternate, "fanout");
    channel.call(exchange::Declare {
        exchange: graveyard.as_str().into(),
        kind: "direct".into(),
        internal: true,
        arguments: table([("alternate-exchange", text(&alternate))]),
        ..Default::default()
    });
    let dead = channel.temp_queue();
    channel.bind(&dead, &alternate, "");
    let queue = queue_with(channel, &[("x-dead-letter-exchange", text(&graveyard))]);
    reject_one(channel, &queue, &AMQPProperties::default(), "by the alternate exchange");
    let message = await_message(channel, &dead);
    assert_eq!(
        (message.text(), message.exchange.as_str()),
        ("by the alternate exchange", graveyard.as_str())
    );
    let further = test.exchange("further");
    channel.exchange(&further, "fanout");
    channel.bind_exchange(&further, &graveyard, &queue);
    let deep = channel.temp_queue();
    channel.bind(&deep, &further, "");
    reject_one(channel, &queue, &AMQPProperties::default(), "by a binding");
    assert_eq!(await_message(channel, &deep).text(), "by a binding");
}

#[test]
fn a_story_that_a_client_publishes_again_goes_on() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[]);
    reject_one(channel, &queue, &AMQPProperties::default(), "x");
    let message = dead.expect_deliver();
    reject_one(channel, &queue, &message.properties, "x");
    assert_eq!(summary(&dead.expect_deliver()), [entry(&queue, "rejected", 2)]);
}

#[test]
fn headers_that_only_look_like_a_story_do_no_harm() {
    if differs_from_rabbitmq("its queue processes fail on some of them") {
        return;
    }
    let strange = [
        text("soon"),
        AMQPValue::Void,
        strings(["a", "b"]),
        AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(FieldTable::default())])),
        AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(table([
            ("queue", 1.into()),
            ("reason", 2.into()),
            ("count", text("many")),
        ]))])),
    ];
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[]);
    for story in strange {
        println!("{story:?}");
        reject_one(channel, &queue, &with_headers([("x-death", story)]), "x");
        let message = dead.expect_deliver();
        assert_eq!(string(&deaths(&message)[0], "queue"), queue);
        assert_eq!(string(&deaths(&message)[0], "reason"), "rejected");
    }
}

#[test]
fn one_letter_reaches_several_queues_and_a_thousand_keep_their_order() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let graveyard = test.exchange("graveyard");
    channel.exchange(&graveyard, "fanout");
    let dead = [channel.temp_queue(), channel.temp_queue()];
    for queue in &dead {
        channel.bind(queue, &graveyard, "");
    }
    let queue = queue_with(channel, &[("x-dead-letter-exchange", text(&graveyard))]);
    let bodies: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    for body in &bodies {
        channel.publish("", &queue, body);
    }
    for _ in &bodies {
        channel.get(&queue).expect("ready");
    }
    channel.send(basic::Nack { delivery_tag: 0, multiple: true, requeue: false });
    for queue in &dead {
        await_count(channel, queue, 1000);
        assert_eq!(channel.drain(queue), bodies);
    }
}

#[test]
fn a_channel_that_ends_leaves_no_dead_letters() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, holder) = (peer.open(1), peer.open(2));
    let (queue, dead) = watched_queue(&peer, &[]);
    channel.publish("", &queue, "x");
    await_count(channel, &queue, 1);
    holder.get(&queue).expect("ready");
    holder.close();
    await_count(channel, &queue, 1);
    dead.expect_nothing_from(&queue);
}

#[test]
fn keys_of_blind_copies_do_not_count() {
    if differs_from_rabbitmq("it remembers them beside the message") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let graveyard = test.exchange("graveyard");
    channel.exchange(&graveyard, "direct");
    let [dead, blind] = ["key", "blind"].map(|key| {
        let queue = channel.temp_queue();
        channel.bind(&queue, &graveyard, key);
        queue
    });
    let (source, queue) = behind_fanout(&test, channel, &[("x-dead-letter-exchange", text(&graveyard))]);
    channel.publish_with(&source, "key", &with_headers([("BCC", strings(["blind"]))]), b"x");
    reject_first(channel, &queue);
    await_message(channel, &dead);
    assert_eq!(channel.count(&blind), 0);
}
