//! One phase of a run: threads started, watched each second, stopped, and judged.
//!
//! Fill publishes only, drain consumes only, load does both. It refuses to declare or delete anything. Called by `run`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;

use crate::batch::Template;
use crate::check::Audience;
use crate::cli::{AckMode, LoadArgs};
use crate::clock::{MILLISECOND, SECOND, now_ns, seconds};
use crate::codec::encode::DeliveryMode;
use crate::codec::method;
use crate::connection::{Connection, Tuning};
use crate::consumer::{self, Consumer, Received, Source, Subscribe, subscribe};
use crate::error::{Error, Result};
use crate::procfs::{self, Memory};
use crate::producer::{self, Limit, Producer, Sent};
use crate::report;
use crate::sampler::{Figures, Sampler};
use crate::signals::{Counters, Signals, Timeline};
use crate::stats::{Latency, LatencySummary};
use crate::topology::{ExchangeKind, Topology};
use crate::verdict::{Evidence, Verdict};

/// How often the main thread looks whether something has happened.
const WATCH_INTERVAL_NS: u64 = 10 * MILLISECOND;
/// How long consumers stay after the last message, to see one that comes twice.
const LINGER_NS: u64 = 100 * MILLISECOND;
/// Large reads cost fewer system calls; still well inside the cache.
const CONSUMER_INBOX_BYTES: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Load,
    Fill,
    Drain,
}

/// Messages sent, by queue and then by producer.
pub(crate) type Ledger = Vec<Vec<u64>>;

/// The outcome of a phase.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Phase {
    pub(crate) kind: Kind,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    pub(crate) publish_to_deliver: Option<LatencySummary>,
    pub(crate) publish_to_confirm: Option<LatencySummary>,
    pub(crate) check: Verdict,
    pub(crate) broker_memory: Option<Memory>,
}

/// What a phase works with.
pub(crate) struct Stage<'a> {
    pub(crate) load: &'a LoadArgs,
    pub(crate) topology: &'a Topology,
    pub(crate) control: &'a mut Connection,
}

/// The threads of a phase.
struct Crew {
    producers: Vec<JoinHandle<Result<Sent>>>,
    consumers: Vec<JoinHandle<Result<Received>>>,
    counters: Vec<Arc<Counters>>,
    signals: Arc<Signals>,
}

