//! Named loads, so that figures taken at different times mean the same.
//!
//! A scenario is a list of command-line options, so that anybody can run it by hand. Called by `compare`.

use clap::Parser;

use crate::cli::{Cli, LoadArgs};
use crate::error::{Error, Result};
use crate::phase::{Kind, Phase};
use crate::sampler::Throughput;

/// Which throughput is the scenario's figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Consumed messages per second, median of the seconds.
    Load,
    /// Published messages, to the last confirm, per second.
    Fill,
    /// Consumed messages per second, to the last.
    Drain,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) options: &'static str,
    pub(crate) measure: Measure,
}

const fn load(name: &'static str, options: &'static str) -> Scenario {
    Scenario { name, options, measure: Measure::Load }
}

/// How many of the scenarios run when none is named.
const DEFAULTS: usize = 4;

pub(crate) const SCENARIOS: &[Scenario] = &[
    load("auto-16", "--size 16"),
    load("auto-1k", "--size 1024"),
    load("confirm-16", "--size 16 --confirms 1000 --ack manual --prefetch 1000"),
    load("confirm-1k", "--size 1024 --confirms 1000 --ack manual --prefetch 1000"),
    load("manual-16", "--size 16 --ack manual --prefetch 1000"),
    load("pairs-16", "--size 16 --producers 4 --consumers 4 --queues 4"),
    load("shared-16", "--size 16 --producers 2 --consumers 4 --queues 1 --ack manual --prefetch 200"),
    load("fanout-16", "--size 16 --consumers 4 --queues 4 --exchange fanout"),
    load("topic-16", "--size 16 --queues 4 --exchange topic"),
    load("large-256k", "--size 262144 --confirms 20 --ack manual --prefetch 20"),
    load("latency-1k", "--size 1024 --rate 10000 --confirms 1000 --ack manual --prefetch 1000"),
    load("persistent-1k", "--size 1024 --durable --persistent --confirms 1000 --ack manual --prefetch 1000"),
    Scenario {
        name: "fill-transient-1k",
        options: "--fill 200000 --drain --size 1024 --confirms 1000 --ack manual --prefetch 1000",
        measure: Measure::Fill,
    },
    Scenario {
        name: "fill-persistent-1k",
        options: "--fill 200000 --drain --size 1024 --durable --persistent --confirms 1000 --ack manual --prefetch 1000",
        measure: Measure::Fill,
    },
    Scenario {
        name: "drain-persistent-1k",
        options: "--fill 200000 --drain --size 1024 --durable --persistent --confirms 1000 --ack manual --prefetch 1000",
        measure: Measure::Drain,
    },
];

/// The scenarios with these names; the first few when there are none.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS[..DEFAULTS].to_vec());
    }
    let find = |name: &String| {
        SCENARIOS.iter().find(|scenario| scenario.name == name).copied().ok_or_else(|| {
            let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            Error::Usage(format!("there is no scenario {name:?}; there are {}", known.join(", ")))
        })
    };
    names.iter().map(find).collect()
}

impl Scenario {
    /// The load its options stand for.
    pub(crate) fn load(&self) -> Result<LoadArgs> {
        let words = std::iter::once("warren-perf").chain(self.options.split_ascii_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.load).map_err(|error| Error::Usage(error.to_string()))
    }

    /// The phase the scenario is about, among those of a run.
    pub(crate) fn phase<'a>(&self, phases: &'a [Phase]) -> Option<&'a Phase> {
        let kind = match self.measure {
            Measure::Load => Kind::Load,
            Measure::Fill => Kind::Fill,
            Measure::Drain => Kind::Drain,
        };
        phases.iter().find(|phase| phase.kind == kind)
    }

    /// Messages per second.
    pub(crate) fn figure(&self, phase: &Phase) -> Option<f64> {
        let figures = &phase.figures;
        match self.measure {
            Measure::Load => figures.consumed.map(|consumed| consumed.median),
            // A phase bounded by a count is short, so its whole length says more than its whole seconds.
            Measure::Fill => figures.confirmed.or(figures.published).map(mean),
            Measure::Drain => figures.consumed.map(mean),
        }
    }
}

fn mean(throughput: Throughput) -> f64 {
    throughput.mean
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_a_valid_command_line_with_a_name_of_its_own() {
        for (place, scenario) in SCENARIOS.iter().enumerate() {
            let load = scenario.load().unwrap();
            load.validate().unwrap();
            assert_eq!(load.fill.is_some(), scenario.measure != Measure::Load, "{}", scenario.name);
            assert!(SCENARIOS[..place].iter().all(|other| other.name != scenario.name), "{}", scenario.name);
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = chosen(&["auto-17".into()]).unwrap_err().to_string();
        assert!(error.contains("auto-17") && error.contains("confirm-1k"), "{error}");
        assert_eq!(chosen(&[]).unwrap().len(), DEFAULTS);
    }
}
