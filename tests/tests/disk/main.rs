//! The broker and its disk: power cuts at any moment, calls that fail or take long, and damaged files. It needs the disk
//! shim, which `cargo build --workspace` builds, and runs on Linux only.

#![cfg(target_os = "linux")]
// Helpers of tests are tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

mod backing_up;
mod damage;
mod failures;
mod history;
mod image;
mod load;
mod message;
mod notes;
mod power_cut;
mod random;
// Read here, written by the shim, which must not be linked to a test: it would stand in for the test's own calls.
#[allow(dead_code)]
#[path = "../../disk-shim/src/record.rs"]
mod record;
mod restoring;
mod shim;
mod shim_itself;
mod slow_sync;
mod warren;
