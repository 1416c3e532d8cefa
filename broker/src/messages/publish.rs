//! `warren publish`: messages from the command line, or one from each line of standard input.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::process::ExitCode;

use clap::Args;
use tokio::sync::mpsc;
use warren_client::{Confirm, Error, Publisher, PublisherOptions};

use super::Target;
use super::document::Document;
use crate::progress_bar;

/// The longest line, in bytes: what Warren takes as a message unless it is told otherwise.
const LINE_BYTES_MAX: u64 = 128 << 20;

/// How many lines are read ahead.
const LINES_AHEAD: usize = 64;

/// How many failures are explained; all are counted.
const EXPLAINED: u64 = 10;

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    target: Target,
    /// The queue to publish to, or the routing key with --exchange. Lines of JSON may name their own
    #[arg(value_name = "QUEUE", required_unless_present = "json")]
    routing_key: Option<String>,
    /// The bodies of messages [default: one from each line of standard input]
    #[arg(value_name = "BODY")]
    bodies: Vec<String>,
    /// The exchange to publish to [default: the one that leads to each queue by its name]
    #[arg(long, value_name = "NAME")]
    exchange: Option<String>,
    /// Each line is a message as JSON, as consume --json prints them: {"body":"...","headers":{...}}
    #[arg(long, conflicts_with_all = ["bodies", "whole"])]
    json: bool,
    /// All of standard input is one message
    #[arg(long, conflicts_with = "bodies")]
    whole: bool,
    /// A header
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// What kind of thing the bodies are, such as application/json
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Messages need not survive a restart of the broker
    #[arg(long)]
    transient: bool,
    /// Messages that reach no queue are no failure
    #[arg(long)]
    allow_unroutable: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// What became of the messages.
#[derive(Debug, Default)]
struct Tally {
    published: u64,
    failed: u64,
}

impl Tally {
    fn count(&mut self, number: u64, result: Result<(), Error>) {
        match result {
            Ok(()) => self.published += 1,
            Err(error) => {
                self.failed += 1;
                if self.failed <= EXPLAINED {
                    // Standard error may be closed.
                    let _ = writeln!(io::stderr(), "warren publish: message {number}: {error}");
                }
            }
        }
    }
}

pub(super) async fn run(args: PublishArgs) -> anyhow::Result<ExitCode> {
    let connection = args.target.connect("publish").await?;
    let options = PublisherOptions::default();
    let options = if args.allow_unroutable { options.allow_unroutable() } else { options };
    let publisher = connection.publisher_with(options).await?;
    let (confirms, mut waiting) = mpsc::channel::<(u64, Confirm)>(LINES_AHEAD * 64);
    let counting = tokio::spawn(async move {
        let (mut tally, bar) = (Tally::default(), progress_bar::of_messages());
        while let Some((number, confirm)) = waiting.recv().await {
            tally.count(number, confirm.await);
            bar.inc(1);
        }
        bar.finish_and_clear();
        tally
    });
    let read = publish_all(&args, &publisher, &confirms).await;
    drop(confirms);
    let tally = counting.await?;
    connection.close().await;
    read?;
    if tally.failed > 0 {
        anyhow::bail!("{} of {} messages were not published", tally.failed, tally.failed + tally.published);
    }
    Ok(ExitCode::SUCCESS)
}

async fn publish_all(
    args: &PublishArgs,
    publisher: &Publisher,
    confirms: &mpsc::Sender<(u64, Confirm)>,
) -> anyhow::Result<()> {
    let mut bodies = bodies(args);
    let mut number = 0;
    while let Some(body) = bodies.recv().await {
        number += 1;
        let wrong = |error: anyhow::Error| error.context(format!("message {number}"));
        let document = document(args, body?).map_err(wrong)?;
        let Some(routing_key) = document.routing_key.as_deref() else {
            return Err(wrong(anyhow::anyhow!("it has no routing key, and the command line names none")));
        };
        let exchange = document.exchange.as_deref().unwrap_or_default();
        let message = document.message().map_err(wrong)?;
        let confirm = publisher.enqueue(exchange, routing_key, message).await.map_err(anyhow::Error::from);
        confirms.send((number, confirm.map_err(wrong)?)).await?;
    }
    Ok(())
}

/// The message of a body or line, with what the command line says.
fn document(args: &PublishArgs, body: Vec<u8>) -> anyhow::Result<Document> {
    let mut document = if args.json { serde_json::from_slice(&body)? } else { Document::of_body(body) };
    let headers: BTreeMap<_, _> =
        args.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    document.headers.extend(headers);
    // The command line decides, so that messages can be sent elsewhere.
    if args.routing_key.is_some() || args.exchange.is_some() {
        document.exchange = Some(args.exchange.clone().unwrap_or_default());
    }
    document.routing_key = args.routing_key.clone().or(document.routing_key);
    document.content_type = args.content_type.clone().or(document.content_type);
    if args.transient {
        document.persistent = Some(false);
    }
    Ok(document)
}

/// The bodies, or lines, one after the other. Standard input is read by a thread, because there is no other way that works
/// for everything it can be.
fn bodies(args: &PublishArgs) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    let (given, whole) = (args.bodies.clone(), args.whole);
    std::thread::spawn(move || {
        // An error is that nobody receives any more.
        let _ = if !given.is_empty() {
            given.into_iter().try_for_each(|body| sender.blocking_send(Ok(body.into_bytes())))
        } else if whole {
            sender.blocking_send(everything())
        } else {
            lines(&sender)
        };
    });
    receiver
}

fn everything() -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    io::stdin().lock().take(LINE_BYTES_MAX + 1).read_to_end(&mut body)?;
    bounded(body)
}

fn lines(
    sender: &mpsc::Sender<io::Result<Vec<u8>>>,
) -> Result<(), mpsc::error::SendError<io::Result<Vec<u8>>>> {
    let mut input = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        match (&mut input).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                sender.blocking_send(bounded(line))?;
            }
            Err(error) => return sender.blocking_send(Err(error)),
        }
    }
}

fn bounded(body: Vec<u8>) -> io::Result<Vec<u8>> {
    match u64::try_from(body.len()) {
        Ok(bytes) if bytes <= LINE_BYTES_MAX => Ok(body),
        _ => Err(io::Error::other(format!("a message has more than {LINE_BYTES_MAX} bytes"))),
    }
}
