//! Exchanges and bindings in listings.

use std::sync::Arc;

use amq_protocol::types::FieldTable;

use super::Admin;
use super::measures::{Measure, Past, measure};
use crate::engine::exchange::ExchangeOptions;
use crate::engine::policy::AppliedPolicies;
use crate::engine::topology::{self, Destination, Topology};
use crate::server::census::ExchangeMeter;
use crate::server::queue_handle::QueueHandle;
use crate::server::vhost::VHost;
use crate::stats::rates::Window;

/// An exchange as the topology shows it.
type Exchange<'a> = topology::ExchangeView<'a, Arc<ExchangeMeter>>;

/// An exchange.
#[derive(Debug, Clone)]
pub struct ExchangeView {
    /// Its virtual host.
    pub vhost: String,
    /// As declared.
    pub options: ExchangeOptions,
    /// The policies that apply to it.
    pub policies: AppliedPolicies,
    meter: Arc<ExchangeMeter>,
}

impl ExchangeView {
    /// What clients published to it, and what of that went to queues; empty if nothing did.
    #[must_use]
    pub fn message_stats(&self, window: Option<Window>) -> Vec<Measure> {
        let [published, routed] = self.meter.numbers();
        if published == 0 {
            return Vec::new();
        }
        self.meter.seen(|series| {
            let past: Option<&dyn Past> = series.map(|series| series as _);
            vec![
                measure("publish_in", published, past, window, |sample| sample[0]),
                measure("publish_out", routed, past, window, |sample| sample[1]),
            ]
        })
    }
}

/// What a binding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndKind {
    /// A queue.
    Queue,
    /// A further exchange.
    Exchange,
}

/// A binding, those from the default exchange included.
#[derive(Debug, Clone, PartialEq)]
pub struct BindingView {
    /// Its virtual host.
    pub vhost: String,
    /// The exchange it leads from.
    pub source: String,
    /// What it leads to.
    pub destination: String,
    /// What that is.
    pub kind: EndKind,
    /// Its key.
    pub routing_key: String,
    /// Its arguments.
    pub arguments: FieldTable,
}

impl Admin {
    /// All exchanges of a virtual host, or of all, in no particular order.
    #[must_use]
    pub fn exchanges(&self, vhost: Option<&str>) -> Vec<ExchangeView> {
        let of = |vhost: &Arc<VHost>| {
            vhost.read(|registry| {
                let view = |view: Exchange<'_>| exchange_view(vhost.name(), &view);
                registry.topology.exchanges().map(view).collect::<Vec<_>>()
            })
        };
        self.vhosts_named(vhost).iter().flat_map(of).collect()
    }

    /// One exchange.
    #[must_use]
    pub fn exchange(&self, vhost: &str, name: &str) -> Option<ExchangeView> {
        let vhost = self.shared.vhost(vhost)?;
        vhost.read(|registry| {
            let found = registry.topology.exchange(name)?;
            Some(exchange_view(vhost.name(), &found))
        })
    }

    /// All bindings of a virtual host, or of all, in no particular order.
    #[must_use]
    pub fn bindings(&self, vhost: Option<&str>) -> Vec<BindingView> {
        let of = |vhost: &Arc<VHost>| vhost.read(|registry| all(vhost.name(), &registry.topology));
        self.vhosts_named(vhost).iter().flat_map(of).collect()
    }

    /// The bindings from an exchange; `None` if there is no such exchange.
    #[must_use]
    pub fn bindings_from(&self, vhost: &str, exchange: &str) -> Option<Vec<BindingView>> {
        let vhost = self.shared.vhost(vhost)?;
        vhost.read(|registry| {
            let topology = &registry.topology;
            topology.exchange_options(exchange)?;
            if exchange.is_empty() {
                return Some(defaults(vhost.name(), topology).collect());
            }
            let view = |view: topology::BindingView<'_>| binding_view(vhost.name(), &view);
            Some(topology.bindings_from(exchange).map(view).collect())
        })
    }

    /// The bindings to a queue or an exchange; `None` if there is none of this name.
    #[must_use]
    pub fn bindings_to(&self, vhost: &str, kind: EndKind, name: &str) -> Option<Vec<BindingView>> {
        let vhost = self.shared.vhost(vhost)?;
        vhost.read(|registry| {
            let topology = &registry.topology;
            let view = |view: topology::BindingView<'_>| binding_view(vhost.name(), &view);
            match kind {
                EndKind::Queue => {
                    topology.find_queue(name)?;
                    let default = default_binding(vhost.name(), name);
                    let others = topology.bindings_of(Destination::Queue(name)).map(view);
                    Some([default].into_iter().chain(others).collect())
                }
                EndKind::Exchange => {
                    topology.exchange_options(name)?;
                    Some(topology.bindings_of(Destination::Exchange(name)).map(view).collect())
                }
            }
        })
    }
}

fn all(vhost: &str, topology: &Topology<QueueHandle>) -> Vec<BindingView> {
    defaults(vhost, topology).chain(topology.bindings().map(|view| binding_view(vhost, &view))).collect()
}

fn defaults<'a>(
    vhost: &'a str,
    topology: &'a Topology<QueueHandle>,
) -> impl Iterator<Item = BindingView> + 'a {
    topology.queues().map(move |view| default_binding(vhost, &view.options.name))
}

/// Each queue is bound to the default exchange under its name.
fn default_binding(vhost: &str, queue: &str) -> BindingView {
    BindingView {
        vhost: vhost.to_owned(),
        source: String::new(),
        destination: queue.to_owned(),
        kind: EndKind::Queue,
        routing_key: queue.to_owned(),
        arguments: FieldTable::default(),
    }
}

fn exchange_view(vhost: &str, view: &Exchange<'_>) -> ExchangeView {
    ExchangeView {
        vhost: vhost.to_owned(),
        options: view.options.clone(),
        policies: view.policies.clone(),
        meter: view.meter.clone(),
    }
}

fn binding_view(vhost: &str, view: &topology::BindingView<'_>) -> BindingView {
    let (kind, destination) = match view.destination {
        Destination::Queue(name) => (EndKind::Queue, name),
        Destination::Exchange(name) => (EndKind::Exchange, name),
    };
    BindingView {
        vhost: vhost.to_owned(),
        source: view.source.to_owned(),
        destination: destination.to_owned(),
        kind,
        routing_key: view.routing_key.to_owned(),
        arguments: view.arguments.clone(),
    }
}
