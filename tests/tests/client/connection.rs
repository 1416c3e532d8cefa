//! Connections: how they are made, how they come back, and when they do not.

use std::net::TcpListener;
use std::time::Duration;

use warren_client::lapin::ExchangeKind;
use warren_client::lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use warren_client::lapin::types::FieldTable;
use warren_client::{Connection, Error, Exchange, Message, Queue, State};
use warren_tests::{Broker, ClosedPort};

use crate::proxy::{Network, Proxy};
use crate::{connect, drain, options, soon, until_state};

#[tokio::test]
async fn connecting_fails_with_advice() {
    let error = Connection::open("localhost").await.unwrap_err();
    assert!(matches!(error, Error::Url { .. }), "{error}");

    let port = ClosedPort::take();
    let closed = port.address().to_string();
    let error = Connection::open(format!("amqp://{closed}")).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { address, .. } if *address == closed), "{error}");

    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("amqp://{}", mute.local_addr().unwrap());
    let impatient = options(&url).connect_timeout(Duration::from_millis(300));
    let error = Connection::open(impatient).await.unwrap_err();
    assert!(matches!(&error, Error::Silent { .. }), "{error}");

    let broker = Broker::start();
    let url = broker.url().replacen("guest:guest@", "guest:sesame@", 1);
    let error = Connection::open(url).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { code: 403, .. }), "{error}");
    assert!(!error.to_string().contains("sesame"), "{error}");
    let url = broker.url().replacen("%2F", "nowhere", 1);
    let error = Connection::open(options(&url).patient_start()).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { code: 530, .. }), "patience does not help: {error}");
}

#[tokio::test]
async fn the_first_address_that_answers_is_taken() {
    let broker = Broker::start();
    let (closed, url) = (ClosedPort::take(), broker.url().to_owned());
    let options = options(&format!("amqp://guest:guest@{}/%2F", closed.address())).address(url);
    let connection = Connection::open(options).await.unwrap();
    let state = connection.watch().borrow().clone();
    let wanted = format!(":{}", broker.port());
    assert!(matches!(&state, State::Connected { address } if address.ends_with(&wanted)), "{state:?}");
    connection.close().await;
}

#[tokio::test]
async fn a_patient_start_waits_for_the_broker() {
    let broker = Broker::start();
    let proxy = Proxy::to(broker.port()).await;
    proxy.becomes(Network::Cut);
    let opening = tokio::spawn(Connection::open(options(&proxy.url()).patient_start()));
    tokio::task::yield_now().await;
    assert!(!opening.is_finished());
    proxy.becomes(Network::Carries);
    let connection = soon("the connection", opening).await.unwrap().unwrap();
    connection.close().await;
}

#[tokio::test]
async fn what_was_declared_is_there_again_after_a_restart() {
    let mut broker = Broker::warren_on_fixed_port(&[]);
    let connection = connect(&broker).await;
    // What is transient is forgotten by a broker that restarts.
    connection.declare_exchange(Exchange::topic("events").transient()).await.unwrap();
    let durable = connection.declare_queue(Queue::new("all").transient()).await.unwrap();
    let mine = connection.declare_queue(Queue::exclusive()).await.unwrap();
    let named = connection.declare_queue(Queue::exclusive_named("mine")).await.unwrap();
    for (queue, key) in [(&durable, "#"), (&mine, "a.*"), (&named, "b.*")] {
        connection.bind("events", queue, key).await.unwrap();
    }
    let before = mine.name();
    broker.crash();
    until_state(&connection, "the loss", |state| matches!(state, State::Reconnecting { .. })).await;
    broker.start_again();
    until_state(&connection, "the return", State::is_connected).await;
    assert_ne!(mine.name(), before, "the broker chose another name");

    let publisher = connection.publisher().await.unwrap();
    publisher.send("events", "a.1", Message::text("a")).await.unwrap();
    publisher.send("events", "b.1", Message::text("b")).await.unwrap();
    assert_eq!(drain(&connection, "all").await, ["a", "b"]);
    assert_eq!(drain(&connection, &mine.name()).await, ["a"]);
    assert_eq!(drain(&connection, "mine").await, ["b"]);
    connection.close().await;
}

#[tokio::test]
async fn a_broker_that_says_goodbye_is_waited_for() {
    let mut broker = Broker::warren_on_fixed_port(&[]);
    let connection = connect(&broker).await;
    broker.shut_down();
    until_state(&connection, "the loss", |state| matches!(state, State::Reconnecting { .. })).await;
    broker.start_again();
    until_state(&connection, "the return", State::is_connected).await;
    connection.close().await;
}

