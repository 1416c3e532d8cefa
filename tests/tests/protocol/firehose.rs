//! The firehose: what is published and delivered is told to `amq.rabbitmq.trace` while a vhost is traced.

use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::types::{AMQPValue, FieldArray, FieldTable};

use crate::peer::{Channel, Message, table, text};
use crate::target::{OwnBroker, Test, needs_own_broker};

/// A queue that gets all that is traced.
fn watcher(channel: Channel<'_>) -> String {
    let queue = channel.temp_queue();
    channel.bind(&queue, "amq.rabbitmq.trace", "#");
    queue
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a AMQPValue> {
    message.properties.headers().as_ref().and_then(|headers| headers.inner().get(name))
}

#[track_caller]
fn expect_headers<const N: usize>(message: &Message, wanted: [(&str, AMQPValue); N]) {
    for (name, value) in wanted {
        assert_eq!(header(message, name), Some(&value), "{name}");
    }
}

/// The header `connection`.
fn connection_of(message: &Message) -> String {
    let Some(AMQPValue::LongString(connection)) = header(message, "connection") else { panic!("a text") };
    connection.to_string()
}

fn texts(values: &[&str]) -> AMQPValue {
    let values: Vec<AMQPValue> = values.iter().map(|value| text(value)).collect();
    AMQPValue::FieldArray(FieldArray::from(values))
}

#[test]
fn publishes_and_deliveries_are_told_with_all_that_is_known_of_them() {
    if needs_own_broker() {
        return;
    }
    let broker = OwnBroker::start(|_| ());
    assert!(broker.broker().trace_on("/") && !broker.broker().trace_on("none"));
    let (peer, observer) = (broker.connect(), broker.connect());
    let (channel, watching) = (peer.open(3), observer.open(1));
    let traces = watcher(watching);
    let queue = channel.temp_queue();
    channel.bind(&queue, "amq.direct", "k");
    let headers = table([("a", AMQPValue::LongInt(1)), ("CC", texts(&["k"])), ("BCC", texts(&["secret"]))]);
    let properties =
        AMQPProperties::default().with_headers(headers).with_delivery_mode(2).with_message_id("m".into());
    channel.publish_with("amq.direct", "other", &properties, b"hello");
    channel.requeue(channel.get(&queue).expect("it is routed by CC").delivery_tag);
    channel.consume(&queue, "c");
    channel.expect_deliver();
    channel.expect_nothing();

    let published = watching.get(&traces).expect("the publish is traced");
    assert_eq!(
        (published.exchange.as_str(), published.routing_key.as_str(), published.text()),
        ("amq.rabbitmq.trace", "publish.amq.direct", "hello")
    );
    assert_eq!(*published.properties.delivery_mode(), None);
    expect_headers(
        &published,
        [
            ("exchange_name", text("amq.direct")),
            ("routing_keys", texts(&["other", "k", "secret"])),
            ("node", text("warren")),
            ("vhost", text("/")),
            ("channel", AMQPValue::LongInt(3)),
            ("user", text("guest")),
            ("routed_queues", texts(&[&queue])),
        ],
    );
    let Some(AMQPValue::FieldTable(described)) = header(&published, "properties") else { panic!("a table") };
    let inner = AMQPValue::FieldTable(table([("a", AMQPValue::LongInt(1)), ("CC", texts(&["k"]))]));
    let rest = [("delivery_mode", AMQPValue::LongInt(2)), ("message_id", text("m"))];
    assert_eq!(*described, table([("headers", inner)].into_iter().chain(rest)), "as it is passed on");
    let connection = connection_of(&published);
    assert!(connection.ends_with(&broker.address().to_string()), "{connection}");

    for redelivered in [0, 1] {
        let delivered = watching.get(&traces).expect("each delivery is traced");
        assert_eq!(delivered.routing_key, format!("deliver.{queue}"));
        assert_eq!(delivered.text(), "hello");
        expect_headers(
            &delivered,
            [
                ("redelivered", AMQPValue::LongInt(redelivered)),
                ("exchange_name", text("amq.direct")),
                ("routing_keys", texts(&["other", "k"])),
                ("channel", AMQPValue::LongInt(3)),
                ("user", text("guest")),
                ("connection", text(&connection)),
            ],
        );
        assert_eq!(header(&delivered, "routed_queues"), None);
    }
    assert!(watching.get(&traces).is_none(), "what is traced is not traced itself");
}

#[test]
fn nothing_is_told_before_it_is_switched_on_or_after_it_is_switched_off() {
    if needs_own_broker() {
        return;
    }
    let broker = OwnBroker::start(|_| ());
    let peer = broker.connect();
    let channel = peer.open(1);
    let traces = watcher(channel);
    let queue = channel.temp_queue();
    let publish_and_get = |body: &str| {
        channel.publish("", &queue, body);
        channel.get_with(&queue, true).expect("it is there");
    };
    publish_and_get("before");
    broker.broker().trace_on("/");
    publish_and_get("traced");
    channel.publish("", "nowhere", "lost");
    channel.expect_nothing();
    broker.broker().trace_off("/");
    publish_and_get("after");
    let told: Vec<(String, String)> = std::iter::from_fn(|| channel.get(&traces))
        .map(|message| (message.routing_key.clone(), message.text().to_owned()))
        .collect();
    let wanted = [
        ("publish.".to_owned(), "traced".to_owned()),
        (format!("deliver.{queue}"), "traced".to_owned()),
        ("publish.".to_owned(), "lost".to_owned()),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn a_key_that_would_be_too_long_is_cut_and_a_large_body_is_told_whole() {
    if needs_own_broker() {
        return;
    }
    let broker = OwnBroker::start(|_| ());
    broker.broker().trace_on("/");
    let peer = broker.connect();
    let channel = peer.open(1);
    let traces = watcher(channel);
    let name = "ü".repeat(127);
    channel.exchange(&name, "fanout");
    let body = "x".repeat(300_000);
    channel.publish(&name, "k", &body);
    let told = channel.get(&traces).expect("it is traced");
    // "publish." and 123 letters of two bytes make 254; half a letter more would be 255.
    assert_eq!(told.routing_key, format!("publish.{}", "ü".repeat(123)));
    assert_eq!(told.text(), body);
    assert_eq!(header(&told, "properties"), Some(&AMQPValue::FieldTable(FieldTable::default())));
}

#[test]
fn the_exchange_for_it_takes_nothing_from_clients() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.publish("amq.rabbitmq.trace", "publish.x", "forged");
    let text = "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'";
    channel.expect_close(403, text, (60, 40));
}
