//! The change log of a topology: what a store must write so that what is durable survives a restart.
//!
//! Durable are policies, exchanges and queues declared so, and the bindings between them. An exclusive queue goes with its
//! connection and is never durable; the exchanges that every vhost has are made anew on each start, but bindings from and
//! to them are kept. Nothing is noted where nothing changed.

use std::sync::Arc;

use super::bindings::BindingSpec;
use super::{BindingView, Destination, Handle, Topology};
use crate::engine::ConnectionId;
use crate::engine::definitions::{BindingDefinition, BoundTo, DefinitionChange};
use crate::engine::exchange::ExchangeOptions;
use crate::engine::policy::{Policy, PolicyKind};
use crate::engine::queue::QueueOptions;

/// Something that was made or removed, durable or not, for those who are told of it.
#[derive(Debug, Clone)]
pub enum News {
    /// An exchange was declared.
    ExchangeCreated(Arc<ExchangeOptions>),
    /// An exchange is gone.
    ExchangeDeleted(Arc<ExchangeOptions>),
    /// A queue was declared.
    QueueCreated {
        /// As declared.
        options: Arc<QueueOptions>,
        /// Whose it is, if it is exclusive.
        owner: Option<ConnectionId>,
    },
    /// A queue is gone.
    QueueDeleted(Arc<QueueOptions>),
    /// A binding was made.
    BindingCreated(BindingDefinition),
    /// A binding is gone.
    BindingDeleted(BindingDefinition),
}

impl<Q: Handle> Topology<Q> {
    /// Gathers news from now on, for [`Topology::take_news`], or no more.
    pub fn gather_news(&mut self, wanted: bool) {
        if self.news.is_some() != wanted {
            self.news = wanted.then(Vec::new);
        }
    }

    /// What happened since the last call, in order; nothing unless [`Topology::gather_news`] was called.
    #[must_use]
    pub fn take_news(&mut self) -> Vec<News> {
        self.news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn tell(&mut self, news: impl FnOnce() -> News) {
        if let Some(gathered) = &mut self.news {
            gathered.push(news());
        }
    }

    /// What is to be written since the last call, in order. To be taken under the same lock as the change itself, so that
    /// the store hears of changes in the order in which they happened.
    #[must_use]
    pub fn take_changes(&mut self) -> Vec<DefinitionChange> {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn note_exchange(&mut self, options: &Arc<ExchangeOptions>) {
        self.tell(|| News::ExchangeCreated(options.clone()));
        if options.durable {
            self.changes.push(DefinitionChange::exchange(&self.vhost, options));
        }
    }

    pub(super) fn note_no_exchange(&mut self, options: &Arc<ExchangeOptions>) {
        self.tell(|| News::ExchangeDeleted(options.clone()));
        if options.durable {
            self.changes.push(DefinitionChange::no_exchange(&self.vhost, &options.name));
        }
    }

    pub(super) fn note_queue(&mut self, options: &Arc<QueueOptions>, owner: Option<ConnectionId>, queue: &Q) {
        self.tell(|| News::QueueCreated { options: options.clone(), owner });
        if options.durable {
            self.changes.push(DefinitionChange::queue(queue.id(), options));
        }
    }

    pub(super) fn note_no_queue(&mut self, options: &Arc<QueueOptions>) {
        self.tell(|| News::QueueDeleted(options.clone()));
        if options.durable {
            self.changes.push(DefinitionChange::no_queue(&options.vhost, &options.name));
        }
    }

    pub(super) fn note_binding(&mut self, spec: &BindingSpec) {
        let binding = self.view_of(spec);
        let change = binding.durable.then(|| DefinitionChange::binding(&self.vhost, &binding));
        let news = self.news.is_some().then(|| News::BindingCreated(definition_of(&self.vhost, &binding)));
        self.changes.extend(change);
        self.news.iter_mut().for_each(|gathered| gathered.extend(news.clone()));
    }

    pub(super) fn note_policy(&mut self, policy: &Policy) {
        self.changes.push(DefinitionChange::policy(policy));
    }

    pub(super) fn note_no_policy(&mut self, kind: PolicyKind, name: &str) {
        self.changes.push(DefinitionChange::no_policy(&self.vhost, kind, name));
    }

    /// To be called while both ends of the binding are still there.
    pub(super) fn note_no_binding(&mut self, spec: &BindingSpec) {
        let binding = self.view_of(spec);
        let change = binding.durable.then(|| DefinitionChange::no_binding(&self.vhost, &binding));
        let news = self.news.is_some().then(|| News::BindingDeleted(definition_of(&self.vhost, &binding)));
        self.changes.extend(change);
        self.news.iter_mut().for_each(|gathered| gathered.extend(news.clone()));
    }
}

fn definition_of(vhost: &str, binding: &BindingView<'_>) -> BindingDefinition {
    BindingDefinition {
        vhost: vhost.to_owned(),
        source: binding.source.to_owned(),
        destination: match binding.destination {
            Destination::Queue(name) => BoundTo::Queue(name.to_owned()),
            Destination::Exchange(name) => BoundTo::Exchange(name.to_owned()),
        },
        routing_key: binding.routing_key.to_owned(),
        arguments: binding.arguments.clone(),
    }
}
