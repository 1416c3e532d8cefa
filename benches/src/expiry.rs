//! How late messages expire that each name a time of their own.
//!
//! It fills a queue with messages of random expirations, and watches when their dead letters arrive. A body holds the
//! moment at which its message is due, by the clock of the machine, so lateness includes the way in, the dead-lettering
//! and the way out. Called by `main`.

use serde::Serialize;

use crate::cli::ExpiryArgs;
use crate::clock::{MILLISECOND, SECOND, now_ns, seconds};
use crate::codec::encode::{self, Table, Value};
use crate::codec::inbox::Frame;
use crate::codec::{CHANNEL, method};
use crate::connection::{Connection, Readiness, Tuning, notice};
use crate::error::{Error, Result};
use crate::procfs;
use crate::report::{bytes, thousands, time};
use crate::stats::{Latency, LatencySummary};
use crate::topology;

const TUNING: Tuning = Tuning { frame_max: 131_072, heartbeat: 60, inbox_capacity: 1 << 20 };
/// One write of this size keeps the system calls per message few.
const BATCH_BYTES: usize = 64 * 1024;
/// How long after the last message was due its dead letter is waited for.
const PATIENCE_NS: u64 = 30 * SECOND;
/// What is measured: any moment.
const ALWAYS: std::ops::Range<u64> = 0..u64::MAX;
/// Bodies: the moment at which the message is due, and a filler.
const BODY_BYTES: usize = 16;

/// The figures of a run.
#[derive(Debug, Serialize)]
struct Figures {
    url: String,
    messages: u64,
    publish_seconds: f64,
    /// How far the earliest dead letter came before its time, in microseconds: brokers count in milliseconds.
    earliest_us: f64,
    lateness: Option<LatencySummary>,
    /// Dead letters that came later than 50 ms.
    over_50_ms: u64,
    missing: u64,
    /// CPU time of the broker from the last publish to the last dead letter, per message.
    broker_cpu_us: Option<f64>,
    broker_rss_full: Option<u64>,
}

/// Runs and reports; says whether every message expired.
pub(crate) fn run(options: &ExpiryArgs) -> Result<bool> {
    let mut connection = Connection::open(&options.url, TUNING)?;
    declare(&mut connection, options)?;
    let measured = measure(&mut connection, options);
    // Also after a failure: a million messages are not to be left behind.
    let deleted = delete(options);
    let figures = measured?;
    deleted?;
    if options.json {
        crate::print_json(&figures)?;
    } else {
        print(&figures);
    }
    Ok(figures.missing == 0)
}

fn declare(connection: &mut Connection, options: &ExpiryArgs) -> Result<()> {
    let dead = dead_queue(options);
    let text = |name: &str, value: &str| (name.to_owned(), Value::Text(value.to_owned()));
    let arguments = vec![text("x-dead-letter-exchange", ""), text("x-dead-letter-routing-key", &dead)];
    for (queue, arguments) in [(&dead, Table::new()), (&options.queue, arguments)] {
        connection.call(method::QUEUE_DECLARE, method::QUEUE_DECLARE_OK, |fields| {
            fields.u16(0);
            fields.short(queue);
            fields.u8(0);
            fields.table(&arguments);
        })?;
    }
    Ok(())
}

/// On a connection of its own: the other may be what went wrong.
fn delete(options: &ExpiryArgs) -> Result<()> {
    let mut connection = Connection::open(&options.url, TUNING)?;
    topology::delete_queue(&mut connection, &options.queue)?;
    topology::delete_queue(&mut connection, &dead_queue(options))?;
    connection.close()
}

fn dead_queue(options: &ExpiryArgs) -> String {
    format!("{}-dead", options.queue)
}

fn measure(connection: &mut Connection, options: &ExpiryArgs) -> Result<Figures> {
    eprintln!("publishing {} messages", thousands(options.messages as f64));
    let start = now_ns();
    publish(connection, options)?;
    let published = now_ns();
    if published - start > options.min.as_nanos().try_into().unwrap_or(u64::MAX) {
        return Err(Error::Usage("messages expire before all are published: give a longer --min".into()));
    }
    let pid = options.pid;
    let rss = pid.map(procfs::memory).transpose()?.map(|memory| memory.rss);
    let cpu = pid.map(procfs::cpu_seconds).transpose()?;
    eprintln!("published in {:.1} s; waiting for them to expire", seconds(published - start));
    subscribe(connection, &dead_queue(options))?;
    let watched = watch(connection, options, published)?;
    let cpu = pid.map(procfs::cpu_seconds).transpose()?.zip(cpu).map(|(after, before)| after - before);
    Ok(Figures {
        url: options.url.to_string(),
        messages: options.messages,
        publish_seconds: seconds(published - start),
        earliest_us: watched.earliest_ns as f64 / 1_000.0,
        lateness: watched.lateness.summary(),
        over_50_ms: watched.over_50_ms,
        missing: options.messages - watched.count,
        broker_cpu_us: cpu.map(|seconds| seconds * 1e6 / options.messages as f64),
        broker_rss_full: rss,
    })
}

