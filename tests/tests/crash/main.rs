//! What survives when a broker process dies: real processes, killed with SIGKILL and started again on their data folder.
//!
//! These tests are about Warren alone; `AMQP_URL` does not apply. They kill the process, not the machine, so what was
//! handed to the operating system survives; power cuts are tested elsewhere.

// Helpers of tests are tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

mod backups;
mod connection;
mod ledger;
mod load;
mod message;
mod model;
mod operations;
mod oracle;
mod promises;
mod random;
mod rounds;
mod rules;
mod transactions;
mod wire;
