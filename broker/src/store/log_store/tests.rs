//! The store closed, or copied as a crash would leave it, and opened again: scenarios, and at random against a naive model.

mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::store::LoadedMessage;
use crate::store::flusher::SEGMENT_BYTES;
use crate::store::log::frame::{FrameBuilder, MOVED};
use crate::store::log::ops::Op;
use crate::store::log::segment::{ActiveSegment, SegmentHead, SegmentId};

const QUEUE: QueueId = QueueId(7);

fn message(body: &[u8]) -> Message {
    Message::new("exchange", "key", &[0x10, 0, 2], true, body)
}

pub(in crate::store) fn open(data: &Path) -> (LogStore, Restored) {
    let (store, restored) = LogStore::open(data, SyncMode::Always).expect("the store opens");
    store.on_durable(Box::new(|_| {}));
    (store, restored)
}

pub(in crate::store) fn wait_durable(store: &LogStore, epoch: Epoch) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.durable() < epoch {
        assert!(Instant::now() < deadline, "epoch {epoch:?} never became durable");
        thread::yield_now();
    }
}

pub(in crate::store) fn append(
    store: &LogStore,
    queue: QueueId,
    messages: impl IntoIterator<Item = (u64, Vec<u8>)>,
) -> Epoch {
    let mut messages = messages.into_iter().map(|(seq, body)| (Seq(seq), message(&body))).collect();
    store.append(queue, Kept::Durably, &mut messages)
}

/// Everything that a queue holds, by number.
pub(in crate::store) fn contents(
    store: &LogStore,
    restored: &Restored,
    queue: QueueId,
) -> BTreeMap<u64, Vec<u8>> {
    let mut found = BTreeMap::new();
    let Some((range, count)) = restored.queues.get(&queue).and_then(|queue| queue.messages) else {
        return found;
    };
    let mut from = range.first;
    while from <= range.last {
        let loaded = store.load(queue, from, range.last, 100_000).expect("loads");
        assert!(loaded.damaged.is_empty(), "damaged: {:?}", loaded.damaged);
        for LoadedMessage { seq, message, .. } in loaded.messages {
            assert!(found.insert(seq.0, message.body().to_vec()).is_none(), "{seq:?} came twice");
        }
        from = Seq(loaded.up_to.expect("tells how far").0 + 1);
    }
    assert_eq!(found.len() as u64, count);
    found
}

/// What a process that is killed now leaves behind: all files as they are at one moment.
fn copy(from: &Path, to: &Path) {
    loop {
        let before = tree(from);
        let _ = fs::remove_dir_all(to);
        copy_files(from, to);
        // Housekeeping may have changed files meanwhile; only nothing written in between is one moment.
        if before == tree(from) {
            return;
        }
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("lists").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_files(&entry.path(), &target);
        } else {
            drop(fs::copy(entry.path(), target));
        }
    }
}

/// All files with their sizes and the times of their last change.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (u64, Option<SystemTime>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else if let Ok(held) = entry.metadata() {
            found.insert(path, (held.len(), held.modified().ok()));
        }
    }
    found
}

#[test]
fn what_was_appended_and_not_settled_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = open(folder.path());
    let epoch = append(&store, QUEUE, (0..100).map(|seq| (seq, vec![b'x'; 100])));
    wait_durable(&store, epoch);
    store.settle(QUEUE, &[Seq(3), Seq(50)]);
    store.settle_ranges(QUEUE, &[SeqRange { first: Seq(90), last: Seq(99) }]);
    store.delivered(QUEUE, Seq(60));
    store.returned(QUEUE, &[(Seq(4), 2)]);
    store.define(b"a definition".to_vec(), Some(b"its value".to_vec()));
    store.close().expect("closes");
    let (store, restored) = open(folder.path());
    assert_eq!(restored.definitions, BTreeMap::from([(b"a definition".to_vec(), b"its value".to_vec())]));
    let queue = restored.queues[&QUEUE];
    assert_eq!((queue.next_seq, queue.delivered), (Seq(100), Some(Seq(60))));
    let found: BTreeSet<u64> = contents(&store, &restored, QUEUE).into_keys().collect();
    assert_eq!(found, (0..90).filter(|seq| ![3, 50].contains(seq)).collect());
    let loaded = store.load(QUEUE, Seq(4), Seq(5), 1).expect("loads");
    assert_eq!(
        loaded.messages.iter().map(|loaded| (loaded.seq.0, loaded.returned)).collect::<Vec<_>>(),
        [(4, 2), (5, 0)]
    );
}

