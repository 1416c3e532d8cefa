//! The thread that consumes.
//!
//! It parses frames where they were read, allocates nothing per message, and acknowledges many at once: after
//! `ack_every` deliveries, or when the broker has been quiet for about a millisecond. Called by `phase`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::batch::{STAMP_BYTES, Stamp};
use crate::check::{Audience, QueueRecord};
use crate::clock::{MILLISECOND, now_ns};
use crate::codec::encode;
use crate::codec::inbox::Frame;
use crate::codec::method::{self, Deliver};
use crate::connection::{Connection, Readiness, notice};
use crate::error::{Error, Result};
use crate::signals::{Counters, Signals, Timeline};
use crate::stats::Latency;

/// How long acknowledgements are held back for more to join them. The kernel rounds it up to its next tick.
const ACK_DELAY: Duration = Duration::from_millis(1);
/// How long to wait with nothing to acknowledge.
const IDLE_NS: u64 = 100 * MILLISECOND;

/// A queue to consume from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Which of the run's queues it is.
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) audience: Audience,
}

/// What a consumer is to do.
pub(crate) struct Assignment {
    pub(crate) sources: Vec<Source>,
    /// Acknowledge after this many deliveries; `None` for automatic acknowledgement.
    pub(crate) ack_every: Option<u64>,
    pub(crate) body_bytes: u64,
}

/// What a consumer saw.
pub(crate) struct Received {
    /// By the index of the queue.
    pub(crate) records: Vec<(usize, QueueRecord)>,
    pub(crate) consumed: u64,
    /// Not sent by this program.
    pub(crate) foreign: u64,
    pub(crate) wrong_size: u64,
    pub(crate) redelivered: u64,
    pub(crate) latency: Latency,
}

/// Whether to wait until the broker has agreed to each subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subscribe {
    /// For empty queues: messages can only come later.
    AndWait,
    /// For full queues: deliveries may come before the answer, so none is asked for.
    NoWait,
}

pub(crate) struct Consumer {
    connection: Connection,
    inspector: Inspector,
    ack_every: Option<u64>,
    counters: Arc<Counters>,
    signals: Arc<Signals>,
}

impl Consumer {
    pub(crate) fn new(
        connection: Connection,
        assignment: &Assignment,
        timeline: &Timeline,
        counters: Arc<Counters>,
        signals: Arc<Signals>,
    ) -> Self {
        let inspector = Inspector::new(assignment, Latency::new(timeline.figures.clone()));
        Self { connection, inspector, ack_every: assignment.ack_every, counters, signals }
    }

    /// Consumes until told to stop.
    pub(crate) fn run(mut self) -> Result<Received> {
        if self.ack_every.is_some() {
            // A read with a deadline of its own is one system call where asking, waiting and reading are three.
            self.connection.set_read_timeout(ACK_DELAY)?;
        }
        while !self.signals.stop_consuming.load(Ordering::Relaxed) && !self.signals.aborted() {
            if self.receive()? {
                self.take_in()?;
            } else {
                self.acknowledge()?;
                self.connection.keep_alive()?;
            }
        }
        if !self.signals.aborted() {
            self.acknowledge()?;
            self.connection.close()?;
        }
        Ok(self.inspector.into_received())
    }

    /// Reads; with acknowledgements held back it waits no longer than they may be.
    fn receive(&mut self) -> Result<bool> {
        if self.ack_every.is_some() && self.unacknowledged() == 0 {
            self.connection.wait(Readiness::Readable, IDLE_NS)?;
        }
        self.connection.receive_waiting("while consuming")
    }

    fn take_in(&mut self) -> Result<()> {
        let now = now_ns();
        let ack_every = self.ack_every.unwrap_or(u64::MAX);
        while let Some(frame) = self.connection.inbox.next_frame()? {
            self.inspector.take(&frame, now)?;
            if self.inspector.consumed - self.inspector.acknowledged >= ack_every {
                self.acknowledge()?;
            }
        }
        self.counters.consumed.set(self.inspector.consumed, now);
        self.connection.keep_alive()
    }

    fn unacknowledged(&self) -> u64 {
        match self.ack_every {
            Some(_) => self.inspector.consumed - self.inspector.acknowledged,
            None => 0,
        }
    }

    /// Acknowledges everything consumed so far.
    fn acknowledge(&mut self) -> Result<()> {
        if self.unacknowledged() == 0 {
            return Ok(());
        }
        self.inspector.acknowledged = self.inspector.consumed;
        let tag = self.inspector.complete_tag;
        self.connection.cast(method::ACK, |arguments| {
            arguments.u64(tag);
            arguments.u8(1);
        })
    }
}

/// Starts one subscription per source. The consumer tag is the source's place in the list.
pub(crate) fn subscribe(connection: &mut Connection, assignment: &Assignment, how: Subscribe) -> Result<()> {
    const NO_ACK: u8 = 1 << 1;
    const NO_WAIT: u8 = 1 << 3;
    let mut flags = if assignment.ack_every.is_none() { NO_ACK } else { 0 };
    if how == Subscribe::NoWait {
        flags |= NO_WAIT;
    }
    for (place, source) in assignment.sources.iter().enumerate() {
        let write = |arguments: &mut encode::Arguments<'_>| {
            arguments.u16(0);
            arguments.short(&source.name);
            arguments.short(&place.to_string());
            arguments.u8(flags);
            arguments.table(&Vec::new());
        };
        match how {
            Subscribe::AndWait => drop(connection.call(method::CONSUME, method::CONSUME_OK, write)?),
            Subscribe::NoWait => connection.cast(method::CONSUME, write)?,
        }
    }
    Ok(())
}

