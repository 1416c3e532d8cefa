//! Exchanges: declaring, asking, redeclaring, deleting.

use amq_protocol::protocol::{exchange, queue};
use amq_protocol::types::FieldTable;

use crate::peer::text;
use crate::target::Test;

fn declare_exchange(name: &str) -> exchange::Declare {
    exchange::Declare { exchange: name.into(), kind: "direct".into(), ..exchange::Declare::default() }
}

#[test]
fn an_auto_delete_exchange_goes_with_the_last_binding_from_it() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (name, source) = (test.exchange("auto"), test.exchange("source"));
    channel.call(exchange::Declare { auto_delete: true, ..declare_exchange(&name) });
    channel.exchange(&source, "fanout");
    channel.bind_exchange(&name, &source, "");
    channel.call(exchange::Unbind {
        destination: name.as_str().into(),
        source: source.as_str().into(),
        ..exchange::Unbind::default()
    });
    channel.call(exchange::Declare { passive: true, ..declare_exchange(&name) });
    let queue = channel.temp_queue();
    channel.bind(&queue, &name, "a");
    channel.bind(&queue, &name, "b");
    let unbind = |key: &str| {
        channel.call(queue::Unbind {
            queue: queue.as_str().into(),
            exchange: name.as_str().into(),
            routing_key: key.into(),
            arguments: FieldTable::default(),
        });
    };
    unbind("a");
    channel.call(exchange::Declare { passive: true, ..declare_exchange(&name) });
    unbind("b");
    channel.send(exchange::Declare { passive: true, ..declare_exchange(&name) });
    channel.expect_close(404, &format!("NOT_FOUND - no exchange '{name}' in vhost '/'"), (40, 10));
}

#[test]
fn deleting_a_queue_unbinds_it_and_so_may_take_its_exchange_along() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let name = test.exchange("auto");
    channel.call(exchange::Declare { auto_delete: true, ..declare_exchange(&name) });
    let queue = channel.temp_queue();
    channel.bind(&queue, &name, "a");
    channel.call(queue::Delete { queue: queue.as_str().into(), ..queue::Delete::default() });
    channel.send(exchange::Declare { passive: true, ..declare_exchange(&name) });
    channel.expect_close(404, &format!("NOT_FOUND - no exchange '{name}' in vhost '/'"), (40, 10));
}

#[test]
fn redeclaring_an_exchange_with_other_properties_is_refused() {
    type Change = fn(&mut exchange::Declare);
    let rows: &[(&str, Change)] = &[
        (
            "inequivalent arg 'type' for exchange '{}' in vhost '/': received 'fanout' but current is 'direct'",
            |declare| {
                declare.kind = "fanout".into();
            },
        ),
        (
            "inequivalent arg 'durable' for exchange '{}' in vhost '/': received 'true' but current is 'false'",
            |declare| declare.durable = true,
        ),
        (
            "inequivalent arg 'auto_delete' for exchange '{}' in vhost '/': received 'true' but current is 'false'",
            |declare| declare.auto_delete = true,
        ),
        (
            "inequivalent arg 'internal' for exchange '{}' in vhost '/': received 'true' but current is 'false'",
            |declare| declare.internal = true,
        ),
        (
            "inequivalent arg 'alternate-exchange' for exchange '{}' in vhost '/': received the value 'amq.fanout' of \
             type 'longstr' but current is none",
            |declare| {
                declare.arguments.insert("alternate-exchange".into(), text("amq.fanout"));
            },
        ),
    ];
    let test = Test::start();
    let peer = test.connect();
    let name = test.exchange("equivalence");
    peer.open(2).call(declare_exchange(&name));
    for (text, change) in rows {
        let mut changed = declare_exchange(&name);
        change(&mut changed);
        let channel = peer.open(1);
        channel.send(changed);
        let text = format!("PRECONDITION_FAILED - {}", text.replace("{}", &name));
        channel.expect_close(406, &text, (40, 10));
    }
    let channel = peer.open(1);
    channel.call(declare_exchange(&name));
    let question =
        exchange::Declare { passive: true, kind: "headers".into(), durable: true, ..declare_exchange(&name) };
    channel.call(question);
}

#[test]
fn the_exchanges_that_every_vhost_has_exist() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let rows = [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ];
    for (name, kind) in rows {
        let durable = exchange::Declare { kind: kind.into(), durable: true, ..declare_exchange(name) };
        channel.call(durable);
    }
    channel.call(exchange::Declare { passive: true, ..declare_exchange("amq.rabbitmq.trace") });
}

#[test]
fn an_exchange_is_deleted_only_if_unused_where_that_is_asked() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (name, target) = (test.exchange("used"), test.exchange("target"));
    channel.call(declare_exchange(&name));
    channel.call(declare_exchange(&target));
    channel.bind_exchange(&target, &name, "");
    let unused = |name: &str| exchange::Delete { exchange: name.into(), if_unused: true, nowait: false };
    channel.send(unused(&name));
    let text = format!("PRECONDITION_FAILED - exchange '{name}' in vhost '/' in use");
    channel.expect_close(406, &text, (40, 20));
    let channel = peer.open(1);
    // Only bindings from an exchange make it used, not those to it.
    channel.call(unused(&target));
    channel.call(unused(&name));
    channel.call(unused(&name));
}

#[test]
fn a_new_exchange_of_the_same_name_has_no_old_bindings() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let name = test.exchange("again");
    channel.call(declare_exchange(&name));
    let queue = channel.temp_queue();
    channel.bind(&queue, &name, "k");
    channel.call(exchange::Delete { exchange: name.as_str().into(), ..exchange::Delete::default() });
    channel.call(declare_exchange(&name));
    channel.publish_mandatory(&name, "k", "x");
    assert_eq!(channel.expect_return().text(), "x");
}