#[test]
fn what_is_kept_until_a_restart_is_loaded_before_and_gone_after() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = open(folder.path());
    append(&store, QUEUE, [(0, vec![0]), (2, vec![2]), (4, vec![4])]);
    let mut transient = [1, 3, 5].map(|seq| (Seq(seq), message(&[9]))).to_vec();
    let epoch = store.append(QUEUE, Kept::UntilRestart, &mut transient);
    wait_durable(&store, epoch);
    let seqs = |from: u64| {
        let loaded = store.load(QUEUE, Seq(from), Seq(5), 1_000_000).expect("loads");
        loaded.messages.iter().map(|loaded| loaded.seq.0).collect::<Vec<_>>()
    };
    assert_eq!(seqs(0), [0, 1, 2, 3, 4, 5]);
    store.settle(QUEUE, &[Seq(1), Seq(2)]);
    wait_durable(&store, append(&store, QueueId(8), [(0, vec![])]));
    assert_eq!(seqs(0), [0, 3, 4, 5]);
    store.close().expect("closes");
    let (store, restored) = open(folder.path());
    assert_eq!(contents(&store, &restored, QUEUE).into_keys().collect::<Vec<_>>(), [0, 4]);
}

#[test]
fn an_emptied_log_takes_little_room_and_one_old_message_does_not_pin_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = open(folder.path());
    let per_segment = SEGMENT_BYTES / 100_000;
    for seq in 0..8 * per_segment {
        wait_durable(&store, append(&store, QUEUE, [(seq, vec![b'x'; 100_000])]));
    }
    store.settle_ranges(QUEUE, &[SeqRange { first: Seq(1), last: Seq(8 * per_segment) }]);
    let log_bytes = || -> u64 {
        let files = fs::read_dir(folder.path().join(LOG_FOLDER)).expect("lists");
        files.map(|file| file.expect("lists").metadata().map_or(0, |held| held.len())).sum()
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while log_bytes() > 1_000_000 {
        assert!(Instant::now() < deadline, "the log still has {} bytes", log_bytes());
        thread::sleep(Duration::from_millis(20));
    }
    store.close().expect("closes");
    let (store, restored) = open(folder.path());
    assert_eq!(contents(&store, &restored, QUEUE), BTreeMap::from([(0, vec![b'x'; 100_000])]));
}

#[test]
fn a_flipped_bit_costs_the_message_it_lies_in_and_is_set_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = open(folder.path());
    wait_durable(
        &store,
        append(&store, QUEUE, (0..50).map(|seq| (seq, vec![u8::try_from(seq).expect("small"); 500]))),
    );
    store.close().expect("closes");
    let segment = fs::read_dir(folder.path().join(LOG_FOLDER))
        .expect("lists")
        .next()
        .expect("a segment")
        .expect("lists");
    let mut bytes = fs::read(segment.path()).expect("reads");
    let at = bytes.windows(500).position(|bytes| bytes == [17; 500]).expect("message 17 is there");
    bytes[at + 77] ^= 4;
    fs::write(segment.path(), bytes).expect("writes");
    let (store, _) = open(folder.path());
    let loaded = store.load(QUEUE, Seq(0), Seq(49), 1_000_000).expect("loads");
    assert_eq!(loaded.damaged, [Seq(17)]);
    assert_eq!(loaded.messages.len(), 49);
    assert_eq!(store.damage_count(), 1);
    let kept: Vec<_> = fs::read_dir(folder.path().join(DAMAGED_FOLDER)).expect("lists").collect();
    assert_eq!(kept.len(), 1);
    store.close().expect("closes");
    let (store, restored) = open(folder.path());
    assert_eq!(contents(&store, &restored, QUEUE).len(), 49, "what is lost is settled");
}

