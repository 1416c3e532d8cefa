//! Scenarios of length limits, delivery limits and dead letters.

use super::super::*;
use super::features::{Bench, Publish, dead_lettering, number, number_of, text};

fn persistent(number: u32) -> Publish {
    Publish { number, persistent: true, ..Publish::default() }
}

fn sized(number: u32, bytes: usize) -> Publish {
    Publish { number, more_bytes: bytes - 4, ..Publish::default() }
}

#[test]
fn the_oldest_messages_beyond_the_length_are_dropped_and_only_stored_ones_are_settled() {
    let mut bench = Bench::new(&[("x-max-length", number(2))]);
    bench.publish(persistent(1));
    bench.publish_all([2]);
    assert!(bench.words().is_empty());
    bench.publish_all([3, 4]);
    assert_eq!(bench.words(), ["settled 0/0"]);
    assert_eq!(bench.queue.counters().dropped, 2);
    assert_eq!(bench.take_all(), [3, 4]);
    assert_eq!(bench.queue.memory_bytes(), 0);
}

#[test]
fn a_length_in_bytes_counts_bodies_up_to_the_last_byte() {
    let mut bench = Bench::new(&[("x-max-length-bytes", number(100)), dead_lettering()]);
    bench.publish(sized(1, 60));
    bench.publish(sized(2, 40));
    assert_eq!((bench.queue.ready_bytes(), bench.words()), (100, vec![]));
    bench.publish(sized(3, 4));
    assert_eq!(bench.words(), ["maxlen 1"]);
    bench.publish(sized(4, 101));
    assert_eq!(bench.words(), ["maxlen 2", "maxlen 3", "maxlen 4"], "it is too large by itself");
    assert_eq!((bench.queue.ready_count(), bench.queue.ready_bytes()), (0, 0));
    let counters = bench.queue.counters();
    assert_eq!((counters.dropped, counters.dead_lettered), (4, 4));
}

#[test]
fn outstanding_messages_count_for_no_limit() {
    let mut bench = Bench::new(&[("x-max-length", number(1))]);
    bench.consume(2);
    bench.publish_all([1]);
    bench.dispatch();
    bench.publish_all([2, 3]);
    bench.dispatch();
    let (slots, words) = bench.told();
    assert_eq!(words, ["deliver 1", "deliver 2"]);
    bench.publish_all([4]);
    assert_eq!((bench.queue.ready_count(), bench.queue.counters().dropped), (1, 1));
    // What returns may be too much; the oldest goes, once consumers had a chance.
    bench.settle(Settlement::Requeue, &slots);
    bench.dispatch();
    assert_eq!(bench.words(), ["deliver 1", "deliver 2"]);
    assert_eq!(bench.take_all(), [4]);
}

#[test]
fn a_message_that_a_consumer_takes_at_once_is_never_too_much() {
    for overflow in ["drop-head", "reject-publish"] {
        let mut bench = Bench::new(&[("x-max-length", number(0)), ("x-overflow", text(overflow))]);
        bench.consume(1);
        assert_eq!(bench.publish(persistent(1)), Enqueued::Accepted { level: 0, seq: Seq(0) });
        assert_eq!(bench.words(), ["deliver 1", "delivered 0/0"]);
        let second = bench.publish(persistent(2));
        if overflow == "drop-head" {
            assert_eq!(second, Enqueued::Accepted { level: 0, seq: Seq(1) });
            assert_eq!(bench.words(), ["settled 0/1"]);
        } else {
            assert_eq!((second, bench.words()), (Enqueued::Refused, vec![]));
        }
        assert_eq!((bench.queue.ready_count(), bench.queue.unacked_count()), (0, 1));
    }
}

#[test]
fn a_full_queue_refuses_and_dead_letters_what_it_refuses_if_asked_to() {
    let limits = [("x-max-length", number(2)), ("x-max-length-bytes", number(50)), dead_lettering()];
    let with = |overflow| [&limits[..], &[("x-overflow", text(overflow))]].concat();
    let mut bench = Bench::new(&with("reject-publish"));
    bench.publish_all([1]);
    assert_eq!(bench.publish(sized(2, 47)), Enqueued::Refused, "a byte too much");
    assert_eq!(bench.publish(sized(2, 46)), Enqueued::Accepted { level: 0, seq: Seq(1) });
    assert_eq!(bench.publish(persistent(3)), Enqueued::Refused);
    assert_eq!((bench.words(), bench.queue.counters().refused), (vec![], 2));
    let mut bench = Bench::new(&with("reject-publish-dlx"));
    bench.publish_all([1, 2]);
    assert_eq!(bench.publish(persistent(3)), Enqueued::Refused);
    assert_eq!(bench.words(), ["maxlen 3"], "it was never stored");
    assert_eq!(bench.queue.counters().dead_lettered, 1);
    assert_eq!(bench.take(), Some(1));
    bench.words();
    assert_eq!(bench.publish(persistent(4)), Enqueued::Accepted { level: 0, seq: Seq(2) });
    assert_eq!(bench.take_all(), [2, 4]);
}

