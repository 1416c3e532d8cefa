//! From the greeting to `connection.open-ok`.

use amq_protocol::protocol::connection::{self, TuneOk};
use amq_protocol::types::AMQPValue;

use crate::peer::{ALL_CAPABILITIES, GREETING, Options, Peer, start_ok};
use crate::target::{OwnBroker, Test, differs_from_rabbitmq, needs_own_broker};

#[test]
fn the_broker_introduces_itself_as_clients_expect() {
    let test = Test::start();
    let peer = Peer::dial(test.address());
    let start = peer.log_in(ALL_CAPABILITIES);
    assert_eq!((start.version_major, start.version_minor), (0, 9));
    let words = |list: &[u8]| -> Vec<String> {
        std::str::from_utf8(list).unwrap().split(' ').map(str::to_owned).collect()
    };
    let mut mechanisms = words(start.mechanisms.as_bytes());
    mechanisms.sort();
    assert_eq!(mechanisms, ["AMQPLAIN", "PLAIN"]);
    assert_eq!(words(start.locales.as_bytes()), ["en_US"]);
    let properties = start.server_properties.inner();
    for name in ["product", "version", "cluster_name", "platform", "copyright", "information"] {
        assert!(matches!(properties.get(name), Some(AMQPValue::LongString(_))), "{name}: {properties:?}");
    }
    let Some(AMQPValue::FieldTable(capabilities)) = properties.get("capabilities") else {
        panic!("no capabilities in {properties:?}");
    };
    let mut names: Vec<&str> = capabilities.inner().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "consumer_priorities",
        "direct_reply_to",
        "exchange_exchange_bindings",
        "per_consumer_qos",
        "publisher_confirms",
    ];
    assert_eq!(names, expected);
    assert!(capabilities.inner().values().all(|value| *value == AMQPValue::Boolean(true)));
    let Some(AMQPValue::LongString(version)) = properties.get("version") else { unreachable!() };
    let version = std::str::from_utf8(version.as_bytes()).unwrap();
    assert_eq!(version.split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{version}");
}

#[test]
fn another_version_of_the_protocol_is_answered_with_ours() {
    let test = Test::start();
    let greetings: [&[u8; 8]; 3] =
        [b"AMQP\x00\x01\x00\x00", b"AMQP\x00\x00\x09\x02", b"AMQP\x01\x01\x09\x09"];
    for greeting in greetings {
        let peer = Peer::dial(test.address());
        peer.send_bytes(greeting);
        assert_eq!(peer.read_to_end(), GREETING, "{greeting:?}");
    }
}

#[test]
fn the_greeting_of_early_0_9_clients_is_understood() {
    let test = Test::start();
    let peer = Peer::dial(test.address());
    peer.send_bytes(b"AMQP\x01\x01\x00\x09");
    peer.control().expect::<connection::Start>();
}

#[test]
fn other_protocols_are_told_what_is_spoken_here() {
    let test = Test::start();
    let greetings: [&[u8]; 3] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00",
        b"\0\0\0\0\0\0\0\0\0\0",
    ];
    for greeting in greetings {
        let peer = Peer::dial(test.address());
        peer.send_bytes(greeting);
        let answer = peer.read_to_end();
        assert!(answer == GREETING, "{answer:?}");
    }
}

#[test]
fn a_greeting_may_come_byte_by_byte() {
    let test = Test::start();
    let peer = Peer::dial(test.address());
    for byte in GREETING {
        peer.send_bytes(&[*byte]);
    }
    peer.control().expect::<connection::Start>();
}