/// A segment of these frames. Returns where its last frame's bodies begin.
fn write_segment(data: &Path, id: u64, first_frame: u64, frames: &[FrameBuilder]) -> u64 {
    let log = data.join(LOG_FOLDER);
    fs::create_dir_all(&log).expect("a folder");
    let head = SegmentHead { id: SegmentId(id), salt: 7 };
    let mut segment = ActiveSegment::create(&log, head).expect("creates");
    let mut bodies_at = 0;
    for (number, frame) in (first_frame..).zip(frames) {
        let encoded = frame.finish(number, number, 0, 7);
        bodies_at = segment.append(&encoded).expect("writes") + encoded.head.bodies_at() as u64;
    }
    bodies_at
}

fn zero(data: &Path, id: u64, from: u64, len: usize) {
    let path = SegmentId(id).path(&data.join(LOG_FOLDER));
    let mut bytes = fs::read(&path).expect("reads");
    let from = usize::try_from(from).expect("small");
    bytes[from..from + len].fill(0);
    fs::write(&path, bytes).expect("writes");
}

/// What a killed process would leave, opened again.
fn crash(root: &Path, store: LogStore, data: &mut PathBuf) -> (LogStore, Restored) {
    wait_durable(&store, append(&store, QueueId(99), [(0, vec![])]));
    let next = root.join(format!("{}-", data.file_name().expect("a name").to_string_lossy()));
    copy(data, &next);
    drop(store);
    *data = next;
    open(data)
}

#[test]
fn what_a_power_cut_left_of_a_move_stays_forgotten_at_the_second_start() {
    let root = tempfile::tempdir().expect("a folder");
    let mut data = root.path().join("data");
    let (mut written, mut moved) = (FrameBuilder::default(), FrameBuilder::default());
    for seq in 0..10 {
        let record = written.add(&message(&[b'x'; 1000]));
        written.hold(QUEUE, seq, record, 0);
        let record = moved.add(&message(&[b'x'; 1000]));
        moved.hold(QUEUE, seq, record, MOVED);
    }
    write_segment(&data, 1, 0, &[written]);
    // Its head and meta reached the disk, and the bodies did not.
    let bodies_at = write_segment(&data, 2, 1, &[moved]);
    zero(&data, 2, bodies_at, 10_000);
    let (store, restored) = open(&data);
    assert_eq!(contents(&store, &restored, QUEUE).len(), 10);
    let (store, restored) = crash(root.path(), store, &mut data);
    assert_eq!(contents(&store, &restored, QUEUE).len(), 10);
}

#[test]
fn what_a_power_cut_left_of_a_commit_settles_nothing() {
    let root = tempfile::tempdir().expect("a folder");
    let mut data = root.path().join("data");
    let (mut older, mut cut) = (FrameBuilder::default(), FrameBuilder::default());
    let record = older.add(&message(b"consumed"));
    older.hold(QUEUE, 0, record, 0);
    // A client consumed the message, published its result and acknowledged.
    Op::Settled { queue: QUEUE, ranges: vec![(0, 0)] }.encode(&mut cut.ops);
    let record = cut.add(&message(&[b'r'; 1000]));
    cut.hold(QueueId(8), 0, record, 0);
    let bodies_at = write_segment(&data, 1, 0, &[older, cut]);
    zero(&data, 1, bodies_at, 1000);
    let (store, restored) = open(&data);
    assert_eq!(contents(&store, &restored, QUEUE).len(), 1, "neither the message nor its result is there");
    let (store, restored) = crash(root.path(), store, &mut data);
    assert_eq!(contents(&store, &restored, QUEUE).len(), 1);
}

#[test]
fn a_kill_in_the_middle_of_a_commit_settles_nothing() {
    let root = tempfile::tempdir().expect("a folder");
    let data = root.path().join("data");
    let (store, _) = open(&data);
    wait_durable(&store, append(&store, QUEUE, [(0, b"consumed".to_vec())]));
    let round = store.round();
    // Results so large that the commit has several frames.
    append(&store, QueueId(8), (0..4).map(|seq| (seq, vec![b'r'; 1_000_000])));
    store.settle(QUEUE, &[Seq(0)]);
    let epoch = append(&store, QueueId(8), [(4, vec![b'r'; 1_000_000])]);
    drop(round);
    wait_durable(&store, epoch);
    let killed = root.path().join("killed");
    copy(&data, &killed);
    drop(store);
    let segment = SegmentId(0).path(&killed.join(LOG_FOLDER));
    let bytes = fs::read(&segment).expect("reads");
    for end in [1_000_000, 1_500_000, 2_500_000, 3_500_000, 4_500_000, bytes.len() - 1] {
        let _ = fs::remove_dir_all(&killed);
        fs::create_dir_all(killed.join(LOG_FOLDER)).expect("a folder");
        fs::write(&segment, &bytes[..end]).expect("writes");
        let (store, restored) = open(&killed);
        let results = contents(&store, &restored, QueueId(8)).len();
        let consumed = 1 - contents(&store, &restored, QUEUE).len();
        assert!(
            consumed == 0 || results == 5,
            "cut at {end}: consumed, and {results} of 5 results are there"
        );
    }
}

