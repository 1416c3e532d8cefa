//! The oracle notices each kind of loss, and nothing else.

use super::*;

const CONSUMER: u32 = 1;
const PUBLISHER: u32 = 2;

fn message(number: u32) -> Id {
    Id { publisher: PUBLISHER, number }
}

fn left(number: u32) -> Id {
    Id { publisher: 0, number }
}

/// Two queues, of which the first begins with two messages left over. A publisher sent 0 and 1 to the first queue and 2 to
/// both, which are confirmed, and 3 and 4 to both, which are not. A consumer of the first queue was delivered the two left
/// over and 0, 1 and 2, settled 0 with proof and 1 without, gave the second left over back, and holds the rest.
fn history() -> (Vec<Before>, Vec<Ledger>) {
    let known = [0, 1].map(|number| Known { id: left(number), delivery: Delivered::Surely });
    let first = Before { name: "first".to_owned(), left_over: known.to_vec(), had_consumers: true };
    let second = Before { name: "second".to_owned(), ..Before::default() };
    let mut publisher = Ledger::new(PUBLISHER, 128);
    for queues in [&[0][..], &[0], &[0, 1], &[0, 1], &[0, 1]] {
        publisher.send(queues);
    }
    publisher.confirm(3, true);
    let mut consumer = Ledger::new(CONSUMER, 1);
    consumer.deliver((0, left(0)), true);
    consumer.deliver((0, left(1)), true);
    consumer.settle((0, left(1)), true);
    consumer.deliver((0, message(0)), false);
    consumer.deliver((0, message(1)), false);
    consumer.settle((0, message(0)), false);
    consumer.send(&[1]);
    consumer.confirm(1, false);
    consumer.deliver((0, message(2)), false);
    consumer.settle((0, message(1)), false);
    (vec![first, second], vec![publisher, consumer])
}

fn found(messages: &[(Id, bool)]) -> Vec<Found> {
    messages.iter().map(|(id, redelivered)| Found { id: *id, redelivered: *redelivered }).collect()
}

/// What a faultless broker may have in its queues.
fn faultless() -> Vec<Vec<Found>> {
    let proof = Id { publisher: CONSUMER, number: 0 };
    vec![
        found(&[
            (left(0), true),
            (left(1), true),
            (message(1), true),
            (message(2), false),
            (message(3), false),
        ]),
        found(&[(message(2), false), (proof, false), (message(3), false)]),
    ]
}

fn verdict(found: &[Vec<Found>]) -> Result<Tally, Vec<String>> {
    let (before, ledgers) = history();
    Oracle::new(&before, &ledgers).judge(found)
}

#[test]
fn a_faultless_broker_passes_whatever_became_of_what_is_uncertain() {
    let tally =
        Tally { checked: 8, returned: 1, unconfirmed_found: 2, settlements_proved: 1, ..Tally::default() };
    assert_eq!(verdict(&faultless()), Ok(tally));
    let mut without_unproved_ack = faultless();
    without_unproved_ack[0].remove(2);
    assert_eq!(verdict(&without_unproved_ack).unwrap().returned, 0);
    let mut without_unconfirmed = faultless();
    without_unconfirmed[0].pop();
    without_unconfirmed[1].pop();
    assert!(verdict(&without_unconfirmed).is_ok());
}

