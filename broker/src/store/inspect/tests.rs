//! Folders that a store has made, damaged in every way there is, and what is said of them.

pub(in crate::store) mod folder;

use std::fs;

use self::folder::{Folder, ORDERS, append, body_at, copy, define, frames};
use super::*;
use crate::engine::QueueId;
use crate::engine::queue::Seq;
use crate::store::checkpoint::COPIES;
use crate::store::log::frame::{FrameBuilder, MOVED};
use crate::store::log::segment::{ActiveSegment, SegmentHead};
use crate::store::{DAMAGED_FOLDER, Store as _};
use crate::wire::message::Message;

#[test]
fn a_sound_folder_is_called_sound_with_its_counts() {
    let folder = Folder::with_orders();
    let report = folder.check();
    assert!(report.is_sound(), "{report}");
    let text = report.to_string();
    assert!(text.starts_with("sound: 1 queue, 9 messages, "), "{text}");
    assert!(text.ends_with(" KiB in 1 segment; every checksum was verified\n"), "{text}");
}

#[test]
fn a_new_folder_is_sound() {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder { data: root.path().join("data"), root };
    drop(DataFolder::open(&folder.data).unwrap());
    let text = folder.check().to_string();
    assert_eq!(text, "sound: 0 queues, 0 messages, 0 bytes in 0 segments; every checksum was verified\n");
    assert!(folder.stats().contains("messages     0 in 0 queues"), "{}", folder.stats());
}

#[test]
fn a_flipped_bit_anywhere_in_the_log_is_found() {
    let folder = Folder::with_orders();
    let (path, bytes) = folder.segment(0);
    // What lies between the two copies of the segment's head means nothing, nor do the last four bytes of each.
    for at in (0..28).step_by(9).chain([8160, 8187]).chain((8192..bytes.len()).step_by(211)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x20;
        fs::write(&path, damaged).unwrap();
        let report = folder.check();
        assert!(!report.is_sound(), "byte {at}: {report}");
    }
}

#[test]
fn a_damaged_record_is_named_with_its_place_queue_and_number() {
    let folder = Folder::with_orders();
    let at = body_at(&folder.segment(0).1, 5);
    folder.damage(0, |bytes| bytes[at + 100] ^= 1);
    let text = folder.one_finding();
    assert!(text.starts_with("log/0000000000000000.log: frame "), "{text}");
    assert!(text.contains("1 record fails its checksum, the first at byte "), "{text}");
    assert!(
        text.ends_with("a start sets this aside and loses 1 message of queue 'orders' (number 5)"),
        "{text}"
    );
    let report = folder.check();
    assert!(
        report
            .to_string()
            .starts_with("damaged: 1 finding; a start would lose 1 message. Whole: 1 queue, 8 messages\n"),
        "{report}"
    );
}

#[test]
fn a_damaged_record_of_a_settled_message_costs_nothing() {
    let folder = Folder::with_orders();
    let at = body_at(&folder.segment(0).1, 3);
    folder.damage(0, |bytes| bytes[at] ^= 1);
    assert!(folder.one_finding().ends_with("loses no message by it"));
}