#[test]
fn a_queue_that_shares_only_some_of_a_large_commit_keeps_all_its_messages() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = open(folder.path());
    let body = vec![b'x'; 300_000];
    let shared: Vec<Message> = (0..6).map(|_| message(&body)).collect();
    let (first, second) = (QueueId(1), QueueId(2));
    let round = store.round();
    let mut all = (0..).map(Seq).zip(shared.iter().cloned()).collect();
    store.append(first, Kept::Durably, &mut all);
    // Every other message of the second queue is its own.
    let mut mixed: Vec<_> = shared.iter().flat_map(|shared| [shared.clone(), message(b"own")]).collect();
    let mut mixed = (0..).map(Seq).zip(mixed.drain(..)).collect();
    let epoch = store.append(second, Kept::Durably, &mut mixed);
    drop(round);
    wait_durable(&store, epoch);
    let loaded = |store: &LogStore| {
        let (mut seqs, mut from) = (Vec::new(), Seq(0));
        while from <= Seq(11) {
            let loaded = store.load(second, from, Seq(11), 1_000_000).expect("loads");
            seqs.extend(loaded.messages.iter().map(|loaded| loaded.seq.0));
            from = Seq(loaded.up_to.expect("tells how far").0 + 1);
        }
        seqs
    };
    assert_eq!(loaded(&store), (0..12).collect::<Vec<_>>());
    store.close().expect("closes");
    let (store, restored) = open(folder.path());
    assert_eq!(restored.queues[&second].messages.map(|(_, count)| count), Some(12));
    assert_eq!(loaded(&store), (0..12).collect::<Vec<_>>());
}

#[test]
fn segments_that_hundreds_of_queues_share_are_rewritten_soon() {
    const QUEUES: u64 = 500;
    const MESSAGES: u64 = 12_000;
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    // Each message has a frame of its own. Every eighth is in another queue, too.
    let frame_of = |place: u64| {
        let mut frame = FrameBuilder::default();
        let record = frame.add(&message(&place.to_le_bytes().repeat(125)));
        frame.hold(QueueId(place % QUEUES), place / QUEUES, record, 0);
        if place.is_multiple_of(8) {
            frame.hold(QueueId(QUEUES), place, record, 0);
        }
        frame
    };
    for segment in 0..3 {
        let first = segment * MESSAGES;
        let frames: Vec<FrameBuilder> = (first..first + MESSAGES).map(frame_of).collect();
        write_segment(data, segment + 1, first, &frames);
    }
    let (store, _) = open(data);
    let is_live = |place: u64| (place + place / QUEUES).is_multiple_of(8);
    for place in (0..3 * MESSAGES).filter(|&place| !is_live(place)) {
        store.settle(QueueId(place % QUEUES), &[Seq(place / QUEUES)]);
    }
    let began = Instant::now();
    while SegmentId(1).path(&data.join(LOG_FOLDER)).exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "the first segment is still there");
        thread::sleep(Duration::from_millis(20));
    }
    println!("took {:?}", began.elapsed());
    store.close().expect("closes");
    let (store, restored) = open(data);
    let both = contents(&store, &restored, QueueId(QUEUES));
    assert!(both.keys().copied().eq((0..3 * MESSAGES).filter(|place| place.is_multiple_of(8))));
    assert!(both.iter().all(|(place, body)| *body == place.to_le_bytes().repeat(125)));
    for queue in (0..QUEUES).step_by(50) {
        let rounds = 0..3 * MESSAGES / QUEUES;
        let wanted = rounds.filter(|round| is_live(round * QUEUES + queue));
        assert!(contents(&store, &restored, QueueId(queue)).into_keys().eq(wanted));
    }
}
