//! The protocol, frame by frame: what a peer that speaks raw AMQP 0-9-1 sends, and what it must get back, to the byte.
//!
//! One file for each area. All tests share one Warren inside this process and keep apart by unique names; a few start a
//! Warren of their own, with settings. With `AMQP_URL` the same tests run against that broker, which shows that they ask
//! for the right thing: where Warren deviates on purpose a test says so with [`target::differs_from_rabbitmq`].

mod peer;
mod target;

mod acks;
mod arguments;
mod blocked;
mod channels;
mod confirms;
mod consume;
mod declare;
mod direct_reply;
mod errors;
mod exchange_types;
mod exchanges;
mod firehose;
mod get;
mod handshake;
mod heartbeats;
mod publish;
mod routing;
mod shutdown;
mod tx;
