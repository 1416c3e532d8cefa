//! Hostile and broken peers against a real broker process: each is told the right thing or dropped, the broker's memory
//! stays bounded, and a well-behaved client beside them keeps getting its messages.
//!
//! Bounds are generous, because they guard against growth without end, not against a few more bytes. These tests are about
//! Warren alone; `AMQP_URL` does not apply.

// Helpers of tests are tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

mod crowds;
mod frames;
mod greetings;
mod peer;
mod process;
mod slow;
mod steady;

use std::io::Write;

use tempfile::NamedTempFile;
use warren_tests::Broker;

/// A broker with further settings, given as TOML.
fn broker_with(settings: &str) -> Broker {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(settings.as_bytes()).unwrap();
    Broker::warren(&["--config", file.path().to_str().unwrap()])
}
