//! [`Stats`]: how much of what a data folder holds, in words.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Found;
use super::copies::CopyState;
use super::live::Awaited;
use super::state_check::contents;
use super::words::{QueueNames, age, counted, size, thousands};
use crate::engine::QueueId;
use crate::engine::definitions::Definition;
use crate::store::checkpoint::COPIES;
use crate::store::flusher::now_ms;
use crate::store::folder::FORMAT;
use crate::store::index::QueueIndex;
use crate::store::log::scan::{Found as FoundFrame, Scanned, SegmentReader};
use crate::store::{DAMAGED_FOLDER, LOG_FOLDER};

/// More queues than this are not listed one by one.
const QUEUES_MAX: usize = 20;

/// How much of what a data folder holds. Its text has several lines and a table of queues.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    folder: PathBuf,
    /// Name and bytes of the parts of the folder.
    parts: Vec<(&'static str, u64)>,
    segments: u64,
    log_bytes: u64,
    /// Bytes of records that a queue still holds, each once.
    live_bytes: u64,
    /// By vhost: exchanges, queues, bindings and policies of both kinds.
    definitions: BTreeMap<String, [u64; 4]>,
    /// Those with messages, the longest first.
    queues: Vec<QueueStats>,
    /// Something could not be read.
    is_damaged: bool,
}

/// What one queue holds.
#[derive(Debug, Clone, Default)]
struct QueueStats {
    name: String,
    messages: u64,
    bytes: u64,
    /// How long ago the oldest message was written.
    oldest: Duration,
    /// The lowest and the highest number of its messages.
    numbers: (u64, u64),
    /// Messages that were delivered before, and would be marked as redelivered.
    redelivered: u64,
}

/// What is counted while the log is read.
#[derive(Debug, Default)]
struct Counted {
    live_bytes: u64,
    /// By queue: bytes, and when the oldest was written.
    queues: HashMap<QueueId, (u64, u64)>,
    is_damaged: bool,
}

pub(super) fn of(data: &Path, found: &Found) -> io::Result<Stats> {
    let mut parts = Vec::new();
    for part in [LOG_FOLDER, COPIES[0], COPIES[1], DAMAGED_FOLDER] {
        parts.push((part, contents(&data.join(part))?.1));
    }
    let counted = Counted::of(&data.join(LOG_FOLDER), found)?;
    let now = now_ms();
    let mut queues: Vec<QueueStats> = found
        .state
        .index
        .queues()
        .filter(|(_, queue)| queue.live_in(0, u64::MAX) > 0)
        .map(|(id, queue)| QueueStats::of(id, queue, &counted, &found.names, now))
        .collect();
    queues.sort_by(|one, other| other.messages.cmp(&one.messages).then_with(|| one.name.cmp(&other.name)));
    let is_whole = |state: &CopyState| matches!(state, CopyState::Missing | CopyState::Whole { .. });
    Ok(Stats {
        folder: data.to_owned(),
        parts,
        segments: found.segments.len() as u64,
        log_bytes: found.segments.iter().map(|(_, bytes)| bytes).sum(),
        live_bytes: counted.live_bytes,
        definitions: definitions(found),
        queues,
        is_damaged: counted.is_damaged || !found.copies.iter().all(|copy| is_whole(&copy.found)),
    })
}

fn definitions(found: &Found) -> BTreeMap<String, [u64; 4]> {
    let mut by_vhost: BTreeMap<String, [u64; 4]> = BTreeMap::new();
    for definition in &found.definitions.definitions {
        let kind = match definition {
            Definition::Access(_) => continue,
            Definition::Exchange { .. } => 0,
            Definition::Queue { .. } => 1,
            Definition::Binding(_) => 2,
            Definition::Policy(_) => 3,
        };
        by_vhost.entry(definition.vhost().to_owned()).or_default()[kind] += 1;
    }
    by_vhost
}

impl Counted {
    /// Reads what the frames say of their records, not the records.
    fn of(log: &Path, found: &Found) -> io::Result<Self> {
        let mut counted = Self::default();
        for &(id, bytes) in &found.segments {
            let mut awaited = Awaited::new(&found.state.index, id);
            let Some(reader) = SegmentReader::open(log, id)? else {
                counted.is_damaged |= bytes > 0;
                continue;
            };
            for scanned in reader.scan(0, u64::MAX) {
                match scanned? {
                    Scanned::Frame(frame) => counted.frame(&frame, &mut awaited),
                    Scanned::Gap { .. } => counted.is_damaged = true,
                }
            }
            counted.is_damaged |= !awaited.unseen().is_empty();
        }
        Ok(counted)
    }

