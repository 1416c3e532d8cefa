//! Scenarios of queues with priorities.

use super::super::*;
use super::features::{Bench, Publish, dead_lettering, number, options};

fn urgent(number: u32, priority: u8) -> Publish {
    Publish { number, priority, persistent: true, ..Publish::default() }
}

fn with_levels(highest: i64) -> Bench {
    Bench::new(&[("x-max-priority", number(highest))])
}

#[test]
fn the_most_urgent_messages_come_first_and_equal_ones_in_their_order() {
    let mut bench = with_levels(5);
    for (number, priority) in [(1, 0), (2, 5), (3, 1), (4, 255), (5, 1), (6, 0)] {
        let accepted = bench.publish(urgent(number, priority));
        let Enqueued::Accepted { level, .. } = accepted else { panic!("{accepted:?}") };
        assert_eq!(level, priority.min(5));
    }
    assert_eq!(bench.queue.ready_count(), 6);
    assert_eq!(bench.take_all(), [2, 4, 3, 5, 1, 6]);
    assert_eq!((bench.queue.ready_count(), bench.queue.memory_bytes()), (0, 0));
    // Without priorities all are equal.
    let mut bench = Bench::new(&[]);
    bench.publish(urgent(1, 0));
    bench.publish(urgent(2, 9));
    assert_eq!(bench.take_all(), [1, 2]);
}

#[test]
fn the_store_hears_of_each_level_apart() {
    let mut bench = with_levels(255);
    bench.consume(0);
    for (number, priority) in [(1, 0), (2, 255), (3, 255), (4, 7)] {
        bench.publish(urgent(number, priority));
    }
    bench.dispatch();
    let (slots, words) = bench.told();
    let expected = [
        "deliver 2",
        "deliver 3",
        "deliver 4",
        "delivered 255/1",
        "deliver 1",
        "delivered 7/0",
        "delivered 0/0",
    ];
    assert_eq!(words, expected);
    bench.settle(Settlement::Requeue, &slots);
    assert_eq!(bench.words(), ["returned 255/0 1", "returned 255/1 1", "returned 7/0 1", "returned 0/0 1"]);
    bench.dispatch();
    let (slots, words) = bench.told();
    assert_eq!(words, ["deliver 2", "deliver 3", "deliver 4", "deliver 1"], "they are back in their places");
    bench.settle(Settlement::Ack, &slots[..2]);
    assert_eq!(bench.words(), ["settled 255/0", "settled 255/1"]);
    bench.settle(Settlement::Requeue, &slots[2..]);
    bench.words();
    assert_eq!(bench.queue.purge(&mut bench.effects).ready, 2);
    assert_eq!(bench.words(), ["purged 0", "purged 7"]);
}

#[test]
fn the_least_urgent_messages_are_dropped_first_and_the_oldest_of_them() {
    let arguments = [("x-max-priority", number(3)), ("x-max-length", number(3)), dead_lettering()];
    let mut bench = Bench::new(&arguments);
    for (number, priority) in [(1, 3), (2, 1), (3, 1), (4, 2), (5, 2), (6, 0)] {
        bench.publish(urgent(number, priority));
    }
    assert_eq!(bench.words(), ["maxlen 2 1/0", "maxlen 3 1/1", "maxlen 6 0/0"]);
    assert_eq!(bench.take_all(), [1, 4, 5]);
}

#[test]
fn messages_of_all_levels_expire_in_one_order() {
    let arguments = [("x-max-priority", number(3)), ("x-message-ttl", number(100)), dead_lettering()];
    let mut bench = Bench::new(&arguments);
    let at = |bench: &mut Bench, now_ms, number, priority, expiration_ms| {
        bench.now_ms = now_ms;
        bench.publish(Publish { expiration_ms, ..urgent(number, priority) });
    };
    at(&mut bench, 0, 1, 0, None);
    at(&mut bench, 10, 2, 3, None);
    at(&mut bench, 20, 3, 3, Some(85));
    at(&mut bench, 30, 4, 1, Some(10));
    bench.now_ms = 110;
    bench.tick(9);
    let expected = ["expired 4 1/0", "expired 1 0/0", "expired 3 3/1", "expired 2 3/0"];
    assert_eq!(bench.words(), expected);
    assert_eq!((bench.queue.next_due_ms(), bench.queue.memory_bytes()), (None, 0));
}

#[test]
fn a_less_urgent_message_waits_until_more_urgent_ones_are_loaded() {
    let mut bench = with_levels(2);
    for (number, priority) in [(0, 2), (1, 2), (2, 0), (3, 1), (4, 1)] {
        bench.publish(urgent(number, priority));
    }
    assert_eq!(bench.queue.page_out(2, Seq(1), 0).ready, 2);
    assert_eq!(bench.queue.page_out(1, Seq(1), 1).ready, 1);
    assert_eq!(bench.queue.take(AckMode::Manual, 0, &mut bench.effects).err(), Some(NothingTaken::PagedOut));
    let wanted = bench.queue.page_in_wanted(100).unwrap();
    assert_eq!(wanted.level, 2);
    let messages = (0..2).map(|number| (Seq(u64::from(number)), urgent(number, 2).message(), 0)).collect();
    bench.queue.page_in(PagedIn { wanted, messages, up_to: Seq(1), damaged: Vec::new() });
    // Eight bytes are ahead of the next level's second message.
    assert_eq!(bench.queue.page_in_wanted(8), None);
    assert_eq!(bench.take_all(), [0, 1, 3]);
    let wanted = bench.queue.page_in_wanted(8).unwrap();
    assert_eq!((wanted.level, wanted.range.first), (1, Seq(1)));
    let messages = vec![(Seq(1), urgent(4, 1).message(), 0)];
    bench.queue.page_in(PagedIn { wanted, messages, up_to: Seq(1), damaged: Vec::new() });
    assert_eq!(bench.take_all(), [4, 2]);
}

#[test]
fn a_restart_brings_every_level_back() {
    let options = options(true, &[("x-max-priority", number(2))]);
    let paged = |count| Some(PagedRange { first: Seq(0), last: Seq(count - 1), count });
    let restored = [
        Restored { next_seq: Seq(3), delivered: None, paged: paged(3) },
        Restored { next_seq: Seq(9), delivered: None, paged: None },
        Restored { next_seq: Seq(2), delivered: Some(Seq(0)), paged: paged(2) },
    ];
    let mut bench = Bench { queue: Queue::restore(options, &restored), now_ms: 0, effects: Vec::new() };
    assert_eq!(bench.queue.ready_count(), 5);
    let newest: Vec<_> = (0..3).map(|level| bench.queue.newest(level)).collect();
    assert_eq!(newest, [Some(Seq(2)), Some(Seq(8)), Some(Seq(1))]);
    assert_eq!(bench.publish(urgent(77, 1)), Enqueued::Accepted { level: 1, seq: Seq(9) });
    let wanted = bench.queue.page_in_wanted(1).unwrap();
    assert_eq!(wanted.level, 2);
    let messages = (0..2).map(|number| (Seq(u64::from(number)), urgent(number, 2).message(), 0)).collect();
    bench.queue.page_in(PagedIn { wanted, messages, up_to: Seq(1), damaged: Vec::new() });
    let taken: Vec<_> = std::iter::from_fn(|| bench.queue.take(AckMode::Manual, 0, &mut bench.effects).ok())
        .map(|taken| (taken.level, taken.redelivered))
        .collect();
    assert_eq!(taken, [(2, true), (2, false), (1, false)]);
    assert_eq!(bench.queue.page_in_wanted(1).map(|wanted| wanted.level), Some(0));
}
