//! Work queues: success, failure, panics, and ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use warren_client::lapin::message::BasicGetMessage;
use warren_client::lapin::options::BasicGetOptions;
use warren_client::lapin::types::AMQPValue;
use warren_client::{Backoff, Connection, Error, Job, Message, WorkOptions, WorkQueue};
use warren_tests::{Broker, eventually_async};

use crate::{connect, purge, soon};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    item: String,
    count: u32,
}

fn order(count: u32) -> Order {
    Order { item: "tea".to_owned(), count }
}

fn hasty() -> WorkOptions {
    WorkOptions::default()
        .attempts(3)
        .pauses(Backoff::new(Duration::from_millis(10), Duration::from_millis(20)))
}

/// A work queue whose queues are removed at the end of the test.
async fn orders(
    broker: &Broker,
    connection: &Connection,
    name: &str,
    options: WorkOptions,
) -> (String, WorkQueue<Order>) {
    let name = broker.queue(name);
    for further in ["dead", "retry.10", "retry.20"] {
        broker.forget_at_the_end(&format!("{name}.{further}"));
    }
    let queue = connection.work_queue_with(&name, options).await.unwrap();
    (name, queue)
}

async fn get(connection: &Connection, queue: &str) -> BasicGetMessage {
    let channel = connection.lapin_channel().await.unwrap();
    let look = async || channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap();
    eventually_async("a dead letter", look).await
}

fn header(message: &BasicGetMessage, name: &str) -> String {
    let headers = message.delivery.properties.headers().as_ref().unwrap();
    match &headers.inner()[name] {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        other => panic!("{name} is {other:?}"),
    }
}

#[tokio::test]
async fn jobs_are_done_once_and_forgotten() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (name, queue) = orders(&broker, &connection, "jobs", hasty()).await;
    let (done, mut jobs) = mpsc::unbounded_channel();
    let worker = queue
        .work(move |job: Job<Order>| {
            let done = done.clone();
            async move { done.send((job.attempt(), job.into_value())) }
        })
        .await
        .unwrap();
    for count in 0..50 {
        queue.push(&order(count)).await.unwrap();
    }
    let mut counts = Vec::new();
    for _ in 0..50 {
        let (attempt, order) = soon("a job", jobs.recv()).await.unwrap();
        assert_eq!((attempt, order.item.as_str()), (1, "tea"));
        counts.push(order.count);
    }
    counts.sort_unstable();
    assert_eq!(counts, (0..50).collect::<Vec<_>>());
    assert_eq!(soon("the end", worker.shutdown(Duration::from_secs(10))).await.unwrap(), 0);
    assert_eq!(purge(&connection, &name).await, 0);
    connection.close().await;
}

#[tokio::test]
async fn a_job_that_fails_is_tried_again_until_it_succeeds() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (name, queue) = orders(&broker, &connection, "flaky", hasty()).await;
    let (done, mut jobs) = mpsc::unbounded_channel();
    let worker = queue
        .work(move |job: Job<Order>| {
            let done = done.clone();
            async move {
                done.send((job.attempt(), job.is_last_attempt(), job.id().map(str::to_owned))).unwrap();
                if job.is_last_attempt() { Ok(()) } else { Err("not yet") }
            }
        })
        .await
        .unwrap();
    let message = Message::json(&order(1)).unwrap().id("order-1").unwrap();
    queue.push_message(message).await.unwrap();
    for (attempt, last) in [(1, false), (2, false), (3, true)] {
        let seen = soon("an attempt", jobs.recv()).await.unwrap();
        assert_eq!(seen, (attempt, last, Some("order-1".to_owned())));
    }
    worker.shutdown(Duration::from_secs(10)).await.unwrap();
    assert_eq!(purge(&connection, &name).await + purge(&connection, &queue.dead_letters()).await, 0);
    connection.close().await;
}

#[tokio::test]
async fn jobs_that_cannot_be_done_are_put_aside_with_the_reason() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (name, queue) = orders(&broker, &connection, "hopeless", hasty()).await;
    let attempts = Arc::new(Mutex::new(HashMap::<u32, u32>::new()));
    let seen = attempts.clone();
    let worker = queue
        .work(move |job: Job<Order>| {
            *seen.lock().unwrap().entry(job.count).or_default() += 1;
            async move {
                match job.count {
                    1 => Err("no tea left"),
                    2 => panic!("the kettle is cold"),
                    _ => {
                        job.do_not_retry();
                        Err("closed for good")
                    }
                }
            }
        })
        .await
        .unwrap();
    let dead = queue.dead_letters();
    for (count, reason, error, tries) in [
        (1, "failed", "no tea left", "3"),
        (2, "panicked", "the kettle is cold", "3"),
        (3, "failed", "closed for good", "1"),
    ] {
        queue.push(&order(count)).await.unwrap();
        let letter = get(&connection, &dead).await;
        assert_eq!(serde_json::from_slice::<Order>(&letter.delivery.data).unwrap(), order(count));
        let said = ["x-reason", "x-error", "x-attempts", "x-queue"].map(|name| header(&letter, name));
        assert_eq!(said, [reason, error, tries, name.as_str()]);
    }
    assert_eq!(*attempts.lock().unwrap(), HashMap::from([(1, 3), (2, 3), (3, 1)]));

    queue.push_message(Message::text("no order")).await.unwrap();
    let letter = get(&connection, &dead).await;
    assert_eq!(
        (letter.delivery.data.as_slice(), header(&letter, "x-reason").as_str()),
        (&b"no order"[..], "undecodable")
    );
    worker.shutdown(Duration::from_secs(10)).await.unwrap();
    connection.close().await;
}

