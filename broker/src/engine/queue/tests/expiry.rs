//! Scenarios of messages that expire, and of deliveries that are outstanding for too long.

use super::super::*;
use super::features::{Bench, Publish, dead_lettering, number, options};
use super::random::Random;

fn expiring(number: u32, expiration_ms: u64) -> Publish {
    Publish { number, expiration_ms: Some(expiration_ms), persistent: true, ..Publish::default() }
}

fn persistent(number: u32) -> Publish {
    Publish { number, persistent: true, ..Publish::default() }
}

/// What was loaded: messages with these numbers, which are their sequence numbers, up to the last.
fn loaded(wanted: WantedRange, publishes: &[Publish]) -> PagedIn {
    let seq = |publish: &Publish| Seq(u64::from(publish.number));
    let messages: Vec<_> = publishes.iter().map(|publish| (seq(publish), publish.message(), 0)).collect();
    let up_to = messages.last().map(|message| message.0).unwrap();
    PagedIn { wanted, messages, up_to, damaged: Vec::new() }
}

#[test]
fn messages_expire_anywhere_in_the_queue_in_the_order_of_their_deadlines() {
    let mut bench = Bench::new(&[dead_lettering()]);
    for (number, expiration_ms) in [(1, 50), (2, 10), (3, 40), (4, 10), (5, 20)] {
        bench.publish(expiring(number, expiration_ms));
    }
    bench.publish_all([6]);
    assert_eq!(bench.queue.next_due_ms(), Some(10));
    bench.now_ms = 9;
    assert!(!bench.tick(10));
    assert_eq!((bench.words(), bench.queue.ready_count()), (vec![], 6));
    bench.now_ms = 40;
    assert!(bench.tick(3));
    assert_eq!(bench.words(), ["expired 2 0/1", "expired 4 0/3", "expired 5 0/4"]);
    assert!(!bench.tick(3));
    assert_eq!(bench.words(), ["expired 3 0/2"]);
    assert_eq!((bench.queue.next_due_ms(), bench.queue.counters().expired), (Some(50), 4));
    assert_eq!(bench.take_all(), [1, 6]);
    bench.now_ms = 99;
    assert!(!bench.tick(3));
    assert_eq!((bench.queue.next_due_ms(), bench.queue.memory_bytes()), (None, 0));
}

#[test]
fn a_plain_queue_forgets_expired_messages_and_the_store_is_told() {
    let mut bench = Bench::new(&[]);
    bench.publish(expiring(1, 5));
    bench.publish(Publish { persistent: false, ..expiring(2, 5) });
    bench.now_ms = 5;
    assert_eq!(bench.take(), None);
    assert_eq!((bench.words(), bench.queue.memory_bytes()), (vec!["settled 0/0".to_owned()], 0));
}

#[test]
fn the_time_of_the_queue_or_of_the_message_counts_whichever_ends_first() {
    let mut bench = Bench::new(&[("x-message-ttl", number(30)), dead_lettering()]);
    bench.publish(expiring(1, 100));
    bench.publish(expiring(2, 10));
    bench.publish_all([3]);
    bench.now_ms = 20;
    bench.publish_all([4]);
    bench.tick(9);
    assert_eq!(bench.words(), ["expired 2 0/1"]);
    assert_eq!(bench.queue.next_due_ms(), Some(30));
    bench.now_ms = 30;
    bench.tick(9);
    assert_eq!(bench.words(), ["expired 1 0/0", "expired 3"]);
    assert_eq!(bench.queue.next_due_ms(), Some(50));
}

#[test]
fn a_message_without_time_is_delivered_at_once_or_expires_at_once() {
    for arguments in [vec![dead_lettering()], vec![dead_lettering(), ("x-message-ttl", number(0))]] {
        let publish = |number| if arguments.len() == 1 { expiring(number, 0) } else { persistent(number) };
        let mut bench = Bench::new(&arguments);
        assert_eq!(bench.publish(publish(1)), Enqueued::Accepted { level: 0, seq: Seq(0) });
        assert_eq!(bench.words(), ["expired 1 0/0"]);
        bench.consume(1);
        bench.publish(publish(2));
        assert_eq!(bench.words(), ["deliver 2", "delivered 0/1"]);
        bench.publish(publish(3));
        assert_eq!(bench.words(), ["expired 3 0/2"]);
        assert_eq!(bench.queue.next_due_ms(), None);
    }
}

#[test]
fn a_returned_message_keeps_its_deadline() {
    let mut bench = Bench::new(&[dead_lettering()]);
    bench.publish(expiring(1, 10));
    bench.publish(expiring(2, 20));
    let slots = [bench.hold(), bench.hold()];
    bench.now_ms = 15;
    bench.tick(9);
    bench.words();
    assert_eq!(bench.queue.next_due_ms(), None, "what is outstanding does not expire");
    bench.settle(Settlement::Requeue, &slots);
    assert_eq!(bench.queue.next_due_ms(), Some(10));
    bench.words();
    bench.consume(0);
    bench.dispatch();
    assert_eq!(bench.words(), ["expired 1 0/0", "deliver 2"]);
}

