//! From the greeting to open-ok, and all that goes wrong on the way.

use super::*;

/// A peer that has sent its credentials.
fn authenticating(properties: FieldTable) -> TestPeer {
    let mut peer = TestPeer::new(config());
    peer.send_bytes(GREETING);
    peer.send(0, &start_ok("PLAIN", b"\0guest\0wrong", properties));
    peer.received();
    peer
}

/// A peer whose credentials were good.
fn tuning(config: SessionConfig) -> TestPeer {
    let mut peer = TestPeer::new(config);
    peer.send_bytes(GREETING);
    peer.send(0, &start_ok("PLAIN", b"\0guest\0guest", capable()));
    peer.connection.handle_reply(None, Ok(Reply::Authenticated));
    peer.received();
    peer
}

#[test]
fn the_handshake_offers_authenticates_tunes_and_opens() {
    for feed in [Feed::Whole, Feed::ByteByByte] {
        let mut peer = TestPeer::new(config());
        peer.feed = feed;
        assert!(peer.send_bytes(GREETING).is_empty());
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: config().server_properties,
            mechanisms: "PLAIN AMQPLAIN".into(),
            locales: "en_US".into(),
        };
        assert_eq!(peer.methods(), [connection(connection::AMQPMethod::Start(start))]);
        let mut actions = peer.send(0, &start_ok("PLAIN", b"\0guest\0secret", capable()));
        let Some(Action::Authenticate(credentials)) = actions.pop() else { panic!() };
        let expected = Credentials {
            mechanism: Mechanism::Plain,
            username: "guest".to_owned(),
            password: b"secret".to_vec(),
        };
        assert!(credentials == expected);
        peer.connection.handle_reply(None, Ok(Reply::Authenticated));
        let tune = connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };
        assert_eq!(peer.methods(), [connection(connection::AMQPMethod::Tune(tune))]);
        assert!(peer.send(0, &tune_ok(10, 4096, 5)).is_empty());
        let actions = peer.send(0, &open("/"));
        assert!(matches!(&actions[..], [Action::OpenVhost { vhost }] if vhost == "/"));
        assert_eq!(peer.received(), []);
        peer.connection.handle_reply(None, Ok(Reply::VhostOpened));
        assert_eq!(peer.methods(), [connection(connection::AMQPMethod::OpenOk(connection::OpenOk {}))]);
        let details = peer.connection.details();
        assert_eq!((details.state, details.channels), ("running", 0));
        let agreed = (details.peer.channel_max, details.peer.frame_max, details.peer.heartbeat_s);
        assert_eq!(agreed, (10, 4096, 5));
        assert_eq!((&details.peer.username[..], &details.peer.vhost[..]), ("guest", "/"));
        assert_eq!(details.peer.client.connection_name.as_deref(), Some("test"));
    }
}

#[test]
fn a_client_may_send_its_handshake_in_one_piece() {
    let mut peer = TestPeer::new(config());
    peer.send_bytes(GREETING);
    peer.send(
        0,
        &start_ok("AMQPLAIN", b"\x05LOGINS\0\0\0\x01u\x08PASSWORDS\0\0\0\x01p", FieldTable::default()),
    );
    peer.connection.handle_reply(None, Ok(Reply::Authenticated));
    let rest = [frame(1, 0, &encode(&tune_ok(2047, 131_072, 0))), frame(1, 0, &encode(&open("/")))].concat();
    assert!(matches!(&peer.send_bytes(&rest)[..], [Action::OpenVhost { .. }]));
}

#[test]
fn other_protocols_are_told_what_is_spoken_here_and_left() {
    let table: [(&[u8], Greeting); 6] = [
        (b"AMQP\0\x01\0\0", Greeting::Amqp10),
        (b"AMQP\x03\x01\0\0", Greeting::Amqp10),
        (b"AMQP\0\0\x09\x02", Greeting::OtherAmqp),
        (b"GET / HTTP/1.1\r\n\r\n", Greeting::Http),
        (b"\x16\x03\x01\x02\0", Greeting::Tls),
        (b"hello, is anybody there?", Greeting::Garbage),
    ];
    for (input, greeting) in table {
        let mut peer = TestPeer::new(config());
        assert!(peer.send_bytes(input).is_empty());
        assert_eq!(peer.connection.finish_reason(), Some(&FinishReason::Greeting(greeting)));
        assert_eq!(peer.take_bytes(), GREETING);
        assert!(peer.send_bytes(b"more").is_empty());
    }
    let mut peer = TestPeer::new(config());
    peer.send_bytes(b"AMQP\x01\x01\0\x09");
    assert!(!peer.connection.is_finished());
}

