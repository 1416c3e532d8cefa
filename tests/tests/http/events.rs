//! What happens in the broker, as a stream of server-sent events.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::{Value, json};
use warren_tests::{Broker, DEADLINE};

use crate::client::Client;

/// A stream of events.
struct Events {
    lines: BufReader<TcpStream>,
}

impl Events {
    /// Listens; from here on nothing is missed.
    fn listen(api: &Client, query: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", api.port())).expect("the API is there");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        let request = format!(
            "GET /api/events{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("the request is taken");
        let mut events = Self { lines: BufReader::new(stream) };
        assert_eq!(events.line(), "HTTP/1.1 200 OK");
        let mut kind = String::new();
        loop {
            let line = events.line();
            if let Some(value) = line.strip_prefix("content-type: ") {
                value.clone_into(&mut kind);
            }
            if line == ": listening" {
                break;
            }
        }
        assert_eq!(kind, "text/event-stream");
        events
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).expect("a line in time") > 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    /// The next event: its type and what is told of it.
    fn next(&mut self) -> (String, Value) {
        // Signs of life may come for ever.
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(kind) = self.line().strip_prefix("event: ") {
                let data = self.line();
                let data: Value =
                    serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
                assert_eq!(data["type"], json!(kind));
                assert!(data["timestamp"].as_u64().expect("a number") > 1_700_000_000_000);
                return (kind.to_owned(), data["headers"].clone());
            }
        }
        panic!("no event came in time");
    }

    /// Whether the stream ends, after what was under way.
    fn ends(mut self) -> bool {
        let deadline = Instant::now() + DEADLINE;
        let mut rest = String::new();
        while Instant::now() < deadline {
            rest.clear();
            if self.lines.read_line(&mut rest).is_ok_and(|bytes| bytes == 0) {
                return true;
            }
        }
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_heard_as_they_happen_without_the_exchange() {
    let mut broker = Broker::warren(&[]);
    let api = Client::new(&mut broker);
    // Before anybody listens: its end is heard all the same.
    let connection =
        Connection::connect(broker.url(), ConnectionProperties::default()).await.expect("it works");
    let channel = connection.create_channel().await.expect("it works");
    channel
        .queue_declare("before".into(), QueueDeclareOptions::default(), FieldTable::default())
        .await
        .expect("it works");
    let consume = BasicConsumeOptions::default();
    // A consumer that is dropped is cancelled.
    let _consumer = channel
        .basic_consume("before".into(), "tag".into(), consume, FieldTable::default())
        .await
        .expect("it works");

    let mut all = Events::listen(&api, "");
    let mut queues = Events::listen(&api, "?type=queue.*,consumer.deleted");
    assert_eq!(api.call("PUT", "/api/queues/%2F/q", Some(&json!({"durable": true}))).status, 201);
    let (kind, headers) = queues.next();
    assert_eq!((&*kind, &headers["name"], &headers["durable"]), ("queue.created", &json!("q"), &json!(true)));
    assert_eq!(all.next().0, "queue.created");
    connection.close(200, "bye".into()).await.expect("it works");
    let (kind, headers) = queues.next();
    assert_eq!((&*kind, &headers["consumer_tag"]), ("consumer.deleted", &json!("tag")));
    let ends: Vec<String> = std::iter::repeat_with(|| all.next().0).take(3).collect();
    assert_eq!(ends, ["consumer.deleted", "channel.closed", "connection.closed"]);
    let exchange = api.call("GET", "/api/exchanges/%2F/amq.rabbitmq.event", None);
    assert_eq!(exchange.status, 404, "the exchange is off");

    broker.shut_down();
    assert!(all.ends() && queues.ends());
}

#[test]
fn only_monitors_may_listen() {
    let mut broker = Broker::warren(&[]);
    let api = Client::new(&mut broker);
    for (tag, expected) in [("management", 401), ("policymaker", 401)] {
        let user = json!({"password": "x", "tags": tag});
        assert_eq!(api.call("PUT", &format!("/api/users/{tag}"), Some(&user)).status, 201);
        let refused = api.as_user(Some(&format!("{tag}:x"))).call("GET", "/api/events", None);
        assert_eq!(refused.status, expected, "{refused:?}");
    }
    assert_eq!(api.as_user(None).call("GET", "/api/events", None).status, 401);
}
