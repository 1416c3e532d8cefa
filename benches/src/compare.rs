//! The same scenarios against several brokers in turn, and the medians side by side.
//!
//! Called by `main`.

use std::fmt::Write;

use serde::Serialize;

use crate::cli::{CompareArgs, NamedTarget};
use crate::error::{Error, Result};
use crate::report::{bytes, thousands, time};
use crate::run::{self, Outcome};
use crate::scenario::{Measure, SCENARIOS, Scenario, chosen};
use crate::stats::Spread;

/// What all rounds of a scenario against one broker gave.
#[derive(Debug, Serialize)]
struct Column {
    broker: String,
    msg_per_s: Spread,
    /// Compared with the last broker.
    ratio: f64,
    broker_cpu_us_per_message: Option<Spread>,
    generator_cpu_us_per_message: Option<Spread>,
    deliver_p50_us: Option<Spread>,
    deliver_p99_us: Option<Spread>,
    confirm_p50_us: Option<Spread>,
    confirm_p99_us: Option<Spread>,
    broker_rss_bytes: Option<Spread>,
    failed_checks: usize,
    rounds: Vec<Outcome>,
}

#[derive(Debug, Serialize)]
struct Table {
    scenario: &'static str,
    options: &'static str,
    columns: Vec<Column>,
}

/// Runs everything; says whether every check of every round found nothing.
pub(crate) fn run(options: &CompareArgs) -> Result<bool> {
    if options.list {
        for scenario in SCENARIOS {
            println!("{:<20} {}", scenario.name, scenario.options);
        }
        return Ok(true);
    }
    if options.pids.len() > options.targets.len() {
        return Err(Error::Usage("more --pid than --url".into()));
    }
    let mut tables = Vec::new();
    for scenario in chosen(&options.scenarios)? {
        let table = compare(options, scenario)?;
        if !options.json {
            println!("{}", markdown(&table));
        }
        tables.push(table);
    }
    if options.json {
        crate::print_json(&tables)?;
    }
    Ok(tables.iter().flat_map(|table| &table.columns).all(|column| column.failed_checks == 0))
}

fn compare(options: &CompareArgs, scenario: Scenario) -> Result<Table> {
    let mut outcomes: Vec<Vec<Outcome>> = options.targets.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for (place, target) in options.targets.iter().enumerate() {
            let outcome = one_round(options, scenario, place, target)
                .inspect_err(|_| eprintln!("{}: round {round}, {} failed", scenario.name, target.name))?;
            let figure = scenario.phase(&outcome.phases).and_then(|phase| scenario.figure(phase));
            let figure = figure.map_or("no figure".into(), |figure| format!("{} msg/s", thousands(figure)));
            let name = &target.name;
            eprintln!("{}: round {round} of {}, {name}: {figure}", scenario.name, options.rounds);
            if !outcome.is_clean() {
                let problems: Vec<String> =
                    outcome.phases.iter().flat_map(|phase| phase.check.problems()).collect();
                eprintln!("{}: {name}: check FAILED: {}", scenario.name, problems.join("; "));
            }
            outcomes[place].push(outcome);
        }
    }
    let columns: Option<Vec<Column>> = options
        .targets
        .iter()
        .zip(outcomes)
        .map(|(target, rounds)| column(scenario, target.name.clone(), rounds))
        .collect();
    let mut columns =
        columns.ok_or_else(|| Error::Protocol(format!("{} moved no messages", scenario.name)))?;
    let reference = columns.last().map_or(0.0, |column| column.msg_per_s.median);
    for column in &mut columns {
        column.ratio = column.msg_per_s.median / reference;
    }
    Ok(Table { scenario: scenario.name, options: scenario.options, columns })
}

fn one_round(
    options: &CompareArgs,
    scenario: Scenario,
    place: usize,
    target: &NamedTarget,
) -> Result<Outcome> {
    let mut load = scenario.load()?;
    load.url = target.url.clone();
    load.pid = options.pids.get(place).copied().filter(|pid| *pid != 0);
    load.quiet = true;
    if scenario.measure == Measure::Load {
        load.duration = options.duration;
        load.warmup = Some(options.warmup);
    }
    run::run(&load)
}

/// `None` when a round has no figure.
fn column(scenario: Scenario, broker: String, rounds: Vec<Outcome>) -> Option<Column> {
    let phases: Option<Vec<_>> = rounds.iter().map(|round| scenario.phase(&round.phases)).collect();
    let phases = phases?;
    let figures: Option<Vec<f64>> = phases.iter().map(|phase| scenario.figure(phase)).collect();
    let spread = |of: &dyn Fn(&crate::phase::Phase) -> Option<f64>| {
        Spread::of(phases.iter().filter_map(|phase| of(phase)))
    };
    Some(Column {
        broker,
        msg_per_s: Spread::of(figures?)?,
        ratio: 1.0,
        broker_cpu_us_per_message: spread(&|phase| phase.figures.broker_cpu.map(|cpu| cpu.us_per_message)),
        generator_cpu_us_per_message: spread(&|phase| Some(phase.figures.generator_cpu.us_per_message)),
        deliver_p50_us: spread(&|phase| phase.publish_to_deliver.as_ref().map(|latency| latency.p50_us)),
        deliver_p99_us: spread(&|phase| phase.publish_to_deliver.as_ref().map(|latency| latency.p99_us)),
        confirm_p50_us: spread(&|phase| phase.publish_to_confirm.as_ref().map(|latency| latency.p50_us)),
        confirm_p99_us: spread(&|phase| phase.publish_to_confirm.as_ref().map(|latency| latency.p99_us)),
        broker_rss_bytes: spread(&|phase| phase.broker_memory.map(|memory| memory.rss as f64)),
        failed_checks: rounds.iter().filter(|round| !round.is_clean()).count(),
        rounds,
    })
}

fn markdown(table: &Table) -> String {
    let rounds = table.columns.first().map_or(0, |column| column.rounds.len());
    let mut text = format!("### {} (`{}`, median of {rounds})\n\n", table.scenario, table.options);
    text.push_str(
        "| broker | msg/s | least–most | ratio | broker CPU us/msg | generator CPU us/msg | deliver p50 / p99 \
         | confirm p50 / p99 | RSS | check |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n",
    );
    for column in &table.columns {
        let pair = |p50: Option<Spread>, p99: Option<Spread>| match p50.zip(p99) {
            Some((p50, p99)) => format!("{} / {}", time(p50.median), time(p99.median)),
            None => "–".to_owned(),
        };
        let cost =
            |spread: Option<Spread>| spread.map_or("–".into(), |spread| format!("{:.2}", spread.median));
        let check = match column.failed_checks {
            0 => "ok".to_owned(),
            failed => format!("**failed in {failed}**"),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {}–{} | {:.2} | {} | {} | {} | {} | {} | {check} |",
            column.broker,
            thousands(column.msg_per_s.median),
            thousands(column.msg_per_s.min),
            thousands(column.msg_per_s.max),
            column.ratio,
            cost(column.broker_cpu_us_per_message),
            cost(column.generator_cpu_us_per_message),
            pair(column.deliver_p50_us, column.deliver_p99_us),
            pair(column.confirm_p50_us, column.confirm_p99_us),
            column.broker_rss_bytes.map_or("–".into(), |spread| bytes(whole(spread.median))),
        );
    }
    text
}

/// Bytes that went through a float for the sake of the median.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: f64) -> u64 {
    value as u64
}
