//! The command line. Every option says its unit and its default.
//!
//! It refuses combinations that would measure nothing. Called by `main`; `compare` reads its scenarios through it too.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::codec::encode::Value;
use crate::error::{Error, Result};
use crate::topology::ExchangeKind;
use crate::url::Url;

const EXAMPLES: &str = "\
Examples:
  One producer, one consumer, 1 KiB bodies, automatic acks, ten seconds:
    warren-perf --size 1024
  Confirms and manual acks:
    warren-perf --confirms 1000 --ack manual --prefetch 1000
  Fill durable queues with a million persistent messages; restart the broker; drain and check them:
    warren-perf --fill 1000000 --durable --persistent --confirms 1000
    warren-perf --drain --durable --ack manual --prefetch 1000
  Latency at a fixed load:
    warren-perf --rate 20000 --confirms 1000

Exit codes:
  0  every message was delivered once and in order
  1  messages were lost, doubled, reordered or refused; the report says which
  2  no result: wrong options, no connection, or the broker closed it

Each message body begins with the producer's number, a sequence number and the time it was sent. The rest is filler.
Times are of the machine's monotonic clock: run the generator's consumers and producers on one machine.";

/// A load generator for any AMQP 0-9-1 broker.
///
/// Publishes and consumes as fast as the broker lets it (or at --rate), prints a line each second, and at the end the
/// throughput, the latency percentiles, and whether any message was lost, doubled or reordered. Its queues are deleted
/// at the end.
#[derive(Debug, Parser)]
#[command(name = "warren-perf", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Compare(CompareArgs),
    Memory(MemoryArgs),
    Expiry(ExpiryArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AckMode {
    /// The broker forgets a message as soon as it is sent
    Auto,
    /// The consumer acknowledges, many messages at once
    Manual,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LoadArgs {
    /// The broker to aim at; special characters percent-encoded, vhost `/` if the path is empty
    #[arg(long, value_name = "URL", default_value = "amqp://guest:guest@127.0.0.1:5672/")]
    pub(crate) url: Url,

    /// Producers, each with a connection of its own
    #[arg(long, value_name = "COUNT", default_value_t = 1, help_heading = "Shape")]
    pub(crate) producers: u16,

    /// Consumers, each with a connection of its own; 0 to let the messages pile up
    #[arg(long, value_name = "COUNT", default_value_t = 1, help_heading = "Shape")]
    pub(crate) consumers: u16,

    /// Queues. Producers and consumers are dealt out over them; one that gets several uses them in turn
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Shape")]
    pub(crate) queues: u32,

    /// Beginning of the names of queues and exchange, at most 200 bytes
    #[arg(long = "queue", value_name = "PREFIX", default_value = "warren-perf", help_heading = "Shape")]
    pub(crate) prefix: String,

    /// What producers publish to; with fanout every message reaches every queue
    #[arg(long, value_name = "KIND", value_enum, default_value_t = ExchangeKind::Default, help_heading = "Shape")]
    pub(crate) exchange: ExchangeKind,

    /// Declare queues and exchange durable; transient ones are declared otherwise
    #[arg(long, help_heading = "Shape")]
    pub(crate) durable: bool,

    /// An argument of queue.declare, such as x-queue-type=quorum; numbers and true/false are sent as such. Repeatable
    #[arg(long = "queue-arg", value_name = "KEY=VALUE", help_heading = "Shape")]
    pub(crate) queue_arguments: Vec<QueueArgument>,

    /// Size of a message body in bytes, at least 16
    #[arg(long, value_name = "BYTES", default_value_t = 16, value_parser = clap::value_parser!(u32).range(16..=128 * 1024 * 1024), help_heading = "Publishing")]
    pub(crate) size: u32,

    /// Publish with confirms, at most this many messages of a producer unconfirmed [default: no confirms]
    #[arg(long, value_name = "WINDOW", value_parser = clap::value_parser!(u32).range(1..=10_000_000), help_heading = "Publishing")]
    pub(crate) confirms: Option<u32>,

    /// Publish with delivery mode 2; they survive a restart only in --durable queues
    #[arg(long, help_heading = "Publishing")]
    pub(crate) persistent: bool,

    /// Messages per second of all producers together [default: as fast as possible]
    #[arg(long, value_name = "MSG_PER_S", value_parser = positive_rate, help_heading = "Publishing")]
    pub(crate) rate: Option<f64>,

    /// Who acknowledges deliveries
    #[arg(long, value_name = "MODE", value_enum, default_value_t = AckMode::Auto, help_heading = "Consuming")]
    pub(crate) ack: AckMode,

    /// basic.qos prefetch count of each consumer, in messages; 0 for no limit
    #[arg(long, value_name = "COUNT", default_value_t = 1000, help_heading = "Consuming")]
    pub(crate) prefetch: u16,

    /// With --ack manual: acknowledge after this many messages, or after about 1 ms of quiet [default: a quarter of --prefetch]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Consuming")]
    pub(crate) ack_every: Option<u64>,

    /// How long figures are taken (500ms, 10s, 2m)
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, help_heading = "Length")]
    pub(crate) duration: Duration,

    /// How long the load runs before figures are taken [default: 2s; none with --messages, --fill and --drain]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Length")]
    pub(crate) warmup: Option<Duration>,

    /// Publish this many messages in all instead of for --duration
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Length")]
    pub(crate) messages: Option<u64>,

    /// Phase one of two: publish this many messages with no consumer, and leave them in their queues
    #[arg(long, value_name = "COUNT", conflicts_with = "messages", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Length")]
    pub(crate) fill: Option<u64>,

    /// Phase two of two: consume what an earlier --fill left, or with --fill what this one leaves
    #[arg(long, conflicts_with = "messages", help_heading = "Length")]
    pub(crate) drain: bool,

    /// How long the broker may make no progress before the run is given up
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration, help_heading = "Length")]
    pub(crate) timeout: Duration,

    /// Leave queues and exchange behind
    #[arg(long, help_heading = "Length")]
    pub(crate) keep: bool,

    /// Largest frame to ask for, in bytes; the broker may lower it
    #[arg(long, value_name = "BYTES", default_value_t = 131_072, value_parser = clap::value_parser!(u32).range(4096..=16 * 1024 * 1024), help_heading = "Connection")]
    pub(crate) frame_max: u32,

    /// Heartbeat to ask for, in seconds; the broker may lower it; 0 for none
    #[arg(long, value_name = "SECONDS", default_value_t = 60, help_heading = "Connection")]
    pub(crate) heartbeat: u16,

    /// Process of the broker, to report its CPU time per message and its memory
    #[arg(long, value_name = "PID", help_heading = "Report")]
    pub(crate) pid: Option<u32>,

    /// Print one JSON object instead of the report
    #[arg(long, help_heading = "Report")]
    pub(crate) json: bool,

    /// No progress lines
    #[arg(long, help_heading = "Report")]
    pub(crate) quiet: bool,
}

