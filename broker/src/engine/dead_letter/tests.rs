//! The story that a dead letter tells, and when it ends.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::*;
use crate::wire::properties::with_headers;

const PERSISTENT: [u8; 3] = [0x10, 0, 2];

fn dead_lettering(routing_key: Option<&str>) -> DeadLettering {
    DeadLettering {
        exchange: "dlx".to_owned(),
        routing_key: routing_key.map(str::to_owned),
        strategy: crate::engine::queue::DeadLetterStrategy::AtMostOnce,
    }
}

fn die(message: &Message, queue: &str, reason: DeathReason, now_ms: u64) -> Buried {
    bury(message, &Burial { queue, reason, dead_lettering: &dead_lettering(None), now_ms })
}

fn headers(message: &Message) -> FieldTable {
    Properties::parse(message.properties()).unwrap().headers().unwrap()
}

fn header(message: &Message, name: &str) -> String {
    match headers(message).inner().get(name) {
        Some(AMQPValue::LongString(text)) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        other => format!("{other:?}"),
    }
}

/// The entries as `queue reason count time`.
fn story(message: &Message) -> Vec<String> {
    let table = headers(message);
    let Some(AMQPValue::FieldArray(entries)) = table.inner().get("x-death") else { return Vec::new() };
    let one = |entry: &AMQPValue| {
        let AMQPValue::FieldTable(entry) = entry else { panic!("{entry:?}") };
        let text = |name| match entry.inner().get(name) {
            Some(AMQPValue::LongString(text)) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
            Some(AMQPValue::LongLongInt(number)) => number.to_string(),
            Some(AMQPValue::Timestamp(time)) => time.to_string(),
            other => format!("{other:?}"),
        };
        ["queue", "reason", "count", "time"].map(text).join(" ")
    };
    entries.as_slice().iter().map(one).collect()
}

#[test]
fn the_first_death_is_told_in_rabbitmqs_fields_and_order() {
    let expiring = [&[0x11, 0, 2, 4][..], b"5000"].concat();
    let message = Message::new("orders", "new", &expiring, true, b"body");
    let Buried { message, more_keys } = die(&message, "work", DeathReason::Expired, 12_345);
    assert_eq!((message.exchange(), message.routing_key()), (&b"dlx"[..], &b"new"[..]));
    assert_eq!((message.body(), message.arrived_ms()), (&b"body"[..], 12_345));
    assert!(message.is_persistent() && more_keys.is_empty());
    let view = Properties::parse(message.properties()).unwrap();
    assert_eq!((view.expiration(), view.delivery_mode()), (None, Some(2)));
    assert_eq!(story(&message), ["work expired 1 12"]);
    let names = |entry: &[u8]| -> Vec<String> {
        fields(entry).map(|field| String::from_utf8_lossy(field.name).into_owned()).collect()
    };
    let entry = entries_of(view.headers_bytes().unwrap()).next().unwrap();
    assert_eq!(names(entry), ENTRY);
    assert_eq!(text_of(entry, "original-expiration"), Some(&b"5000"[..]));
    for prefix in ["x-first-death", "x-last-death"] {
        assert_eq!(header(&message, &format!("{prefix}-exchange")), "orders");
        assert_eq!(header(&message, &format!("{prefix}-queue")), "work");
        assert_eq!(header(&message, &format!("{prefix}-reason")), "expired");
    }
}

#[test]
fn a_death_in_the_same_queue_for_the_same_reason_is_counted_and_comes_first() {
    let message = Message::new("", "a", &PERSISTENT, true, b"");
    let once = die(&message, "a", DeathReason::Rejected, 1_000).message;
    let twice = die(&once, "b", DeathReason::Expired, 2_000).message;
    let again = die(&twice, "a", DeathReason::Rejected, 3_000).message;
    assert_eq!(story(&again), ["a rejected 2 1", "b expired 1 2"]);
    let other = die(&again, "a", DeathReason::MaxLength, 4_000).message;
    assert_eq!(story(&other), ["a maxlen 1 4", "a rejected 2 1", "b expired 1 2"]);
    assert_eq!(header(&other, "x-first-death-queue"), "a");
    assert_eq!(header(&other, "x-first-death-reason"), "rejected");
    assert_eq!(header(&other, "x-last-death-reason"), "maxlen");
    assert_eq!(header(&other, "x-last-death-exchange"), "dlx");
}

