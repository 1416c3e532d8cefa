//! Turns counters into figures: a row each second, a base when the warm-up ends, a final count.
//!
//! It refuses to sleep; it is told the time. Called by `phase`.

use std::sync::Arc;

use serde::Serialize;

use crate::clock::{SECOND, seconds};
use crate::error::Result;
use crate::procfs;
use crate::signals::{Counters, Meter, Timeline};
use crate::stats::Spread;

/// Messages of all threads so far, and when the last of each kind happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    at: u64,
    counts: [u64; 3],
    last_ns: [u64; 3],
}

/// Which part of a phase a second belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    WarmUp,
    Figures,
    /// Producers have stopped; consumers take what is left.
    Tail,
}

/// Messages per second in one second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Row {
    /// Seconds since the start, at the end of the row.
    pub(crate) at_s: f64,
    pub(crate) part: Part,
    pub(crate) published: f64,
    pub(crate) confirmed: f64,
    pub(crate) consumed: f64,
}

/// Throughput of one kind, in messages per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Throughput {
    pub(crate) messages: u64,
    pub(crate) mean: f64,
    /// Over the seconds.
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// CPU time spent while figures were taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct CpuCost {
    /// Average number of cores in use.
    pub(crate) cores: f64,
    pub(crate) us_per_message: f64,
}

/// Everything the counters tell.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    pub(crate) seconds: f64,
    pub(crate) published: Option<Throughput>,
    pub(crate) confirmed: Option<Throughput>,
    pub(crate) consumed: Option<Throughput>,
    pub(crate) generator_cpu: CpuCost,
    pub(crate) broker_cpu: Option<CpuCost>,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Sampler {
    counters: Vec<Arc<Counters>>,
    timeline: Timeline,
    broker_pid: Option<u32>,
    next_tick: u64,
    last: Totals,
    base: Option<(Totals, Cpu)>,
    last_counted: Option<(Totals, Cpu)>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy)]
struct Cpu {
    generator: f64,
    broker: Option<f64>,
}

impl Sampler {
    pub(crate) fn new(counters: Vec<Arc<Counters>>, timeline: Timeline, broker_pid: Option<u32>) -> Self {
        // Ticks fall on whole seconds from the end of the warm-up.
        let first = (timeline.figures.start - timeline.start) % SECOND;
        let next_tick = timeline.start + first;
        let last = Totals { at: timeline.start, ..Totals::default() };
        Self {
            counters,
            timeline,
            broker_pid,
            next_tick,
            last,
            base: None,
            last_counted: None,
            rows: Vec::new(),
        }
    }

    /// Takes a sample if one is due; gives the row it makes.
    pub(crate) fn tick(&mut self, now: u64) -> Result<Option<Row>> {
        if now < self.next_tick {
            return Ok(None);
        }
        while self.next_tick <= now {
            self.next_tick += SECOND;
        }
        let totals = self.totals(now);
        let row = (totals.at > self.last.at + SECOND / 10).then(|| self.row(&totals));
        self.last = totals;
        if now >= self.timeline.figures.start && (self.base.is_none() || now <= self.grace()) {
            let cpu = self.cpu()?;
            if self.base.is_none() {
                self.base = Some((totals, cpu));
            } else {
                self.last_counted = Some((totals, cpu));
            }
        }
        if let Some(row) = row {
            self.rows.push(row);
        }
        Ok(row)
    }

    /// When the next sample is due.
    pub(crate) fn next_tick(&self) -> u64 {
        self.next_tick
    }