#[test]
fn what_is_there_twice_is_checked_twice() {
    let folder = Folder::with_orders();
    let second = frames(&folder.segment(0).1)[2];
    for (at, part) in [
        (second + 20, "first head"),
        (second + 60, "first list"),
        (second - 20, "second head"),
        (second - 60, "second list"),
    ] {
        let (path, bytes) = folder.segment(0);
        folder.damage(0, |bytes| bytes[at] ^= 1);
        let text = folder.one_finding();
        assert!(text.contains(&format!("its {part} fails its checksum")), "{text}");
        assert!(text.ends_with("a start reads the other copy and loses no message by it"), "{text}");
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn zeroed_frames_are_named_with_what_they_held() {
    let folder = Folder::with_orders();
    let frames = frames(&folder.segment(0).1);
    let (from, to) = (frames[4], frames[6]);
    folder.damage(0, |bytes| bytes[from..to].fill(0));
    let text = folder.one_finding();
    assert!(text.contains(&format!("bytes {from} to {to} cannot be read, where 2 frames lay; ")), "{text}");
    assert!(text.contains("a start sets them aside and loses "), "{text}");
}

#[test]
fn frames_that_were_cut_out_leave_a_hole_in_the_numbers() {
    let folder = Folder::with_orders();
    let frames = frames(&folder.segment(0).1);
    folder.damage(0, |bytes| drop(bytes.drain(frames[5]..frames[6])));
    let report = folder.check();
    assert!(report.damage().iter().any(|text| text.contains("frame 5 is missing")), "{report}");
    assert!(report.damage().iter().any(|text| text.contains("of queue 'orders' (")), "{report}");
}

#[test]
fn a_segment_head_damaged_twice_costs_all_that_is_in_it() {
    let folder = Folder::with_orders();
    folder.damage(0, |bytes| bytes[9] ^= 1);
    assert!(folder.one_finding().contains("one of the two copies of its head is damaged"));
    folder.damage(0, |bytes| bytes[8192 - 30] ^= 1);
    let report = folder.check();
    let text = report.to_string();
    assert!(
        text.starts_with("damaged: ") && text.contains("a start would lose 9 messages. Whole: 1 queue, 0"),
        "{text}"
    );
    assert!(text.contains("its head is damaged"), "{text}");
    assert!(text.contains("loses 9 messages of queue 'orders' (numbers 0 to 2, 4 to 9)"), "{text}");
}

#[test]
fn a_missing_segment_is_named_with_what_was_in_it() {
    let folder = Folder::with_orders();
    fs::remove_file(folder.segment(0).0).unwrap();
    let text = folder.one_finding();
    assert!(text.starts_with("log/0000000000000000.log is missing, and with it 9 messages; "), "{text}");
    assert!(text.ends_with("loses 9 messages of queue 'orders' (numbers 0 to 2, 4 to 9)"), "{text}");
}

#[test]
fn a_log_that_a_crash_cut_off_is_sound_and_one_that_was_closed_is_not() {
    let mut folder = Folder::with_orders();
    let closed = folder.segment(0).1.len();
    folder.damage(0, |bytes| bytes.truncate(closed - 10));
    let report = folder.check();
    assert!(!report.is_sound(), "{report}");
    folder.damage(0, |bytes| bytes.truncate(frames(bytes)[5]));
    let report = folder.check();
    assert!(report.to_string().contains("went on to"), "{report}");

    folder = Folder::with_orders();
    folder.change_and_crash(|store| append(store, ORDERS, 10));
    assert!(folder.check().to_string().starts_with("sound: 1 queue, 10 messages"), "{}", folder.check());
    folder.damage(1, |bytes| bytes.truncate(bytes.len() - 10));
    let text = folder.check().to_string();
    assert!(text.starts_with("sound: 1 queue, 9 messages"), "{text}");
    assert!(text.contains("ends in the middle of a write that was not confirmed (bytes 8192 to "), "{text}");
}

#[test]
fn a_record_that_never_reached_the_disk_is_told_from_a_damaged_one() {
    for (is_torn, damage) in [(true, 0), (false, b'!')] {
        let mut folder = Folder::with_orders();
        folder.change_and_crash(|store| append(store, ORDERS, 10));
        folder.damage(1, |bytes| bytes[8704..9216].fill(damage));
        let report = folder.check();
        assert_eq!(report.is_sound(), is_torn, "{report}");
        assert!(report.to_string().contains("1 message of queue 'orders' (number 10)"), "{report}");
    }
}

#[test]
fn where_an_earlier_start_found_the_log_cut_off_is_told_from_damage() {
    let mut folder = Folder::with_orders();
    folder.change_and_crash(|store| append(store, ORDERS, 10));
    folder.damage(1, |bytes| bytes.truncate(bytes.len() - 10));
    folder.change(|store| append(store, ORDERS, 11));
    let report = folder.check();
    assert!(report.is_sound(), "{report}");
    assert!(report.to_string().contains("not confirmed, at an earlier start"), "{report}");

    folder = Folder::with_orders();
    folder.change_and_crash(|store| append(store, ORDERS, 10));
    folder.change_and_crash(|store| append(store, ORDERS, 11));
    folder.damage(1, |bytes| bytes.truncate(bytes.len() - 10));
    let text = folder.one_finding();
    assert!(text.contains("where 1 frame lay"), "{text}");
}

#[test]
fn a_damaged_copy_of_the_state_costs_nothing_while_the_log_has_it_all() {
    let folder = Folder::with_orders();
    folder.change(|store| append(store, ORDERS, 10));
    for (name, count) in [("state-a", 1), ("state-b", 2)] {
        let database = folder.data.join(name).join("db");
        let mut bytes = fs::read(&database).unwrap();
        let at = bytes.windows(6).position(|window| window == b"orders").unwrap();
        bytes[at] ^= 1;
        fs::write(database, bytes).unwrap();
        let report = folder.check();
        assert_eq!(report.damage().len(), count, "{report}");
        assert!(report.damage().iter().any(|text| text.starts_with(name)), "{report}");
        assert_eq!(report.totals.messages, 10, "{report}");
    }
}

#[test]
fn without_a_copy_of_the_state_what_the_log_has_lost_is_lost() {
    let folder = Folder::with_orders();
    folder.change(|store| append(store, ORDERS, 10));
    fs::remove_file(folder.segment(0).0).unwrap();
    COPIES.iter().for_each(|name| fs::remove_dir_all(folder.data.join(name)).unwrap());
    let text = folder.check().to_string();
    assert!(
        text.contains("there is no whole copy of the state, and the log's first files were removed"),
        "{text}"
    );
    assert!(text.contains("1 message of queue 7, which nothing defines; a start forgets them"), "{text}");
}

#[test]
fn a_newer_copy_of_the_state_is_named() {
    let folder = Folder::with_orders();
    for name in COPIES {
        let _ = fs::remove_dir_all(folder.data.join(name));
        let path = folder.data.join(name);
        let database = sled::Config::default().path(path).segment_size(1 << 20).open().unwrap();
        let summary: Vec<u8> = [9_u64; 7].iter().flat_map(|number| number.to_le_bytes()).collect();
        database.insert("z", summary).unwrap();
    }
    let report = folder.check();
    assert!(report.damage()[0].contains("has version 9"), "{report}");
}

/// The value of the state's only extent, changed.
fn change_extent(folder: &Folder, field: usize, change: fn(u64) -> u64) {
    folder.change_state(|entries| {
        let (_, value) = entries.iter_mut().find(|(key, _)| key[0] == b'e').unwrap();
        let bytes: &mut [u8; 8] = (&mut value[8 * field..8 * field + 8]).try_into().unwrap();
        *bytes = change(u64::from_le_bytes(*bytes)).to_le_bytes();
    });
}

#[test]
fn counts_that_disagree_are_named() {
    let folder = Folder::with_orders();
    change_extent(&folder, 4, |live| live + 1);
    let text = folder.one_finding();
    assert!(
        text.contains("the numbers 0 to 9 of queue 'orders' the state counts 10 as unsettled and lists 9"),
        "{text}"
    );
}

#[test]
fn references_to_where_nothing_is_are_named() {
    let folder = Folder::with_orders();
    change_extent(&folder, 3, |end| end - 1500);
    let text = folder.one_finding();
    assert!(text.contains("that are not there; a start loses "), "{text}");
    assert!(text.contains("of queue 'orders' (number"), "{text}");
}

#[test]
fn queues_that_nothing_defines_and_unreadable_definitions_are_named() {
    let folder = Folder::with_orders();
    folder.change(|store| {
        append(store, QueueId(99), 0);
        store.define(b"nonsense".to_vec(), Some(b"more of it".to_vec()));
    });
    let report = folder.check();
    assert_eq!(report.damage().len(), 2, "{report}");
    let text = report.to_string();
    assert!(text.contains("definition \"nonsense\" is unreadable"), "{text}");
    assert!(text.contains("1 message of queue 99, which nothing defines; a start forgets them"), "{text}");
}

#[test]
fn what_was_set_aside_is_mentioned() {
    let folder = Folder::with_orders();
    fs::create_dir(folder.data.join(DAMAGED_FOLDER)).unwrap();
    fs::write(folder.data.join(DAMAGED_FOLDER).join("1.record"), [0; 17]).unwrap();
    let report = folder.check();
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.notes(), ["damaged/ holds 1 file, 17 bytes, set aside at earlier starts"]);
}

#[test]
fn stats_describe_the_folder() {
    let folder = Folder::with_orders();
    folder.change(|store| {
        store.delivered(ORDERS, Seq(4));
        store.returned(ORDERS, &[(Seq(8), 1)]);
        store.settle(ORDERS, &[Seq(0)]);
        (0..30).for_each(|id| {
            define(store, QueueId(100 + id), &format!("small-{id:02}"));
            append(store, QueueId(100 + id), 0);
        });
    });
    let text = folder.stats();
    assert!(
        text.starts_with(&format!("data folder  {}, format 1\non disk ", folder.data.display())),
        "{text}"
    );
    assert!(
        text.contains("\nvhost '/': 0 exchanges, 31 queues, 0 bindings that survive a restart\n"),
        "{text}"
    );
    assert!(text.contains("\nmessages     38 in 31 queues, 38.1 KiB\n"), "{text}");
    let orders = text.lines().find(|line| line.contains("'orders'")).unwrap();
    let words: Vec<&str> = orders.split_whitespace().collect();
    assert_eq!(words[..5], ["queue", "'orders'", "8", "8.0", "KiB"], "{orders}");
    assert_eq!(words[7..], ["1", "to", "9", "4"], "{orders}");
    assert!(text.contains("small-18") && !text.contains("small-19"), "{text}");
    assert!(text.ends_with("  and 11 more queues with 11 messages\n"), "{text}");
    assert!(!text.contains("could not be read"), "{text}");
    folder.damage(0, |bytes| {
        bytes[9] ^= 1;
        bytes[8192 - 30] ^= 1;
    });
    assert!(folder.stats().contains("could not be read"), "{}", folder.stats());
}

#[test]
fn a_log_cut_off_anywhere_by_a_crash_is_sound_then_and_after_later_starts() {
    let mut folder = Folder::with_orders();
    folder.change_and_crash(|store| (10..12).for_each(|seq| append(store, ORDERS, seq)));
    let crashed = folder.data.clone();
    for end in (0..folder.segment(1).1.len()).step_by(199) {
        folder.data = crashed.with_file_name(format!("cut-{end}"));
        copy(&crashed, &folder.data);
        folder.damage(1, |bytes| bytes.truncate(end));
        assert!(folder.check().is_sound(), "cut at {end}: {}", folder.check());
        folder.change_and_crash(|store| append(store, ORDERS, 12));
        assert!(folder.check().is_sound(), "started, cut at {end}: {}", folder.check());
        folder.change(|_| ());
        assert!(folder.check().is_sound(), "started twice, cut at {end}: {}", folder.check());
    }
}

#[test]
fn a_move_that_a_crash_cut_off_is_passed_over_at_every_start() {
    let mut folder = Folder::with_orders();
    folder.change_and_crash(|store| append(store, ORDERS, 10));
    let mut frame = FrameBuilder::default();
    let record = frame.add(&Message::new("exchange", "key", &[0, 0], true, &[b'm'; 1000]));
    frame.hold(ORDERS, 10, record, MOVED);
    let head = SegmentHead { id: SegmentId(2), salt: 5 };
    let mut segment = ActiveSegment::create(&folder.data.join(LOG_FOLDER), head).unwrap();
    let number = frames(&folder.segment(0).1).len() + frames(&folder.segment(1).1).len();
    segment.append(&frame.finish(number as u64, 0, 1, 5)).unwrap();
    folder.damage(2, |bytes| bytes[512..1024].fill(0));
    for start in 0..3 {
        let report = folder.check();
        assert!(report.is_sound(), "start {start}: {report}");
        let expected = format!("sound: 1 queue, {} messages", 10 + start);
        assert!(report.to_string().starts_with(&expected), "start {start}: {report}");
        folder.change_and_crash(|store| {
            append(store, ORDERS, 11 + start);
            let loaded = store.load(ORDERS, Seq(10), Seq(10), 1).unwrap();
            assert_eq!(loaded.damaged, [], "start {start}");
            assert_eq!(loaded.messages.len(), 1, "start {start}");
        });
    }
}
