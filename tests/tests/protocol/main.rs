//! The protocol, frame by frame: what a peer that speaks raw AMQP 0-9-1 sends, and what it must get back, to the byte.
//!
//! One file for each area. All tests share one Warren inside this process and keep apart by unique names; a few start a
//! Warren of their own, with settings. With `AMQP_URL` the same tests run against that broker, which shows that they ask
//! for the right thing: where Warren deviates on purpose a test says so with [`target::differs_from_rabbitmq`].

mod features;
mod operator;
mod peer;
mod story;
mod target;

mod access;
mod acks;
mod admission;
mod arguments;
mod at_least_once;
mod blocked;
mod channels;
mod confirms;
mod consume;
mod consumer_timeout;
mod dead_letter_loops;
mod dead_letters;
mod declare;
mod delivery_limit;
mod direct_reply;
mod errors;
mod events;
mod exchange_types;
mod exchanges;
mod firehose;
mod get;
mod handshake;
mod heartbeats;
mod limits;
mod oauth;
mod priorities;
mod proxy;
mod publish;
mod routing;
mod shutdown;
mod single_active;
mod ttl;
mod tx;
mod users;