/// Run the same scenarios in turn against several brokers, and compare the medians.
///
/// Brokers take turns (A B A B ...), so that whatever else the machine does hits all of them alike. The output is a
/// Markdown table for each scenario: msg/s (median of the rounds, least and most), its ratio to the last broker's, CPU time
/// per message, latency percentiles, memory at the end.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// A broker, as NAME=amqp://...; give two or more. The last one is what the others are compared with
    #[arg(long = "url", value_name = "NAME=URL", required_unless_present = "list")]
    pub(crate) targets: Vec<NamedTarget>,

    /// Processes of the brokers, in the order of --url; 0 for one that is not on this machine
    #[arg(long = "pid", value_name = "PID")]
    pub(crate) pids: Vec<u32>,

    /// Scenarios to run, by name; repeatable, or separated by commas; `--list` shows them [default: the first four]
    #[arg(long = "scenario", value_name = "NAME", value_delimiter = ',')]
    pub(crate) scenarios: Vec<String>,

    /// List the scenarios with the options each stands for
    #[arg(long)]
    pub(crate) list: bool,

    /// Rounds: how often each scenario runs against each broker
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// How long figures are taken in each round, where the scenario is not bounded by a count (500ms, 10s, 2m)
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) duration: Duration,

    /// How long the load runs before that
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub(crate) warmup: Duration,

    /// Print one JSON object, with the report of every round, instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

/// Measure a broker's memory: idle, per connection, per queue, per message.
///
/// Everything is held until the end, so that memory freed in one step does not hide the cost of the next. Start the broker
/// anew for figures that mean something.
#[derive(Debug, Args)]
pub(crate) struct MemoryArgs {
    /// The broker to aim at
    #[arg(long, value_name = "URL", default_value = "amqp://guest:guest@127.0.0.1:5672/")]
    pub(crate) url: Url,

    /// Process of the broker, whose /proc/PID/smaps_rollup is read
    #[arg(long, value_name = "PID")]
    pub(crate) pid: u32,

    /// Idle connections to open, each with one channel; 0 to skip
    #[arg(long, value_name = "COUNT", default_value_t = 2_000)]
    pub(crate) connections: u32,

    /// Empty transient queues to declare; 0 to skip
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    pub(crate) queues: u32,

    /// Transient messages to hold in one queue; 0 to skip
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    pub(crate) messages: u64,

    /// Size of those messages' bodies in bytes, at least 16
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    pub(crate) size: u32,

    /// Beginning of the names of the queues
    #[arg(long = "queue", value_name = "PREFIX", default_value = "warren-perf-memory")]
    pub(crate) prefix: String,

    /// Print one JSON object instead of the report
    #[arg(long)]
    pub(crate) json: bool,
}