#[test]
fn both_mechanisms_let_a_user_in() {
    let test = Test::start();
    let responses: [(&str, &[u8]); 2] = [
        ("PLAIN", b"\0guest\0guest"),
        ("AMQPLAIN", b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05guest"),
    ];
    for (mechanism, response) in responses {
        let peer = Peer::dial(test.address());
        peer.send_bytes(GREETING);
        peer.control().expect::<connection::Start>();
        peer.control().send(start_ok(mechanism, response, &[]));
        let tune = peer.control().expect::<connection::Tune>();
        peer.tune(&TuneOk { channel_max: tune.channel_max, frame_max: tune.frame_max, heartbeat: 0 });
        peer.control().call(connection::Open { virtual_host: "/".into() });
    }
}

#[test]
fn a_client_may_repeat_its_name_as_the_identity_to_act_as() {
    if differs_from_rabbitmq("it refuses PLAIN responses with an authorization identity") {
        return;
    }
    let test = Test::start();
    let peer = Peer::dial(test.address());
    peer.send_bytes(GREETING);
    peer.control().expect::<connection::Start>();
    peer.control().send(start_ok("PLAIN", b"guest\0guest\0guest", &[]));
    peer.control().expect::<connection::Tune>();
}

const REFUSED: &str = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";

#[test]
fn wrong_credentials_are_refused_with_a_reason_where_the_client_understands() {
    let test = Test::start();
    for response in [&b"\0guest\0wrong"[..], b"\0nobody\0guest"] {
        let peer = Peer::dial(test.address());
        peer.send_bytes(GREETING);
        peer.control().expect::<connection::Start>();
        peer.control().send(start_ok("PLAIN", response, &["authentication_failure_close"]));
        peer.expect_close(403, REFUSED, (0, 0));
    }
}

#[test]
fn wrong_credentials_close_the_socket_of_other_clients() {
    let test = Test::start();
    let peer = Peer::dial(test.address());
    peer.send_bytes(GREETING);
    peer.control().expect::<connection::Start>();
    peer.control().send(start_ok("PLAIN", b"\0guest\0wrong", &[]));
    peer.expect_end();
}

#[test]
fn an_unknown_mechanism_is_refused() {
    if differs_from_rabbitmq("it closes the socket without a word") {
        return;
    }
    let test = Test::start();
    let peer = Peer::dial(test.address());
    peer.send_bytes(GREETING);
    peer.control().expect::<connection::Start>();
    peer.control().send(start_ok("KERBEROS", b"x", ALL_CAPABILITIES));
    peer.expect_close(503, "COMMAND_INVALID - unknown authentication mechanism 'KERBEROS'", (10, 11));
}

/// Logs in and sends this `tune-ok`.
fn tuned(test: &Test, change: fn(&mut TuneOk)) -> Peer {
    let peer = Peer::dial(test.address());
    peer.log_in(ALL_CAPABILITIES);
    let tune = peer.control().expect::<connection::Tune>();
    assert_eq!((tune.channel_max, tune.frame_max, tune.heartbeat), (2047, 131_072, 60));
    let mut tune_ok = TuneOk { channel_max: tune.channel_max, frame_max: tune.frame_max, heartbeat: 0 };
    change(&mut tune_ok);
    peer.tune(&tune_ok);
    peer
}

#[test]
fn a_client_may_not_ask_for_more_than_is_offered_nor_for_too_little() {
    if differs_from_rabbitmq("it closes the socket without a word") {
        return;
    }
    type Row = (fn(&mut TuneOk), &'static str);
    let rows: &[Row] = &[
        (|ok| ok.channel_max = 2048, "channel_max = 2048 is higher than the maximum allowed value (2047)"),
        (
            |ok| ok.channel_max = 0,
            "channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
        ),
        (|ok| ok.frame_max = 131_073, "frame_max = 131073 is higher than the maximum allowed value (131072)"),
        (|ok| ok.frame_max = 0, "frame_max = 0 is higher than the maximum allowed value (131072)"),
        (|ok| ok.frame_max = 4095, "frame_max = 4095 is lower than the minimum allowed value (4096)"),
    ];
    let test = Test::start();
    for (change, text) in rows {
        let peer = tuned(&test, *change);
        peer.expect_close(530, &format!("NOT_ALLOWED - negotiated {text}"), (10, 30));
    }
}

#[test]
fn a_client_may_ask_for_less() {
    let test = Test::start();
    for change in [|ok: &mut TuneOk| ok.frame_max = 4096, |ok: &mut TuneOk| ok.channel_max = 1] {
        let peer = tuned(&test, change);
        peer.control().call(connection::Open { virtual_host: "/".into() });
        peer.open(1).temp_queue();
    }
}

#[test]
fn an_unknown_vhost_is_refused() {
    let test = Test::start();
    let peer = tuned(&test, |_| ());
    peer.control().send(connection::Open { virtual_host: "nowhere".into() });
    peer.expect_close(530, "NOT_ALLOWED - vhost nowhere not found", (10, 40));
}

#[test]
fn steps_of_the_handshake_cannot_be_left_out() {
    if differs_from_rabbitmq("it closes the socket without a word") {
        return;
    }
    let test = Test::start();
    let peer = Peer::dial(test.address());
    peer.log_in(ALL_CAPABILITIES);
    peer.control().expect::<connection::Tune>();
    peer.control().send(connection::Open { virtual_host: "/".into() });
    let close = peer.control().expect::<connection::Close>();
    assert_eq!((close.reply_code, close.class_id, close.method_id), (504, 10, 40), "{close:?}");
}

#[test]
fn a_stranger_who_breaks_the_rules_is_hung_up_on() {
    let test = Test::start();
    let peer = Peer::dial(test.address());
    peer.send_bytes(GREETING);
    peer.control().expect::<connection::Start>();
    peer.control().send(connection::Open { virtual_host: "/".into() });
    peer.expect_end();
}

#[test]
fn a_frame_too_large_for_a_stranger_is_not_waited_for() {
    let test = Test::start();
    let peer = Peer::dial(test.address());
    peer.send_bytes(GREETING);
    peer.control().expect::<connection::Start>();
    peer.send_bytes(&[1, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0]);
    peer.expect_end();
}

#[test]
fn a_new_secret_is_taken() {
    let test = Test::start();
    let peer = test.connect_with(&Options::default());
    peer.control().call(connection::UpdateSecret { new_secret: "guest".into(), reason: "renewed".into() });
    peer.open(1).expect_nothing();
}

#[test]
fn half_a_handshake_is_not_held_open_for_ever() {
    if needs_own_broker() {
        return;
    }
    let broker = OwnBroker::start(|config| {
        config.limits.handshake_timeout = std::time::Duration::from_millis(50);
    });
    let silent = Peer::dial(broker.address());
    assert!(silent.read_to_end().is_empty());
    let halting = Peer::dial(broker.address());
    halting.log_in(ALL_CAPABILITIES);
    halting.control().expect::<connection::Tune>();
    halting.expect_end();
}

#[test]
fn the_limits_of_the_settings_are_offered() {
    if needs_own_broker() {
        return;
    }
    let broker = OwnBroker::start(|config| {
        config.limits.channel_max = 5;
        config.limits.frame_max = 8192;
        config.limits.heartbeat = std::time::Duration::from_secs(7);
        config.server.product = "RabbitMQ".to_owned();
    });
    let peer = Peer::dial(broker.address());
    let start = peer.log_in(ALL_CAPABILITIES);
    assert_eq!(start.server_properties.inner()["product"], AMQPValue::LongString("RabbitMQ".into()));
    let tune = peer.control().expect::<connection::Tune>();
    assert_eq!((tune.channel_max, tune.frame_max, tune.heartbeat), (5, 8192, 7));
}