    fn frame(&mut self, frame: &FoundFrame, awaited: &mut Awaited) {
        let mut is_live = vec![false; frame.meta.records.len()];
        for run in &frame.meta.runs {
            for (first, last) in awaited.see(frame, run) {
                let place =
                    |seq: u64| run.record as usize + usize::try_from(seq - run.first).unwrap_or(usize::MAX);
                let places = place(first)..=place(last);
                is_live[places.clone()].fill(true);
                let bytes: u64 = frame.meta.records[places].iter().map(|record| u64::from(record.len)).sum();
                let (held, oldest) = self.queues.entry(run.queue).or_insert((0, u64::MAX));
                *held += bytes;
                *oldest = frame.head.time_ms.min(*oldest);
            }
        }
        let live = frame.meta.records.iter().zip(is_live).filter(|(_, is_live)| *is_live);
        self.live_bytes += live.map(|(record, _)| u64::from(record.len)).sum::<u64>();
    }
}

impl QueueStats {
    fn of(id: QueueId, queue: &QueueIndex, counted: &Counted, names: &QueueNames, now: u64) -> Self {
        let (bytes, oldest) = counted.queues.get(&id).copied().unwrap_or((0, now));
        let redelivered = queue.delivered.map_or(0, |up_to| queue.live_in(0, up_to));
        let returned = queue.returned.keys().filter(|&&seq| queue.delivered.is_none_or(|up_to| seq > up_to));
        Self {
            name: names.of(id),
            messages: queue.live_in(0, u64::MAX),
            bytes,
            oldest: Duration::from_millis(now.saturating_sub(oldest)),
            numbers: unsettled(queue),
            redelivered: redelivered + returned.count() as u64,
        }
    }

    fn row(&self) -> [String; 6] {
        let (first, last) = self.numbers;
        [
            self.name.clone(),
            thousands(self.messages),
            size(self.bytes),
            age(self.oldest),
            format!("{first} to {last}"),
            thousands(self.redelivered),
        ]
    }
}

/// The lowest and the highest number that is not settled.
fn unsettled(queue: &QueueIndex) -> (u64, u64) {
    let lane = &queue.durable;
    let (Some(first), Some(last)) = (lane.extents().next(), lane.extents().next_back()) else {
        return (0, 0);
    };
    let settled = lane.settled_in(first.first, first.last);
    let lowest = settled.iter().next().filter(|(from, _)| *from == first.first).map(|(_, to)| to + 1);
    let settled = lane.settled_in(last.first, last.last);
    let highest =
        settled.iter().last().filter(|(_, to)| *to == last.last).map(|(from, _)| from.saturating_sub(1));
    (lowest.unwrap_or(first.first), highest.unwrap_or(last.last))
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "data folder  {}, format {FORMAT}", self.folder.display())?;
        let total: u64 = self.parts.iter().map(|(_, bytes)| bytes).sum();
        let parts: Vec<String> =
            self.parts.iter().map(|(name, bytes)| format!("{name} {}", size(*bytes))).collect();
        writeln!(f, "on disk      {}: {}", size(total), parts.join(", "))?;
        let share = (self.live_bytes * 100).checked_div(self.log_bytes).unwrap_or(0);
        let (segments, bytes) = (counted(self.segments, "segment"), size(self.log_bytes));
        let live = size(self.live_bytes);
        writeln!(
            f,
            "log          {segments}, {bytes}, of which {share} % is messages that queues hold ({live})"
        )?;
        for (vhost, [exchanges, queues, bindings, policies]) in &self.definitions {
            let (exchanges, queues) = (counted(*exchanges, "exchange"), counted(*queues, "queue"));
            let bindings = counted(*bindings, "binding");
            let policies = match policies {
                0 => String::new(),
                some => counted(*some, "policy") + ", ",
            };
            writeln!(
                f,
                "vhost '{vhost}': {policies}{exchanges}, {queues}, {bindings} that survive a restart"
            )?;
        }
        self.table(f)?;
        if self.is_damaged {
            writeln!(f, "Something could not be read, and is not counted: `warren data check` says what.")?;
        }
        Ok(())
    }
}

impl Stats {
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: u64 = self.queues.iter().map(|queue| queue.messages).sum();
        let bytes: u64 = self.queues.iter().map(|queue| queue.bytes).sum();
        let (queues, bytes) = (counted(self.queues.len() as u64, "queue"), size(bytes));
        writeln!(f, "messages     {} in {queues}, {bytes}", thousands(messages))?;
        if self.queues.is_empty() {
            return Ok(());
        }
        let head =
            ["", "messages", "size", "oldest written", "numbers", "delivered before"].map(str::to_owned);
        let shown = self.queues.iter().take(QUEUES_MAX).map(QueueStats::row);
        let rows: Vec<[String; 6]> = std::iter::once(head).chain(shown).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..6).map(width).collect();
        for row in &rows {
            write!(f, "  {:<width$}", row[0], width = widths[0])?;
            for (text, width) in row[1..].iter().zip(&widths[1..]) {
                write!(f, "  {text:>width$}")?;
            }
            writeln!(f)?;
        }
        if let Some(rest) = self.queues.get(QUEUES_MAX..).filter(|rest| !rest.is_empty()) {
            let messages = counted(rest.iter().map(|queue| queue.messages).sum(), "message");
            writeln!(f, "  and {} with {messages}", counted(rest.len() as u64, "more queue"))?;
        }
        Ok(())
    }
}