/// Measure how late messages expire that each have an expiration of their own.
///
/// Fills a queue with messages of random expirations and watches when their dead letters arrive.
#[derive(Debug, Args)]
pub(crate) struct ExpiryArgs {
    /// The broker to aim at
    #[arg(long, value_name = "URL", default_value = "amqp://guest:guest@127.0.0.1:5672/")]
    pub(crate) url: Url,

    /// Process of the broker, for its CPU time and memory
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,

    /// Messages to publish
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    pub(crate) messages: u64,

    /// The shortest expiration; all must be published before it is over
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_duration)]
    pub(crate) min: Duration,

    /// By how much the longest expiration is longer than the shortest
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub(crate) spread: Duration,

    /// Decides which message gets which expiration
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Name of the queue; the one of the dead letters has -dead behind it
    #[arg(long, value_name = "NAME", default_value = "warren-perf-expiry")]
    pub(crate) queue: String,

    /// Print one JSON object instead of the report
    #[arg(long)]
    pub(crate) json: bool,
}

/// A broker with the name its figures go under.
#[derive(Debug, Clone)]
pub(crate) struct NamedTarget {
    pub(crate) name: String,
    pub(crate) url: Url,
}

impl FromStr for NamedTarget {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once("=amqp://") {
            Some((name, rest)) => Ok(Self { name: name.to_owned(), url: format!("amqp://{rest}").parse()? }),
            None => {
                let url: Url = text.parse()?;
                Ok(Self { name: url.address(), url })
            }
        }
    }
}

/// One argument of `queue.declare`.
#[derive(Debug, Clone)]
pub(crate) struct QueueArgument(pub(crate) String, pub(crate) Value);

impl FromStr for QueueArgument {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
        let value = match (value.parse::<i64>(), value.parse::<bool>()) {
            (Ok(number), _) => Value::Integer(number),
            (_, Ok(flag)) => Value::Flag(flag),
            _ => Value::Text(value.to_owned()),
        };
        if key.is_empty() || key.len() > 255 {
            return Err("the key must have 1 to 255 bytes".into());
        }
        Ok(Self(key.to_owned(), value))
    }
}

impl LoadArgs {
    /// Refuses combinations of options that make no sense together.
    pub(crate) fn validate(&self) -> Result<()> {
        let complaint = if self.prefix.is_empty() || self.prefix.len() > 200 {
            "--queue must have 1 to 200 bytes"
        } else if self.producers == 0 && !self.drain {
            "--producers 0 publishes nothing; to consume what is there, use --drain"
        } else if self.drain && self.consumers == 0 {
            "--drain needs a consumer"
        } else if self.fill.is_some() && self.producers == 0 {
            "--fill needs a producer"
        } else if self.duration.is_zero() {
            "--duration must be longer than nothing"
        } else if self.ack == AckMode::Auto && self.ack_every.is_some() {
            "--ack-every needs --ack manual"
        } else if self.ack_every.is_some_and(|every| self.prefetch > 0 && every > u64::from(self.prefetch)) {
            "--ack-every over --prefetch would wait for messages that cannot come"
        } else {
            return Ok(());
        };
        Err(Error::Usage(complaint.into()))
    }
}

fn positive_rate(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("expected a number of messages per second above 0".into()),
    }
}

/// Reads `500ms`, `10s`, `2m`, or a bare number of seconds.
fn parse_duration(text: &str) -> std::result::Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{unit:?} is not a unit; use ms, s, m or h")),
    };
    let number: f64 = number.parse().map_err(|_| "expected a time such as 500ms, 10s or 2m".to_owned())?;
    Duration::try_from_secs_f64(number * factor).map_err(|error| error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        for (text, ms) in [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1.5", 1_500)] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for text in ["", "s", "10x", "-1s"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_target_may_have_a_name() {
        let named: NamedTarget = "warren=amqp://127.0.0.1:1/".parse().unwrap();
        assert_eq!((named.name.as_str(), named.url.port), ("warren", 1));
        let plain: NamedTarget = "amqp://127.0.0.1:1/".parse().unwrap();
        assert_eq!(plain.name, "127.0.0.1:1");
    }

    #[test]
    fn options_that_would_measure_nothing_are_refused() {
        for (options, ok) in [
            ("", true),
            ("--producers 0", false),
            ("--producers 0 --drain", true),
            ("--drain --consumers 0", false),
            ("--ack manual --ack-every 2000", false),
            ("--ack-every 5", false),
        ] {
            let words = std::iter::once("warren-perf").chain(options.split_ascii_whitespace());
            let cli = Cli::try_parse_from(words).unwrap();
            assert_eq!(cli.load.validate().is_ok(), ok, "{options}");
        }
    }

    #[test]
    fn queue_arguments_have_types() {
        for (text, value) in [
            ("a=5", Value::Integer(5)),
            ("a=true", Value::Flag(true)),
            ("a=quorum", Value::Text("quorum".into())),
        ] {
            assert_eq!(text.parse::<QueueArgument>().unwrap().1, value);
        }
    }
}
