//! The AMQP peer as a machine without sockets, clock or threads.
//!
//! Frames and time go in, [`action::Action`]s and encoded frames come out. It knows channels, contents, delivery tags and
//! confirms, and no queue: what it needs of the broker it asks for with an action. Called by `server` alone, through
//! [`connection::Connection`].

pub mod action;
pub mod config;
pub mod connection;
pub mod names;
pub mod peer;

mod alarm;
mod assemble;
mod channel;
mod confirms;
mod consumers;
mod content;
mod faults;
mod finish;
mod handshake;
mod heartbeat;
mod qos;
mod topology;
mod tx;
mod unacked;

#[cfg(test)]
mod testing;

pub use assemble::assemble;
pub use faults::login_refused;