fn publish(connection: &mut Connection, options: &ExpiryArgs) -> Result<()> {
    let spread_ms = u64::try_from(options.spread.as_millis()).unwrap_or(u64::MAX).max(1);
    let min_ms = u64::try_from(options.min.as_millis()).unwrap_or(u64::MAX);
    let (mut random, mut batch) = (options.seed, Vec::new());
    for number in 1..=options.messages {
        let ttl_ms = min_ms + next_random(&mut random) % spread_ms;
        let mut body = [b'x'; BODY_BYTES];
        body[..8].copy_from_slice(&(now_ns() + ttl_ms * MILLISECOND).to_be_bytes());
        encode::method(&mut batch, CHANNEL, method::PUBLISH, |arguments| {
            arguments.u16(0);
            arguments.short("");
            arguments.short(&options.queue);
            arguments.u8(0);
        });
        encode::expiring(&mut batch, CHANNEL, &body, ttl_ms);
        if batch.len() >= BATCH_BYTES || number == options.messages {
            connection.send_all(&batch)?;
            batch.clear();
            // A message's time begins when it arrives, so none may wait in a socket's buffer for long.
            topology::depth(connection, &options.queue)?;
        }
    }
    Ok(())
}

/// SplitMix64: which message gets which time is the same for the same seed.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn subscribe(connection: &mut Connection, queue: &str) -> Result<()> {
    const NO_ACK: u8 = 1 << 1;
    let write = |arguments: &mut encode::Arguments<'_>| {
        arguments.u16(0);
        arguments.short(queue);
        arguments.short("");
        arguments.u8(NO_ACK);
        arguments.table(&Vec::new());
    };
    connection.call(method::CONSUME, method::CONSUME_OK, write).map(drop)
}

/// When the dead letters came.
struct Watched {
    count: u64,
    earliest_ns: u64,
    over_50_ms: u64,
    lateness: Latency,
}

fn watch(connection: &mut Connection, options: &ExpiryArgs, published: u64) -> Result<Watched> {
    let mut watched = Watched { count: 0, earliest_ns: 0, over_50_ms: 0, lateness: Latency::new(ALWAYS) };
    let longest = (options.min + options.spread).as_nanos();
    let deadline = published + u64::try_from(longest).unwrap_or(u64::MAX / 2) + PATIENCE_NS;
    while watched.count < options.messages && now_ns() < deadline {
        connection.wait(Readiness::Readable, 100 * MILLISECOND)?;
        connection.receive_now("while dead letters were awaited")?;
        let now = now_ns();
        while let Some(frame) = connection.inbox.next_frame()? {
            match &frame {
                Frame::Body(body) => watched.note(body, now),
                Frame::Method { id: method::DELIVER, .. } | Frame::Header { .. } | Frame::Heartbeat => {}
                other => drop(notice(other)?),
            }
        }
        connection.keep_alive()?;
    }
    Ok(watched)
}

impl Watched {
    fn note(&mut self, body: &[u8], now: u64) {
        let Some(due) = body.first_chunk::<8>().map(|due| u64::from_be_bytes(*due)) else { return };
        self.count += 1;
        self.earliest_ns = self.earliest_ns.max(due.saturating_sub(now));
        self.over_50_ms += u64::from(now.saturating_sub(due) > 50 * MILLISECOND);
        self.lateness.record(due, now);
    }
}

fn print(figures: &Figures) {
    println!("{}: {} messages, each with a time of its own", figures.url, thousands(figures.messages as f64));
    println!("  published in        {:.2} s", figures.publish_seconds);
    if let Some(late) = &figures.lateness {
        println!(
            "  late by             p50 {}  p99 {}  p99.9 {}  max {}",
            time(late.p50_us),
            time(late.p99_us),
            time(late.p99_9_us),
            time(late.max_us)
        );
    }
    println!("  early by at most    {}", time(figures.earliest_us));
    println!("  later than 50 ms    {}", thousands(figures.over_50_ms as f64));
    println!("  did not expire      {}", thousands(figures.missing as f64));
    if let (Some(cpu), Some(rss)) = (figures.broker_cpu_us, figures.broker_rss_full) {
        println!(
            "  broker              {cpu:.2} us CPU per message expired, {} resident when full",
            bytes(rss)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_and_earliness_are_told_apart() {
        let mut watched = Watched { count: 0, earliest_ns: 0, over_50_ms: 0, lateness: Latency::new(ALWAYS) };
        let due = 100 * SECOND;
        for now in [due - MILLISECOND, due, due + 49 * MILLISECOND, due + 51 * MILLISECOND] {
            watched.note(&due.to_be_bytes(), now);
        }
        watched.note(b"short", due);
        assert_eq!((watched.count, watched.earliest_ns, watched.over_50_ms), (4, MILLISECOND, 1));
    }

    #[test]
    fn the_same_seed_gives_the_same_times() {
        let (mut one, mut other) = (7, 7);
        let first: Vec<u64> = (0..5).map(|_| next_random(&mut one)).collect();
        let second: Vec<u64> = (0..5).map(|_| next_random(&mut other)).collect();
        assert_eq!(first, second);
        assert!(first.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
