//! A library that is loaded before the C library (`LD_PRELOAD`) into a broker under test, and stands in for the functions
//! that change files. For files below one folder it records each call with its data and times, lets calls fail, or has them
//! take their time. It never changes what a successful call does, and it knows nothing of what the files mean.
//!
//! Environment variables, all but the first of them optional:
//!
//! - `DISK_SHIM_FOLDER`: the folder, absolute and without symbolic links
//! - `DISK_SHIM_RECORDING`: the file to which calls are appended, see `record.rs`
//! - `DISK_SHIM_RULES`: which calls fail or are slow, see `rules.rs`
//! - `DISK_SHIM_STRUCK`: the file to which a line is appended for each call that a rule struck
//!
//! It sees what goes through the C library: all of Rust's `std`, and `libc`. It does not see system calls made by a program
//! itself, as `rustix` makes them unless told otherwise, and memory that is mapped. The tests compare what was recorded with
//! what is in the folder, and fail if something went by unseen.
//!
//! It is for Linux on 64-bit machines, and empty elsewhere. There a function whose last parameter is optional is called as
//! one with a fixed number of parameters, so the latter can stand in for the former.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod descriptors;
mod names;
// Written here, read by the tests, which have this file as a module as well.
#[allow(dead_code)]
mod record;
mod rules;
mod sys;
mod watch;
mod writes;

/// Called by the loader, before `main` and after the C library is ready: no call of the program comes before it, and no
/// allocation happens inside of one that the program does not expect.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = {
    extern "C" fn start() {
        watch::start();
    }
    start
};
