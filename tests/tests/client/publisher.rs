//! Publishing: what becomes of messages when all is well, when the broker declines, and when it goes away.

use std::collections::HashSet;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use warren_client::lapin::options::BasicConsumeOptions;
use warren_client::lapin::types::FieldTable;
use warren_client::{Backoff, Connection, Error, Message, PublisherOptions, Queue, State};
use warren_tests::Broker;

use crate::proxy::{Network, Proxy};
use crate::{connect, drain, options, purge, soon, until_state};

#[tokio::test]
async fn many_messages_are_confirmed_together_and_arrive_in_order() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let queue = broker.queue("many");
    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    let publisher = connection.publisher_with(PublisherOptions::default().window(50)).await.unwrap();
    let bodies: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    let results = publisher.send_all("", &queue, bodies.iter().map(Message::text)).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(drain(&connection, &queue).await, bodies);
    connection.close().await;
}

#[tokio::test]
async fn only_the_messages_that_no_queue_takes_are_returned() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (queue, nowhere) = (broker.queue("somewhere"), broker.queue("nowhere"));
    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    let publisher = connection.publisher().await.unwrap();
    for _ in 0..20 {
        let sends = (0..100).map(|number| {
            let key = if number % 7 == 3 { &nowhere } else { &queue };
            publisher.send("", key, Message::text(number.to_string()))
        });
        for (number, result) in join_all(sends).await.into_iter().enumerate() {
            match result {
                Ok(()) => assert_ne!(number % 7, 3, "{number} reached no queue"),
                Err(Error::Returned { routing_key, text, .. }) => {
                    assert_eq!((number % 7, routing_key, text.as_str()), (3, nowhere.clone(), "NO_ROUTE"));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(purge(&connection, &queue).await, 20 * 86);
    let relaxed = PublisherOptions::default().allow_unroutable();
    let relaxed = connection.publisher_with(relaxed).await.unwrap();
    relaxed.send("", &nowhere, Message::text("nobody listens")).await.unwrap();
    connection.close().await;
}

#[tokio::test]
async fn a_message_that_a_full_queue_declines_is_published_again_until_there_is_room() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let queue = broker.queue("full");
    connection.declare_queue(Queue::new(&queue).max_length(1).reject_when_full()).await.unwrap();
    let settings = PublisherOptions::default()
        .attempts(3)
        .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(5)));
    let hasty = connection.publisher_with(settings.clone()).await.unwrap();
    hasty.send("", &queue, Message::text("fits")).await.unwrap();
    let error = hasty.send("", &queue, Message::text("too much")).await.unwrap_err();
    assert!(matches!(error, Error::Nacked { attempts: 3, .. }), "{error}");

    let stubborn = connection.publisher_with(settings.attempts(u32::MAX)).await.unwrap();
    let confirm = stubborn.enqueue("", &queue, Message::text("waits")).await.unwrap();
    assert_eq!(purge(&connection, &queue).await, 1);
    soon("room", confirm).await.unwrap();
    assert_eq!(drain(&connection, &queue).await, ["waits"]);
    connection.close().await;
}

#[tokio::test]
async fn only_the_message_to_which_the_broker_objects_fails() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (queue, missing) = (broker.queue("fine"), broker.exchange("missing"));
    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    let publisher = connection.publisher().await.unwrap();
    let sends = (0..50).map(|number| {
        let exchange = if number == 20 { missing.as_str() } else { "" };
        publisher.send(exchange, &queue, Message::text(number.to_string()))
    });
    let results = soon("all of them", join_all(sends)).await;
    let wanted = format!("NOT_FOUND - no exchange '{missing}' in vhost '/'");
    for (number, result) in results.into_iter().enumerate() {
        match result {
            Ok(()) => assert_ne!(number, 20),
            Err(Error::Objection { code: 404, text }) => assert_eq!((number, text), (20, wanted.clone())),
            Err(error) => panic!("{error}"),
        }
    }
    let arrived: HashSet<String> = drain(&connection, &queue).await.into_iter().collect();
    assert_eq!(arrived.len(), 49, "each of the others at least once");
    connection.close().await;
}

#[tokio::test]
async fn publishing_waits_when_the_window_is_full() {
    let broker = Broker::start();
    let proxy = Proxy::to(broker.port()).await;
    let connection = Connection::open(options(&proxy.url())).await.unwrap();
    let queue = broker.queue("window");
    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    let publisher = connection.publisher_with(PublisherOptions::default().window(3)).await.unwrap();
    publisher.send("", &queue, Message::text("first")).await.unwrap();
    proxy.becomes(Network::SwallowsAnswers);
    let mut confirms = Vec::new();
    for number in 0..3 {
        confirms.push(publisher.enqueue("", &queue, Message::text(number.to_string())).await.unwrap());
    }
    assert_eq!(publisher.room(), 0);
    assert!(publisher.enqueue("", &queue, Message::text("3")).now_or_never().is_none());
    proxy.cut_once();
    let next = soon("room", publisher.enqueue("", &queue, Message::text("3"))).await.unwrap();
    soon("the rest", async {
        for confirm in confirms {
            confirm.await.unwrap();
        }
        next.await.unwrap();
    })
    .await;
    connection.close().await;
}