#[tokio::test]
async fn a_silent_network_is_noticed_by_the_heartbeat() {
    let broker = Broker::start();
    let proxy = Proxy::to(broker.port()).await;
    let connection = Connection::open(options(&proxy.url()).heartbeat(Duration::from_secs(1))).await.unwrap();
    proxy.becomes(Network::Swallows);
    until_state(&connection, "the loss", |state| matches!(state, State::Reconnecting { .. })).await;
    proxy.becomes(Network::Carries);
    until_state(&connection, "the return", State::is_connected).await;
    connection.close().await;
}

#[tokio::test]
async fn a_declaration_that_is_not_accepted_is_an_error_and_the_connection_lives_on() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let queue = broker.queue("transient");
    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    let error = connection.declare_queue(Queue::new(&queue).max_length(5)).await.unwrap_err();
    assert!(matches!(&error, Error::Topology { code: 406, what, .. } if what.contains(&queue)), "{error}");
    let error = connection.bind(&broker.exchange("missing"), queue.as_str(), "k").await.unwrap_err();
    assert!(matches!(&error, Error::Topology { code: 404, .. }), "{error}");
    let error = connection.declare_queue(Queue::new("x".repeat(256))).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid { .. }), "{error}");
    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    connection.close().await;
}

#[tokio::test]
async fn a_topology_that_is_not_accepted_any_more_ends_the_connection_with_the_reason() {
    let broker = Broker::start();
    let proxy = Proxy::to(broker.port()).await;
    let connection = Connection::open(options(&proxy.url())).await.unwrap();
    let exchange = broker.exchange("changed");
    connection.declare_exchange(Exchange::topic(&exchange).auto_delete()).await.unwrap();
    proxy.becomes(Network::Cut);

    let other = connect(&broker).await;
    let channel = other.lapin_channel().await.unwrap();
    channel.exchange_delete(exchange.as_str().into(), Default::default()).await.unwrap();
    let (name, options) = (exchange.as_str().into(), ExchangeDeclareOptions::default());
    channel.exchange_declare(name, ExchangeKind::Fanout, options, FieldTable::default()).await.unwrap();

    proxy.becomes(Network::Carries);
    let state = until_state(&connection, "the end", |state| matches!(state, State::Closed { .. })).await;
    let State::Closed { reason: Some(reason) } = state else { panic!("{state:?}") };
    assert!(
        matches!(&*reason, Error::Topology { code: 406, what, .. } if what.contains(&exchange)),
        "{reason}"
    );
    let error = connection.declare_queue(Queue::exclusive()).await.unwrap_err();
    assert!(matches!(error, Error::GaveUp { .. }), "{error}");
    other.close().await;
}

#[tokio::test]
async fn an_exclusive_queue_that_the_old_connection_still_holds_is_waited_for() {
    let broker = Broker::start();
    let proxy = Proxy::to(broker.port()).await;
    let connection = Connection::open(options(&proxy.url())).await.unwrap();
    let name = broker.queue("held");
    connection.declare_queue(Queue::exclusive_named(&name)).await.unwrap();
    proxy.becomes(Network::Cut);
    until_state(&connection, "the loss", |state| matches!(state, State::Reconnecting { .. })).await;

    // Somebody else is as good as a connection of ours that the broker takes for alive.
    let holder = connect(&broker).await;
    let channel = holder.lapin_channel().await.unwrap();
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let declare =
        async || channel.queue_declare(name.as_str().into(), exclusive, FieldTable::default()).await;
    declare().await.unwrap();
    proxy.becomes(Network::Carries);
    let locked = |state: &State| {
        matches!(state, State::Reconnecting { reason: Error::Topology { code: 405, .. }, .. })
    };
    until_state(&connection, "the lock", locked).await;
    holder.close().await;
    until_state(&connection, "the return", State::is_connected).await;
    connection.close().await;
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_connection() {
    let broker = Broker::start();
    for _ in 0..5 {
        let connection = connect(&broker).await;
        let mut states = connection.watch();
        let publisher = connection.publisher().await.unwrap();
        drop(connection);
        drop(publisher);
        soon("the end", states.wait_for(|state| matches!(state, State::Closed { reason: None })))
            .await
            .unwrap();
    }
}
