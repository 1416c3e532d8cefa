//! The resources: one file each, with its paths, who may do what, and its JSON.

pub(super) mod limits;
pub(super) mod permissions;
pub(super) mod users;
pub(super) mod whoami;
