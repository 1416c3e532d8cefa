//! What a broker's memory costs: idle, per connection, per queue, per message.
//!
//! It holds everything until the end, as memory freed in one step would be used again in the next. It reads the figures
//! of the kernel, not those of the broker. Called by `main`.

use serde::Serialize;

use crate::batch::{Batch, Template};
use crate::cli::MemoryArgs;
use crate::clock::{MILLISECOND, SECOND, now_ns};
use crate::codec::encode::DeliveryMode;
use crate::codec::method;
use crate::connection::{Connection, Tuning};
use crate::error::Result;
use crate::procfs::{self, Memory};
use crate::report::{bytes, thousands};
use crate::topology;

/// Memory counts as settled when it has changed by less than this for `SETTLED_NS`.
const SETTLED_BYTES: u64 = 64 * 1024;
const SETTLED_NS: u64 = SECOND;
/// Some brokers never settle.
const SETTLING_MAX_NS: u64 = 10 * SECOND;
/// Small, as thousands of connections are held open.
const TUNING: Tuning = Tuning { frame_max: 8192, heartbeat: 60, inbox_capacity: 0 };
/// How many requests without an answer go out before one with an answer: the broker may not be outrun without bound.
const UNANSWERED_MAX: u32 = 1_000;

/// The cost of one kind of thing.
#[derive(Debug, Serialize)]
struct Step {
    what: &'static str,
    count: u64,
    before: Memory,
    after: Memory,
    rss_each: f64,
    pss_each: f64,
}

#[derive(Debug, Serialize)]
struct Figures {
    url: String,
    idle: Memory,
    steps: Vec<Step>,
}

pub(crate) fn run(options: &MemoryArgs) -> Result<()> {
    let idle = settled(options.pid, &mut [])?;
    let mut held = vec![Connection::open(&options.url, TUNING)?];
    let measured = measure(options, &mut held);
    // Also after a failure: 20,000 queues are not to be left behind.
    let deleted = delete(options);
    let steps = measured?;
    deleted?;
    for connection in held {
        connection.close()?;
    }
    let figures = Figures { url: options.url.to_string(), idle, steps };
    if options.json {
        return crate::print_json(&figures);
    }
    print(&figures);
    Ok(())
}

fn measure(options: &MemoryArgs, held: &mut Vec<Connection>) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut before = settled(options.pid, held)?;
    let mut finish = |what, count: u64, held: &mut Vec<Connection>| -> Result<()> {
        let after = settled(options.pid, held)?;
        let each = |after: u64, before: u64| (after as f64 - before as f64) / count as f64;
        let (rss_each, pss_each) = (each(after.rss, before.rss), each(after.pss, before.pss));
        steps.push(Step { what, count, before, after, rss_each, pss_each });
        before = after;
        Ok(())
    };
    if options.connections > 0 {
        eprintln!("opening {} connections", options.connections);
        for _ in 0..options.connections {
            held.push(Connection::open(&options.url, TUNING)?);
        }
        finish("idle connection with one channel", u64::from(options.connections), held)?;
    }
    if options.queues > 0 {
        eprintln!("declaring {} queues", options.queues);
        declare_queues(options, held)?;
        finish("empty queue", u64::from(options.queues), held)?;
    }
    if options.messages > 0 {
        eprintln!("publishing {} messages of {} bytes", thousands(options.messages as f64), options.size);
        publish(options, held)?;
        finish("message in a queue", options.messages, held)?;
    }
    Ok(steps)
}

fn declare_queues(options: &MemoryArgs, held: &mut [Connection]) -> Result<()> {
    for number in 0..options.queues {
        declare(&mut held[0], &queue_name(options, number))?;
        if number % UNANSWERED_MAX == UNANSWERED_MAX - 1 || number + 1 == options.queues {
            topology::depth(&mut held[0], &queue_name(options, number))?;
            held.iter_mut().try_for_each(Connection::idle)?;
        }
    }
    Ok(())
}

fn declare(connection: &mut Connection, name: &str) -> Result<()> {
    const NO_WAIT: u8 = 1 << 4;
    connection.cast(method::QUEUE_DECLARE, |arguments| {
        arguments.u16(0);
        arguments.short(name);
        arguments.u8(NO_WAIT);
        arguments.table(&Vec::new());
    })
}

fn publish(options: &MemoryArgs, held: &mut [Connection]) -> Result<()> {
    const MESSAGES_BETWEEN_ANSWERS: u64 = 10_000;
    let queue = message_queue(options);
    declare(&mut held[0], &queue)?;
    let mut batch = Batch::new(&Template {
        producer: 0,
        exchange: String::new(),
        routing_keys: vec![queue.clone()],
        body_bytes: usize::try_from(options.size).unwrap_or(usize::MAX),
        mode: DeliveryMode::Transient,
        frame_max: held[0].frame_max,
    });
    let mut sent = 0;
    while sent < options.messages {
        let chunk = (sent + MESSAGES_BETWEEN_ANSWERS).min(options.messages);
        while sent < chunk {
            let (count, range) = batch.prepare(chunk - sent, |_| 0);
            held[0].send_all(batch.bytes(range))?;
            sent += count;
        }
        topology::depth(&mut held[0], &queue)?;
        held.iter_mut().try_for_each(Connection::idle)?;
    }
    Ok(())
}

/// On a connection of its own: the others may be what went wrong.
fn delete(options: &MemoryArgs) -> Result<()> {
    const NO_WAIT: u8 = 1 << 2;
    let mut connection = Connection::open(&options.url, TUNING)?;
    for number in 0..options.queues {
        connection.cast(method::QUEUE_DELETE, |arguments| {
            arguments.u16(0);
            arguments.short(&queue_name(options, number));
            arguments.u8(NO_WAIT);
        })?;
        if number % UNANSWERED_MAX == 0 {
            topology::delete_queue(&mut connection, &queue_name(options, number))?;
        }
    }
    topology::delete_queue(&mut connection, &message_queue(options))?;
    connection.close()
}

fn queue_name(options: &MemoryArgs, number: u32) -> String {
    format!("{}-{number}", options.prefix)
}

fn message_queue(options: &MemoryArgs) -> String {
    format!("{}-messages", options.prefix)
}

/// The broker's memory once it has stopped changing.
fn settled(pid: u32, held: &mut [Connection]) -> Result<Memory> {
    let started = now_ns();
    let mut last = procfs::memory(pid)?;
    let mut since = started;
    loop {
        std::thread::sleep(std::time::Duration::from_nanos(100 * MILLISECOND));
        held.iter_mut().try_for_each(Connection::idle)?;
        let memory = procfs::memory(pid)?;
        let now = now_ns();
        if memory.rss.abs_diff(last.rss) > SETTLED_BYTES {
            (last, since) = (memory, now);
        }
        if now - since >= SETTLED_NS || now - started >= SETTLING_MAX_NS {
            return Ok(memory);
        }
    }
}

fn print(figures: &Figures) {
    println!("{}", figures.url);
    println!(
        "  idle broker: {} resident ({} proportional)",
        bytes(figures.idle.rss),
        bytes(figures.idle.pss)
    );
    for step in &figures.steps {
        println!(
            "  {:<33} {:>9} bytes each, resident ({} proportional); {} of them: {} to {}",
            step.what,
            thousands(step.rss_each),
            thousands(step.pss_each),
            thousands(step.count as f64),
            bytes(step.before.rss),
            bytes(step.after.rss),
        );
    }
}