#[test]
fn other_headers_stay_and_a_new_key_takes_the_place_of_all_keys() {
    let mut table = FieldTable::default();
    let key = |key: &str| AMQPValue::LongString(key.into());
    table.insert("CC".into(), AMQPValue::FieldArray(vec![key("second"), key("third")].into()));
    table.insert("mine".into(), AMQPValue::LongInt(7));
    let properties = with_headers(&PERSISTENT, &table).unwrap();
    let message = Message::new("orders", "first", &properties, true, b"");
    let kept = die(&message, "work", DeathReason::MaxLength, 0);
    assert_eq!(kept.more_keys, ["second", "third"]);
    assert!(headers(&kept.message).contains_key("CC"));
    let burial = Burial {
        queue: "work",
        reason: DeathReason::MaxLength,
        dead_lettering: &dead_lettering(Some("dead")),
        now_ms: 0,
    };
    let moved = bury(&message, &burial);
    assert_eq!((moved.message.routing_key(), moved.more_keys.len()), (&b"dead"[..], 0));
    assert!(!headers(&moved.message).contains_key("CC"));
    assert_eq!(headers(&moved.message).inner().get("mine"), Some(&AMQPValue::LongInt(7)));
    let AMQPValue::FieldArray(entries) = headers(&moved.message).inner()["x-death"].clone() else { panic!() };
    let AMQPValue::FieldTable(entry) = &entries.as_slice()[0] else { panic!() };
    let keys = AMQPValue::FieldArray(vec![key("first"), key("second"), key("third")].into());
    assert_eq!(entry.inner().get("routing-keys"), Some(&keys));
}

#[test]
fn what_clients_made_of_the_story_is_taken_up_or_replaced() {
    // Sorted and with another width, as a client that read and published it again may have it.
    let mut entry = FieldTable::default();
    entry.insert("count".into(), AMQPValue::LongInt(41));
    entry.insert("queue".into(), AMQPValue::LongString("work".into()));
    entry.insert("reason".into(), AMQPValue::LongString("rejected".into()));
    let mut table = FieldTable::default();
    let deaths = vec![AMQPValue::Void, AMQPValue::FieldTable(entry)];
    table.insert("x-death".into(), AMQPValue::FieldArray(deaths.into()));
    let properties = with_headers(&PERSISTENT, &table).unwrap();
    let again = die(&Message::new("", "", &properties, true, b""), "work", DeathReason::Rejected, 0).message;
    assert_eq!(story(&again), ["work rejected 42 None"]);
    table.insert("x-death".into(), AMQPValue::LongString("nonsense".into()));
    let properties = with_headers(&PERSISTENT, &table).unwrap();
    let again = die(&Message::new("", "", &properties, true, b""), "work", DeathReason::Rejected, 0).message;
    assert_eq!(story(&again), ["work rejected 1 0"]);
}

#[test]
fn a_circle_is_one_unless_somebody_rejected_on_the_way() {
    let message = Message::new("", "a", &PERSISTENT, true, b"");
    let expired = die(&message, "a", DeathReason::Expired, 0).message;
    assert!(is_cycle(&expired, DeathReason::Expired, "a"));
    assert!(!is_cycle(&expired, DeathReason::Expired, "b"));
    let round = die(&expired, "b", DeathReason::MaxLength, 0).message;
    assert!(is_cycle(&round, DeathReason::MaxLength, "a"));
    let rejected = die(&expired, "b", DeathReason::Rejected, 0).message;
    assert!(!is_cycle(&rejected, DeathReason::Rejected, "a"), "the rejection itself is somebody's doing");
    let later = die(&rejected, "c", DeathReason::Expired, 0).message;
    assert!(!is_cycle(&later, DeathReason::Expired, "a"), "rejected in between");
    assert!(is_cycle(&later, DeathReason::Expired, "c"));
    assert!(!is_cycle(&message, DeathReason::Expired, "a"));
}

#[test]
fn the_story_has_a_bound() {
    let mut message = Message::new("", "a", &PERSISTENT, true, b"");
    for queue in 0..2 * DEATHS_PER_MESSAGE_MAX {
        message = die(&message, &format!("q{queue}"), DeathReason::Expired, 0).message;
    }
    let story = story(&message);
    assert_eq!(story.len(), DEATHS_PER_MESSAGE_MAX);
    assert_eq!(story[0], format!("q{} expired 1 0", 2 * DEATHS_PER_MESSAGE_MAX - 1));
}
