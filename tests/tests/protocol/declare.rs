//! Queues: declaring, asking, redeclaring, deleting, and who may.

use amq_protocol::protocol::{basic, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};

use crate::peer::{Channel, passive, table, text};
use crate::target::{Test, differs_from_rabbitmq, unique};

fn declare(name: &str) -> queue::Declare {
    queue::Declare { queue: name.into(), durable: true, ..queue::Declare::default() }
}

fn delete(name: &str) -> queue::Delete {
    queue::Delete { queue: name.into(), ..queue::Delete::default() }
}

fn declare_exchange(name: &str) -> exchange::Declare {
    exchange::Declare { exchange: name.into(), kind: "direct".into(), ..exchange::Declare::default() }
}

#[test]
fn declare_ok_tells_ready_messages_and_consumers() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let name = test.queue("counts");
    let ok = channel.call(declare(&name));
    assert_eq!((ok.queue.as_str(), ok.message_count, ok.consumer_count), (name.as_str(), 0, 0));
    for body in ["a", "b", "c"] {
        channel.publish("", &name, body);
    }
    channel.get(&name).unwrap();
    assert_eq!(channel.call(declare(&name)).message_count, 2, "unacknowledged messages do not count");
    channel.qos(1, false);
    channel.consume(&name, "c");
    assert_eq!(channel.expect_deliver().text(), "b");
    let ok = channel.look_at(&name);
    assert_eq!((ok.message_count, ok.consumer_count), (1, 1));
}

#[test]
fn names_are_made_up_by_the_server_and_differ() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (one, two) = (channel.temp_queue(), channel.temp_queue());
    for name in [&one, &two] {
        let random = name.strip_prefix("amq.gen-").unwrap_or_else(|| panic!("{name}"));
        assert_eq!(random.len(), 22, "{name}");
        assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{name}");
    }
    assert_ne!(one, two);
}

#[test]
fn a_name_made_up_by_the_server_can_be_declared_again() {
    if differs_from_rabbitmq("before 4.0 it refuses names that begin with amq. even for queues that exist") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let name = channel.temp_queue();
    let ok =
        channel.call(queue::Declare { queue: name.as_str().into(), exclusive: true, ..Default::default() });
    assert_eq!(ok.queue.as_str(), name);
}

#[test]
fn an_empty_name_means_the_queue_declared_last() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let name = channel.temp_queue();
    channel.bind("", "amq.direct", "");
    // Queue and key both empty: the name is the key, too.
    channel.publish("amq.direct", &name, "a");
    channel.bind("", "amq.direct", &format!("{name}.key"));
    channel.publish("amq.direct", &format!("{name}.key"), "b");
    assert_eq!(channel.get_with("", true).unwrap().text(), "a");
    assert_eq!(channel.get_with("", true).unwrap().text(), "b");
    channel.call(queue::Unbind { exchange: "amq.direct".into(), ..queue::Unbind::default() });
    channel.publish("amq.direct", &name, "c");
    assert!(channel.get("").is_none());
    channel.publish("", &name, "d");
    assert_eq!(channel.call(queue::Purge::default()).message_count, 1);
    channel.consume("", "c");
    assert_eq!(channel.call(delete("")).message_count, 0);
}

