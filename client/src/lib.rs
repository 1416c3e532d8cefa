//! What programs write again and again around [lapin], done once: connections that come back by themselves, publishing
//! without losing anything unnoticed, work queues, subscriptions and remote calls. It speaks to any AMQP 0-9-1 broker.
//!
//! | you want | use |
//! |---|---|
//! | a connection that comes back, with what was declared | [`Connection`], [`Options`], [`State`] |
//! | to publish, and to know what became of it | [`Publisher`], [`Message`] |
//! | jobs that are done, tried again, and put aside when they fail too often | [`WorkQueue`] |
//! | events for everybody who wants them | [`Topic`], [`Fanout`], [`Pattern`] |
//! | the messages of a queue, one by one | [`Connection::subscribe`] |
//! | to call a function of another program | [`RpcClient`], [`RpcServer`] |
//! | everything else | [`Connection::lapin_channel`] |
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
//! # fn main() { run(async |url: String| {
//! use warren_client::{Connection, Job, Options};
//!
//! let connection = Connection::open(Options::new(url).name("orders")).await?;
//! let orders = connection.work_queue::<Vec<String>>("orders").await?;
//! let worker = orders
//!     .work(async |order: Job<Vec<String>>| {
//!         println!("ordered: {:?}", *order);
//!         Ok::<(), std::io::Error>(())
//!     })
//!     .await?;
//! orders.push(&vec!["tea".to_owned(), "milk".to_owned()]).await?;
//!
//! worker.shutdown(std::time::Duration::from_secs(20)).await?;
//! connection.close().await;
//! # Ok(())
//! # }) }
//! ```
//!
//! It needs a tokio runtime with time and IO. Nothing here panics, and errors say what to do.
//!
//! # Promises
//!
//! What is confirmed is in the broker. What is not may arrive twice when the connection is lost, never silently not at all:
//! everything here is **at least once**, except where you ask for less ([`SubscribeOptions::auto_ack`], remote calls).
//!
//! # Versions
//!
//! Enums and errors that may grow are `#[non_exhaustive]`, and settings are builders, so that additions break nobody. The
//! types of lapin that show in [`Connection::lapin_channel`], [`Message::properties`] and [`Error`] belong to the lapin that is
//! re-exported as [`lapin`]; another major version of it is a breaking change of this crate.

#![deny(missing_docs)]

mod address;
mod backoff;
mod broadcast;
mod connection;
mod delivery;
mod error;
mod link;
mod message;
mod options;
mod pattern;
mod pool;
mod publisher;
mod random;
mod rpc;
mod source;
mod state;
mod subscription;
mod tls;
mod topology;
mod value;
mod work_queue;

pub use backoff::Backoff;
pub use broadcast::{Fanout, Topic};
pub use connection::Connection;
pub use delivery::Delivery;
pub use error::Error;
pub use lapin;
pub use message::Message;
pub use options::Options;
pub use pattern::{Pattern, PatternBuilder, topic_matches};
pub use publisher::{Confirm, Publisher, PublisherOptions};
pub use rpc::{CallError, RpcClient, RpcOptions, RpcServer};
pub use state::State;
pub use subscription::{SubscribeOptions, Subscription};
pub use tls::Tls;
pub use topology::{DeclaredQueue, Exchange, Queue};
pub use value::Value;
pub use work_queue::{Job, WorkOptions, WorkQueue, Worker};