    /// Everything has happened. With a deadline the figures end with the last tick before it, otherwise now.
    pub(crate) fn finish(mut self, now: u64) -> Result<Figures> {
        let open_ended = self.timeline.figures.end == u64::MAX;
        let cpu = self.cpu()?;
        let totals = self.totals(now);
        let (base, base_cpu) =
            self.base.unwrap_or((Totals { at: self.timeline.start, ..Totals::default() }, cpu));
        let (end, end_cpu) = match self.last_counted.take() {
            Some(counted) if !open_ended => counted,
            _ => (totals, cpu),
        };
        let throughput = |kind: usize, of: fn(&Row) -> f64| {
            let messages = end.counts[kind] - base.counts[kind];
            let until = if open_ended { end.last_ns[kind] } else { end.at };
            let elapsed = seconds(until.saturating_sub(base.at));
            let mean = if elapsed > 0.0 { messages as f64 / elapsed } else { 0.0 };
            // The second in which the last message came is not a whole one.
            let whole = self.rows.iter().filter(|row| row.part == Part::Figures);
            let whole =
                whole.filter(|row| row.at_s <= seconds(until.saturating_sub(self.timeline.start)) + 0.1);
            let spread = Spread::of(whole.map(of)).unwrap_or(Spread { median: mean, min: mean, max: mean });
            (messages > 0).then_some(Throughput {
                messages,
                mean,
                median: spread.median,
                min: spread.min,
                max: spread.max,
            })
        };
        let published = throughput(0, |row| row.published);
        let confirmed = throughput(1, |row| row.confirmed);
        let consumed = throughput(2, |row| row.consumed);
        let elapsed = seconds(end.at.saturating_sub(base.at));
        let messages = consumed.or(published).map_or(0, |throughput| throughput.messages);
        let cost = |spent: f64| CpuCost {
            cores: if elapsed > 0.0 { spent / elapsed } else { 0.0 },
            us_per_message: if messages > 0 { spent * 1e6 / messages as f64 } else { 0.0 },
        };
        let broker = base_cpu.broker.zip(end_cpu.broker).map(|(before, after)| cost(after - before));
        Ok(Figures {
            seconds: elapsed,
            published,
            confirmed,
            consumed,
            generator_cpu: cost(end_cpu.generator - base_cpu.generator),
            broker_cpu: broker,
            rows: self.rows,
        })
    }

    /// A tick for the end of the figures may come a little late.
    fn grace(&self) -> u64 {
        self.timeline.figures.end.saturating_add(SECOND / 2)
    }

    fn row(&self, totals: &Totals) -> Row {
        let elapsed = seconds(totals.at - self.last.at);
        let rate = |kind: usize| (totals.counts[kind] - self.last.counts[kind]) as f64 / elapsed;
        Row {
            at_s: seconds(totals.at - self.timeline.start),
            part: match self.base {
                None => Part::WarmUp,
                Some(_) if totals.at <= self.grace() => Part::Figures,
                Some(_) => Part::Tail,
            },
            published: rate(0),
            confirmed: rate(1),
            consumed: rate(2),
        }
    }

    fn totals(&self, at: u64) -> Totals {
        let mut totals = Totals { at, ..Totals::default() };
        for counters in &self.counters {
            let meters: [&Meter; 3] = [&counters.published, &counters.confirmed, &counters.consumed];
            for (kind, meter) in meters.into_iter().enumerate() {
                totals.counts[kind] += meter.count();
                totals.last_ns[kind] = totals.last_ns[kind].max(meter.last_ns());
            }
        }
        totals
    }

    fn cpu(&self) -> Result<Cpu> {
        Ok(Cpu {
            generator: procfs::cpu_seconds(std::process::id())?,
            broker: self.broker_pid.map(procfs::cpu_seconds).transpose()?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sampler(figures: std::ops::Range<u64>) -> (Sampler, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let timeline = Timeline { start: 0, figures };
        (Sampler::new(vec![Arc::clone(&counters)], timeline, None), counters)
    }

    #[test]
    fn the_warm_up_and_the_tail_do_not_count() {
        let (mut sampler, counters) = sampler(SECOND..3 * SECOND);
        for (second, consumed) in [(0, 0), (1, 900), (2, 1_000), (3, 1_300), (4, 9_999)] {
            counters.consumed.set(consumed, second * SECOND);
            sampler.tick(second * SECOND).unwrap();
        }
        let consumed = sampler.finish(5 * SECOND).unwrap().consumed.unwrap();
        assert_eq!(consumed.messages, 400);
        assert_eq!(
            (consumed.mean, consumed.median, consumed.min, consumed.max),
            (200.0, 200.0, 100.0, 300.0)
        );
    }

    #[test]
    fn a_counted_run_ends_with_its_last_message() {
        let (mut sampler, counters) = sampler(0..u64::MAX);
        for (half_seconds, published) in [(0, 0), (2, 1_000), (4, 2_000), (5, 2_500)] {
            counters.published.set(published, half_seconds * SECOND / 2);
            sampler.tick(half_seconds * SECOND / 2).unwrap();
        }
        let published = sampler.finish(9 * SECOND).unwrap().published.unwrap();
        assert_eq!((published.messages, published.mean, published.median), (2_500, 1_000.0, 1_000.0));
    }
}