#[test]
fn an_empty_name_without_a_declared_queue_is_not_found() {
    type Ask = fn(Channel<'_>);
    let rows: &[(&str, (u16, u16), Ask)] = &[
        ("bind", (50, 20), |channel| {
            channel.send(queue::Bind { exchange: "amq.direct".into(), ..queue::Bind::default() });
        }),
        ("unbind", (50, 50), |channel| {
            channel.send(queue::Unbind { exchange: "amq.direct".into(), ..queue::Unbind::default() });
        }),
        ("purge", (50, 30), |channel| channel.send(queue::Purge::default())),
        ("delete", (50, 40), |channel| channel.send(queue::Delete::default())),
        ("consume", (60, 20), |channel| channel.send(basic::Consume::default())),
        ("get", (60, 70), |channel| channel.send(basic::Get::default())),
    ];
    let test = Test::start();
    let peer = test.connect();
    for (name, method, ask) in rows {
        println!("{name}");
        let channel = peer.open(1);
        ask(channel);
        channel.expect_close(404, "NOT_FOUND - no previously declared queue", *method);
    }
}

#[test]
fn redeclaring_with_other_properties_is_refused() {
    type Change = fn(&mut queue::Declare);
    let rows: &[(&str, Change)] = &[
        (
            "inequivalent arg 'durable' for queue '{}' in vhost '/': received 'false' but current is 'true'",
            |declare| {
                declare.durable = false;
            },
        ),
        (
            "inequivalent arg 'auto_delete' for queue '{}' in vhost '/': received 'true' but current is 'false'",
            |declare| declare.auto_delete = true,
        ),
        (
            "inequivalent arg 'x-message-ttl' for queue '{}' in vhost '/': received '20' but current is '10'",
            |declare| {
                declare.arguments.insert("x-message-ttl".into(), 20.into());
            },
        ),
        (
            "inequivalent arg 'x-message-ttl' for queue '{}' in vhost '/': received '20' but current is '10'",
            |declare| {
                declare.arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(20));
            },
        ),
        (
            "inequivalent arg 'x-message-ttl' for queue '{}' in vhost '/': received none but current is the value '10' \
             of type 'signedint'",
            |declare| declare.arguments = FieldTable::default(),
        ),
        (
            "inequivalent arg 'x-max-length' for queue '{}' in vhost '/': received the value '5' of type 'signedint' \
             but current is none",
            |declare| {
                declare.arguments.insert("x-max-length".into(), 5.into());
            },
        ),
    ];
    let test = Test::start();
    let peer = test.connect();
    let name = test.queue("equivalence");
    let original = queue::Declare { arguments: table([("x-message-ttl", 10.into())]), ..declare(&name) };
    peer.open(2).call(original.clone());
    for (text, change) in rows {
        let mut changed = original.clone();
        change(&mut changed);
        let channel = peer.open(1);
        channel.send(changed);
        let text = format!("PRECONDITION_FAILED - {}", text.replace("{}", &name));
        channel.expect_close(406, &text, (50, 10));
    }
    let channel = peer.open(1);
    let mut same = original.clone();
    same.arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(10));
    channel.call(same);
    let mut unknown = original;
    unknown.arguments.insert("x-unheard-of".into(), 1.into());
    channel.call(unknown);
}

#[test]
fn redeclaring_as_exclusive_is_refused_as_locked() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (shared, own) = (test.queue("shared"), test.queue("own"));
    channel.call(declare(&shared));
    channel.call(queue::Declare { exclusive: true, ..declare(&own) });
    for (name, exclusive) in [(&shared, true), (&own, false)] {
        let channel = peer.open(2);
        channel.send(queue::Declare { exclusive, ..declare(name) });
        channel.expect_close(405, &locked(name), (50, 10));
    }
}

/// The text for a queue of another connection.
fn locked(name: &str) -> String {
    let text = format!(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{name}' in vhost '/'. It could be originally \
         declared on another connection or the exclusive property value does not match that of the original declaration."
    );
    text[..text.len().min(255)].to_owned()
}

