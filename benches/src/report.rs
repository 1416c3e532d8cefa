//! Figures as text for people. JSON comes straight from the types that hold the figures.
//!
//! Called by `main`, `phase`, `compare` and `memory`.

use std::fmt::Write;

use crate::phase::{Kind, Phase};
use crate::run::Outcome;
use crate::sampler::{CpuCost, Part, Row, Throughput};
use crate::stats::LatencySummary;

/// The line of one second.
pub(crate) fn progress(row: &Row, confirms: bool) -> String {
    let mut line = format!("{:6.1} s  published {:>10}/s", row.at_s, thousands(row.published));
    if confirms {
        let _ = write!(line, "  confirmed {:>10}/s", thousands(row.confirmed));
    }
    let _ = write!(line, "  consumed {:>10}/s", thousands(row.consumed));
    match row.part {
        Part::WarmUp => line.push_str("  (warm-up)"),
        Part::Tail => line.push_str("  (the rest)"),
        Part::Figures => {}
    }
    line
}

/// The report of a run.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    let mut text = format!("{}\n{}\n", outcome.url, outcome.load);
    for phase in &outcome.phases {
        text.push('\n');
        self::phase(&mut text, phase);
    }
    text
}

fn phase(text: &mut String, phase: &Phase) {
    let title = match phase.kind {
        Kind::Load => "load",
        Kind::Fill => "fill",
        Kind::Drain => "drain",
    };
    let _ = writeln!(text, "{title}, figures of {:.1} s", phase.figures.seconds);
    let figures = &phase.figures;
    throughput(text, "published", figures.published);
    throughput(text, "confirmed", figures.confirmed);
    throughput(text, "consumed", figures.consumed);
    latency(text, "publish to deliver", phase.publish_to_deliver.as_ref());
    latency(text, "publish to confirm", phase.publish_to_confirm.as_ref());
    cpu(text, "generator", Some(figures.generator_cpu));
    cpu(text, "broker", figures.broker_cpu);
    if let Some(memory) = phase.broker_memory {
        let _ = writeln!(text, "  broker memory       {} resident", bytes(memory.rss));
    }
    verdict(text, phase);
}

fn throughput(text: &mut String, name: &str, throughput: Option<Throughput>) {
    let Some(throughput) = throughput else { return };
    let _ = writeln!(
        text,
        "  {name:<18}{:>12} msg/s median of seconds  (mean {}, least {}, most {}; {} messages)",
        thousands(throughput.median),
        thousands(throughput.mean),
        thousands(throughput.min),
        thousands(throughput.max),
        thousands(throughput.messages as f64),
    );
}

fn latency(text: &mut String, name: &str, latency: Option<&LatencySummary>) {
    let Some(latency) = latency else { return };
    let _ = writeln!(
        text,
        "  {name:<20}p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
        time(latency.p50_us),
        time(latency.p90_us),
        time(latency.p99_us),
        time(latency.p99_9_us),
        time(latency.max_us),
    );
}

fn cpu(text: &mut String, who: &str, cost: Option<CpuCost>) {
    let Some(cost) = cost else { return };
    let name = format!("{who} CPU");
    let _ = writeln!(text, "  {name:<20}{:.2} cores, {:.3} us per message", cost.cores, cost.us_per_message);
}

fn verdict(text: &mut String, phase: &Phase) {
    let check = &phase.check;
    let problems = check.problems();
    if problems.is_empty() {
        let _ = match phase.kind {
            Kind::Fill => {
                writeln!(text, "  check               all {} messages are in the queues", check.expected)
            }
            _ if check.consumed == 0 => {
                writeln!(
                    text,
                    "  check               all {} messages are in the queues",
                    check.left_in_queues
                )
            }
            _ => writeln!(
                text,
                "  check               {} messages: none lost, doubled or reordered",
                check.consumed
            ),
        };
    } else {
        let problems = problems.join("; ");
        let _ = writeln!(
            text,
            "  check FAILED        of {} messages: {problems} ({} consumed)",
            check.expected, check.consumed
        );
    }
    if check.redelivered > 0 {
        let _ = writeln!(text, "  note                {} came with the redelivered flag", check.redelivered);
    }
}

/// A rounded number with separators.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds in the unit that reads best.
pub(crate) fn time(us: f64) -> String {
    match us {
        _ if us < 1_000.0 => format!("{us:.0} us"),
        _ if us < 1_000_000.0 => format!("{:.2} ms", us / 1_000.0),
        _ => format!("{:.2} s", us / 1_000_000.0),
    }
}

/// Bytes in the unit that reads best.
pub(crate) fn bytes(count: u64) -> String {
    const MEBIBYTE: f64 = 1024.0 * 1024.0;
    if count < 10 * 1024 { format!("{count} B") } else { format!("{:.1} MiB", count as f64 / MEBIBYTE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (value, text) in [(0.4, "0"), (999.0, "999"), (1_000.0, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(thousands(value), text);
        }
        for (value, text) in [(12.3, "12 us"), (1_500.0, "1.50 ms"), (2_500_000.0, "2.50 s")] {
            assert_eq!(time(value), text);
        }
        assert_eq!((bytes(100), bytes(3 * 1024 * 1024)), ("100 B".into(), "3.0 MiB".into()));
    }
}
