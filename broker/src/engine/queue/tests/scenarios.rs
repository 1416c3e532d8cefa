//! Named scenarios: one per rule of delivery.

use super::super::*;
use super::paging::{Unlimited, enqueue_one as enqueue};
use crate::limits::{CONSUMER_WINDOW_BYTES, CONSUMER_WINDOW_MESSAGES, CONSUMERS_PER_QUEUE_MAX};

/// One channel with so much credit for all its consumers.
struct Credit(u32);

impl ChannelGate for Credit {
    fn try_acquire(&mut self, _: ConsumerId) -> bool {
        let granted = self.0 > 0;
        self.0 -= u32::from(granted);
        granted
    }
}

/// A delivery as tests look at it; the body is the message's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delivered {
    consumer: ConsumerId,
    number: u32,
    slot: u32,
    redelivered: bool,
}

fn number_of(message: &Message) -> u32 {
    u32::from_be_bytes(message.body()[..4].try_into().unwrap())
}

fn message(number: u32, persistent: bool, body_bytes: usize) -> Message {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(body_bytes.max(4), 0);
    Message::new("", "q", &[0, 0], persistent, &body)
}

struct Harness {
    queue: Queue,
    published: u32,
}

impl Harness {
    fn new(declare: QueueDeclare) -> Self {
        let options =
            QueueOptions::from_declare("/", QueueDeclare { name: "q".to_owned(), ..declare }).unwrap();
        Self { queue: Queue::new(Arc::new(options)), published: 0 }
    }

    fn plain() -> Self {
        Self::new(QueueDeclare::default())
    }

    fn single_active() -> Self {
        let mut arguments = amq_protocol::types::FieldTable::default();
        arguments.insert("x-single-active-consumer".into(), true.into());
        Self::new(QueueDeclare { arguments, ..QueueDeclare::default() })
    }

    /// Enqueues messages with the next numbers, from 1.
    fn publish(&mut self, count: u32) {
        for _ in 0..count {
            self.published += 1;
            enqueue(&mut self.queue, message(self.published, false, 4));
        }
    }

    fn consume(&mut self, prefetch: u16) -> ConsumerId {
        self.queue.add_consumer(manual(prefetch)).unwrap()
    }

    fn dispatch(&mut self) -> Vec<Delivered> {
        self.dispatch_through(&mut Unlimited)
    }

    fn dispatch_through(&mut self, gate: &mut dyn ChannelGate) -> Vec<Delivered> {
        let mut effects = Vec::new();
        self.queue.dispatch(0, gate, &mut effects);
        effects
            .into_iter()
            .map(|effect| match effect {
                Effect::Deliver { consumer, slot, redelivered, message, .. } => {
                    Delivered { consumer, number: number_of(&message), slot, redelivered }
                }
                other => panic!("unexpected {other:?}"),
            })
            .collect()
    }

    fn settle(&mut self, settlement: Settlement, deliveries: &[Delivered]) {
        let slots: Vec<u32> = deliveries.iter().map(|delivered| delivered.slot).collect();
        let mut effects = Vec::new();
        self.queue.settle(settlement, &slots, &mut effects);
        assert!(effects.is_empty(), "nothing of this queue is stored: {effects:?}");
    }
}

fn manual(prefetch: u16) -> ConsumerSpec {
    ConsumerSpec { ack_mode: AckMode::Manual, prefetch, exclusive: false, priority: 0 }
}

fn automatic() -> ConsumerSpec {
    ConsumerSpec { ack_mode: AckMode::Automatic, ..manual(0) }
}

fn numbers(deliveries: &[Delivered]) -> Vec<u32> {
    deliveries.iter().map(|delivered| delivered.number).collect()
}

fn receivers(deliveries: &[Delivered]) -> Vec<ConsumerId> {
    deliveries.iter().map(|delivered| delivered.consumer).collect()
}

#[test]
fn consumers_of_one_priority_take_turns_message_by_message() {
    let mut harness = Harness::plain();
    let (a, b, c) = (harness.consume(0), harness.consume(0), harness.consume(0));
    harness.publish(4);
    assert_eq!(receivers(&harness.dispatch()), [a, b, c, a]);
    // The turn is kept between dispatches, and a newcomer comes last in the round.
    let d = harness.consume(0);
    harness.publish(5);
    let deliveries = harness.dispatch();
    assert_eq!(receivers(&deliveries), [b, c, a, d, b]);
    assert_eq!(numbers(&deliveries), [5, 6, 7, 8, 9]);
}

