//! `warren-perf`: a load generator for any AMQP 0-9-1 broker.
//!
//! It speaks raw AMQP with a codec of its own, because it shares the machine with the broker it measures and must cost
//! little. It refuses to be a client library, and knows nothing of Warren. `warren-perf --help` tells the rest.

mod batch;
mod check;
mod cli;
mod clock;
mod codec;
mod compare;
mod confirms;
mod connection;
mod consumer;
mod error;
mod expiry;
mod memory;
mod pacer;
mod phase;
mod procfs;
mod producer;
mod report;
mod run;
mod sampler;
mod scenario;
mod signals;
mod stats;
mod topology;
mod url;
mod verdict;

use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;

use crate::cli::{Cli, Command, LoadArgs};
use crate::error::{Error, Result};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let clean = match &cli.command {
        None => single_run(&cli.load),
        Some(Command::Compare(options)) => compare::run(options),
        Some(Command::Memory(options)) => memory::run(options).map(|()| true),
        Some(Command::Expiry(options)) => expiry::run(options),
    };
    match clean {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("warren-perf: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs once and reports; says whether the check found nothing.
fn single_run(load: &LoadArgs) -> Result<bool> {
    let outcome = run::run(load)?;
    if load.json {
        print_json(&outcome)?;
    } else {
        print!("{}", report::outcome(&outcome));
    }
    Ok(outcome.is_clean())
}

/// Prints figures as one JSON object.
fn print_json(figures: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(figures).map_err(|error| Error::Protocol(error.to_string()))?;
    println!("{text}");
    Ok(())
}