impl Stage<'_> {
    /// Runs a phase. `ledger` is what an earlier phase of this run left in the queues, if there was one.
    pub(crate) fn run(mut self, kind: Kind, ledger: Option<Ledger>) -> Result<(Phase, Ledger)> {
        let held = self.held(kind)?;
        let opened = self.open(kind)?;
        let timeline = self.timeline(kind);
        let crew = self.start(kind, opened, &timeline);
        let mut sampler = Sampler::new(crew.counters.clone(), timeline, self.load.pid);
        self.watch(&crew, &mut sampler, |crew, _| crew.producers.iter().all(JoinHandle::is_finished))?;
        let (sent, received, figures, sent_ledger) = self.conclude(kind, crew, sampler, held)?;
        let ledger = if kind == Kind::Drain { ledger } else { Some(sent_ledger) };
        let left = self.topology.depths(self.control)?.iter().map(|depth| depth.messages).sum();
        let evidence = Evidence { ledger: ledger.as_deref(), held, left, queues: self.topology.queues.len() };
        let mut check = Verdict::of_publishes(&sent);
        let confirm = merge(sent.into_iter().filter_map(|one| one.latency));
        let deliver = check.weigh(&evidence, received);
        // A timestamp from before the drain began says how long the message lay there, not how fast it was.
        let deliver = merge(deliver.into_iter()).filter(|_| kind == Kind::Load);
        let phase = Phase {
            kind,
            figures,
            publish_to_deliver: deliver.and_then(Latency::summary),
            publish_to_confirm: confirm.and_then(Latency::summary),
            check,
            broker_memory: self.load.pid.map(procfs::memory).transpose()?,
        };
        Ok((phase, ledger.unwrap_or_default()))
    }

    /// What lies in the queues before a drain.
    fn held(&mut self, kind: Kind) -> Result<u64> {
        if kind != Kind::Drain {
            return Ok(0);
        }
        let held = self.topology.depths(self.control)?.iter().map(|depth| depth.messages).sum();
        if held == 0 {
            return Err(Error::Usage(format!(
                "nothing to drain: the queues of {:?} are empty; fill them first with --fill COUNT",
                self.load.prefix
            )));
        }
        Ok(held)
    }

    /// Opens all connections before the clock starts.
    fn open(&self, kind: Kind) -> Result<Opened> {
        let mut opened = Opened { producers: Vec::new(), consumers: Vec::new() };
        if kind != Kind::Fill {
            for number in 0..self.load.consumers {
                opened.consumers.push(self.open_consumer(kind, usize::from(number))?);
            }
        }
        if kind != Kind::Drain {
            for _ in 0..self.load.producers {
                opened.producers.push(self.open_producer()?);
            }
        }
        Ok(opened)
    }

    fn open_consumer(&self, kind: Kind, number: usize) -> Result<(Connection, consumer::Assignment)> {
        let (load, queues) = (self.load, &self.topology.queues);
        let count = usize::from(load.consumers);
        let audience = |queue: usize| {
            if dealt(count, queues.len(), queue).count() > 1 { Audience::Shared } else { Audience::Sole }
        };
        let sources = dealt(queues.len(), count, number)
            .map(|index| Source { index, name: queues[index].clone(), audience: audience(index) })
            .collect();
        let ack_every = (load.ack == AckMode::Manual).then(|| ack_every(load));
        let assignment = consumer::Assignment { sources, ack_every, body_bytes: u64::from(load.size) };
        let mut connection = Connection::open(&load.url, tuning(load, CONSUMER_INBOX_BYTES))?;
        if load.ack == AckMode::Manual && load.prefetch > 0 {
            connection.call(method::BASIC_QOS, method::BASIC_QOS_OK, |arguments| {
                arguments.u32(0);
                arguments.u16(load.prefetch);
                arguments.u8(0);
            })?;
        }
        // Before a drain the subscription is part of what is measured: the broker sends at once.
        if kind == Kind::Load {
            subscribe(&mut connection, &assignment, Subscribe::AndWait)?;
        }
        Ok((connection, assignment))
    }

    fn open_producer(&self) -> Result<Connection> {
        let mut connection = Connection::open(&self.load.url, tuning(self.load, 0))?;
        if self.load.confirms.is_some() {
            connection
                .call(method::CONFIRM_SELECT, method::CONFIRM_SELECT_OK, |arguments| arguments.u8(0))?;
        }
        Ok(connection)
    }

    fn timeline(&self, kind: Kind) -> Timeline {
        let load = self.load;
        let counted = kind != Kind::Load || load.messages.is_some();
        let warmup = match load.warmup {
            Some(warmup) if kind == Kind::Load => warmup,
            _ if counted => Duration::ZERO,
            _ => Duration::from_secs(2),
        };
        let start = now_ns();
        let from = start + nanoseconds(warmup);
        let until = if counted { u64::MAX } else { from + nanoseconds(load.duration) };
        Timeline { start, figures: from..until }
    }

    fn start(&self, kind: Kind, opened: Opened, timeline: &Timeline) -> Crew {
        let signals = Arc::new(Signals::default());
        let mut crew = Crew {
            producers: Vec::new(),
            consumers: Vec::new(),
            counters: Vec::new(),
            signals: Arc::clone(&signals),
        };
        for (mut connection, assignment) in opened.consumers {
            let counters = crew.counters();
            let (signals, timeline) = (Arc::clone(&signals), timeline.clone());
            crew.consumers.push(spawn(&Arc::clone(&signals), move || {
                if kind == Kind::Drain {
                    subscribe(&mut connection, &assignment, Subscribe::NoWait)?;
                }
                Consumer::new(connection, &assignment, &timeline, counters, signals).run()
            }));
        }
        for (number, connection) in opened.producers.into_iter().enumerate() {
            let counters = crew.counters();
            let assignment = self.assignment(number, connection.frame_max, timeline);
            let producer_signals = Arc::clone(&signals);
            crew.producers.push(spawn(&signals, move || {
                Producer::new(connection, assignment, counters, producer_signals).run()
            }));
        }
        crew
    }

    fn assignment(&self, number: usize, frame_max: u32, timeline: &Timeline) -> producer::Assignment {
        let (load, producers) = (self.load, u64::from(self.load.producers));
        let queues: Vec<String> =
            self.targets(number).map(|queue| self.topology.queues[queue].clone()).collect();
        let routing_keys = match self.topology.kind {
            ExchangeKind::Fanout => vec![String::new()],
            _ => queues.clone(),
        };
        let share = |total: u64| {
            let number = u64::try_from(number).unwrap_or(u64::MAX);
            total / producers + u64::from(number < total % producers)
        };
        let limit = match load.fill.or(load.messages) {
            Some(total) => Limit::Messages(share(total)),
            None => Limit::Until(timeline.figures.end),
        };
        producer::Assignment {
            template: Template {
                producer: u16::try_from(number).unwrap_or(u16::MAX),
                exchange: self.topology.exchange.clone(),
                routing_keys,
                body_bytes: usize::try_from(load.size).unwrap_or(usize::MAX),
                mode: if load.persistent { DeliveryMode::Persistent } else { DeliveryMode::Transient },
                frame_max,
            },
            queues,
            confirms: load.confirms,
            rate: load.rate.map(|rate| rate / f64::from(load.producers)),
            limit,
            timeline: timeline.clone(),
            patience_ns: nanoseconds(load.timeout),
        }
    }

    /// The queues that a producer's messages reach.
    fn targets(&self, producer: usize) -> Box<dyn Iterator<Item = usize>> {
        let queues = self.topology.queues.len();
        match self.topology.kind {
            ExchangeKind::Fanout => Box::new(0..queues),
            _ => Box::new(dealt(queues, usize::from(self.load.producers), producer)),
        }
    }

    /// Samples and prints until `done` says so, or a thread has failed.
    fn watch(
        &mut self,
        crew: &Crew,
        sampler: &mut Sampler,
        mut done: impl FnMut(&Crew, u64) -> bool,
    ) -> Result<()> {
        loop {
            let now = now_ns();
            if let Some(row) = sampler.tick(now)? {
                if !self.load.quiet {
                    eprintln!("{}", report::progress(&row, self.load.confirms.is_some()));
                }
                self.control.idle()?;
            }
            if crew.signals.aborted() || done(crew, now) {
                return Ok(());
            }
            let nap = sampler.next_tick().saturating_sub(now_ns()).min(WATCH_INTERVAL_NS);
            std::thread::sleep(Duration::from_nanos(nap));
        }
    }

    /// Producers are done: waits for the consumers, stops them, and collects everything.
    fn conclude(
        &mut self,
        kind: Kind,
        mut crew: Crew,
        mut sampler: Sampler,
        held: u64,
    ) -> Result<(Vec<Sent>, Vec<Received>, Figures, Ledger)> {
        let (sent, failed) = split(join(std::mem::take(&mut crew.producers)));
        let ledger = if failed.is_empty() { self.ledger(&sent) } else { Ledger::new() };
        let due = if kind == Kind::Drain { held } else { ledger.iter().flatten().sum() };
        if !crew.consumers.is_empty() && failed.is_empty() {
            self.await_consumers(&crew, &mut sampler, due)?;
        }
        let figures = sampler.finish(now_ns());
        crew.signals.stop_consuming.store(true, Ordering::Relaxed);
        let (received, also_failed) = split(join(crew.consumers));
        match root_cause(failed.into_iter().chain(also_failed)) {
            Some(error) => Err(error),
            None => Ok((sent, received, figures?, ledger)),
        }
    }

    fn await_consumers(&mut self, crew: &Crew, sampler: &mut Sampler, due: u64) -> Result<()> {
        let patience = nanoseconds(self.load.timeout);
        let mut last = (0, now_ns());
        let mut complete_at = None;
        let mut missing = 0;
        self.watch(crew, sampler, |crew, now| {
            let consumed = crew.counters.iter().map(|counters| counters.consumed.count()).sum();
            if consumed != last.0 {
                last = (consumed, now);
            }
            if consumed >= due {
                return now >= *complete_at.get_or_insert(now) + LINGER_NS;
            }
            missing = due - consumed;
            now > last.1 + patience
        })?;
        if complete_at.is_none() && !crew.signals.aborted() {
            let patience = seconds(patience);
            eprintln!("gave up waiting: {missing} messages are missing and none has come for {patience} s");
        }
        Ok(())
    }

    /// What was sent to each queue by each producer.
    fn ledger(&self, sent: &[Sent]) -> Ledger {
        let mut ledger = vec![vec![0; sent.len()]; self.topology.queues.len()];
        for (producer, sent) in sent.iter().enumerate() {
            for (place, queue) in self.targets(producer).enumerate() {
                // With a fanout exchange there is one routing key, and it reaches all queues.
                let key = place.min(sent.by_key.len() - 1);
                ledger[queue][producer] = sent.by_key[key];
            }
        }
        ledger
    }
}

