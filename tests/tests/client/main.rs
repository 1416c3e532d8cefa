//! The client library against a real broker, which is restarted, and behind a proxy, which fails.

// Helpers of tests are tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

mod connection;
mod proxy;
mod publisher;
mod rpc;
mod subscriptions;
mod tls;
mod work_queue;

use std::time::Duration;

use tokio::time::timeout;
use warren_client::lapin::Channel;
use warren_client::lapin::options::{BasicGetOptions, QueuePurgeOptions};
use warren_client::{Backoff, Connection, Error, Options, State};
use warren_tests::{Broker, DEADLINE};

/// Options for tests: back soon.
fn options(url: &str) -> Options {
    Options::new(url)
        .name("warren-client test")
        .backoff(Backoff::new(Duration::from_millis(20), Duration::from_millis(100)))
}

async fn connect(broker: &Broker) -> Connection {
    Connection::open(options(broker.url())).await.unwrap()
}

/// A future that must be ready within the deadline of all tests.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

async fn until_state(connection: &Connection, what: &str, is: impl FnMut(&State) -> bool) -> State {
    soon(what, connection.watch().wait_for(is)).await.unwrap().clone()
}

/// A channel, also shortly after a loss, which this connection may not have noticed.
async fn channel_of(connection: &Connection) -> Channel {
    let opened = async {
        loop {
            match connection.lapin_channel().await {
                Err(Error::Lost { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
                opened => return opened.unwrap(),
            }
        }
    };
    soon("a channel", opened).await
}

/// All bodies in a queue, which has none of them after that.
async fn drain(connection: &Connection, queue: &str) -> Vec<String> {
    let channel = channel_of(connection).await;
    let mut bodies = Vec::new();
    while let Some(message) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap()
    {
        bodies.push(String::from_utf8(message.delivery.data).unwrap());
    }
    bodies
}

/// How many messages a queue has, which are gone after that.
async fn purge(connection: &Connection, queue: &str) -> u32 {
    let channel = channel_of(connection).await;
    channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.unwrap()
}
