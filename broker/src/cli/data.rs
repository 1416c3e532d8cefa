//! `warren data check` and `warren data stats`: what is in the data folder of a broker that is not running, in words.
//!
//! It opens the folder and prints; looking into it is the store's part. A folder that a broker uses is refused with the
//! broker's process id. `cli.rs` calls it.

use std::fmt;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use warren::config::Data;
use warren::store::folder::DataFolder;
use warren::store::inspect;

#[derive(Debug, Args)]
pub(super) struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum DataCommand {
    /// Verify checksums, references and counts: exit code 0 when all is sound, else 1
    Check,
    /// Say how much of what there is
    Stats,
}

/// Runs the command for the data folder of the configuration.
pub(super) fn run(args: &DataArgs, data: &Data) -> ExitCode {
    match look(args.command, data) {
        Ok((text, sound)) => {
            super::print(&text);
            if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("warren data: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What there is to say, and whether all of it is as it should be.
fn look(command: DataCommand, data: &Data) -> anyhow::Result<(String, bool)> {
    let path = data.folder.as_deref().context("no data folder is configured; name one with --data")?;
    let folder = DataFolder::open_stopped(path)?;
    let reading = || format!("cannot read the data folder {}", path.display());
    Ok(match command {
        DataCommand::Check => {
            let found = inspect::check(&folder).with_context(reading)?;
            (printed(&found), found.is_sound())
        }
        DataCommand::Stats => (printed(&inspect::stats(&folder).with_context(reading)?), true),
    })
}

fn printed(found: &impl fmt::Display) -> String {
    let text = found.to_string();
    if text.ends_with('\n') { text } else { text + "\n" }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn refusal(folder: Option<PathBuf>) -> String {
        format!("{:#}", look(DataCommand::Check, &Data { folder }).unwrap_err())
    }

    #[test]
    fn a_configuration_without_a_folder_is_refused() {
        assert_eq!(refusal(None), "no data folder is configured; name one with --data");
    }

    #[test]
    fn a_folder_in_use_and_a_folder_without_data_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let _broker = DataFolder::open(&root.path().join("d")).unwrap();
        let in_use = refusal(Some(root.path().join("d")));
        assert!(in_use.contains(&format!("is in use by process {}", std::process::id())), "{in_use}");
        let nothing = refusal(Some(root.path().join("e")));
        assert!(nothing.starts_with("there is no data in "), "{nothing}");
    }
}