#[test]
fn wrong_credentials_are_told_only_to_clients_that_can_take_it() {
    let refused = || login_refused("PLAIN");
    let mut peer = authenticating(FieldTable::default());
    peer.connection.handle_reply(None, Err(refused()));
    assert_eq!(peer.connection.finish_reason(), Some(&FinishReason::Refused(refused())));
    assert_eq!(peer.received(), []);

    let mut peer = authenticating(capable());
    peer.connection.handle_reply(None, Err(refused()));
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                For details see the broker logfile.";
    assert_eq!(peer.close(), (0, 403, text.to_owned(), (0, 0)));
    assert!(!peer.connection.is_finished());
    peer.send(0, &close_ok());
    assert_eq!(peer.connection.finish_reason(), Some(&FinishReason::Closed));
}

#[test]
fn credentials_that_cannot_be_read_are_refused_without_asking_the_server() {
    for response in [&b""[..], b"guest"] {
        let mut peer = TestPeer::new(config());
        peer.send_bytes(GREETING);
        assert!(peer.send(0, &start_ok("PLAIN", response, FieldTable::default())).is_empty());
        assert_eq!(peer.connection.finish_reason(), Some(&FinishReason::Refused(login_refused("PLAIN"))));
    }
}

#[test]
fn an_unknown_mechanism_is_a_command_invalid() {
    let mut peer = TestPeer::new(config());
    peer.send_bytes(GREETING);
    peer.send(0, &start_ok("EXTERNAL", b"", FieldTable::default()));
    let text = "COMMAND_INVALID - unknown authentication mechanism 'EXTERNAL'";
    assert_eq!(peer.close(), (0, 503, text.to_owned(), (10, 11)));
}

#[test]
fn strangers_get_no_answer_to_their_mistakes() {
    let wrong_end = [&frame(1, 0, &[0, 10, 0, 11])[..11], &[0]].concat();
    let table: [Vec<u8>; 6] = [
        frame(1, 0, &encode(&open("/"))),
        frame(1, 1, &encode(&open_channel())),
        frame(3, 1, b"abc"),
        frame(1, 0, &[0, 10, 0, 11, 0, 0]),
        wrong_end,
        frame(1, 0, &[0; 8193]),
    ];
    for bytes in table {
        let mut peer = TestPeer::new(config());
        peer.send_bytes(GREETING);
        peer.received();
        peer.send_bytes(&bytes);
        assert!(matches!(peer.connection.finish_reason(), Some(FinishReason::Handshake(_))), "{bytes:?}");
        assert_eq!(peer.received(), []);
    }
}

#[test]
fn limits_outside_of_the_offer_are_refused() {
    let table = [
        (2047, 4095, "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"),
        (2047, 131_073, "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"),
        (2047, 0, "negotiated frame_max = 0 is higher than the maximum allowed value (131072)"),
        (2048, 8192, "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)"),
        (0, 8192, "negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)"),
    ];
    for (channel_max, frame_max, text) in table {
        let mut peer = tuning(config());
        peer.send(0, &tune_ok(channel_max, frame_max, 0));
        assert_eq!(peer.close(), (0, 530, format!("NOT_ALLOWED - {text}"), (10, 30)));
    }
    let mut peer = tuning(SessionConfig { channel_max: 0, frame_max: 0, ..config() });
    peer.send(0, &tune_ok(0, 0, 0));
    assert!(matches!(&peer.send(0, &open("/"))[..], [Action::OpenVhost { .. }]));
}

#[test]
fn a_vhost_that_is_refused_closes_the_connection() {
    let mut peer = tuning(config());
    peer.send(0, &tune_ok(2047, 131_072, 0));
    peer.send(0, &open("nope"));
    peer.connection.handle_reply(None, Err(AmqpError::not_allowed("vhost nope not found")));
    assert_eq!(peer.close(), (0, 530, "NOT_ALLOWED - vhost nope not found".to_owned(), (10, 40)));
}

#[test]
fn the_handshake_has_a_time_limit_until_the_vhost_is_open() {
    let mut peer = tuning(config());
    assert_eq!(peer.connection.poll_timeout(), Some(peer.now + seconds(10)));
    peer.pass(seconds(9));
    assert!(!peer.connection.is_finished());
    peer.pass(seconds(1));
    assert_eq!(peer.connection.finish_reason(), Some(&FinishReason::HandshakeTimeout));

    let mut peer = TestPeer::connected();
    assert_eq!(peer.connection.poll_timeout(), None);
    peer.pass(seconds(100));
    assert!(!peer.connection.is_finished());
}