#[test]
fn an_exclusive_queue_is_locked_for_other_connections() {
    type Use = fn(Channel<'_>, &str);
    let rows: &[(&str, (u16, u16), Use)] = &[
        ("declare", (50, 10), |channel, name| {
            channel.send(queue::Declare { exclusive: true, ..declare(name) });
        }),
        ("passive declare", (50, 10), |channel, name| channel.send(passive(name))),
        ("bind", (50, 20), |channel, name| {
            channel.send(queue::Bind {
                queue: name.into(),
                exchange: "amq.direct".into(),
                ..Default::default()
            });
        }),
        ("purge", (50, 30), |channel, name| {
            channel.send(queue::Purge { queue: name.into(), nowait: false });
        }),
        ("delete", (50, 40), |channel, name| channel.send(delete(name))),
        ("consume", (60, 20), |channel, name| {
            channel.send(basic::Consume { queue: name.into(), ..basic::Consume::default() });
        }),
        ("get", (60, 70), |channel, name| channel.send(basic::Get { queue: name.into(), no_ack: true })),
    ];
    let test = Test::start();
    let (owner, stranger) = (test.connect(), test.connect());
    let name = test.queue("locked");
    owner.open(1).call(queue::Declare { exclusive: true, ..declare(&name) });
    for (what, method, attempt) in rows {
        println!("{what}");
        let channel = stranger.open(1);
        attempt(channel, &name);
        channel.expect_close(405, &locked(&name), *method);
    }
    stranger.open(1).publish("", &name, "anybody may publish");
    stranger.close();
    owner.channel(1).consume(&name, "c");
    assert_eq!(owner.channel(1).expect_deliver().text(), "anybody may publish");
}

#[test]
fn an_exclusive_queue_is_used_on_all_channels_and_goes_with_its_connection() {
    let test = Test::start();
    let owner = test.connect();
    let name = test.queue("exclusive");
    owner.open(1).call(queue::Declare { exclusive: true, ..declare(&name) });
    owner.channel(1).close();
    owner.open(2).publish("", &name, "x");
    assert_eq!(owner.open(3).get_with(&name, true).unwrap().text(), "x");
    owner.close();
    let other = test.connect();
    let gone = || {
        let channel = other.open(1);
        channel.send(passive(&name));
        let close = channel.expect::<amq_protocol::protocol::channel::Close>();
        channel.send(amq_protocol::protocol::channel::CloseOk {});
        close.reply_code == 404
    };
    warren_tests::eventually("the queue goes", || gone().then_some(()));
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer_and_not_before_the_first() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let name = test.queue("auto");
    channel.call(queue::Declare { auto_delete: true, ..declare(&name) });
    channel.publish("", &name, "a");
    channel.get_with(&name, true).unwrap();
    channel.look_at(&name);
    channel.consume(&name, "one");
    let second = peer.open(2);
    second.consume(&name, "two");
    channel.call(basic::Cancel { consumer_tag: "one".into(), nowait: false });
    channel.look_at(&name);
    second.close();
    channel.send(passive(&name));
    channel.expect_close(404, &format!("NOT_FOUND - no queue '{name}' in vhost '/'"), (50, 10));
}

#[test]
fn nothing_is_answered_where_no_answer_is_wanted() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, a, b) = (test.queue("nowait"), test.exchange("a"), test.exchange("b"));
    let q = || queue.as_str().into();
    channel.send(queue::Declare { nowait: true, ..declare(&queue) });
    channel.send(exchange::Declare { nowait: true, ..declare_exchange(&a) });
    channel.send(exchange::Declare { nowait: true, ..declare_exchange(&b) });
    let bind = exchange::Bind {
        destination: b.as_str().into(),
        source: a.as_str().into(),
        routing_key: "k".into(),
        nowait: true,
        arguments: FieldTable::default(),
    };
    channel.send(bind.clone());
    channel.send(queue::Bind {
        queue: q(),
        exchange: b.as_str().into(),
        routing_key: "k".into(),
        nowait: true,
        arguments: FieldTable::default(),
    });
    channel.publish(&a, "k", "x");
    assert_eq!(channel.get_with(&queue, true).unwrap().text(), "x", "all of it was done");
    let consume = basic::Consume { queue: q(), consumer_tag: "c".into(), nowait: true, ..Default::default() };
    channel.send(consume);
    channel.publish(&a, "k", "y");
    assert_eq!(channel.expect_deliver().text(), "y");
    channel.send(basic::Cancel { consumer_tag: "c".into(), nowait: true });
    channel.send(exchange::Unbind {
        destination: bind.destination,
        source: bind.source,
        routing_key: bind.routing_key,
        nowait: true,
        arguments: FieldTable::default(),
    });
    channel.publish(&a, "k", "z");
    channel.publish("", &queue, "purged");
    channel.send(queue::Purge { queue: q(), nowait: true });
    assert_eq!(channel.count(&queue), 0);
    channel.send(exchange::Delete { exchange: a.as_str().into(), if_unused: false, nowait: true });
    channel.send(queue::Delete { nowait: true, ..delete(&queue) });
    channel.expect_nothing();
    channel.send(passive(&queue));
    channel.expect_close(404, &format!("NOT_FOUND - no queue '{queue}' in vhost '/'"), (50, 10));
}

#[test]
fn errors_come_though_no_answer_is_wanted() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.send(queue::Declare { nowait: true, ..passive("proto.missing") });
    channel.expect_close(404, "NOT_FOUND - no queue 'proto.missing' in vhost '/'", (50, 10));
}

