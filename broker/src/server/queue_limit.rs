//! [`QueueLimit`]: how many queues there may be in all virtual hosts together.
//!
//! Queues are counted where they are, in each virtual host, because a number kept beside them would one day be wrong. That takes a
//! look at all of them, so it is done only if there is a limit, and one declaration after the other.

use parking_lot::{Mutex, MutexGuard};

use crate::error::AmqpError;

/// The limit, and whose turn it is to declare. Locked after changes of vhosts and before registries.
#[derive(Debug)]
pub(super) struct QueueLimit(Mutex<Option<u32>>);

/// Held while a queue is declared.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    reached: Option<u32>,
    /// None without a limit: then nobody waits for anybody.
    _turn: Option<MutexGuard<'a, Option<u32>>>,
}

impl QueueLimit {
    pub(super) fn new(max: Option<u32>) -> Self {
        Self(Mutex::new(max))
    }

    /// Another limit, for what is declared from now on.
    pub(super) fn set(&self, max: Option<u32>) {
        *self.0.lock() = max;
    }

    /// Waits until nobody else declares a queue, if there is a limit, and counts them.
    pub(super) fn turn(&self, count: impl FnOnce() -> usize) -> Turn<'_> {
        let turn = self.0.lock();
        let Some(max) = *turn else { return Turn { reached: None, _turn: None } };
        let has_room = u32::try_from(count()).is_ok_and(|count| count < max);
        Turn { reached: (!has_room).then_some(max), _turn: Some(turn) }
    }
}

impl Turn<'_> {
    /// Whether there may be one more queue, or 406 with RabbitMQ's text.
    pub(super) fn check(&self, name: &str) -> Result<(), AmqpError> {
        match self.reached {
            None => Ok(()),
            Some(limit) => Err(AmqpError::precondition_failed(format!(
                "cannot declare queue '{name}': queue limit in cluster ({limit}) is reached"
            ))),
        }
    }
}