#[tokio::test]
async fn what_is_not_confirmed_in_time_is_an_error() {
    let broker = Broker::start();
    let proxy = Proxy::to(broker.port()).await;
    let connection = Connection::open(options(&proxy.url())).await.unwrap();
    let queue = broker.queue("late");
    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    let settings = PublisherOptions::default().confirm_timeout(Duration::from_millis(200));
    let publisher = connection.publisher_with(settings).await.unwrap();
    publisher.send("", &queue, Message::text("in time")).await.unwrap();
    proxy.becomes(Network::Swallows);
    let error = publisher.send("", &queue, Message::text("late")).await.unwrap_err();
    assert!(matches!(error, Error::Unconfirmed { .. }), "{error}");
    assert_eq!(publisher.room(), 1000, "what is given up takes no room");
    proxy.becomes(Network::Carries);
    until_state(&connection, "the return", State::is_connected).await;
    soon("the next", async { while publisher.send("", &queue, Message::text("again")).await.is_err() {} })
        .await;
    connection.close().await;
}

#[tokio::test]
async fn what_is_on_its_way_to_a_broker_that_takes_no_more_is_an_error_after_a_time() {
    let broker = Broker::start();
    let proxy = Proxy::to(broker.port()).await;
    let connection = Connection::open(options(&proxy.url())).await.unwrap();
    let direct = connect(&broker).await;
    let queue = broker.queue("unread");
    direct.declare_queue(Queue::new(&queue)).await.unwrap();
    let settings = PublisherOptions::default().blocked_timeout(Duration::from_millis(200));
    let publisher = connection.publisher_with(settings).await.unwrap();
    publisher.send("", &queue, Message::text("in time")).await.unwrap();
    assert_eq!(drain(&direct, &queue).await, ["in time"]);

    proxy.becomes(Network::SwallowsAnswers);
    let on_its_way = publisher.enqueue("", &queue, Message::text("unread")).await.unwrap();
    soon("its arrival", async { while drain(&direct, &queue).await.is_empty() {} }).await;
    proxy.becomes(Network::Blocks);
    let error = soon("the end of patience", on_its_way).await.unwrap_err();
    assert!(matches!(error, Error::Unconfirmed { .. }), "{error}");
    let text = error.to_string();
    for part in ["low on memory", "let consumers make room", "if it may arrive twice"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let error = soon("the next", publisher.send("", &queue, Message::text("not sent"))).await.unwrap_err();
    assert!(matches!(&error, Error::Blocked { reason } if reason == "low on memory"), "{error}");
    soon("the flush", publisher.flush()).await.unwrap();
    assert_eq!(publisher.room(), 1000, "what is given up takes no room");

    proxy.cut_once();
    soon("the return", async { while publisher.send("", &queue, Message::text("again")).await.is_err() {} })
        .await;
    assert_eq!(drain(&direct, &queue).await, ["again"]);
    connection.close().await;
    direct.close().await;
}

#[tokio::test]
async fn nothing_confirmed_is_lost_and_the_unconfirmed_are_published_again_when_the_broker_is_killed() {
    let mut broker = Broker::warren_on_fixed_port(&[]);
    let connection = connect(&broker).await;
    connection.declare_queue(Queue::new("ledger")).await.unwrap();
    let publisher = connection.publisher_with(PublisherOptions::default().window(64)).await.unwrap();
    let sending = tokio::spawn(async move {
        let messages = (0..3000).map(|number: u32| Message::text(number.to_string()));
        publisher.send_all("", "ledger", messages).await
    });
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        broker.crash();
        broker.start_again();
    }
    let results = soon("all confirms", sending).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|result| result.is_err()));
    until_state(&connection, "the return", State::is_connected).await;
    let arrived: HashSet<String> = drain(&connection, "ledger").await.into_iter().collect();
    assert_eq!(arrived.len(), 3000);
    connection.close().await;
}

#[tokio::test]
async fn a_cut_network_loses_nothing() {
    let broker = Broker::start();
    let proxy = Proxy::to(broker.port()).await;
    let connection = Connection::open(options(&proxy.url())).await.unwrap();
    let queue = broker.queue("cut");
    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    let publisher = connection.publisher_with(PublisherOptions::default().window(16)).await.unwrap();
    let mut confirms = Vec::new();
    for number in 0..600 {
        if number % 150 == 75 {
            proxy.cut_once();
        }
        confirms.push(
            soon("room", publisher.enqueue("", &queue, Message::text(number.to_string()))).await.unwrap(),
        );
    }
    for confirm in confirms {
        soon("a confirm", confirm).await.unwrap();
    }
    until_state(&connection, "the return", State::is_connected).await;
    let arrived: HashSet<String> = drain(&connection, &queue).await.into_iter().collect();
    assert_eq!(arrived.len(), 600);
    connection.close().await;
}

