//! An AMQP 0-9-1 message broker as a library.
//!
//! The layers, from the bytes up: [`wire`], [`session`], [`engine`], [`store`], [`server`].

pub mod config;
pub mod engine;
pub mod error;
pub mod limits;
pub mod session;
pub mod wire;