#[test]
fn a_message_may_return_as_often_as_the_limit_says() {
    for dead_letters in [false, true] {
        let arguments = [("x-queue-type", text("quorum")), ("x-delivery-limit", number(2)), dead_lettering()];
        let mut bench = Bench::new(&arguments[..if dead_letters { 3 } else { 2 }]);
        bench.consume(0);
        bench.publish(persistent(7));
        for (count, expected) in [(0, "deliver 7"), (1, "deliver 7 again 1"), (2, "deliver 7 again 2")] {
            bench.dispatch();
            let (slots, words) = bench.told();
            assert_eq!(words[0], expected);
            bench.settle(Settlement::Requeue, &slots);
            let last = if dead_letters { "delivery_limit 7 0/0" } else { "settled 0/0" };
            let next = format!("returned 0/0 {}", count + 1);
            assert_eq!(bench.words(), [if count < 2 { next.as_str() } else { last }]);
        }
        let counters = bench.queue.counters();
        assert_eq!((counters.delivery_limited, counters.dead_lettered), (1, u64::from(dead_letters)));
        assert_eq!((bench.queue.ready_count(), bench.queue.memory_bytes()), (0, 0));
    }
}

#[test]
fn only_queues_that_count_returns_tell_how_often() {
    for (arguments, told) in [
        (vec![], 0),
        (vec![("x-message-ttl", number(1000))], 0),
        (vec![("x-queue-type", text("quorum")), ("x-delivery-limit", number(-1))], 1),
    ] {
        let mut bench = Bench::new(&arguments);
        bench.publish_all([1]);
        let slot = bench.hold();
        bench.settle(Settlement::Requeue, &[slot]);
        let taken = bench.queue.take(AckMode::Manual, 0, &mut bench.effects).unwrap();
        assert_eq!((taken.redelivered, taken.delivery_count), (true, told));
    }
}

#[test]
fn rejected_messages_are_dead_letters_in_a_queue_that_has_them() {
    let mut bench = Bench::new(&[dead_lettering()]);
    bench.publish(persistent(1));
    bench.publish_all([2]);
    let slots = [bench.hold(), bench.hold()];
    bench.settle(Settlement::Discard, &slots);
    assert_eq!(bench.words(), ["rejected 1 0/0", "rejected 2"]);
    assert_eq!((bench.queue.unacked_count(), bench.queue.memory_bytes()), (0, 0));
    let mut bench = Bench::new(&[]);
    bench.publish(persistent(1));
    let slot = bench.hold();
    bench.settle(Settlement::Discard, &[slot]);
    assert_eq!((bench.words(), bench.queue.counters().rejected), (vec!["settled 0/0".to_owned()], 1));
}

#[test]
fn limits_that_come_later_apply_at_once() {
    let mut bench = Bench::new(&[]);
    bench.publish_all(1..=5);
    bench.apply(&[("x-max-length", number(3)), dead_lettering()]);
    assert_eq!(bench.words(), ["maxlen 1", "maxlen 2"]);
    bench.apply(&[("x-max-length", number(1)), ("x-overflow", text("reject-publish"))]);
    assert_eq!((bench.words(), bench.queue.ready_count()), (vec![], 3));
    assert_eq!(bench.publish(persistent(6)), Enqueued::Refused);
    bench.queue.apply_settings(None, 0, &mut bench.effects);
    assert!(bench.queue.settings().is_none());
    bench.publish_all([7]);
    assert_eq!(bench.take_all(), [3, 4, 5, 7]);
}

#[test]
fn what_is_to_be_dropped_but_not_in_memory_is_loaded_first() {
    let mut bench = Bench::new(&[("x-max-length", number(3)), dead_lettering()]);
    for number in 0..3 {
        bench.publish(persistent(number));
    }
    drop(bench.queue.page_out(0, Seq(2), 0));
    assert!(!bench.queue.must_load());
    bench.publish(persistent(3));
    assert_eq!((bench.words(), bench.queue.ready_count()), (vec![], 4));
    assert!(bench.queue.must_load());
    let wanted = bench.queue.page_in_wanted(1).unwrap();
    let messages: Vec<_> = (0..2).map(|seq| (Seq(u64::from(seq)), persistent(seq).message(), 0)).collect();
    bench.queue.page_in(PagedIn { wanted, messages, up_to: Seq(1), damaged: Vec::new() });
    bench.dispatch();
    assert_eq!(bench.words(), ["maxlen 0 0/0"]);
    assert!(!bench.queue.must_load());
    let taken = bench.queue.take(AckMode::Automatic, 0, &mut bench.effects).unwrap();
    assert_eq!((number_of(&taken.message), taken.remaining), (1, 2));
    assert_eq!(bench.queue.ready_bytes(), 8);
}
