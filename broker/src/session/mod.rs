//! The AMQP peer as a machine without sockets, clock or threads.
//!
//! Frames and time go in, [`action::Action`]s and encoded frames come out. It knows channels, contents, delivery tags and
//! confirms, and no queue: what it needs of the broker it asks for with an action. Called by `server` alone.

pub mod action;
