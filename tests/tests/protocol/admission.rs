//! Limits of the broker as a whole: connections in all, of one address and in a second, consumers, message sizes, queues.

use amq_protocol::protocol::{AMQPClass, basic, connection, queue};

use warren::Config;
use warren::access::{Permissions, VHostSettings};
use warren::config::Takes;
use warren_tests::eventually;

use crate::peer::{Options, Peer};
use crate::target::{OwnBroker, needs_own_broker};

/// Asks for `/` and says what came of it.
fn open_vhost(peer: &Peer) -> AMQPClass {
    peer.control().send(connection::Open { virtual_host: "/".into() });
    peer.control().next().method
}

/// Connects as far as one gets, and is refused with this text.
fn expect_refusal(broker: &OwnBroker, text: &str) {
    let peer = Peer::authenticated(broker.address(), &Options::default());
    peer.control().send(connection::Open { virtual_host: "/".into() });
    peer.expect_close(530, &format!("NOT_ALLOWED - connection refused: {text} is reached"), (10, 40));
}

#[test]
fn connections_beyond_the_limit_are_told_so_until_others_have_gone() {
    if needs_own_broker() {
        return;
    }
    let broker = OwnBroker::start(|config| config.limits.connections_max = 2);
    let (first, second) = (broker.connect(), broker.connect());
    expect_refusal(&broker, "node connection limit (2)");
    drop(first);
    eventually("a connection has room again", || {
        let answer = open_vhost(&Peer::authenticated(broker.address(), &Options::default()));
        matches!(answer, AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))).then_some(())
    });
    drop(second);
}

#[test]
fn connections_of_one_address_are_limited() {
    if needs_own_broker() {
        return;
    }
    let broker = OwnBroker::start(|config| config.limits.connections_per_address_max = Some(1));
    let _first = broker.connect();
    expect_refusal(&broker, "connection limit (1) of address 127.0.0.1");
}

#[test]
fn new_connections_are_limited_by_the_second() {
    if needs_own_broker() {
        return;
    }
    let broker = OwnBroker::start(|config| config.limits.connections_per_second_max = Some(1));
    let text = "NOT_ALLOWED - connection refused: limit of new connections per second (1) is reached";
    // On a slow machine seconds may pass between two that follow each other at once; sooner or later they do not.
    eventually("one of two is refused", || {
        let peers = [(); 2].map(|()| Peer::authenticated(broker.address(), &Options::default()));
        peers.iter().find_map(|peer| match open_vhost(peer) {
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
                assert_eq!((close.reply_code, close.reply_text.as_str()), (530, text));
                Some(())
            }
            _ => None,
        })
    });
}

#[test]
fn queues_in_all_virtual_hosts_together_are_limited() {
    if needs_own_broker() {
        return;
    }
    let broker = OwnBroker::start(|config| config.limits.queues_max = Some(2));
    let admin = broker.broker().admin();
    admin.add_vhost("other", VHostSettings::default()).expect("a new name");
    admin.set_permissions("guest", "other", Permissions::all()).expect("both are there");
    let peer = broker.connect();
    let other = Peer::connect(broker.address(), &Options { vhost: "other".to_owned(), ..Options::default() });
    peer.open(1).queue("a");
    let channel = other.open(1);
    channel.queue("b");
    // One that is there can be declared again.
    channel.queue("b");
    channel.send(queue::Declare { queue: "c".into(), ..Default::default() });
    let text = "PRECONDITION_FAILED - cannot declare queue 'c': queue limit in cluster (2) is reached";
    channel.expect_close(406, text, (50, 10));
    peer.channel(1).call(queue::Delete { queue: "a".into(), ..Default::default() });
    other.open(1).queue("c");
}

#[test]
fn consumers_of_a_channel_and_bodies_are_limited() {
    if needs_own_broker() {
        return;
    }
    let broker = OwnBroker::start(|config| {
        config.limits.consumers_per_channel_max = 1;
        config.limits.message_bytes_max = 4;
    });
    let peer = broker.connect();
    let channel = peer.open(1);
    channel.queue("q");
    channel.publish("", "q", "four");
    channel.publish("", "q", "fives");
    let text = "PRECONDITION_FAILED - message size 5 is larger than configured max size 4";
    channel.expect_close(406, text, (60, 40));
    let channel = peer.open(2);
    channel.consume("q", "one");
    channel.send(basic::Consume { queue: "q".into(), consumer_tag: "two".into(), ..Default::default() });
    peer.expect_close(530, "NOT_ALLOWED - reached maximum (1) of consumers per channel", (60, 20));
}

#[test]
fn changed_settings_hold_for_what_comes_after_a_reload() {
    if needs_own_broker() {
        return;
    }
    let mut config = Config::in_process();
    config.limits.connections_per_address_max = Some(1);
    let broker = OwnBroker::start(|own| own.clone_from(&config));
    let _first = broker.connect();
    expect_refusal(&broker, "connection limit (1) of address 127.0.0.1");
    config.limits.connections_per_address_max = None;
    config.limits.queues_max = Some(1);
    config.limits.message_bytes_max = 4;
    config.listen.port = 1;
    let report = broker.broker().reload(&config).expect("nothing is wrong with it");
    let changes: Vec<_> = report.changes.iter().map(|change| (change.key, change.takes)).collect();
    assert_eq!(
        changes,
        [
            ("listen.port", Takes::Restart),
            ("limits.connections_per_address_max", Takes::Effect),
            ("limits.queues_max", Takes::Effect),
            ("limits.message_bytes_max", Takes::Effect),
        ]
    );
    let peer = broker.connect();
    let channel = peer.open(1);
    channel.queue("a");
    channel.publish("", "a", "fives");
    let text = "PRECONDITION_FAILED - message size 5 is larger than configured max size 4";
    channel.expect_close(406, text, (60, 40));
    let channel = peer.open(2);
    channel.send(queue::Declare { queue: "b".into(), ..Default::default() });
    let text = "PRECONDITION_FAILED - cannot declare queue 'b': queue limit in cluster (1) is reached";
    channel.expect_close(406, text, (50, 10));
}