/// Connections made before the clock starts.
struct Opened {
    producers: Vec<Connection>,
    consumers: Vec<(Connection, consumer::Assignment)>,
}

impl Crew {
    fn counters(&mut self) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        self.counters.push(Arc::clone(&counters));
        counters
    }
}

/// Starts a thread whose failure stops all others. Failures after the first are taken for its consequences.
fn spawn<T: Send + 'static>(
    signals: &Arc<Signals>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> JoinHandle<Result<T>> {
    let signals = Arc::clone(signals);
    std::thread::spawn(move || {
        work().map_err(
            |error| {
                if signals.abort.swap(true, Ordering::Relaxed) { Error::Consequence } else { error }
            },
        )
    })
}

/// Waits for all threads.
fn join<T>(threads: Vec<JoinHandle<Result<T>>>) -> Vec<Result<T>> {
    let panicked = |_| Err(Error::Protocol("a thread of the generator panicked".into()));
    threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
}

fn split<T>(outcomes: Vec<Result<T>>) -> (Vec<T>, Vec<Error>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(one) => good.push(one),
            Err(error) => bad.push(error),
        }
    }
    (good, bad)
}

/// The error that made the others fail, if there is one.
fn root_cause(errors: impl Iterator<Item = Error>) -> Option<Error> {
    errors.reduce(|first, second| if matches!(first, Error::Consequence) { second } else { first })
}

