//! Scenarios of looking at messages, of taking chosen ones out, and of pauses.

use super::super::*;
use super::features::{Bench, Publish, number};

fn publish(bench: &mut Bench, messages: &[(u32, u8)]) {
    for &(number, priority) in messages {
        bench.publish(Publish { number, priority, persistent: true, ..Publish::default() });
    }
    bench.words();
}

/// The ids of all messages, as looks of two find them.
fn ids(queue: &Queue, after: Option<MessageId>, skip: u64) -> Vec<String> {
    let (mut after, mut left, mut ids) = (after, skip, Vec::new());
    loop {
        let View { skipped, stretch } = queue.browse(after, left, 2);
        left -= skipped;
        match stretch {
            Stretch::Memory { messages, up_to } => {
                after = Some(up_to);
                ids.extend(messages.iter().map(|browsed| browsed.id.to_string()));
            }
            Stretch::Paged { .. } => panic!("nothing is paged"),
            Stretch::End => return ids,
        }
    }
}

fn id(text: &str) -> MessageId {
    text.parse().unwrap()
}

fn look_up(queue: &Queue, text: &str) -> Browsed {
    match queue.find(id(text)) {
        Found::Memory(browsed) => browsed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_look_shows_messages_in_the_order_of_delivery_from_any_place() {
    let mut bench = Bench::new(&[("x-max-priority", number(3))]);
    publish(&mut bench, &[(1, 0), (2, 3), (3, 1), (4, 3), (5, 0)]);
    let queue = &bench.queue;
    let all = ["3-0", "3-1", "1-0", "0", "1"];
    assert_eq!(ids(queue, None, 0), all);
    assert_eq!(ids(queue, None, 3), all[3..]);
    assert_eq!(ids(queue, None, 9), [""; 0]);
    assert_eq!(ids(queue, Some(id("3-1")), 0), all[2..]);
    assert_eq!(ids(queue, Some(id("2-77")), 0), all[2..], "behind one that never was");
    assert_eq!(ids(queue, Some(id("200-0")), 0), all, "behind a level that is not there");
    assert_eq!(ids(queue, Some(id("0-18446744073709551615")), 0), [""; 0]);
    assert!(matches!(queue.find(id("2-0")), Found::NotThere));
    assert!(matches!(queue.find(id("9-0")), Found::NotThere));
    assert_eq!(bench.take_all(), [2, 4, 3, 1, 5]);
}

#[test]
fn ids_are_texts_that_come_back() {
    for text in ["0", "17", "3-17", "255-18446744073709551615"] {
        assert_eq!(id(text).to_string(), text);
    }
    assert_eq!(id("0-17").to_string(), "17");
    for text in ["", "-", "1-", "-1", "256-1", "a", "1-2-3", "18446744073709551616"] {
        assert!(text.parse::<MessageId>().is_err(), "{text}");
    }
}

#[test]
fn a_claimed_message_is_nobody_elses_and_returns_to_its_place() {
    let mut bench = Bench::new(&[]);
    publish(&mut bench, &[(1, 0), (2, 0), (3, 0)]);
    let before = (bench.queue.memory_bytes(), bench.queue.ready_bytes());
    let second = look_up(&bench.queue, "1");
    let claimed = bench.queue.claim(&second).unwrap();
    assert!(bench.queue.claim(&second).is_none(), "it is claimed");
    assert!(matches!(bench.queue.find(second.id), Found::NotThere));
    assert_eq!((bench.queue.ready_count(), bench.queue.unacked_count()), (2, 0));
    bench.queue.put_back([claimed]);
    assert_eq!(before, (bench.queue.memory_bytes(), bench.queue.ready_bytes()));
    let claimed = bench.queue.claim(&second).unwrap();
    bench.queue.settle_claimed([claimed], &mut bench.effects);
    assert_eq!(bench.words(), ["settled 0/1"]);
    assert_eq!(bench.take_all(), [1, 3]);
}

#[test]
fn what_is_claimed_when_its_queue_is_deleted_is_gone() {
    let mut bench = Bench::new(&[]);
    publish(&mut bench, &[(1, 0), (2, 0)]);
    let (first, second) = (look_up(&bench.queue, "0"), look_up(&bench.queue, "1"));
    let claimed = [bench.queue.claim(&first).unwrap(), bench.queue.claim(&second).unwrap()];
    drop(bench.queue.delete(&mut bench.effects));
    let [first, second] = claimed;
    bench.queue.put_back([first]);
    bench.queue.settle_claimed([second], &mut bench.effects);
    assert_eq!((bench.queue.ready_count(), bench.queue.memory_bytes()), (0, 0));
    assert!(bench.words().is_empty());
}

#[test]
fn a_claimed_message_does_not_expire_but_does_when_it_is_back() {
    let mut bench = Bench::new(&[]);
    let expiring = Publish { number: 1, persistent: true, expiration_ms: Some(1000), ..Publish::default() };
    bench.publish(expiring);
    publish(&mut bench, &[(2, 0)]);
    let first = look_up(&bench.queue, "0");
    let claimed = bench.queue.claim(&first).unwrap();
    bench.now_ms = 5000;
    bench.tick(10);
    assert!(bench.words().is_empty());
    bench.queue.put_back([claimed]);
    bench.tick(10);
    assert_eq!(bench.words(), ["settled 0/0"]);
}

#[test]
fn a_paused_queue_takes_messages_and_gives_none() {
    let mut bench = Bench::new(&[("x-max-length", number(2))]);
    bench.consume(0);
    bench.queue.set_paused(true);
    publish(&mut bench, &[(1, 0), (2, 0), (3, 0)]);
    bench.dispatch();
    assert!(bench.words().is_empty());
    assert_eq!((bench.queue.ready_count(), bench.queue.counters().dropped), (2, 1), "limits hold");
    let taken = bench.queue.take(AckMode::Manual, bench.now_ms, &mut bench.effects);
    assert_eq!(taken.unwrap_err(), NothingTaken::Empty);
    bench.queue.set_paused(false);
    bench.dispatch();
    assert_eq!(bench.words(), ["deliver 2", "deliver 3", "delivered 0/2"]);
}
