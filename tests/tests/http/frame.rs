//! What holds for every route: sockets, users, bounds, and the end of the broker.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use serde_json::json;
use warren_tests::{Broker, DEADLINE};

use crate::client::{Client, exchange, mode};

#[test]
fn the_api_answers_over_tcp_with_a_password_and_over_the_local_socket_without() {
    let mut broker = Broker::warren(&[]);
    let api = Client::new(&mut broker);
    assert_eq!(api.get("/api/whoami"), json!({"name": "guest", "tags": ["administrator"]}));
    let nobody = api.as_user(None).call("GET", "/api/whoami", None);
    assert_eq!((nobody.status, nobody.body.as_str()), (401, ""));
    assert!(nobody.head.to_lowercase().contains("www-authenticate: basic realm="), "{}", nobody.head);
    let local = api.call_locally("GET", "/api/whoami", None);
    assert_eq!(local.json(), json!({"name": "local", "tags": ["administrator"]}));
    assert_eq!(mode(api.socket()), 0o600);
}

#[test]
fn a_socket_that_a_killed_broker_left_is_replaced_and_a_stopped_one_leaves_none() {
    let mut broker = Broker::warren(&[]);
    let socket = Client::new(&mut broker).socket().to_owned();
    broker.crash();
    assert!(socket.exists());
    broker.start_again();
    assert_eq!(Client::new(&mut broker).call_locally("GET", "/api/whoami", None).status, 200);
    broker.shut_down();
    assert!(!socket.exists());
    broker.start_again();
}

#[test]
fn users_made_over_http_are_there_after_a_restart() {
    let mut broker = Broker::warren(&[]);
    let api = Client::new(&mut broker);
    let body = json!({"password": "123", "tags": "administrator"});
    assert_eq!(api.call("PUT", "/api/users/alex", Some(&body)).status, 201);
    broker.restart();
    let alex = Client::new(&mut broker).as_user(Some("alex:123"));
    assert_eq!(alex.get("/api/whoami")["name"], "alex");
}

#[test]
fn what_is_no_request_is_refused_and_others_are_served_meanwhile() {
    let mut broker = Broker::warren(&[]);
    let api = Client::new(&mut broker);
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", api.port())).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    };
    // Half a request, which is waited for.
    let mut slow = connect();
    slow.write_all(b"GET /api/whoami HTTP/1.1\r\nHost").unwrap();
    let long = format!("GET /api/whoami HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1_000_000));
    assert_eq!(exchange(connect(), &long).status, 431);
    assert_eq!(exchange(connect(), "AMQP\0\0\u{9}\u{1}\r\n\r\n").status, 400);
    assert_eq!(api.call("GET", "/api/whoami", None).status, 200);
    drop(slow);
}

#[test]
fn a_broker_that_stops_does_not_wait_for_connections_without_requests() {
    let mut broker = Broker::warren(&[]);
    let api = Client::new(&mut broker);
    let mut idle = TcpStream::connect(("127.0.0.1", api.port())).unwrap();
    idle.set_read_timeout(Some(DEADLINE)).unwrap();
    idle.write_all(b"GET /api/whoami HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 401");
    broker.shut_down();
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest);
    broker.start_again();
}

#[test]
fn definitions_named_on_the_command_line_are_there_before_clients_are() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("definitions.json");
    let definitions = json!({
        "vhosts": [{"name": "shop"}],
        "users": [{"name": "alex", "password": "123", "tags": ["administrator"]}],
        "permissions": [{"user": "alex", "vhost": "shop", "configure": ".*", "write": ".*", "read": ".*"}],
        "queues": [{"name": "orders", "vhost": "shop", "durable": true, "auto_delete": false, "arguments": {}}],
    });
    std::fs::write(&file, definitions.to_string()).unwrap();
    let mut broker = Broker::warren(&["--definitions", file.to_str().unwrap()]);
    for _ in 0..2 {
        let alex = Client::new(&mut broker).as_user(Some("alex:123"));
        assert_eq!(alex.get("/api/definitions/shop")["queues"][0]["name"], "orders");
        broker.restart();
    }
}

#[test]
fn curl_is_a_health_probe() {
    let broker = Broker::warren(&[]);
    let probe = |check: &str| {
        let url = format!("http://guest:guest@{}/api/health/checks/{check}", broker.api());
        Command::new("curl").args(["--fail", "--silent", "--output", "/dev/null", &url]).status()
    };
    match probe("alarms") {
        Ok(status) => assert!(status.success(), "{status}"),
        Err(error) => return eprintln!("NOT TRIED: there is no curl here ({error})"),
    }
    assert!(probe("ready-to-serve-clients").unwrap().success());
    // What curl says of every status from 400 on.
    assert_eq!(probe("port-listener/1").unwrap().code(), Some(22));
}