#[test]
fn prefetch_bounds_each_consumer_and_an_ack_makes_room() {
    let mut harness = Harness::plain();
    let (a, b) = (harness.consume(1), harness.consume(3));
    harness.publish(10);
    let deliveries = harness.dispatch();
    assert_eq!(receivers(&deliveries), [a, b, b, b]);
    assert_eq!((harness.queue.ready_count(), harness.queue.unacked_count()), (6, 4));
    assert!(harness.dispatch().is_empty());
    harness.settle(Settlement::Ack, &deliveries[1..2]);
    assert_eq!(receivers(&harness.dispatch()), [b]);
    harness.settle(Settlement::Discard, &deliveries[..1]);
    assert_eq!(receivers(&harness.dispatch()), [a]);
}

#[test]
fn automatic_acknowledgement_needs_no_slot_and_no_credit() {
    let mut harness = Harness::plain();
    harness.queue.add_consumer(ConsumerSpec { prefetch: 1, ..automatic() }).unwrap();
    harness.publish(3);
    // Not even the channel's limit holds such a consumer.
    let deliveries = harness.dispatch_through(&mut Credit(0));
    assert_eq!(numbers(&deliveries), [1, 2, 3]);
    assert!(deliveries.iter().all(|delivered| delivered.slot == NO_SLOT && !delivered.redelivered));
    assert_eq!((harness.queue.unacked_count(), harness.queue.memory_bytes()), (0, 0));
}

#[test]
fn the_highest_priority_with_credit_is_served_first() {
    let mut harness = Harness::plain();
    let with = |priority| ConsumerSpec { priority, ..manual(2) };
    let low = harness.queue.add_consumer(with(-5)).unwrap();
    let high = harness.queue.add_consumer(with(7)).unwrap();
    let middle = harness.queue.add_consumer(with(0)).unwrap();
    let other_high = harness.queue.add_consumer(with(7)).unwrap();
    harness.publish(9);
    let deliveries = harness.dispatch();
    assert_eq!(receivers(&deliveries), [high, other_high, high, other_high, middle, middle, low, low]);
    harness.settle(Settlement::Ack, &deliveries[6..]);
    harness.settle(Settlement::Ack, &deliveries[..1]);
    assert_eq!(receivers(&harness.dispatch()), [high], "it comes before the one that waited longer");
}

#[test]
fn one_consumer_is_active_and_the_next_takes_over_when_it_ends() {
    let mut harness = Harness::single_active();
    let first = harness.consume(2);
    let second = harness.queue.add_consumer(ConsumerSpec { priority: 9, ..manual(0) }).unwrap();
    let third = harness.consume(0);
    harness.publish(6);
    // The first to register is active whatever the others' priorities, also when it has no credit left.
    let deliveries = harness.dispatch();
    assert_eq!(receivers(&deliveries), [first, first]);
    // One that waits may leave.
    assert_eq!(harness.queue.remove_consumer(second), RemovedConsumer { last: false });
    assert_eq!(harness.queue.remove_consumer(first), RemovedConsumer { last: false });
    harness.settle(Settlement::Requeue, &deliveries);
    let deliveries = harness.dispatch();
    assert_eq!(receivers(&deliveries), [third; 6]);
    assert_eq!(numbers(&deliveries), [1, 2, 3, 4, 5, 6]);
    // The next one after the queue was without consumers is active again.
    assert_eq!(harness.queue.remove_consumer(third), RemovedConsumer { last: true });
    let fourth = harness.consume(0);
    harness.publish(1);
    assert_eq!(receivers(&harness.dispatch()), [fourth]);
}

#[test]
fn requeued_messages_return_to_their_places_and_count_as_redelivered() {
    let mut harness = Harness::plain();
    harness.consume(6);
    harness.publish(10);
    let deliveries = harness.dispatch();
    // Interleaved, several at once, in any order; then one alone between them.
    harness.settle(Settlement::Requeue, &[deliveries[4], deliveries[0], deliveries[2]]);
    harness.settle(Settlement::Requeue, &deliveries[1..2]);
    let again = harness.dispatch();
    assert_eq!(numbers(&again), [1, 2, 3, 5]);
    assert!(again.iter().all(|delivered| delivered.redelivered));
    harness.settle(Settlement::Ack, &again);
    let fresh = harness.dispatch();
    assert_eq!(numbers(&fresh), [7, 8, 9, 10]);
    assert!(fresh.iter().all(|delivered| !delivered.redelivered));
}