/// Joins frames to messages and judges them; knows no sockets.
struct Inspector {
    records: Vec<(usize, QueueRecord)>,
    stage: Stage,
    /// The stamp of a body whose first frame is shorter than one.
    partial: Vec<u8>,
    body_bytes: u64,
    tag: u64,
    /// The delivery tag of the last message that arrived whole.
    complete_tag: u64,
    consumed: u64,
    acknowledged: u64,
    foreign: u64,
    wrong_size: u64,
    redelivered: u64,
    latency: Latency,
}

/// What must come next.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Deliver,
    Header { place: usize },
    Body { place: usize, left: u64, stamped: bool },
}

impl Inspector {
    fn new(assignment: &Assignment, latency: Latency) -> Self {
        let record = |source: &Source| (source.index, QueueRecord::new(source.audience));
        Self {
            records: assignment.sources.iter().map(record).collect(),
            stage: Stage::Deliver,
            partial: Vec::new(),
            body_bytes: assignment.body_bytes,
            tag: 0,
            complete_tag: 0,
            consumed: 0,
            acknowledged: 0,
            foreign: 0,
            wrong_size: 0,
            redelivered: 0,
            latency,
        }
    }

    #[inline]
    fn take(&mut self, frame: &Frame<'_>, now: u64) -> Result<()> {
        match (self.stage, frame) {
            (Stage::Deliver, Frame::Method { id: method::DELIVER, arguments }) => self.deliver(arguments),
            (Stage::Header { place }, Frame::Header { body_size }) => {
                self.header(place, *body_size);
                Ok(())
            }
            (Stage::Body { place, left, stamped }, Frame::Body(part)) => {
                self.body(place, left, stamped, part, now)
            }
            (_, Frame::Heartbeat) => Ok(()),
            (Stage::Deliver, Frame::Method { .. }) => notice(frame).map(drop),
            (stage, Frame::Method { .. }) => {
                notice(frame)?;
                Err(Error::Protocol(format!("a method inside a message ({stage:?})")))
            }
            (stage, _) => Err(Error::Protocol(format!("a content frame out of place ({stage:?})"))),
        }
    }

    #[inline]
    fn deliver(&mut self, arguments: &[u8]) -> Result<()> {
        let deliver = Deliver::parse(arguments)?;
        let place = place_of(deliver.consumer_tag).filter(|place| *place < self.records.len());
        let Some(place) = place else {
            return Err(Error::Protocol("a delivery for an unknown consumer tag".into()));
        };
        if deliver.delivery_tag != self.tag + 1 {
            let (got, expected) = (deliver.delivery_tag, self.tag + 1);
            return Err(Error::Protocol(format!("delivery tag {got} where {expected} was due")));
        }
        self.tag = deliver.delivery_tag;
        self.redelivered += u64::from(deliver.redelivered);
        self.stage = Stage::Header { place };
        Ok(())
    }

    #[inline]
    fn header(&mut self, place: usize, body_size: u64) {
        if body_size != self.body_bytes {
            self.wrong_size += 1;
        }
        self.stage = Stage::Body { place, left: body_size, stamped: false };
        if body_size == 0 {
            self.foreign += 1;
            self.complete();
        }
    }

    #[inline]
    fn body(&mut self, place: usize, left: u64, stamped: bool, part: &[u8], now: u64) -> Result<()> {
        let size = u64::try_from(part.len()).unwrap_or(u64::MAX);
        let Some(left) = left.checked_sub(size) else {
            return Err(Error::Protocol("a body longer than its header said".into()));
        };
        let mut stamped = stamped;
        if !stamped {
            stamped = self.stamp(place, part, left == 0, now);
        }
        self.stage = Stage::Body { place, left, stamped };
        if left == 0 {
            self.complete();
        }
        Ok(())
    }

    /// Judges the message by its first bytes; says whether there were enough of them.
    #[inline]
    fn stamp(&mut self, place: usize, part: &[u8], last: bool, now: u64) -> bool {
        let stamp = if self.partial.is_empty() && part.len() >= STAMP_BYTES {
            Stamp::decode(part)
        } else {
            self.partial.extend_from_slice(&part[..part.len().min(STAMP_BYTES)]);
            Stamp::decode(&self.partial)
        };
        let Some(stamp) = stamp else {
            self.foreign += u64::from(last);
            return false;
        };
        self.partial.clear();
        self.latency.record(stamp.sent_ns, now);
        if !self.records[place].1.observe(stamp.producer, stamp.sequence) {
            self.foreign += 1;
        }
        true
    }

    #[inline]
    fn complete(&mut self) {
        self.partial.clear();
        self.consumed += 1;
        self.complete_tag = self.tag;
        self.stage = Stage::Deliver;
    }

    fn into_received(self) -> Received {
        Received {
            records: self.records,
            consumed: self.consumed,
            foreign: self.foreign,
            wrong_size: self.wrong_size,
            redelivered: self.redelivered,
            latency: self.latency,
        }
    }
}

/// Reads the decimal number a consumer tag is.
#[inline]
fn place_of(tag: &[u8]) -> Option<usize> {
    if tag.is_empty() || tag.len() > 6 {
        return None;
    }
    tag.iter()
        .try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + usize::from(digit - b'0')))
}