#[tokio::test]
async fn a_flush_tells_of_failures_that_nobody_waited_for() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (queue, nowhere) = (broker.queue("flushed"), broker.queue("nowhere"));
    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    let publisher = connection.publisher().await.unwrap();
    for number in 0..10 {
        let key = if number < 2 { &nowhere } else { &queue };
        drop(publisher.enqueue("", key, Message::text("x")).await.unwrap());
    }
    let error = publisher.flush().await.unwrap_err();
    assert!(
        matches!(&error, Error::Flush { failed: 2, first } if matches!(**first, Error::Returned { .. })),
        "{error}"
    );
    publisher.flush().await.unwrap();
    assert_eq!(purge(&connection, &queue).await, 8);
    connection.close().await;
    let error = publisher.send("", &queue, Message::text("x")).await.unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
}

#[tokio::test]
async fn a_dropped_publisher_goes_on_in_the_background() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let queue = broker.queue("dropped");
    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    let publisher = connection.publisher().await.unwrap();
    let confirm = publisher.enqueue("", &queue, Message::text("left")).await.unwrap();
    drop(publisher);
    soon("the confirm", confirm).await.unwrap();
    assert_eq!(drain(&connection, &queue).await, ["left"]);
    connection.close().await;
}

/// What is logged, for a test to read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_publisher_that_is_dropped_before_all_is_confirmed_says_so() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // The publisher's task runs on this thread.
    let _guard = tracing_subscriber::util::SubscriberInitExt::set_default(subscriber);
    let broker = Broker::start();
    let proxy = Proxy::to(broker.port()).await;
    let hasty = options(&proxy.url()).connect_timeout(Duration::from_secs(1));
    let connection = Connection::open(hasty).await.unwrap();
    let queue = broker.queue("left");
    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    let publisher = connection.publisher().await.unwrap();
    publisher.send("", &queue, Message::text("confirmed")).await.unwrap();
    proxy.becomes(Network::SwallowsAnswers);
    for body in ["left", "behind"] {
        drop(publisher.enqueue("", &queue, Message::text(body)).await.unwrap());
    }
    drop(publisher);
    let told = async {
        while !log.text().contains("a publisher was dropped with messages") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the warning", told).await;
    let text = log.text();
    assert!(text.contains("unconfirmed=2") && text.contains("flush it before"), "{text}");
    soon("the end without the broker's goodbye", connection.close()).await;
    let text = log.text();
    assert!(text.contains("the connection was closed with messages"), "{text}");
}

#[tokio::test]
async fn a_broker_that_takes_no_messages_is_an_error_after_a_time_and_consumers_go_on() {
    let mut config = warren::Config::in_process();
    config.limits.memory = warren::config::MemoryLimit::Bytes(64 * 1024);
    let broker = warren::Broker::start(config).await.unwrap();
    let url = format!("amqp://guest:guest@{}/%2F", broker.local_addrs()[0]);
    let connection = Connection::open(options(&url)).await.unwrap();
    let queue = "blocked".to_owned();
    connection.declare_queue(Queue::new(&queue).transient()).await.unwrap();
    let settings = PublisherOptions::default().window(20_000).blocked_timeout(Duration::from_millis(300));
    let publisher = connection.publisher_with(settings).await.unwrap();
    let body = vec![7_u8; 1024];
    // What was sent before the broker said that it takes none may be unread; what comes after that is refused.
    let refused = async {
        let mut confirms = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(result) = confirms.next(), if !confirms.is_empty() => match result {
                    Ok(()) | Err(Error::Unconfirmed { blocked: Some(_), .. }) => {}
                    Err(error) => return error,
                },
                confirm = publisher.enqueue("", &queue, Message::bytes(body.clone()).transient()) => {
                    confirms.push(confirm.unwrap());
                }
            }
        }
    };
    let error = soon("the refusal", refused).await;
    assert!(matches!(error, Error::Blocked { .. }), "{error}");

    let channel = connection.lapin_channel().await.unwrap();
    let consume = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let consumer = channel
        .basic_consume(queue.as_str().into(), "".into(), consume, FieldTable::default())
        .await
        .unwrap();
    soon("room", async {
        while publisher.send("", &queue, Message::text("small").transient()).await.is_err() {}
    })
    .await;
    drop(consumer);
    connection.close().await;
    broker.shutdown().await;
}