#[test]
fn a_removed_consumer_leaves_its_deliveries_outstanding_and_its_successor_alone() {
    let mut harness = Harness::plain();
    let gone = harness.consume(2);
    harness.publish(4);
    let outstanding = harness.dispatch();
    assert_eq!(harness.queue.remove_consumer(gone), RemovedConsumer { last: true });
    assert_eq!(harness.queue.unacked_count(), 2);
    let heir = harness.consume(1);
    assert_ne!(heir, gone);
    assert_eq!(receivers(&harness.dispatch()), [heir]);
    // Settling what the other held gives the heir, who took over its slot, no credit.
    harness.settle(Settlement::Ack, &outstanding[..1]);
    harness.queue.written(gone, 2, 8);
    harness.queue.gate_opened(gone);
    assert!(harness.dispatch().is_empty());
    assert_eq!(harness.queue.remove_consumer(gone), RemovedConsumer { last: false });
    harness.settle(Settlement::Requeue, &outstanding[1..]);
    assert!(harness.dispatch().is_empty());
    let taken = harness.queue.take(AckMode::Manual, 0, &mut Vec::new()).unwrap();
    assert_eq!((number_of(&taken.message), taken.redelivered), (2, true));
}

#[test]
fn the_window_in_messages_closes_until_they_are_written() {
    let mut harness = Harness::plain();
    let consumer = harness.queue.add_consumer(automatic()).unwrap();
    harness.publish(CONSUMER_WINDOW_MESSAGES + 5);
    assert_eq!(harness.dispatch().len(), CONSUMER_WINDOW_MESSAGES as usize);
    assert!(harness.dispatch().is_empty());
    harness.queue.written(consumer, 3, 12);
    assert_eq!(harness.dispatch().len(), 3);
}

#[test]
fn the_window_in_bytes_lets_one_message_of_any_size_pass() {
    let mut harness = Harness::plain();
    let consumer = harness.consume(0);
    for number in 1..=3 {
        enqueue(&mut harness.queue, message(number, false, 3 * CONSUMER_WINDOW_BYTES));
    }
    assert_eq!(numbers(&harness.dispatch()), [1]);
    // Settling is not writing.
    assert!(harness.dispatch().is_empty());
    harness.queue.written(consumer, 1, 3 * CONSUMER_WINDOW_BYTES);
    assert_eq!(numbers(&harness.dispatch()), [2]);
}

#[test]
fn a_refusing_channel_leaves_its_consumer_out_until_it_opens() {
    let mut harness = Harness::plain();
    let a = harness.consume(0);
    harness.publish(5);
    let mut gate = Credit(2);
    assert_eq!(harness.dispatch_through(&mut gate).len(), 2);
    // Refused: not asked again although there is credit by now.
    let mut gate = Credit(1);
    assert!(harness.dispatch_through(&mut gate).is_empty());
    assert_eq!(gate.0, 1);
    harness.queue.gate_opened(a);
    assert_eq!(receivers(&harness.dispatch_through(&mut gate)), [a]);
    assert_eq!(gate.0, 0, "taken once per delivery");
}

#[test]
fn the_channel_is_asked_last_and_only_for_a_message_that_is_there() {
    let mut harness = Harness::plain();
    harness.consume(1);
    let mut gate = Credit(9);
    assert!(harness.dispatch_through(&mut gate).is_empty());
    assert_eq!(gate.0, 9);
    harness.publish(3);
    assert_eq!(harness.dispatch_through(&mut gate).len(), 1);
    assert_eq!(gate.0, 8);
}

