//! A whole run: topology, phases, cleaning up.
//!
//! Called by `main` for a single run and by `compare` for each round.

use serde::Serialize;

use crate::cli::{LoadArgs, QueueArgument};
use crate::connection::Connection;
use crate::error::Result;
use crate::phase::{Kind, Phase, Stage, tuning};
use crate::topology::{Durability, Topology};

/// All that a run found out.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    pub(crate) url: String,
    pub(crate) load: String,
    pub(crate) phases: Vec<Phase>,
}

impl Outcome {
    /// Whether every message was delivered once and in order.
    pub(crate) fn is_clean(&self) -> bool {
        self.phases.iter().all(|phase| phase.check.problems().is_empty())
    }
}

pub(crate) fn run(load: &LoadArgs) -> Result<Outcome> {
    load.validate()?;
    let topology = topology(load);
    let mut control = Connection::open(&load.url, tuning(load, 0))?;
    if load.fill.is_some() || !load.drain {
        topology.declare(&mut control)?;
    }
    let phases = phases(load, &topology, &mut control);
    // A failed phase cleans up too, as far as the broker lets it; the first error is the one to report.
    let filled = load.fill.is_some() && !load.drain && phases.is_ok();
    let deleted = if load.keep || filled { Ok(()) } else { clean_up(load, &topology) };
    let phases = phases?;
    deleted?;
    control.close()?;
    Ok(Outcome { url: load.url.to_string(), load: describe(load), phases })
}

fn phases(load: &LoadArgs, topology: &Topology, control: &mut Connection) -> Result<Vec<Phase>> {
    let kinds: &[Kind] = match (load.fill, load.drain) {
        (Some(_), true) => &[Kind::Fill, Kind::Drain],
        (Some(_), false) => &[Kind::Fill],
        (None, true) => &[Kind::Drain],
        (None, false) => &[Kind::Load],
    };
    let mut ledger = None;
    let mut phases = Vec::new();
    for &kind in kinds {
        let stage = Stage { load, topology, control };
        let (phase, next) = stage.run(kind, ledger)?;
        ledger = Some(next);
        phases.push(phase);
    }
    Ok(phases)
}

/// On a connection of its own, as the control connection may have been closed by whatever went wrong.
fn clean_up(load: &LoadArgs, topology: &Topology) -> Result<()> {
    let mut connection = Connection::open(&load.url, tuning(load, 0))?;
    topology.delete(&mut connection)?;
    connection.close()
}

fn topology(load: &LoadArgs) -> Topology {
    let durability = if load.durable { Durability::Durable } else { Durability::Transient };
    let arguments = load.queue_arguments.iter().map(|QueueArgument(key, value)| (key.clone(), value.clone()));
    Topology::new(&load.prefix, load.queues, load.exchange, durability, arguments.collect())
}

/// The load in a line.
fn describe(load: &LoadArgs) -> String {
    let confirms = load.confirms.map_or("no confirms".into(), |window| format!("confirms (window {window})"));
    let acks = match load.ack {
        crate::cli::AckMode::Auto => "automatic acks".to_owned(),
        crate::cli::AckMode::Manual => format!("manual acks (prefetch {})", load.prefetch),
    };
    let rate = load.rate.map_or(String::new(), |rate| format!(", {rate} msg/s"));
    format!(
        "{} producers, {} consumers, {} {} queues, {} {} bytes, {confirms}, {acks}{rate}",
        load.producers,
        load.consumers,
        load.queues,
        if load.durable { "durable" } else { "transient" },
        if load.persistent { "persistent" } else { "transient" },
        load.size,
    )
}