#[test]
fn nothing_expired_is_delivered_though_nobody_ticked() {
    let mut bench = Bench::new(&[("x-message-ttl", number(10)), dead_lettering()]);
    bench.publish_all([1]);
    // A transaction brings a message that arrived before the one in front of it.
    bench.now_ms = 5;
    bench.publish_all([2]);
    let early = Publish { number: 3, arrived_ms: 1, ..Publish::default() }.message();
    bench.queue.enqueue(early, 5, &mut super::paging::Unlimited, &mut bench.effects);
    bench.publish_all([4]);
    bench.now_ms = 12;
    bench.consume(0);
    bench.dispatch();
    assert_eq!(bench.words(), ["expired 1", "deliver 2", "expired 3", "deliver 4"]);
}

#[test]
fn another_time_to_live_holds_for_all_messages_at_once() {
    let mut bench = Bench::new(&[dead_lettering()]);
    bench.publish_all([1]);
    bench.now_ms = 100;
    bench.publish_all([2]);
    assert_eq!(bench.queue.next_due_ms(), None);
    bench.apply(&[("x-message-ttl", number(50)), dead_lettering()]);
    bench.tick(9);
    assert_eq!(bench.words(), ["expired 1"]);
    assert_eq!(bench.queue.next_due_ms(), Some(150));
    bench.apply(&[dead_lettering()]);
    bench.now_ms = 1000;
    bench.tick(9);
    assert_eq!((bench.words(), bench.take_all()), (vec![], vec![2]));
}

#[test]
fn a_purge_and_an_end_of_the_queue_forget_deadlines() {
    let mut bench = Bench::new(&[("x-message-ttl", number(10)), dead_lettering()]);
    bench.publish(expiring(1, 5));
    drop(bench.queue.purge(&mut bench.effects));
    assert_eq!((bench.queue.next_due_ms(), bench.queue.memory_bytes()), (None, 0));
    bench.publish(expiring(2, 5));
    drop(bench.queue.delete(&mut bench.effects));
    bench.words();
    assert_eq!((bench.queue.next_due_ms(), bench.queue.memory_bytes()), (None, 0));
    bench.publish(expiring(3, 0));
    bench.now_ms = 50;
    assert!(!bench.tick(9));
    assert!(bench.words().is_empty());
}

#[test]
fn what_expires_while_it_is_not_in_memory_leaves_the_queue_and_a_load_brings_it_not_back() {
    for dead_letters in [false, true] {
        let mut bench = Bench::new(&[]);
        if dead_letters {
            bench.apply(&[dead_lettering()]);
        }
        let publishes = [persistent(0), expiring(1, 10), persistent(2), expiring(3, 20)];
        for publish in publishes {
            bench.publish(publish);
        }
        drop(bench.queue.page_out(0, Seq(3), 0));
        let wanted = bench.queue.page_in_wanted(1).unwrap();
        bench.now_ms = 10;
        bench.tick(9);
        assert_eq!(bench.words().len(), usize::from(!dead_letters));
        assert_eq!((bench.queue.ready_count(), bench.queue.ready_bytes()), (3, 12));
        let expired = bench.queue.expired_paged();
        assert_eq!(expired, if dead_letters { vec![(0, Seq(1))] } else { vec![] });
        assert!(bench.queue.expired_paged().is_empty(), "each is named once");
        // This load began before.
        bench.queue.page_in(loaded(wanted, &publishes[..2]));
        assert_eq!((bench.queue.ready_count(), bench.take_all()), (3, vec![0]));
        let wanted = bench.queue.page_in_wanted(1).unwrap();
        bench.queue.page_in(loaded(wanted, &publishes[2..]));
        bench.now_ms = 20;
        assert_eq!(bench.take_all(), [2]);
        bench.words();
        bench.queue.bury_loaded(0, vec![(Seq(1), publishes[1].message())], &mut bench.effects);
        assert_eq!(bench.words(), [if dead_letters { "expired 1 0/1" } else { "settled 0/1" }]);
        let left = (bench.queue.ready_count(), bench.queue.ready_bytes(), bench.queue.memory_bytes());
        assert_eq!((left, bench.queue.counters().expired), ((0, 0, 0), 2));
    }
}

