//! [`ByName`]: shared options as a map key that is looked up by name, so that no name is stored twice.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::engine::{exchange::ExchangeOptions, queue::QueueOptions};

/// Something with a name that never changes.
pub(super) trait Named {
    fn name(&self) -> &str;
}

impl Named for QueueOptions {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for ExchangeOptions {
    fn name(&self) -> &str {
        &self.name
    }
}

/// Equals and hashes as its name does.
#[derive(Debug)]
pub(super) struct ByName<T>(pub(super) Arc<T>);

impl<T: Named> Borrow<str> for ByName<T> {
    fn borrow(&self) -> &str {
        self.0.name()
    }
}

impl<T: Named> PartialEq for ByName<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl<T: Named> Eq for ByName<T> {}

impl<T: Named> Hash for ByName<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}
