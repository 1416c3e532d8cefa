//! Reading messages back from the log.
//!
//! What to read is looked up under the index's lock; the reading itself holds none. Messages that fail their checksum are set
//! aside, settled and left out; nothing else suffers from them.

use std::collections::BTreeMap;
use std::io;

use super::core::Core;
use super::index::{Extent, Lane, RangeSet};
use super::log::frame::{RecordEntry, Run, UNTIL_RESTART};
use super::log::record;
use super::log::scan::{Found, Scanned, SegmentReader};
use super::{Loaded, LoadedMessage};
use crate::engine::QueueId;
use crate::engine::queue::Seq;

/// How often a plan is made anew because a segment was rewritten meanwhile.
const PLANS_MAX: u32 = 10;

/// Extents of one kind to read, and what is settled in them.
#[derive(Debug, Default)]
struct LanePlan {
    until_restart: bool,
    extents: Vec<Extent>,
    settled: RangeSet,
}

impl LanePlan {
    fn new(lane: &Lane, until_restart: bool, first: u64, last: u64) -> Self {
        let extents: Vec<Extent> = lane.overlapping(first, last).cloned().collect();
        Self { until_restart, extents, settled: lane.settled_in(first, last) }
    }
}

/// A message's bytes as they lie in the log.
#[derive(Debug)]
pub(super) struct RawMessage {
    pub(super) seq: u64,
    pub(super) bytes: Vec<u8>,
}

/// What was read of an extent.
#[derive(Debug, Default)]
pub(super) struct RawMessages {
    /// Ascending.
    pub(super) whole: Vec<RawMessage>,
    /// Those whose bytes fail their checksum, or cannot be found; ascending.
    pub(super) damaged: Vec<u64>,
}

/// Loads messages, see [`super::Store::load`].
pub(super) fn load(core: &Core, queue: QueueId, from: Seq, to: Seq, bytes_max: usize) -> io::Result<Loaded> {
    let mut plans = 0;
    loop {
        plans += 1;
        match try_load(core, queue, from.0, to.0, bytes_max as u64) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && plans < PLANS_MAX => {}
            loaded => return loaded,
        }
    }
}

fn try_load(core: &Core, queue: QueueId, from: u64, to: u64, bytes_max: u64) -> io::Result<Loaded> {
    let (up_to, lanes, returned) = plan(core, queue, from, to, bytes_max);
    let mut loaded = Loaded { up_to: Some(Seq(up_to)), ..Loaded::default() };
    for lane in lanes {
        for extent in &lane.extents {
            let wanted = (from.max(extent.first), up_to.min(extent.last));
            let raw = read_extent(core, queue, lane.until_restart, extent, wanted, &lane.settled)?;
            loaded.damaged.extend(raw.damaged.into_iter().map(Seq));
            for RawMessage { seq, bytes } in raw.whole {
                match record::decode(&bytes) {
                    Some(message) => {
                        let returned = returned.get(&seq).copied().unwrap_or(0);
                        loaded.messages.push(LoadedMessage { seq: Seq(seq), message, returned });
                    }
                    None => loaded.damaged.push(Seq(seq)),
                }
            }
        }
    }
    loaded.messages.sort_by_key(|loaded| loaded.seq);
    for &seq in &loaded.damaged {
        core.note(|pending| pending.settle(queue, seq));
    }
    Ok(loaded)
}

fn plan(
    core: &Core,
    queue: QueueId,
    from: u64,
    to: u64,
    bytes_max: u64,
) -> (u64, Vec<LanePlan>, BTreeMap<u64, u16>) {
    let index = core.index.lock();
    let Some(queue) = index.queue(queue) else { return (to, Vec::new(), BTreeMap::new()) };
    let mut bytes = 0;
    let mut up_to = to;
    let mut cursor = from;
    while cursor <= to {
        let nexts = [&queue.durable, &queue.until_restart].map(|lane| lane.overlapping(cursor, to).next());
        let Some(next) = nexts.into_iter().flatten().min_by_key(|extent| extent.last) else {
            up_to = to;
            break;
        };
        bytes += next.bytes / (next.last - next.first + 1) * next.live;
        up_to = next.last.min(to);
        if bytes >= bytes_max {
            break;
        }
        cursor = up_to + 1;
    }
    let lanes = vec![
        LanePlan::new(&queue.durable, false, from, up_to),
        LanePlan::new(&queue.until_restart, true, from, up_to),
    ];
    let returned = queue.returned.range(from..=up_to).map(|(&seq, &count)| (seq, count)).collect();
    (up_to, lanes, returned)
}

