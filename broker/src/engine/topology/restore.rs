//! Filling a topology on start from the definitions that a store has kept.
//!
//! None of what is checked for clients is checked here (names, owners), and nothing goes to the change log: it is written
//! already. What does not fit is refused with an error, never with a panic, because the store may have been damaged.

use std::sync::Arc;

use super::bindings::BindingSpec;
use super::{Handle, Topology, check_binding_ends};
use crate::engine::definitions::{BindingDefinition, BoundTo};
use crate::engine::exchange::{ExchangeOptions, Target};
use crate::engine::queue::QueueOptions;
use crate::error::AmqpError;

/// Why a definition does not fit into its vhost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The exchange is there, among them those that every vhost has.
    #[error("exchange '{0}' exists already")]
    ExchangeExists(String),
    /// The queue is there.
    #[error("queue '{0}' exists already")]
    QueueExists(String),
    /// The binding is there.
    #[error("the binding exists already")]
    BindingExists,
    /// A binding's source or destination is not there.
    #[error("there is no exchange '{0}'")]
    NoExchange(String),
    /// A binding's destination is not there.
    #[error("there is no queue '{0}'")]
    NoQueue(String),
    /// A binding that nobody could have made.
    #[error("{0}")]
    Refused(AmqpError),
}

impl<Q: Handle> Topology<Q> {
    /// Takes an exchange back.
    ///
    /// # Errors
    ///
    /// If there is one of that name.
    pub fn restore_exchange(&mut self, options: ExchangeOptions) -> Result<(), RestoreError> {
        if self.exchange_names.contains_key(options.name.as_str()) {
            return Err(RestoreError::ExchangeExists(options.name));
        }
        self.add_exchange(Arc::new(options));
        Ok(())
    }

    /// Takes a queue back, which belongs to nobody.
    ///
    /// # Errors
    ///
    /// If there is one of that name.
    pub fn restore_queue(&mut self, options: Arc<QueueOptions>, queue: Q) -> Result<(), RestoreError> {
        if self.queue_names.contains_key(options.name.as_str()) {
            return Err(RestoreError::QueueExists(options.name.clone()));
        }
        self.add_queue(options, None, queue);
        Ok(())
    }

    /// Takes a binding back.
    ///
    /// # Errors
    ///
    /// If one of its ends is missing, or if it is there or not possible.
    pub fn restore_binding(&mut self, binding: BindingDefinition) -> Result<(), RestoreError> {
        let BindingDefinition { source, destination, routing_key, arguments, .. } = binding;
        check_binding_ends(destination.borrowed(), &source).map_err(RestoreError::Refused)?;
        let exchange = |name: &str| {
            self.exchange_names.get(name).copied().ok_or_else(|| RestoreError::NoExchange(name.to_owned()))
        };
        let source = exchange(&source)?;
        let target = match destination {
            BoundTo::Exchange(name) => Target::Exchange(exchange(&name)?),
            BoundTo::Queue(name) => match self.queue_names.get(name.as_str()) {
                Some(&queue) => Target::Queue(queue),
                None => return Err(RestoreError::NoQueue(name)),
            },
        };
        let rule =
            self.binding_rule(source, target, &routing_key, &arguments).map_err(RestoreError::Refused)?;
        let spec = BindingSpec { source, target, routing_key: routing_key.into(), arguments };
        if self.bindings.find(&spec).is_some() {
            return Err(RestoreError::BindingExists);
        }
        self.link(spec, rule);
        Ok(())
    }
}
