//! The event exchange: what happens in the broker is told to `amq.rabbitmq.event`, if a setting says so.

use amq_protocol::protocol::{basic, connection, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use warren::engine::policy::PolicyDeclare;
use warren_tests::eventually;

use crate::peer::{Channel, GREETING, Message, Peer, start_ok, table, text};
use crate::target::{OwnBroker, Test, differs_from_rabbitmq, needs_own_broker};

fn telling_broker() -> OwnBroker {
    OwnBroker::start(|config| config.server.event_exchange = true)
}

/// A queue with the events under this key.
fn watcher(channel: Channel<'_>, key: &str) -> String {
    let queue = channel.temp_queue();
    channel.bind(&queue, "amq.rabbitmq.event", key);
    // The binding tells of itself, and what was told before it may come behind it.
    if key == "#" {
        while next(channel, &queue).routing_key != "binding.created" {}
    }
    queue
}

/// The next event. They come by a way of their own, so they may take a moment.
#[track_caller]
fn next(channel: Channel<'_>, queue: &str) -> Message {
    eventually("an event is told", || channel.get_with(queue, true))
}

fn headers(message: &Message) -> FieldTable {
    message.properties.headers().clone().unwrap_or_default()
}

/// Expects an event with these headers among others.
#[track_caller]
fn expect<const N: usize>(message: &Message, key: &str, wanted: [(&str, AMQPValue); N]) -> FieldTable {
    assert_eq!(message.routing_key, key, "{:?}", headers(message));
    let headers = headers(message);
    for (name, value) in wanted {
        assert_eq!(headers.inner().get(name), Some(&value), "{key}: {name}");
    }
    headers
}

fn yes(value: bool) -> AMQPValue {
    AMQPValue::Boolean(value)
}

#[test]
fn queues_exchanges_and_bindings_tell_of_their_beginning_and_end() {
    if needs_own_broker() {
        return;
    }
    let broker = telling_broker();
    let (peer, observer) = (broker.connect(), broker.connect());
    let (channel, watching) = (peer.open(1), observer.open(1));
    let events = watcher(watching, "#");
    let limit = table([("x-max-length", AMQPValue::LongInt(5))]);
    let declare =
        exchange::Declare { exchange: "e".into(), kind: "topic".into(), durable: true, ..Default::default() };
    channel.call(declare.clone());
    channel.call(declare);
    channel.call(queue::Declare {
        queue: "q".into(),
        durable: true,
        arguments: limit.clone(),
        ..Default::default()
    });
    channel.bind("q", "e", "a.*");
    channel.call(queue::Delete { queue: "q".into(), ..Default::default() });
    channel.call(exchange::Delete { exchange: "e".into(), ..Default::default() });

    expect_exchange_created(&next(watching, &events));
    let created = next(watching, &events);
    expect(&created, "queue.created", named("q"));
    expect(
        &created,
        "queue.created",
        [
            ("durable", yes(true)),
            ("exclusive", yes(false)),
            ("auto_delete", yes(false)),
            ("owner_pid", text("")),
            ("arguments", AMQPValue::FieldTable(limit)),
        ],
    );
    for key in ["binding.created", "binding.deleted"] {
        let headers = [
            ("source_name", text("e")),
            ("source_kind", text("exchange")),
            ("destination_name", text("q")),
            ("destination_kind", text("queue")),
            ("routing_key", text("a.*")),
            ("vhost", text("/")),
            ("user_who_performed_action", text("guest")),
        ];
        expect(&next(watching, &events), key, headers);
    }
    expect(&next(watching, &events), "queue.deleted", named("q"));
    expect(&next(watching, &events), "exchange.deleted", named("e"));
}

/// What the user did to a thing of this name.
fn named(name: &str) -> [(&'static str, AMQPValue); 3] {
    [("name", text(name)), ("vhost", text("/")), ("user_who_performed_action", text("guest"))]
}

#[track_caller]
fn expect_exchange_created(created: &Message) {
    assert_eq!((created.exchange.as_str(), created.content.body.len()), ("amq.rabbitmq.event", 0));
    assert_eq!(*created.properties.delivery_mode(), Some(2));
    let told = expect(created, "exchange.created", named("e"));
    let Some(&AMQPValue::LongLongInt(at_ms)) = told.inner().get("timestamp_in_ms") else {
        panic!("{told:?}")
    };
    let at_s = created.properties.timestamp().and_then(|at| i64::try_from(at).ok());
    assert!(at_s == Some(at_ms / 1000) && at_s > Some(1_700_000_000), "{at_ms} {at_s:?}");
    let headers = [
        ("type", text("topic")),
        ("durable", yes(true)),
        ("auto_delete", yes(false)),
        ("internal", yes(false)),
        ("arguments", AMQPValue::FieldTable(FieldTable::default())),
    ];
    expect(created, "exchange.created", headers);
}

#[test]
fn connections_channels_and_consumers_tell_of_their_beginning_and_end() {
    if needs_own_broker() {
        return;
    }
    let broker = telling_broker();
    let observer = broker.connect();
    let watching = observer.open(1);
    let events = watcher(watching, "#");
    let peer = broker.connect();
    let channel = peer.open(7);
    let queue = channel.temp_queue();
    channel.qos(9, false);
    channel.consume(&queue, "tag");
    channel.close();
    drop(peer);

    let connection = expect_connection_created(&broker, watching, &events);
    let opened = [
        ("number", AMQPValue::LongLongInt(7)),
        ("connection", connection.clone()),
        ("user", text("guest")),
        ("vhost", text("/")),
    ];
    let opened = expect(&next(watching, &events), "channel.created", opened);
    expect_ends(&broker, &opened, "name");
    let channel = opened.inner()["pid"].clone();
    let exclusive = [("name", text(&queue)), ("exclusive", yes(true)), ("owner_pid", connection.clone())];
    expect(&next(watching, &events), "queue.created", exclusive);
    let consumer = || [("consumer_tag", text("tag")), ("queue", text(&queue)), ("channel", channel.clone())];
    let started = next(watching, &events);
    expect(&started, "consumer.created", consumer());
    let headers = [
        ("prefetch_count", AMQPValue::LongLongInt(9)),
        ("ack_required", yes(true)),
        ("exclusive", yes(false)),
    ];
    expect(&started, "consumer.created", headers);
    expect(&next(watching, &events), "consumer.deleted", consumer());
    expect(&next(watching, &events), "channel.closed", [("pid", channel.clone())]);
    let internally = ("user_who_performed_action", text("rmq-internal"));
    expect(&next(watching, &events), "queue.deleted", [("name", text(&queue)), internally]);
    let closed = expect(&next(watching, &events), "connection.closed", [("pid", connection)]);
    expect_ends(&broker, &closed, "name");
}

/// Expects a login and the connection that follows it; returns what the connection is called in other events.
#[track_caller]
fn expect_connection_created(broker: &OwnBroker, watching: Channel<'_>, events: &str) -> AMQPValue {
    let login = [
        ("name", text("guest")),
        ("auth_mechanism", text("PLAIN")),
        ("peer_host", text("127.0.0.1")),
        ("ssl", yes(false)),
    ];
    let login = expect(&next(watching, events), "user.authentication.success", login);
    expect_ends(broker, &login, "connection_name");
    let connection = [
        ("user", text("guest")),
        ("vhost", text("/")),
        ("protocol", text("{0,9,1}")),
        ("port", AMQPValue::LongLongInt(broker.address().port().into())),
    ];
    let connection = expect(&next(watching, events), "connection.created", connection);
    expect_ends(broker, &connection, "name");
    connection.inner()["pid"].clone()
}

/// Expects a text that names the broker's end of the connection.
#[track_caller]
fn expect_ends(broker: &OwnBroker, headers: &FieldTable, field: &str) {
    let Some(AMQPValue::LongString(name)) = headers.inner().get(field) else { panic!("{headers:?}") };
    let name = name.to_string();
    assert!(name.contains(&format!("-> {}", broker.address())), "{name}");
}

#[test]
fn a_consumer_tells_of_its_end_once_however_it_ends() {
    if needs_own_broker() {
        return;
    }
    let broker = telling_broker();
    let (peer, observer) = (broker.connect(), broker.connect());
    let (channel, watching) = (peer.open(1), observer.open(1));
    let events = watcher(watching, "consumer.*");
    let queue = channel.temp_queue();
    channel.consume(&queue, "cancelled");
    channel.call(basic::Cancel { consumer_tag: "cancelled".into(), nowait: false });
    channel.consume(&queue, "deleted");
    channel.send(queue::Delete { queue: queue.as_str().into(), ..Default::default() });
    channel.expect::<queue::DeleteOk>();
    channel.expect::<basic::Cancel>();
    channel.close();
    for (key, tag) in [
        ("consumer.created", "cancelled"),
        ("consumer.deleted", "cancelled"),
        ("consumer.created", "deleted"),
        ("consumer.deleted", "deleted"),
    ] {
        expect(&next(watching, &events), key, [("consumer_tag", text(tag)), ("queue", text(&queue))]);
    }
    assert!(watching.get(&events).is_none());
}

#[test]
fn refused_logins_are_told() {
    if needs_own_broker() {
        return;
    }
    let broker = OwnBroker::start(|config| {
        config.server.event_exchange = true;
        config.auth.failure_delay = std::time::Duration::ZERO;
    });
    let observer = broker.connect();
    let watching = observer.open(1);
    let events = watcher(watching, "user.authentication.failure");
    let refused = Peer::dial(broker.address());
    refused.send_bytes(GREETING);
    refused.control().expect::<connection::Start>();
    refused.control().send(start_ok("PLAIN", b"\0guest\0wrong", &[]));
    let failure = next(watching, &events);
    expect(
        &failure,
        "user.authentication.failure",
        [("name", text("guest")), ("error", text("wrong user name or password"))],
    );
}

#[test]
fn policies_are_told() {
    if needs_own_broker() {
        return;
    }
    let broker = telling_broker();
    let observer = broker.connect();
    let watching = observer.open(1);
    let events = watcher(watching, "policy.*");
    let definition = serde_json::json!({"max-length": 3, "overflow": "reject-publish"});
    broker.broker().set_policy("/", "limit", PolicyDeclare::new("^q", definition)).expect("it is valid");
    broker.broker().delete_policy("/", "limit").expect("it is there");
    let definition = table([("max-length", AMQPValue::LongLongInt(3)), ("overflow", text("reject-publish"))]);
    let set = [
        ("name", text("limit")),
        ("vhost", text("/")),
        ("pattern", text("^q")),
        ("apply-to", text("all")),
        ("priority", AMQPValue::LongLongInt(0)),
        ("definition", AMQPValue::FieldTable(definition)),
    ];
    expect(&next(watching, &events), "policy.set", set);
    expect(&next(watching, &events), "policy.cleared", [("name", text("limit")), ("vhost", text("/"))]);
}

#[test]
fn the_event_exchange_is_the_brokers_own() {
    if needs_own_broker() {
        return;
    }
    let broker = telling_broker();
    let peer = broker.connect();
    let channel = peer.open(1);
    channel.call(exchange::Declare {
        exchange: "amq.rabbitmq.event".into(),
        kind: "topic".into(),
        durable: true,
        internal: true,
        ..Default::default()
    });
    channel.publish("amq.rabbitmq.event", "queue.created", "forged");
    let refused = "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.event' in vhost '/'";
    channel.expect_close(403, refused, (60, 40));
}

#[test]
fn without_the_setting_there_is_no_event_exchange() {
    if differs_from_rabbitmq("its plugin may be on") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let name = "amq.rabbitmq.event";
    channel.send(exchange::Declare { exchange: name.into(), passive: true, ..Default::default() });
    channel.expect_close(404, &format!("NOT_FOUND - no exchange '{name}' in vhost '/'"), (40, 10));
}