#[test]
fn an_exclusive_consumer_tolerates_no_other() {
    let exclusive = ConsumerSpec { exclusive: true, ..manual(0) };
    let refused = Err(ConsumeRefused::ExclusiveInUse);
    let mut harness = Harness::plain();
    let only = harness.queue.add_consumer(exclusive).unwrap();
    assert_eq!(harness.queue.add_consumer(manual(0)), refused);
    assert_eq!(harness.queue.add_consumer(exclusive), refused);
    harness.queue.remove_consumer(only);
    let shared = harness.consume(0);
    assert_eq!(harness.queue.add_consumer(exclusive), refused);
    harness.queue.remove_consumer(shared);
    assert!(harness.queue.add_consumer(exclusive).is_ok());
    assert_eq!(Harness::single_active().queue.add_consumer(exclusive), refused);
}

#[test]
fn consumers_are_bounded() {
    let mut harness = Harness::plain();
    for _ in 0..CONSUMERS_PER_QUEUE_MAX {
        harness.consume(0);
    }
    assert_eq!(harness.queue.add_consumer(manual(0)), Err(ConsumeRefused::TooMany));
    assert_eq!(harness.queue.consumer_count(), CONSUMERS_PER_QUEUE_MAX);
}

#[test]
fn get_is_independent_of_consumers_and_their_limits() {
    let mut harness = Harness::plain();
    assert_eq!(harness.queue.take(AckMode::Manual, 0, &mut Vec::new()).err(), Some(NothingTaken::Empty));
    harness.consume(1);
    harness.publish(4);
    let held = harness.dispatch();
    let taken = harness.queue.take(AckMode::Manual, 0, &mut Vec::new()).unwrap();
    assert_eq!((number_of(&taken.message), taken.redelivered, taken.remaining), (2, false, 2));
    let gone = harness.queue.take(AckMode::Automatic, 0, &mut Vec::new()).unwrap();
    assert_eq!((number_of(&gone.message), gone.slot, gone.remaining), (3, NO_SLOT, 1));
    assert_eq!(harness.queue.unacked_count(), 2);
    // Settling what was taken gives the consumer no credit.
    let mut effects = Vec::new();
    harness.queue.settle(Settlement::Requeue, &[taken.slot], &mut effects);
    assert!(harness.dispatch().is_empty());
    harness.settle(Settlement::Ack, &held);
    let next = harness.dispatch();
    assert_eq!((numbers(&next), next[0].redelivered), (vec![2], true));
}

#[test]
fn purge_takes_the_ready_messages_and_leaves_the_outstanding() {
    let mut harness = Harness::plain();
    let consumer = harness.consume(2);
    harness.publish(5);
    let held = harness.dispatch();
    let mut effects = Vec::new();
    assert_eq!(harness.queue.purge(&mut effects).ready, 3);
    assert!(effects.is_empty());
    assert_eq!((harness.queue.ready_count(), harness.queue.unacked_count()), (0, 2));
    harness.settle(Settlement::Requeue, &held);
    assert_eq!(receivers(&harness.dispatch()), [consumer; 2]);
    assert_eq!(harness.queue.purge(&mut effects).ready, 0);
}

