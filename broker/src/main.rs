//! The broker's binary: reads settings, sets up logging, runs a broker until it is told to stop.
//!
//! It holds no rule of the protocol; all of that is in the library, which other programs can embed.

mod cli;
mod ctl;
mod logging;
#[cfg(feature = "messages")]
mod messages;
mod progress_bar;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
