//! The resources: one file each, with its paths, who may do what, and its JSON.

pub(super) mod acting;
pub(super) mod backup;
pub(super) mod bindings;
pub(super) mod connections;
pub(super) mod definitions;
pub(super) mod events;
pub(super) mod exchanges;
pub(super) mod health;
pub(super) mod limits;
pub(super) mod local;
pub(super) mod messages;
pub(super) mod node;
pub(super) mod overview;
pub(super) mod parameters;
pub(super) mod permissions;
pub(super) mod policies;
pub(super) mod queues;
pub(super) mod unacked;
pub(super) mod users;
pub(super) mod vhosts;
pub(super) mod whoami;