#[test]
fn delete_cancels_all_consumers_and_drops_all_messages() {
    let mut harness = Harness::plain();
    let consumers = [harness.consume(2), harness.consume(0), harness.consume(0)];
    harness.queue.remove_consumer(consumers[1]);
    harness.publish(4);
    let held = harness.dispatch();
    harness.publish(2);
    let mut effects = Vec::new();
    assert_eq!(harness.queue.delete(&mut effects).ready, 2);
    let cancelled: Vec<_> = effects
        .iter()
        .map(|effect| match effect {
            Effect::ConsumerCancelled { consumer } => *consumer,
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    assert_eq!(cancelled, [consumers[0], consumers[2]]);
    assert!(harness.queue.is_deleted());
    // What still arrives from those who do not know yet is ignored.
    harness.settle(Settlement::Requeue, &held);
    harness.publish(1);
    harness.queue.written(consumers[0], 1, 4);
    harness.queue.gate_opened(consumers[0]);
    assert_eq!(harness.queue.remove_consumer(consumers[0]), RemovedConsumer { last: false });
    assert!(harness.dispatch().is_empty());
    assert_eq!(harness.queue.take(AckMode::Manual, 0, &mut Vec::new()).err(), Some(NothingTaken::Empty));
    let counts = (harness.queue.ready_count(), harness.queue.unacked_count(), harness.queue.consumer_count());
    assert_eq!((counts, harness.queue.memory_bytes()), ((0, 0, 0), 0));
}

#[test]
fn only_persistent_messages_of_durable_queues_are_reported_as_done() {
    let settled = |durable: bool, settle: fn(&mut Queue, &mut Vec<Effect>)| {
        let mut queue = Harness::new(QueueDeclare { durable, ..QueueDeclare::default() }).queue;
        for number in 0..4 {
            enqueue(&mut queue, message(number, number % 2 == 0, 4));
        }
        let mut effects = Vec::new();
        settle(&mut queue, &mut effects);
        let settled = effects.iter().filter_map(|effect| match effect {
            Effect::Settled { seq, .. } => Some(seq.0),
            _ => None,
        });
        settled.collect::<Vec<_>>()
    };
    let acknowledged = |queue: &mut Queue, effects: &mut Vec<Effect>| {
        let slots: Vec<_> =
            (0..4).map(|_| queue.take(AckMode::Manual, 0, &mut Vec::new()).unwrap().slot).collect();
        queue.settle(Settlement::Ack, &slots[..2], effects);
        queue.settle(Settlement::Discard, &slots[2..], effects);
    };
    let automatic = |queue: &mut Queue, effects: &mut Vec<Effect>| {
        queue.add_consumer(automatic()).unwrap();
        queue.dispatch(0, &mut Unlimited, effects);
    };
    let requeued = |queue: &mut Queue, effects: &mut Vec<Effect>| {
        let slot = queue.take(AckMode::Manual, 0, &mut Vec::new()).unwrap().slot;
        queue.settle(Settlement::Requeue, &[slot], effects);
    };
    let taken = |queue: &mut Queue, effects: &mut Vec<Effect>| {
        while let Ok(taken) = queue.take(AckMode::Automatic, 0, &mut Vec::new()) {
            effects.extend(taken.settled.map(|seq| Effect::Settled { level: 0, seq }));
        }
    };
    assert_eq!(settled(true, acknowledged), [0, 2]);
    assert_eq!(settled(true, automatic), [0, 2]);
    assert_eq!(settled(true, taken), [0, 2]);
    assert!(settled(true, requeued).is_empty());
    assert!(settled(false, acknowledged).is_empty());
    assert!(settled(false, automatic).is_empty());
    assert!(settled(false, taken).is_empty());
}

#[test]
fn purge_names_the_stored_messages_by_ranges_around_the_outstanding() {
    let mut queue = Harness::new(QueueDeclare { durable: true, ..QueueDeclare::default() }).queue;
    for number in 0..7 {
        enqueue(&mut queue, message(number, true, 4));
    }
    let taken: Vec<_> =
        (0..4).map(|_| queue.take(AckMode::Manual, 0, &mut Vec::new()).unwrap().slot).collect();
    queue.settle(Settlement::Requeue, &[taken[0], taken[1]], &mut Vec::new());
    let mut effects = Vec::new();
    assert_eq!(queue.purge(&mut effects).ready, 5);
    let [Effect::Purged { level: 0, ranges }] = &effects[..] else {
        panic!("unexpected {effects:?}");
    };
    let bounds: Vec<_> = ranges.iter().map(|range| (range.first.0, range.last.0)).collect();
    assert_eq!(bounds, [(0, 1), (4, 6)]);
}

#[test]
fn an_empty_queue_and_an_effect_are_small() {
    let queue = Harness::plain().queue;
    let bytes = size_of_val(&queue) + size_of_val(&**queue.options());
    assert!(bytes <= 400, "{bytes}");
    assert!(size_of::<Effect>() <= 24);
}

#[test]
fn ten_thousand_consumers_without_credit_do_not_hide_the_one_that_has_some() {
    let mut harness = Harness::plain();
    let all: Vec<_> = (0..10_000).map(|_| harness.consume(1)).collect();
    harness.publish(10_000);
    let held = harness.dispatch();
    assert_eq!(receivers(&held), all);
    harness.publish(20_000);
    let mut last = held[4711];
    for number in 10_001..30_000 {
        harness.settle(Settlement::Ack, &[last]);
        harness.queue.written(all[4711], 1, 4);
        let deliveries = harness.dispatch();
        assert_eq!((receivers(&deliveries), numbers(&deliveries)), (vec![all[4711]], vec![number]));
        last = deliveries[0];
    }
}
