//! The tutorial programs in Rust, each a sender and a receiver.
