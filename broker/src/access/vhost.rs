//! [`VHostSettings`]: what is known of a virtual host besides its exchanges and queues.

use super::{AccessError, Tags};

/// How much one virtual host may hold; `None` is without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VHostLimits {
    /// Connections at a time.
    pub connections_max: Option<u32>,
    /// Queues at a time.
    pub queues_max: Option<u32>,
}

/// A virtual host's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VHostSettings {
    /// For people.
    pub description: String,
    /// For people and programs; none has a meaning here.
    pub tags: Tags,
    /// The type of queues that are declared without one: `classic` or `quorum`. `None` is classic.
    pub default_queue_type: Option<String>,
    /// How much it may hold.
    pub limits: VHostLimits,
    /// Whether deleting it is refused.
    pub protected_from_deletion: bool,
}

impl VHostSettings {
    pub(super) fn check(&self) -> Result<(), AccessError> {
        match self.default_queue_type.as_deref() {
            None | Some("classic" | "quorum") => Ok(()),
            Some(other) => Err(AccessError::UnknownQueueType(other.to_owned())),
        }
    }
}
