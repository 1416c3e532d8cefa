//! Shares, moves and texts. Statistics with fixed keys: a bound that holds today holds always.

use super::*;

const KEYS: usize = 20_000;

/// A table of destinations with these weights, each named by its number.
fn race(weights: &[(u32, u32)]) -> ConsistentHash {
    let mut race = ConsistentHash::new(HashOn::RoutingKey);
    for &(name, weight) in weights {
        race.insert(weight, place(name), Target::Queue(name));
    }
    race
}

fn place(name: u32) -> u64 {
    StableHash::new().with(b"queue").with(name.to_string().as_bytes()).finish()
}

fn winner(race: &ConsistentHash, key: &str) -> u32 {
    let mut matched = Matched::default();
    race.collect(&[key], &MessageView::new(&[0, 0], 0), &mut matched);
    assert_eq!(matched.queues.len(), 1, "exactly one destination");
    matched.queues[0]
}

fn winners(race: &ConsistentHash) -> Vec<u32> {
    (0..KEYS).map(|key| winner(race, &format!("customer-{key}"))).collect()
}

fn share(winners: &[u32], name: u32) -> f64 {
    let count = winners.iter().filter(|&&winner| winner == name).count();
    f64::from(u32::try_from(count).unwrap()) / f64::from(u32::try_from(winners.len()).unwrap())
}

#[test]
fn shares_follow_weights() {
    for weights in
        [&[(1, 1), (2, 1), (3, 1)][..], &[(1, 1), (2, 2), (3, 3), (4, 10)], &[(1, 1000), (2, 3000)]]
    {
        let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
        let winners = winners(&race(weights));
        for &(name, weight) in weights {
            let (got, wanted) = (share(&winners, name), f64::from(weight) / f64::from(total));
            assert!(
                (got - wanted).abs() < 0.015,
                "{weights:?}: {name} got {got}, its weight asks for {wanted}"
            );
        }
    }
}

#[test]
fn a_destination_that_comes_or_goes_moves_its_own_share_only() {
    let mut race = race(&[(1, 2), (2, 3), (3, 5)]);
    let before = winners(&race);
    race.insert(4, place(4), Target::Queue(4));
    let with = winners(&race);
    for (before, with) in before.iter().zip(&with) {
        assert!(before == with || *with == 4, "a key moved from {before} to {with}");
    }
    race.remove(2, Target::Queue(1));
    for (with, without) in with.iter().zip(&winners(&race)) {
        assert!(with == without || *with == 1, "a key moved from {with} to {without}");
    }
    race.insert(2, place(1), Target::Queue(1));
    race.remove(4, Target::Queue(4));
    assert_eq!(winners(&race), before, "all as it was");
}

#[test]
fn more_weight_only_adds_keys_and_bindings_to_one_destination_add_up() {
    let mut race = race(&[(1, 1), (2, 1)]);
    let before = winners(&race);
    race.insert(2, place(2), Target::Queue(2));
    let after = winners(&race);
    assert!(before.iter().zip(&after).all(|(before, after)| before == after || *after == 2));
    assert!((share(&after, 2) - 0.75).abs() < 0.015);
    race.remove(1, Target::Queue(2));
    assert!((share(&winners(&race), 2) - 2.0 / 3.0).abs() < 0.015);
}

#[test]
fn the_order_of_bindings_does_not_matter() {
    let one = winners(&race(&[(1, 1), (2, 7), (3, 3), (4, 2)]));
    assert_eq!(one, winners(&race(&[(4, 2), (2, 7), (1, 1), (3, 3)])));
}

#[test]
fn keys_stay_where_they_were_in_every_version() {
    // Written down once: a change here moves the keys of every running system.
    let race = race(&[(1, 1), (2, 2), (3, 3)]);
    let winners: Vec<u32> = (0..12).map(|key| winner(&race, &format!("customer-{key}"))).collect();
    assert_eq!(winners, [2, 1, 2, 3, 2, 3, 2, 2, 3, 3, 2, 2]);
}

#[test]
fn nothing_is_matched_without_bindings() {
    let mut matched = Matched::default();
    race(&[]).collect(&["k"], &MessageView::new(&[0, 0], 0), &mut matched);
    assert!(matched.queues.is_empty());
}

#[test]
fn the_largest_weights_are_exact() {
    let mut race = race(&[(1, u32::MAX), (2, u32::MAX)]);
    for _ in 0..1000 {
        race.insert(u32::MAX, place(2), Target::Queue(2));
    }
    for _ in 0..1000 {
        race.remove(u32::MAX, Target::Queue(2));
    }
    assert!((share(&winners(&race), 2) - 0.5).abs() < 0.015);
}

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[test]
fn arguments_say_what_is_hashed() {
    let parse =
        |fields: &[(&str, AMQPValue)]| HashOn::parse(&table(fields)).map_err(|error| error.reply_text());
    assert_eq!(parse(&[]), Ok(HashOn::RoutingKey));
    assert_eq!(parse(&[("hash-header", text("h"))]), Ok(HashOn::Header("h".into())));
    for (property, hash_on) in [
        ("message_id", HashOn::MessageId),
        ("correlation_id", HashOn::CorrelationId),
        ("timestamp", HashOn::Timestamp),
    ] {
        assert_eq!(parse(&[("hash-property", text(property))]), Ok(hash_on));
    }
    let refused = |text: &str| Err(format!("PRECONDITION_FAILED - {text}"));
    assert_eq!(parse(&[("hash-property", text("reply_to"))]), refused("Unsupported property: reply_to"));
    assert_eq!(
        parse(&[("hash-property", text("timestamp")), ("hash-header", text("h"))]),
        refused("hash-header and hash-property are mutually exclusive")
    );
    assert_eq!(
        parse(&[("hash-header", AMQPValue::LongInt(5))]),
        refused("invalid type 'signedint' for arg 'hash-header': expected longstr")
    );
}

#[test]
fn weights_are_positive_integers_as_erlang_reads_them() {
    for (key, weight) in
        [("1", 1), ("007", 7), ("+2", 2), ("4294967295", u32::MAX), ("99999999999999999999", u32::MAX)]
    {
        assert_eq!(parse_weight(key), Ok(weight), "{key}");
    }
    let refusal = |key: &str| parse_weight(key).unwrap_err().reply_text();
    for key in ["0", "-1", "-0", "+0", "-99999999999999999999"] {
        assert_eq!(refusal(key), "PRECONDITION_FAILED - The binding key must be greater than 0", "{key}");
    }
    for key in ["x", " 1", "1.5", "0x1", "+", "-", "+-1", "1e3"] {
        let text = format!("PRECONDITION_FAILED - The binding key must be an integer: <<\"{key}\">>");
        assert_eq!(refusal(key), text);
    }
    assert_eq!(refusal(""), "PRECONDITION_FAILED - The binding key must be an integer: <<>>");
}
