//! The thread that publishes.
//!
//! It writes large batches, and reads only when it must: confirms when its window has run low, anything else now and
//! then. With confirms it refills when a quarter of the window is free rather than for each confirm, which keeps
//! writes large at no loss of throughput: three quarters are still under way. Called by `phase`.

use std::sync::Arc;

use crate::batch::{Batch, Template};
use crate::clock::{MILLISECOND, SECOND, now_ns};
use crate::codec::inbox::Frame;
use crate::codec::method::{self, Confirm};
use crate::confirms::{ConfirmWindow, Verdict};
use crate::connection::{Connection, Notice, Readiness, notice};
use crate::error::{Error, Result};
use crate::pacer::Pacer;
use crate::signals::{Counters, Signals, Timeline};
use crate::stats::Latency;
use crate::topology;

/// How many batches go out between looks at the incoming side when nothing is expected there.
const ROUNDS_BETWEEN_READS: u32 = 16;

/// When to stop publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Until(u64),
    Messages(u64),
}

/// What a producer is to do.
pub(crate) struct Assignment {
    pub(crate) template: Template,
    /// Asked for their depth at the end, so that everything sent before has been handled.
    pub(crate) queues: Vec<String>,
    pub(crate) confirms: Option<u32>,
    /// Messages per second of this producer.
    pub(crate) rate: Option<f64>,
    pub(crate) limit: Limit,
    pub(crate) timeline: Timeline,
    pub(crate) patience_ns: u64,
}

/// What a producer did.
pub(crate) struct Sent {
    /// Messages per routing key of the template.
    pub(crate) by_key: Vec<u64>,
    pub(crate) nacked: u64,
    pub(crate) unfounded: u64,
    pub(crate) returned: u64,
    pub(crate) latency: Option<Latency>,
}

pub(crate) struct Producer {
    connection: Connection,
    batch: Batch,
    confirms: Option<ConfirmWindow>,
    /// Free places in the window below which it is not worth writing.
    refill: u64,
    pacer: Option<Pacer>,
    assignment: Assignment,
    counters: Arc<Counters>,
    signals: Arc<Signals>,
    published: u64,
    returned: u64,
    blocked: Option<String>,
}

impl Producer {
    pub(crate) fn new(
        connection: Connection,
        assignment: Assignment,
        counters: Arc<Counters>,
        signals: Arc<Signals>,
    ) -> Self {
        let figures = assignment.timeline.figures.clone();
        let window = assignment.confirms;
        Self {
            connection,
            batch: Batch::new(&assignment.template),
            confirms: window.map(|window| ConfirmWindow::new(window, Latency::new(figures))),
            refill: window.map_or(0, |window| u64::from(window / 4).max(1)),
            pacer: assignment.rate.map(|rate| Pacer::new(assignment.timeline.start, rate)),
            assignment,
            counters,
            signals,
            published: 0,
            returned: 0,
            blocked: None,
        }
    }

    /// Publishes until the limit, then waits until the broker has handled everything.
    pub(crate) fn run(mut self) -> Result<Sent> {
        let mut rounds = 0;
        loop {
            let now = now_ns();
            if self.signals.aborted() || self.is_over(now) {
                break;
            }
            let due = self.due(now);
            let wanted = self.within_credit(due);
            if wanted == 0 {
                self.pause(due, now)?;
                continue;
            }
            self.publish(wanted, now)?;
            rounds += 1;
            if rounds % ROUNDS_BETWEEN_READS == 0 {
                self.connection.receive_now("while publishing")?;
                self.take_in()?;
            }
        }
        self.finish()
    }

    fn is_over(&self, now: u64) -> bool {
        match self.assignment.limit {
            Limit::Until(end) => now >= end,
            Limit::Messages(count) => self.published >= count,
        }
    }

    /// How many messages limit and rate allow now.
    fn due(&self, now: u64) -> u64 {
        let left = match self.assignment.limit {
            Limit::Until(_) => u64::MAX,
            Limit::Messages(count) => count - self.published,
        };
        let paced = self.pacer.as_ref().map(|pacer| pacer.due(now).saturating_sub(self.published));
        left.min(paced.unwrap_or(u64::MAX))
    }

    /// How many of them the window takes; none when that is too few to be worth a write.
    fn within_credit(&self, due: u64) -> u64 {
        let Some(confirms) = &self.confirms else { return due };
        let credit = confirms.credit();
        if credit < self.refill.min(due) { 0 } else { credit.min(due) }
    }

