//! The resources: one file each, with its paths, who may do what, and its JSON.

pub(super) mod health;
pub(super) mod limits;
pub(super) mod local;
pub(super) mod node;
pub(super) mod permissions;
pub(super) mod policies;
pub(super) mod users;
pub(super) mod vhosts;
pub(super) mod whoami;