#[test]
fn a_queue_is_deleted_only_if_unused_or_empty_where_that_is_asked() {
    let test = Test::start();
    let peer = test.connect();
    let name = test.queue("conditions");
    let keeper = peer.open(2);
    keeper.call(declare(&name));
    keeper.publish("", &name, "x");
    keeper.expect_nothing_from(&name);
    let channel = peer.open(1);
    channel.send(queue::Delete { if_empty: true, ..delete(&name) });
    let text = format!("PRECONDITION_FAILED - queue '{name}' in vhost '/' not empty");
    channel.expect_close(406, &text, (50, 40));
    keeper.consume(&name, "c");
    keeper.expect_deliver();
    let channel = peer.open(1);
    channel.send(queue::Delete { if_unused: true, ..delete(&name) });
    let text = format!("PRECONDITION_FAILED - queue '{name}' in vhost '/' in use");
    channel.expect_close(406, &text, (50, 40));
    keeper.call(basic::Cancel { consumer_tag: "c".into(), nowait: false });
    let both = queue::Delete { if_unused: true, if_empty: true, ..delete(&name) };
    assert_eq!(keeper.call(both).message_count, 0);
}

#[test]
fn deleting_and_purging_tell_how_many_ready_messages_went() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let name = test.queue("removed");
    channel.call(declare(&name));
    for body in ["first", "second", "third"] {
        channel.publish("", &name, body);
    }
    let held = channel.get(&name).unwrap().delivery_tag;
    let purged = channel.call(queue::Purge { queue: name.as_str().into(), nowait: false });
    assert_eq!(purged.message_count, 2);
    channel.requeue(held);
    channel.publish("", &name, "y");
    assert_eq!(
        channel.get_with(&name, true).unwrap().text(),
        "first",
        "what was unacknowledged is not purged"
    );
    channel.publish("", &name, "z");
    assert_eq!(channel.call(delete(&name)).message_count, 2);
    assert_eq!(channel.call(delete(&name)).message_count, 0, "deleting what is not there is fine");
}

#[test]
fn line_ends_are_taken_out_of_names() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let name = test.queue("lines");
    let ok = channel.call(declare(&format!("\r\n{name}\n")));
    assert_eq!(ok.queue.as_str(), name);
    channel.look_at(&format!("{name}\r"));
}

#[test]
fn names_may_have_255_bytes_of_utf8() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let start = unique("länge");
    let name = format!("{start}{}", "x".repeat(255 - start.len()));
    channel.call(queue::Declare { exclusive: true, ..declare(&name) });
    channel.publish("", &name, "x");
    assert_eq!(channel.get(&name).unwrap().routing_key, name);
}

#[test]
fn arguments_of_the_wrong_type_or_range_are_refused() {
    let rows = [
        (
            "x-message-ttl",
            text("x"),
            "invalid arg 'x-message-ttl' for queue '{}' in vhost '/': \"expected integer, got longstr\"",
        ),
        (
            "x-message-ttl",
            (-1).into(),
            "invalid arg 'x-message-ttl' for queue '{}' in vhost '/': {value_negative,-1}",
        ),
        ("x-expires", 0.into(), "invalid arg 'x-expires' for queue '{}' in vhost '/': {value_zero,0}"),
        (
            "x-max-length",
            (-5).into(),
            "invalid arg 'x-max-length' for queue '{}' in vhost '/': {value_negative,-5}",
        ),
        (
            "x-max-priority",
            300.into(),
            "invalid arg 'x-max-priority' for queue '{}' in vhost '/': {max_value_exceeded,300}",
        ),
        ("x-overflow", text("x"), "invalid arg 'x-overflow' for queue '{}' in vhost '/': invalid_overflow"),
        (
            "x-single-active-consumer",
            text("x"),
            "invalid arg 'x-single-active-consumer' for queue '{}' in vhost '/': {unacceptable_type,longstr}",
        ),
    ];
    let test = Test::start();
    let peer = test.connect();
    for (argument, value, text) in rows {
        let name = test.queue("argument");
        let channel = peer.open(1);
        channel.send(queue::Declare { arguments: table([(argument, value)]), ..declare(&name) });
        let text = format!("PRECONDITION_FAILED - {}", text.replace("{}", &name));
        channel.expect_close(406, &text, (50, 10));
    }
}