#[tokio::test]
async fn no_more_jobs_run_at_once_than_was_said() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (_, queue) = orders(&broker, &connection, "crowd", hasty().concurrency(3).prefetch(20)).await;
    let (running, most, done) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (now, highest, finished) = (running.clone(), most.clone(), done.clone());
    let worker = queue
        .work(move |_: Job<Order>| {
            let (now, highest, finished) = (now.clone(), highest.clone(), finished.clone());
            async move {
                highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                finished.add_permits(1);
                Ok::<(), Error>(())
            }
        })
        .await
        .unwrap();
    for count in 0..30 {
        queue.push(&order(count)).await.unwrap();
    }
    soon("all jobs", done.acquire_many(30)).await.unwrap().forget();
    assert!(most.load(Ordering::SeqCst) <= 3);
    worker.shutdown(Duration::from_secs(10)).await.unwrap();
    connection.close().await;
}

#[tokio::test]
async fn a_shutdown_finishes_what_runs_and_gives_back_what_does_not_end() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (name, queue) = orders(&broker, &connection, "ending", hasty().concurrency(2).prefetch(5)).await;
    let (begun, mut begins) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let (pass, finished) = (gate.clone(), Arc::new(AtomicU32::new(0)));
    let ends = finished.clone();
    let worker = queue
        .work(move |job: Job<Order>| {
            let (begun, pass, ends) = (begun.clone(), pass.clone(), ends.clone());
            async move {
                begun.send(()).unwrap();
                if job.count > 0 {
                    std::future::pending::<()>().await;
                }
                pass.acquire().await.unwrap().forget();
                ends.fetch_add(1, Ordering::SeqCst);
                Ok::<(), Error>(())
            }
        })
        .await
        .unwrap();
    for count in 0..5 {
        queue.push(&order(count)).await.unwrap();
    }
    for _ in 0..2 {
        soon("two jobs that run", begins.recv()).await.unwrap();
    }
    let ending = tokio::spawn(worker.shutdown(Duration::from_millis(500)));
    gate.add_permits(1);
    assert_eq!(soon("the end", ending).await.unwrap().unwrap(), 1, "one did not end");
    assert_eq!(finished.load(Ordering::SeqCst), 1);
    let mut back = 0;
    eventually_async("what was not done is back", async || {
        back += purge(&connection, &name).await;
        (back == 4).then_some(())
    })
    .await;
    connection.close().await;
}

#[tokio::test]
async fn a_worker_goes_on_after_the_broker_was_killed() {
    let mut broker = Broker::warren_on_fixed_port(&[]);
    let connection = connect(&broker).await;
    let queue = connection.work_queue_with::<Order>("lasting", hasty()).await.unwrap();
    let (done, mut jobs) = mpsc::unbounded_channel();
    let worker = queue
        .work(move |job: Job<Order>| {
            let done = done.clone();
            async move { done.send(job.count) }
        })
        .await
        .unwrap();
    queue.push(&order(1)).await.unwrap();
    assert_eq!(soon("a job", jobs.recv()).await, Some(1));
    broker.crash();
    broker.start_again();
    queue.push(&order(2)).await.unwrap();
    // The first may be done twice, if its end was not known when the broker was killed.
    soon("the next job", async { while jobs.recv().await != Some(2) {} }).await;
    worker.shutdown(Duration::from_secs(10)).await.unwrap();
    connection.close().await;
}

#[tokio::test]
async fn a_worker_whose_queue_is_deleted_ends_with_the_reason() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (name, queue) = orders(&broker, &connection, "deleted", hasty()).await;
    let worker = queue.work(async |_: Job<Order>| Ok::<(), Error>(())).await.unwrap();
    let channel = connection.lapin_channel().await.unwrap();
    channel.queue_delete(name.as_str().into(), Default::default()).await.unwrap();
    let error = soon("the end", worker.ended()).await.unwrap_err();
    assert!(matches!(&error, Error::Cancelled { queue } if *queue == name), "{error}");
    connection.close().await;
}
