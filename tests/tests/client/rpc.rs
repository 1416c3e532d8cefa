//! Remote calls: many at once, and all the ways in which they can fail.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio::sync::{Semaphore, mpsc};
use warren_client::{CallError, Connection, Error, RpcClient, RpcOptions, State};
use warren_tests::Broker;

use crate::proxy::Proxy;
use crate::{connect, options, soon, until_state};

async fn square(number: i64) -> Result<i64, String> {
    match number {
        ..0 => Err(format!("{number} is negative")),
        13 => panic!("bad luck"),
        _ => Ok(number * number),
    }
}

async fn call(client: &RpcClient, queue: &str, number: i64) -> Result<i64, CallError<String>> {
    soon("an answer", client.call(queue, &number)).await
}

#[tokio::test]
async fn a_thousand_calls_at_once_each_get_their_own_answer() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let queue = broker.queue("square");
    let _server = connection.serve(&queue, 50, square).await.unwrap();
    for settings in [RpcOptions::default(), RpcOptions::default().reply_queue()] {
        let client = connection.rpc_client_with(settings).await.unwrap();
        let answers = join_all((1000..2000).map(|number| call(&client, &queue, number))).await;
        for (number, answer) in (1000..).zip(answers) {
            assert_eq!(answer.unwrap(), number * number);
        }
        assert_eq!(client.in_flight(), 0);
    }
    connection.close().await;
}

#[tokio::test]
async fn errors_of_the_server_come_back_as_what_they_are() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let queue = broker.queue("errors");
    let _server = connection.serve(&queue, 2, square).await.unwrap();
    let client = connection.rpc_client().await.unwrap();
    let error = call(&client, &queue, -3).await.unwrap_err();
    assert!(matches!(&error, CallError::Server(text) if text == "-3 is negative"), "{error}");
    let error = call(&client, &queue, 13).await.unwrap_err();
    assert!(matches!(&error, CallError::Fault { text } if text.contains("bad luck")), "{error}");
    let error = soon("an answer", client.call::<_, i64, String>(&queue, "twelve")).await.unwrap_err();
    assert!(matches!(&error, CallError::Fault { .. }), "{error}");
    let error = soon("an answer", client.call::<_, bool, String>(&queue, &4)).await.unwrap_err();
    assert!(matches!(&error, CallError::Failed(Error::Decode(_))), "{error}");
    assert_eq!(call(&client, &queue, 4).await.unwrap(), 16, "the server lives on");
    connection.close().await;
}

#[tokio::test]
async fn a_call_without_a_server_fails_at_once_also_among_others() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (queue, nowhere) = (broker.queue("here"), broker.queue("nowhere"));
    let server = connection.serve(&queue, 8, square).await.unwrap();
    let client =
        connection.rpc_client_with(RpcOptions::default().timeout(Duration::from_secs(600))).await.unwrap();
    let calls = (100..200).map(|number| {
        let queue = if number % 3 == 0 { &nowhere } else { &queue };
        call(&client, queue, number)
    });
    for (number, answer) in (100..).zip(join_all(calls).await) {
        match answer {
            Ok(square) => assert!(number % 3 != 0 && square == number * number),
            Err(CallError::Failed(Error::NoServer { routing_key })) => {
                assert!(number % 3 == 0 && routing_key == nowhere);
            }
            Err(error) => panic!("{error}"),
        }
    }
    server.shutdown(Duration::from_secs(10)).await.unwrap();
    let error = call(&client, &queue, 1).await.unwrap_err();
    assert!(matches!(error, CallError::Failed(Error::NoServer { .. })), "the queue went with it: {error}");
    connection.close().await;
}

#[tokio::test]
async fn calls_end_with_their_time_or_when_they_are_dropped() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let queue = broker.queue("slow");
    let gate = Arc::new(Semaphore::new(0));
    let pass = gate.clone();
    let slow = move |number: i64| {
        let pass = pass.clone();
        async move {
            pass.acquire().await.unwrap().forget();
            square(number).await
        }
    };
    let _server = connection.serve(&queue, 4, slow).await.unwrap();
    let client = connection.rpc_client().await.unwrap();
    let patience = Duration::from_millis(100);
    let error = client.call_within::<_, i64, String>(patience, &queue, &2).await.unwrap_err();
    assert!(matches!(error, CallError::Failed(Error::NoAnswer { .. })), "{error}");
    assert_eq!(client.in_flight(), 0);
    let mut dropped = Box::pin(client.call::<_, i64, String>(&queue, &3));
    while client.in_flight() == 0 {
        assert!((&mut dropped).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(dropped);
    assert_eq!(client.in_flight(), 0);
    gate.add_permits(10);
    assert_eq!(call(&client, &queue, 5).await.unwrap(), 25, "late answers do no harm");
    connection.close().await;
}

#[tokio::test]
async fn a_call_whose_server_dies_is_answered_by_another() {
    let broker = Broker::start();
    let (connection, other) = (connect(&broker).await, connect(&broker).await);
    let queue = broker.queue("dying");
    let (begun, mut begins) = mpsc::unbounded_channel();
    let dying = connection
        .serve(&queue, 1, move |_: i64| {
            begun.send(()).unwrap();
            std::future::pending::<Result<i64, String>>()
        })
        .await
        .unwrap();
    let client = other.rpc_client().await.unwrap();
    let caller = client.clone();
    let name = queue.clone();
    let calling = tokio::spawn(async move { call(&caller, &name, 6).await });
    soon("the call", begins.recv()).await.unwrap();
    let _second = other.serve(&queue, 1, square).await.unwrap();
    drop(dying);
    assert_eq!(soon("the answer", calling).await.unwrap().unwrap(), 36);
    connection.close().await;
    other.close().await;
}

#[tokio::test]
async fn calls_in_flight_fail_when_the_connection_is_lost_and_later_ones_work() {
    let broker = Broker::start();
    let proxy = Proxy::to(broker.port()).await;
    let there = connect(&broker).await;
    let queue = broker.queue("far");
    let (begun, mut begins) = mpsc::unbounded_channel();
    let _server = there
        .serve(&queue, 2, move |number: i64| {
            begun.send(()).unwrap();
            async move {
                if number == 0 {
                    std::future::pending::<()>().await;
                }
                square(number).await
            }
        })
        .await
        .unwrap();
    let connection = Connection::open(options(&proxy.url())).await.unwrap();
    let client = connection.rpc_client().await.unwrap();
    let (caller, name) = (client.clone(), queue.clone());
    let calling = tokio::spawn(async move { call(&caller, &name, 0).await });
    soon("the call", begins.recv()).await.unwrap();
    proxy.cut_once();
    let error = soon("the end of the call", calling).await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Failed(Error::Lost { .. })), "{error}");
    until_state(&connection, "the return", State::is_connected).await;
    assert_eq!(call(&client, &queue, 7).await.unwrap(), 49);
    connection.close().await;
    there.close().await;
}
