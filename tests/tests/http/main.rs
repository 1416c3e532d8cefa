//! The HTTP API of a broker process, as a plain HTTP client sees it.

mod access;
mod client;
mod events;
mod fields;
mod frame;
mod many_definitions;
mod messages;
mod rabbitmqadmin;
mod resources;
mod unacked;