/// Passes over messages by the index alone, see [`super::Store::skip`].
pub(super) fn skip(core: &Core, queue: QueueId, from: Seq, to: Seq, count: u64) -> (u64, Seq) {
    let index = core.index.lock();
    let Some(queue) = index.queue(queue) else { return (0, Seq(to.0 + 1)) };
    let lanes = [&queue.durable, &queue.until_restart];
    let live_in = |first, last| lanes.iter().map(|lane| lane.live_in(first, last)).sum::<u64>();
    let (mut cursor, mut left) = (from.0, count);
    while left > 0 && cursor <= to.0 {
        let nexts = lanes.map(|lane| lane.overlapping(cursor, to.0).next());
        let Some(next) = nexts.into_iter().flatten().min_by_key(|extent| extent.last) else {
            cursor = to.0 + 1;
            break;
        };
        let last = next.last.min(to.0);
        let live = live_in(cursor, last);
        if live > left {
            cursor = end_of(left, cursor, last, live_in);
            left = 0;
        } else {
            left -= live;
            cursor = last + 1;
        }
    }
    (count - left, Seq(cursor))
}

/// The number behind the first `count` messages from `first` on, of which there are more up to `last`.
fn end_of(count: u64, first: u64, last: u64, live_in: impl Fn(u64, u64) -> u64) -> u64 {
    let (mut low, mut high) = (first, last);
    while low < high {
        let middle = low + (high - low) / 2;
        if live_in(first, middle) < count {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low + 1
}

/// Reads the unsettled messages of an extent whose numbers lie in `wanted`, both ends included.
///
/// # Errors
///
/// If the segment is gone or cannot be read.
pub(super) fn read_extent(
    core: &Core,
    queue: QueueId,
    until_restart: bool,
    extent: &Extent,
    wanted: (u64, u64),
    settled: &RangeSet,
) -> io::Result<RawMessages> {
    let mut read = RawMessages::default();
    let mut expected: RangeSet = RangeSet::default();
    expected.insert(wanted.0, wanted.1);
    for (from, to) in settled.overlapping(wanted.0, wanted.1) {
        expected.remove(from, to);
    }
    if let Some(reader) = SegmentReader::open(&core.log, extent.segment)? {
        for scanned in reader.scan(extent.at, extent.end) {
            match scanned? {
                Scanned::Frame(found) => {
                    let mine =
                        |run: &&Run| run.queue == queue && (run.flags & UNTIL_RESTART != 0) == until_restart;
                    let mut offsets = None;
                    for run in found.meta.runs.iter().filter(mine) {
                        let offsets = offsets.get_or_insert_with(|| found.meta.record_offsets());
                        read_run(core, &reader, extent, (&found, offsets), run, &mut expected, &mut read)?;
                    }
                }
                Scanned::Gap { from, to } => keep_gap(core, &reader, extent, from, to),
            }
        }
    }
    for (first, last) in expected.iter() {
        read.damaged.extend(first..=last);
    }
    if let (Some(first), Some(last)) = (read.damaged.iter().min(), read.damaged.iter().max()) {
        let (segment, count) = (extent.segment.path(&core.log), read.damaged.len());
        tracing::error!(
            segment = %segment.display(), queue = queue.0, first, last, count,
            "messages are damaged and lost; the others of the queue go on"
        );
    }
    read.whole.sort_by_key(|message| message.seq);
    read.damaged.sort_unstable();
    Ok(read)
}

/// Reads the messages of a run that are still expected.
fn read_run(
    core: &Core,
    reader: &SegmentReader,
    extent: &Extent,
    (found, offsets): (&Found, &[u64]),
    run: &Run,
    expected: &mut RangeSet,
    read: &mut RawMessages,
) -> io::Result<()> {
    let wanted: Vec<(u64, u64)> = expected.overlapping(run.first, run.last()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let bodies_at = found.at + found.head.bodies_at() as u64;
    for (first, last) in wanted {
        let record_of =
            |seq: u64| run.record as usize + usize::try_from(seq - run.first).unwrap_or(usize::MAX);
        let (from, to) = (record_of(first), record_of(last));
        let entries = &found.meta.records[from..=to];
        let len: usize = entries.iter().map(|entry| entry.len as usize).sum();
        let bytes = reader.read(bodies_at + offsets[from], len)?;
        let mut rest = bytes.as_slice();
        for (seq, entry) in (first..=last).zip(entries) {
            let (bytes, behind) = rest.split_at(entry.len as usize);
            rest = behind;
            if crc32c::crc32c(bytes) == entry.crc {
                read.whole.push(RawMessage { seq, bytes: bytes.to_vec() });
            } else {
                let at = bodies_at + offsets[record_of(seq)];
                core.damage.keep(&format!("{:016x}-{at}.record", extent.segment.0), bytes);
                read.damaged.push(seq);
            }
        }
        expected.remove(first, last);
    }
    Ok(())
}

/// An extent of which everything unsettled is wanted.
#[derive(Debug)]
pub(super) struct WantedExtent {
    pub(super) queue: QueueId,
    pub(super) until_restart: bool,
    pub(super) extent: Extent,
    /// What is not settled in it.
    pub(super) live: RangeSet,
}

/// Where a message's record lies in its segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordPlace {
    pub(super) seq: u64,
    pub(super) at: u64,
    pub(super) entry: RecordEntry,
}

/// Finds the messages of several extents of one segment, which is gone through once. What stays in `live` is not there.
///
/// # Errors
///
/// If the segment cannot be read.
pub(super) fn find_records(
    reader: &SegmentReader,
    wanted: &mut [WantedExtent],
) -> io::Result<Vec<Vec<RecordPlace>>> {
    let mut places: Vec<Vec<RecordPlace>> = wanted.iter().map(|_| Vec::new()).collect();
    let by_queue: BTreeMap<(QueueId, bool, u64), usize> = (0..)
        .zip(wanted.iter())
        .map(|(place, wanted)| ((wanted.queue, wanted.until_restart, wanted.extent.first), place))
        .collect();
    for scanned in reader.scan(0, u64::MAX) {
        let Scanned::Frame(found) = scanned? else { continue };
        let mut offsets = None;
        for run in &found.meta.runs {
            let until_restart = run.flags & UNTIL_RESTART != 0;
            let of_queue = (run.queue, until_restart, 0)..=(run.queue, until_restart, run.last());
            let overlapping = by_queue
                .range(of_queue)
                .rev()
                .take_while(|(_, place)| wanted[**place].extent.last >= run.first);
            let overlapping: Vec<usize> = overlapping.map(|(_, place)| *place).collect();
            for place in overlapping {
                let live = &mut wanted[place].live;
                let here: Vec<(u64, u64)> = live.overlapping(run.first, run.last()).collect();
                for (first, last) in here {
                    let offsets = offsets.get_or_insert_with(|| found.meta.record_offsets());
                    for seq in first..=last {
                        let record =
                            run.record as usize + usize::try_from(seq - run.first).unwrap_or(usize::MAX);
                        let at = found.at + found.head.bodies_at() as u64 + offsets[record];
                        places[place].push(RecordPlace { seq, at, entry: found.meta.records[record] });
                    }
                    live.remove(first, last);
                }
            }
        }
    }
    places.iter_mut().for_each(|places| places.sort_unstable_by_key(|place| place.seq));
    Ok(places)
}

/// Keeps a copy of bytes that should be frames and are not.
fn keep_gap(core: &Core, reader: &SegmentReader, extent: &Extent, from: u64, to: u64) {
    let len = usize::try_from(to - from).unwrap_or(usize::MAX);
    match reader.read(from, len) {
        Ok(bytes) => core.damage.keep(&format!("{:016x}-{from}.frames", extent.segment.0), &bytes),
        Err(error) => tracing::error!(%error, from, to, "cannot read what is damaged"),
    }
}
