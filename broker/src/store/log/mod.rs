//! The log: everything that lasts, in the order in which it happened, in segment files.

pub(super) mod commit;
pub(super) mod frame;
pub(super) mod ops;
pub(super) mod record;
pub(super) mod scan;
pub(super) mod segment;