#[test]
fn each_kind_of_loss_is_noticed() {
    type Damage = fn(&mut Vec<Vec<Found>>);
    let unknown = |number| Found { id: Id { publisher: 77, number }, redelivered: false };
    assert_eq!(unknown(0).id.to_string(), "p77-0");
    let damages: &[(&str, Damage)] = &[
        ("queue first: p0-1 is missing", |found| {
            found[0].remove(1);
        }),
        ("queue first: p2-2 is missing", |found| {
            found[0].remove(3);
        }),
        ("queue second: p2-2 is missing", |found| {
            found[1].remove(0);
        }),
        ("queue second: p2-2 is there twice", |found| {
            let copy = found[1][0];
            found[1].push(copy);
        }),
        ("queue first: p2-0 returned, though its ack was durable", |found| {
            found[0].insert(2, Found { id: message(0), redelivered: true });
        }),
        ("queue first: p0-0 was left over and is behind", |found| found[0].swap(0, 1)),
        ("queue first: p0-1 was left over and is behind", |found| found[0].swap(1, 2)),
        ("queue second: p2-2 is behind p2-3", |found| found[1].swap(0, 2)),
        ("queue first: p0-0 is not marked redelivered", |found| found[0][0].redelivered = false),
        ("queue first: p2-1 is not marked redelivered", |found| found[0][2].redelivered = false),
        ("queue second: p2-2 is marked redelivered, but never was", |found| found[1][0].redelivered = true),
        ("queue second: p77-0 was never published here", |found| {
            found[1].push(Found { id: Id { publisher: 77, number: 0 }, redelivered: false });
        }),
        ("queue second: p2-0 was never published here", |found| {
            found[1].insert(0, Found { id: message(0), redelivered: false });
        }),
        ("queue second: p2-5 was never published here", |found| {
            found[1].push(Found { id: message(5), redelivered: false });
        }),
    ];
    for (expected, damage) in damages {
        let mut found = faultless();
        damage(&mut found);
        let problems = verdict(&found).expect_err(expected);
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{expected}: {problems:#?}");
    }
}

#[test]
fn holes_among_unconfirmed_messages_are_counted() {
    let mut found = faultless();
    found[0].pop();
    found[1].pop();
    found[1].push(Found { id: message(4), redelivered: false });
    // The third in both queues, and the fourth in one.
    assert_eq!(verdict(&found).unwrap().holes, 3);
}

#[test]
fn an_acknowledgement_that_outlives_an_earlier_publish_is_noticed() {
    let (before, mut ledgers) = history();
    let mut forwarder = Ledger::new(5, 1);
    forwarder.deliver((0, left(1)), true);
    let lost = forwarder.send(&[1]);
    forwarder.settle((0, left(1)), false);
    ledgers.push(forwarder);
    assert_eq!(Oracle::new(&before, &ledgers).judge(&faultless()).map(drop), Ok(()));
    let mut found = faultless();
    found[0].remove(1);
    let problems = Oracle::new(&before, &ledgers).judge(&found).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let expected =
        format!("queue second: {lost} is missing, but p0-1, acknowledged later, is gone from first");
    assert!(problems[0].starts_with(&expected), "{problems:#?}");
}

#[test]
fn a_delivered_message_that_was_left_over_must_have_been_marked() {
    let (before, mut ledgers) = history();
    let mut late = Ledger::new(5, 1);
    late.deliver((0, left(0)), false);
    ledgers.push(late);
    let problems = Oracle::new(&before, &ledgers).judge(&faultless()).unwrap_err();
    assert_eq!(problems, ["queue first: p0-0 was delivered without its mark redelivered"]);
}

#[test]
fn a_delivery_to_the_wrong_queue_is_noticed() {
    let (before, mut ledgers) = history();
    let mut astray = Ledger::new(5, 1);
    astray.deliver((1, message(0)), false);
    ledgers.push(astray);
    let problems = Oracle::new(&before, &ledgers).judge(&faultless()).unwrap_err();
    assert_eq!(problems, ["queue second: p2-0 was delivered but is not of this queue"]);
}

#[test]
fn an_unconfirmed_message_whose_delivery_is_proved_is_durable() {
    let (before, mut ledgers) = history();
    let mut witness = Ledger::new(5, 1);
    witness.deliver((0, message(4)), false);
    witness.send(&[]);
    witness.confirm(1, false);
    ledgers.push(witness);
    let problems = Oracle::new(&before, &ledgers).judge(&faultless()).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].starts_with("queue first: p2-4 is missing"), "{problems:#?}");
}
