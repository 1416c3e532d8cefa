//! The PROXY protocol: whom the broker sees behind a load balancer, and who may say so.

use amq_protocol::protocol::connection;
use warren::Config;
use warren::access::{Permissions, Tags};

use crate::peer::{ALL_CAPABILITIES, Peer};
use crate::target::{OwnBroker, needs_own_broker};

const FROM_ELSEWHERE: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 5672\r\n";

/// The same in version 2, with an addition at its end.
const FROM_ELSEWHERE_BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xC0\0\x02\x07\xC0\0\x02\x01\x9C\x40\x16\x28\x04\0\x01\0";

const FROM_ITSELF: &[u8] = b"PROXY UNKNOWN\r\n";

/// A broker that trusts this machine, with a user besides guest.
fn behind_a_load_balancer(adjust: impl FnOnce(&mut Config)) -> OwnBroker {
    let broker = OwnBroker::start(|config| {
        config.listen.proxy_from = vec!["127.0.0.0/8".parse().expect("a network")];
        config.auth.failure_delay = std::time::Duration::ZERO;
        adjust(config);
    });
    let admin = broker.broker().admin();
    admin.add_user("alex", b"123", Tags::new(["administrator"])).expect("a new name");
    admin.set_permissions("alex", "/", Permissions::all()).expect("both are there");
    broker
}

/// Logs in behind a header, and says whether that was allowed.
fn logs_in(broker: &OwnBroker, header: &[u8], user: &str, password: &str) -> bool {
    let peer = Peer::dial(broker.address());
    peer.send_bytes(header);
    peer.log_in_as(ALL_CAPABILITIES, user, password);
    match peer.control().next().method {
        amq_protocol::protocol::AMQPClass::Connection(connection::AMQPMethod::Tune(_)) => true,
        amq_protocol::protocol::AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
            assert_eq!(close.reply_code, 403, "{close:?}");
            false
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_address_in_the_header_decides_who_is_local() {
    if needs_own_broker() {
        return;
    }
    let broker = behind_a_load_balancer(|_| ());
    for header in [FROM_ELSEWHERE, FROM_ELSEWHERE_BINARY] {
        assert!(!logs_in(&broker, header, "guest", "guest"), "guest from elsewhere");
        assert!(logs_in(&broker, header, "alex", "123"), "alex from elsewhere");
    }
    assert!(logs_in(&broker, FROM_ITSELF, "guest", "guest"), "guest from the load balancer itself");
}

#[test]
fn limits_count_the_address_in_the_header() {
    if needs_own_broker() {
        return;
    }
    let broker = behind_a_load_balancer(|config| config.limits.connections_per_address_max = Some(1));
    let connect = |header: &[u8]| {
        let peer = Peer::dial(broker.address());
        peer.send_bytes(header);
        peer.log_in_as(ALL_CAPABILITIES, "alex", "123");
        peer.tune(&connection::TuneOk { channel_max: 10, frame_max: 8192, heartbeat: 0 });
        peer.control().send(connection::Open { virtual_host: "/".into() });
        peer.control().expect::<connection::Tune>();
        peer
    };
    let first = connect(FROM_ELSEWHERE);
    first.control().expect::<connection::OpenOk>();
    let second = connect(FROM_ELSEWHERE_BINARY);
    let text = "connection refused: connection limit (1) of address 192.0.2.7 is reached";
    second.expect_close(530, &format!("NOT_ALLOWED - {text}"), (10, 40));
    connect(b"PROXY TCP4 192.0.2.8 192.0.2.1 40000 5672\r\n").control().expect::<connection::OpenOk>();
}

#[test]
fn a_load_balancer_that_says_nothing_of_the_client_is_hung_up_on() {
    if needs_own_broker() {
        return;
    }
    let broker = behind_a_load_balancer(|config| {
        config.limits.handshake_timeout = std::time::Duration::from_millis(100);
    });
    let garbage = vec![b'x'; 200];
    for input in
        [&b"AMQP\0\0\x09\x01AMQP\0\0\x09\x01"[..], b"PROXY TCP4 nonsense\r\n", &garbage, b"PROXY", b""]
    {
        let peer = Peer::dial(broker.address());
        peer.send_bytes(input);
        assert_eq!(peer.read_to_end(), b"", "{input:?}");
    }
}

#[test]
fn a_header_from_anybody_else_is_no_greeting() {
    if needs_own_broker() {
        return;
    }
    let broker = OwnBroker::start(|config| {
        config.listen.proxy_from = vec!["192.0.2.0/24".parse().expect("a network")];
    });
    let peer = Peer::dial(broker.address());
    peer.send_bytes(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 5672\r\n");
    assert_eq!(peer.read_to_end(), b"AMQP\0\0\x09\x01");
    broker.connect().open(1);
}