/// Which of `items` fall to the one with this number among `takers`: every one gets some, or shares one.
fn dealt(items: usize, takers: usize, number: usize) -> impl Iterator<Item = usize> + use<> {
    let shared = (items < takers).then(|| number % items.max(1));
    let own = (items >= takers).then(|| (number..items).step_by(takers.max(1)));
    shared.into_iter().take(items).chain(own.into_iter().flatten())
}

fn ack_every(load: &LoadArgs) -> u64 {
    let prefetch = if load.prefetch == 0 { 1_000 } else { u64::from(load.prefetch) };
    load.ack_every.unwrap_or((prefetch / 4).max(1))
}

pub(crate) fn tuning(load: &LoadArgs, inbox_capacity: usize) -> Tuning {
    Tuning { frame_max: load.frame_max, heartbeat: load.heartbeat, inbox_capacity }
}

fn nanoseconds(duration: Duration) -> u64 {
    // A quarter of the range, so that sums of such times cannot overflow.
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 4).min(1_000_000 * SECOND)
}

fn merge(latencies: impl Iterator<Item = Latency>) -> Option<Latency> {
    latencies.reduce(|mut all, one| {
        all.merge(one);
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(items: usize, takers: usize) -> Vec<Vec<usize>> {
        (0..takers).map(|number| dealt(items, takers, number).collect()).collect()
    }

    #[test]
    fn queues_are_dealt_out_so_that_all_are_used_and_nobody_is_idle() {
        assert_eq!(shares(1, 3), [[0], [0], [0]]);
        assert_eq!(shares(2, 3), [[0], [1], [0]]);
        assert_eq!(shares(3, 3), [[0], [1], [2]]);
        assert_eq!(shares(5, 2), [vec![0, 2, 4], vec![1, 3]]);
    }
}