    fn publish(&mut self, wanted: u64, now: u64) -> Result<()> {
        let (pacer, first) = (self.pacer.as_ref(), self.published);
        let sent_at = |index| pacer.map_or(now, |pacer| pacer.due_at(first + index));
        let (count, range) = self.batch.prepare(wanted, sent_at);
        if let Some(confirms) = &mut self.confirms {
            (0..count).for_each(|index| confirms.published(sent_at(index)));
        }
        self.published += count;
        let mut rest = range;
        while !rest.is_empty() {
            let written = self.connection.send_some(self.batch.bytes(rest.clone()))?;
            rest.start += written;
            if written == 0 && !self.wait_for_room()? {
                return Ok(());
            }
        }
        self.counters.published.set(self.published, now);
        Ok(())
    }

    /// Waits until the socket takes more, reading meanwhile. Says no when the phase is being aborted.
    fn wait_for_room(&mut self) -> Result<bool> {
        let deadline = now_ns() + self.assignment.patience_ns;
        while !self.signals.aborted() {
            if self.connection.wait(Readiness::ReadableOrWritable, 100 * MILLISECOND)? {
                self.connection.receive_now("while publishing")?;
                self.take_in()?;
                return Ok(true);
            }
            if now_ns() > deadline {
                let why = self.blocked.as_deref().map(|why| format!(" (connection.blocked: {why})"));
                let seconds = self.assignment.patience_ns / SECOND;
                let why = why.unwrap_or_default();
                return Err(Error::Timeout(format!("the broker read nothing for {seconds} s{why}")));
            }
        }
        Ok(false)
    }

    /// Nothing may be sent: waits for the next message to be due, or if some are, for confirms.
    fn pause(&mut self, due: u64, now: u64) -> Result<()> {
        match &self.pacer {
            Some(pacer) if due == 0 => {
                let nap = pacer.nap(self.published, now).min(100 * MILLISECOND);
                if self.connection.wait(Readiness::Readable, nap)? {
                    self.connection.receive_now("while publishing")?;
                }
            }
            _ => {
                self.connection.receive_waiting("while waiting for confirms")?;
            }
        }
        self.take_in()?;
        self.connection.keep_alive()
    }

    /// Handles every frame that has arrived.
    fn take_in(&mut self) -> Result<()> {
        let now = now_ns();
        let mut confirmed = false;
        while let Some(frame) = self.connection.inbox.next_frame()? {
            let verdict = match frame {
                Frame::Method { id: method::ACK, .. } => Verdict::Ack,
                Frame::Method { id: method::NACK, .. } => Verdict::Nack,
                other => {
                    match notice(&other)? {
                        Notice::Returned => self.returned += 1,
                        Notice::Blocked(reason) => self.blocked = Some(reason),
                        Notice::Unblocked => self.blocked = None,
                        Notice::Nothing => {}
                    }
                    continue;
                }
            };
            let (Frame::Method { arguments, .. }, Some(confirms)) = (frame, self.confirms.as_mut()) else {
                return Err(Error::Protocol("a confirm on a channel without confirm.select".into()));
            };
            let confirm = Confirm::parse(arguments)?;
            confirms.confirmed(confirm.delivery_tag, confirm.multiple, verdict, now);
            confirmed = true;
        }
        if let (true, Some(confirms)) = (confirmed, &self.confirms) {
            self.counters.confirmed.set(confirms.acked, now);
        }
        Ok(())
    }

    /// Waits for the last confirm, or without confirms for an answer that comes after the last publish.
    fn finish(mut self) -> Result<Sent> {
        let mut last_open = u64::MAX;
        let mut deadline = 0;
        while let Some(open) = self.confirms.as_ref().map(ConfirmWindow::open) {
            if open == 0 || self.signals.aborted() {
                break;
            }
            if open < last_open {
                last_open = open;
                deadline = now_ns() + self.assignment.patience_ns;
            } else if now_ns() > deadline {
                let seconds = self.assignment.patience_ns / SECOND;
                return Err(Error::Timeout(format!(
                    "{open} publishes were not confirmed within {seconds} s"
                )));
            }
            self.connection.receive_waiting("while waiting for confirms")?;
            self.take_in()?;
            self.connection.keep_alive()?;
        }
        if !self.signals.aborted() {
            if self.confirms.is_none() {
                for queue in &self.assignment.queues {
                    topology::depth(&mut self.connection, queue)?;
                }
                self.counters.published.set(self.published, now_ns());
            }
            self.connection.close()?;
        }
        let by_key = self.batch.sent().to_vec();
        let (nacked, unfounded) = self.confirms.as_ref().map_or((0, 0), |c| (c.nacked, c.unfounded));
        let latency = self.confirms.map(|confirms| confirms.latency);
        Ok(Sent { by_key, nacked, unfounded, returned: self.returned, latency })
    }
}