#[test]
fn a_paged_range_of_which_all_has_expired_ends() {
    let mut bench = Bench::new(&[]);
    bench.publish(expiring(0, 10));
    bench.publish(expiring(1, 20));
    drop(bench.queue.page_out(0, Seq(1), 0));
    let wanted = bench.queue.page_in_wanted(1).unwrap();
    bench.publish(persistent(2));
    bench.now_ms = 20;
    bench.tick(9);
    assert_eq!(bench.words(), ["settled 0/0", "settled 0/1"]);
    bench.queue.page_in(loaded(wanted, &[expiring(0, 10), expiring(1, 20)]));
    assert_eq!((bench.queue.page_in_wanted(9), bench.take_all()), (None, vec![2]));
}

#[test]
fn a_purge_leaves_alone_what_has_expired_and_waits_for_its_dead_letter() {
    let mut bench = Bench::new(&[dead_lettering()]);
    for number in 0..6 {
        bench.publish(if number == 4 {
            expiring(number, 10)
        } else {
            expiring(number, 20 - u64::from(number))
        });
    }
    bench.now_ms = 10;
    bench.tick(9);
    assert_eq!(bench.words(), ["expired 4 0/4"]);
    // It has left a gap among the messages that leave memory now; another one leaves from among those.
    drop(bench.queue.page_out(0, Seq(5), 0));
    bench.now_ms = 17;
    bench.tick(9);
    assert_eq!(bench.queue.expired_paged(), [(0, Seq(5)), (0, Seq(3))]);
    assert_eq!(bench.queue.purge(&mut bench.effects).ready, 3);
    let [Effect::Purged { level: 0, ranges }] = &bench.effects[..] else {
        panic!("unexpected {:?}", bench.effects);
    };
    let bounds: Vec<_> = ranges.iter().map(|range| (range.first.0, range.last.0)).collect();
    assert_eq!(bounds, [(0, 2)]);
}

#[test]
fn an_old_backlog_is_loaded_to_learn_when_it_expires() {
    let options = options(true, &[("x-message-ttl", number(50)), dead_lettering()]);
    let paged = Some(PagedRange { first: Seq(0), last: Seq(2), count: 3 });
    let restored = Restored { next_seq: Seq(3), delivered: None, paged };
    let mut bench = Bench { queue: Queue::restore(options, &[restored]), now_ms: 100, effects: Vec::new() };
    assert!(bench.queue.must_load());
    let wanted = bench.queue.page_in_wanted(1).unwrap();
    let at = |number: u32, arrived_ms| Publish { arrived_ms, ..persistent(number) };
    bench.queue.page_in(loaded(wanted, &[at(0, 10), at(1, 60)]));
    assert_eq!((bench.queue.next_due_ms(), bench.queue.must_load()), (Some(60), false));
    bench.tick(9);
    assert_eq!((bench.words(), bench.queue.next_due_ms()), (vec!["expired 0 0/0".to_owned()], Some(110)));
    bench.now_ms = 110;
    bench.tick(9);
    assert!(bench.queue.must_load());
}

#[test]
fn a_survey_tells_what_expires_and_how_much_there_is() {
    let options = options(true, &[("x-max-length-bytes", number(50)), dead_lettering()]);
    let paged = Some(PagedRange { first: Seq(0), last: Seq(9), count: 5 });
    let restored = Restored { next_seq: Seq(10), delivered: None, paged };
    let mut bench = Bench { queue: Queue::restore(options, &[restored]), now_ms: 100, effects: Vec::new() };
    let wanted = |bench: &Bench| {
        bench.queue.survey_wanted().map(|SurveyWanted { level, range }| (level, range.first.0, range.last.0))
    };
    assert_eq!(wanted(&bench), Some((0, 0, 9)));
    let found = |seq, expires_ms| Surveyed { seq: Seq(seq), expires_ms, body_bytes: 10 };
    bench.queue.survey(0, Seq(3), &[found(0, None), found(2, Some(150))], &mut bench.effects);
    assert_eq!((wanted(&bench), bench.queue.ready_bytes()), (Some((0, 4, 9)), 20));
    assert_eq!(bench.queue.next_due_ms(), Some(150));
    // Loads go on meanwhile and know for themselves what they bring.
    let load = bench.queue.page_in_wanted(1).unwrap();
    let large = |number, expiration_ms| Publish { more_bytes: 6, expiration_ms, ..persistent(number) };
    bench.queue.page_in(loaded(load, &[large(0, None), large(2, Some(150)), large(4, Some(140))]));
    assert_eq!((wanted(&bench), bench.queue.ready_bytes()), (Some((0, 5, 9)), 30));
    assert_eq!(bench.queue.next_due_ms(), Some(140));
    // Until all is known no limit in bytes is enforced.
    bench.publish(large(10, None));
    bench.publish(large(11, None));
    let rest = [found(4, Some(140)), found(6, None), found(8, Some(130))];
    assert!(bench.words().is_empty());
    bench.queue.survey(0, Seq(9), &rest, &mut bench.effects);
    assert_eq!((wanted(&bench), bench.queue.ready_bytes()), (None, 50));
    assert_eq!(bench.words(), ["maxlen 0 0/0", "maxlen 2 0/2"]);
    assert_eq!((bench.queue.next_due_ms(), bench.queue.ready_count()), (Some(130), 5));
    bench.now_ms = 130;
    bench.tick(9);
    assert_eq!(bench.queue.expired_paged(), [(0, Seq(8))]);
    assert_eq!((bench.queue.ready_bytes(), bench.queue.ready_count()), (40, 4));
}

