//! An AMQP 0-9-1 message broker as a library.
//!
//! The layers, from the bytes up: [`wire`], [`session`], [`engine`], [`store`], [`server`].

pub mod access;
pub mod clock;
pub mod config;
pub mod engine;
pub mod error;
pub mod fetch;
mod http;
pub mod limits;
pub mod server;
pub mod session;
pub mod stats;
pub mod store;
pub mod wire;

pub use config::Config;
pub use server::{Broker, ConfigSource, PolicyError, ReloadError, ReloadReport, Sockets, StartError};
