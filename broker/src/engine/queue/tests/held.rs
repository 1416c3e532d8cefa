//! Scenarios of looking at messages that await settlement.

use super::super::*;
use super::features::{Bench, number_of};

/// All that is outstanding: number, when it went out to the unit, and who has it.
fn held(bench: &Bench) -> Vec<(u32, u64, Holder)> {
    let since = bench.queue.held_since(0, usize::MAX, bench.now_ms);
    let held = since.filter_map(|since| bench.queue.held(since));
    held.map(|held| (number_of(&held.message), held.since.delivered_ms, held.holder)).collect()
}

#[test]
fn who_has_which_message_and_since_when_is_known_until_it_is_settled() {
    let mut bench = Bench::new(&[]);
    bench.now_ms = 1_280;
    bench.publish_all(1..=4);
    let consumer = bench.consume(2);
    bench.dispatch();
    let (slots, _) = bench.told();
    bench.now_ms = 2_560;
    let got = bench.hold();
    assert_eq!(
        held(&bench),
        [
            (1, 1_280, Holder::Consumer(consumer)),
            (2, 1_280, Holder::Consumer(consumer)),
            (3, 2_560, Holder::Get)
        ]
    );

    bench.settle(Settlement::Ack, &slots[..1]);
    bench.now_ms = 12_800;
    bench.dispatch();
    assert_eq!(
        held(&bench),
        [
            (4, 12_800, Holder::Consumer(consumer)),
            (2, 1_280, Holder::Consumer(consumer)),
            (3, 2_560, Holder::Get)
        ],
        "the slot of the settled one has another message"
    );

    bench.queue.remove_consumer(consumer);
    bench.settle(Settlement::Ack, &[got]);
    let gone = Holder::GoneConsumer;
    assert_eq!(held(&bench), [(4, 12_800, gone), (2, 1_280, gone)]);
}

#[test]
fn a_message_says_how_often_it_came_back_before() {
    let mut bench = Bench::new(&[]);
    bench.publish_all([7]);
    for returned in 0..3 {
        bench.now_ms += 1_000;
        let slot = bench.hold();
        let since = bench.queue.held_since(0, 10, bench.now_ms).next().unwrap();
        let held = bench.queue.held(since).unwrap();
        assert_eq!((held.returned, held.redelivered, held.id.seq), (returned, returned > 0, Seq(0)));
        bench.settle(Settlement::Requeue, &[slot]);
        assert!(bench.queue.held(since).is_none(), "it is ready again");
    }
}
