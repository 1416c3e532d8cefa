//! What a topology refuses to clients by name alone, with RabbitMQ's texts. Called by [`super`] only.

use super::Destination;
use crate::error::AmqpError;

/// What begins with this is the broker's to create.
pub(super) const RESERVED_PREFIX: &str = "amq.";

pub(super) fn check_not_default(exchange: &str) -> Result<(), AmqpError> {
    if exchange.is_empty() {
        return Err(AmqpError::access_refused("operation not permitted on the default exchange"));
    }
    Ok(())
}

pub(super) fn check_binding_ends(destination: Destination<'_>, source: &str) -> Result<(), AmqpError> {
    if let Destination::Exchange(name) = destination {
        check_not_default(name)?;
    }
    check_not_default(source)
}

pub(super) fn check_not_reserved(what: &str, name: &str) -> Result<(), AmqpError> {
    if name.starts_with(RESERVED_PREFIX) {
        return Err(AmqpError::access_refused(format!(
            "{what} name '{name}' contains reserved prefix 'amq.*'"
        )));
    }
    Ok(())
}