#[test]
fn a_million_messages_expire_in_order_and_leave_nothing_behind() {
    const COUNT: u32 = 1_000_000;
    let mut random = Random(7);
    let mut bench = Bench::new(&[dead_lettering()]);
    for number in 0..COUNT {
        bench.publish(expiring(number, 1 + random.next() % 600_000));
    }
    let (mut expired, mut calls, mut last_ms) = (0, 0, 0);
    while let Some(due_ms) = bench.queue.next_due_ms() {
        // As a timer does: wakes when it is told, up to 50 ms late, and does so much at a time.
        bench.now_ms = due_ms.max(bench.now_ms) + random.next() % 50;
        let more = bench.tick(1000);
        assert!(bench.effects.len() <= 1000);
        for effect in bench.effects.drain(..) {
            let Effect::Dead { message, reason: DeathReason::Expired, .. } = effect else {
                panic!("unexpected {effect:?}");
            };
            let due_ms = message.expires_ms().unwrap();
            assert!(last_ms <= due_ms && due_ms <= bench.now_ms);
            last_ms = due_ms;
            expired += 1;
        }
        assert!(more == bench.queue.next_due_ms().is_some_and(|due_ms| due_ms <= bench.now_ms));
        calls += 1;
    }
    assert_eq!((expired, bench.queue.ready_count(), bench.queue.memory_bytes()), (COUNT, 0, 0));
    // A call does up to a thousand; timers were late by 25 ms on average, in ten minutes.
    assert!(calls < 30_000, "{calls} calls");
}

#[test]
fn a_consumer_is_named_when_a_delivery_is_outstanding_for_too_long() {
    let mut bench = Bench::new(&[("x-consumer-timeout", number(100))]);
    let (quick, slow) = (bench.consume(1), bench.consume(2));
    bench.publish_all(1..=3);
    bench.dispatch();
    let (slots, words) = bench.told();
    assert_eq!(words, ["deliver 1", "deliver 2", "deliver 3"]);
    assert_eq!(bench.queue.next_due_ms(), Some(100));
    bench.now_ms = 50;
    bench.publish_all([4]);
    bench.settle(Settlement::Ack, &slots[..1]);
    bench.dispatch();
    let (again, _) = bench.told();
    assert_eq!(again.len(), 1, "{quick:?} got another one");
    bench.now_ms = 99;
    bench.tick(9);
    assert!(bench.words().is_empty());
    bench.now_ms = 100;
    bench.tick(9);
    assert_eq!(bench.words(), [format!("timed out {}", slow.index())]);
    bench.now_ms = 149;
    bench.tick(9);
    assert!(bench.words().is_empty());
    bench.settle(Settlement::Ack, &again);
    // Who is gone is not named, and what is taken one by one does not time out.
    bench.queue.remove_consumer(slow);
    bench.publish_all([5]);
    bench.hold();
    bench.words();
    bench.now_ms = 1000;
    bench.tick(9);
    assert!(!bench.words().iter().any(|word| word == &format!("timed out {}", slow.index())));
}

#[test]
fn a_timeout_that_comes_later_counts_from_then_and_settled_deliveries_are_forgotten() {
    let mut bench = Bench::new(&[]);
    let consumer = bench.consume(0);
    bench.publish_all([1]);
    bench.dispatch();
    bench.now_ms = 1000;
    bench.apply(&[("x-consumer-timeout", number(100))]);
    assert_eq!(bench.queue.next_due_ms(), Some(1100));
    bench.words();
    for number in 0..100_000 {
        bench.now_ms += u64::from(number % 2000 == 0);
        bench.publish_all([number]);
        bench.dispatch();
        bench.queue.written(consumer, 1, 4);
        let (slots, _) = bench.told();
        bench.settle(Settlement::Ack, &slots);
    }
    bench.now_ms = 1100;
    bench.tick(9);
    assert_eq!(bench.words().len(), 1, "one is outstanding");
    assert!(bench.queue.noted_deliveries() < 200, "{}", bench.queue.noted_deliveries());
    bench.apply(&[]);
    assert_eq!(bench.queue.next_due_ms(), None);
}
