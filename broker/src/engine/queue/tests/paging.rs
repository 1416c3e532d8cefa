//! Named scenarios of paging and of restored queues.

use super::super::*;

/// A channel without a limit.
pub(super) struct Unlimited;

impl ChannelGate for Unlimited {
    fn try_acquire(&mut self, _: ConsumerId) -> bool {
        true
    }
}

/// Enqueues a message into a queue that takes it without further ado.
pub(super) fn enqueue_one(queue: &mut Queue, message: Message) -> Seq {
    let mut effects = Vec::new();
    match queue.enqueue(message, 0, &mut Unlimited, &mut effects) {
        Enqueued::Accepted { level: 0, seq } if effects.is_empty() => seq,
        other => panic!("unexpected {other:?}, {effects:?}"),
    }
}

fn options(durable: bool) -> Arc<QueueOptions> {
    let declare = QueueDeclare { name: "q".to_owned(), durable, ..QueueDeclare::default() };
    Arc::new(QueueOptions::from_declare("/", declare).unwrap())
}

/// All test messages are of one size.
fn message(persistent: bool) -> Message {
    Message::new("", "q", &[0, 0], persistent, &[7; 100])
}

/// What one of them counts for in a queue.
fn message_bytes() -> usize {
    message(true).memory_bytes() + 24
}

/// A durable queue with messages numbered from 0: persistent where the text has a `p`, else transient.
fn queue_with(messages: &str) -> Queue {
    let mut queue = Queue::new(options(true));
    enqueue(&mut queue, messages);
    queue
}

fn enqueue(queue: &mut Queue, messages: &str) {
    for kind in messages.chars() {
        enqueue_one(queue, message(kind == 'p'));
    }
}

fn restored(next_seq: u64, delivered: Option<u64>, paged: (u64, u64, u64)) -> Queue {
    let (first, last, count) = paged;
    let paged = Some(PagedRange { first: Seq(first), last: Seq(last), count });
    let restored = Restored { next_seq: Seq(next_seq), delivered: delivered.map(Seq), paged };
    Queue::restore(options(true), &[restored])
}

/// As if exactly these had been found, having looked up to `up_to`.
fn found(wanted: WantedRange, seqs: impl IntoIterator<Item = u64>, up_to: u64) -> PagedIn {
    let messages: Vec<_> = seqs.into_iter().map(|seq| (Seq(seq), message(true), 0)).collect();
    PagedIn { wanted, messages, up_to: Seq(up_to), damaged: Vec::new() }
}

fn wanted(queue: &Queue) -> WantedRange {
    queue.page_in_wanted(usize::MAX).unwrap()
}

fn wanted_from(queue: &Queue, low_bytes: usize) -> Option<u64> {
    queue.page_in_wanted(low_bytes).map(|wanted| wanted.range.first.0)
}

fn page_in(queue: &mut Queue, seqs: impl IntoIterator<Item = u64>, up_to: u64) {
    queue.page_in(found(wanted(queue), seqs, up_to));
}

/// Takes everything that is in memory; gives the numbers, as the store is told them, and whether they were redelivered.
fn take_all(queue: &mut Queue) -> Vec<(u64, bool)> {
    let mut taken = Vec::new();
    while let Ok(Taken { settled, redelivered, .. }) = queue.take(AckMode::Automatic, 0, &mut Vec::new()) {
        taken.push((settled.map_or(u64::MAX, |seq| seq.0), redelivered));
    }
    taken
}

fn seqs_of(queue: &mut Queue) -> Vec<u64> {
    take_all(queue).into_iter().map(|(seq, _)| seq).collect()
}

fn candidates(queue: &mut Queue, keep_front_bytes: usize, bytes_max: usize) -> Vec<u64> {
    queue.paging_candidates(0, keep_front_bytes, bytes_max).into_iter().map(|(seq, _)| seq.0).collect()
}

#[test]
fn what_lies_behind_the_front_leaves_memory_and_comes_back_in_order() {
    let mut queue = queue_with("pppppp");
    assert_eq!(queue.page_in_wanted(usize::MAX), None);
    assert_eq!(queue.page_out(0, Seq(5), 2 * message_bytes()).ready, 4);
    assert_eq!((queue.ready_count(), queue.memory_bytes()), (6, 2 * message_bytes()));
    enqueue(&mut queue, "pp");
    assert_eq!((queue.ready_count(), queue.memory_bytes()), (8, 4 * message_bytes()));
    let first = queue.take(AckMode::Automatic, 0, &mut Vec::new()).unwrap();
    assert_eq!((first.settled, first.remaining), (Some(Seq(0)), 7));
    assert_eq!(seqs_of(&mut queue), [1]);
    assert_eq!(queue.take(AckMode::Manual, 0, &mut Vec::new()).err(), Some(NothingTaken::PagedOut));
    page_in(&mut queue, [2, 3], 3);
    assert_eq!(seqs_of(&mut queue), [2, 3]);
    page_in(&mut queue, [4, 5], 5);
    assert_eq!(seqs_of(&mut queue), [4, 5, 6, 7]);
    assert_eq!(queue.take(AckMode::Manual, 0, &mut Vec::new()).err(), Some(NothingTaken::Empty));
    assert_eq!((queue.ready_count(), queue.memory_bytes()), (0, 0));
}

#[test]
fn one_byte_more_to_keep_keeps_one_message_more() {
    for (keep, kept) in [(0, 0), (1, 1), (message_bytes(), 1), (message_bytes() + 1, 2), (usize::MAX, 4)] {
        let mut queue = queue_with("pppp");
        assert_eq!(queue.page_out(0, Seq(9), keep).ready, 4 - kept);
        assert_eq!(queue.memory_bytes(), kept as usize * message_bytes());
    }
}

#[test]
fn a_dispatch_ends_where_messages_are_not_in_memory() {
    let mut queue = queue_with("pppp");
    let spec = ConsumerSpec { ack_mode: AckMode::Automatic, prefetch: 0, exclusive: false, priority: 0 };
    queue.add_consumer(spec).unwrap();
    drop(queue.page_out(0, Seq(3), message_bytes()));
    let delivered = |queue: &mut Queue| {
        let mut effects = Vec::new();
        queue.dispatch(0, &mut Unlimited, &mut effects);
        effects.iter().filter(|effect| matches!(effect, Effect::Deliver { .. })).count()
    };
    assert_eq!(delivered(&mut queue), 1);
    assert_eq!(delivered(&mut queue), 0);
    page_in(&mut queue, 1..4, 3);
    assert_eq!(delivered(&mut queue), 3);
}

#[test]
fn a_run_ends_at_what_is_not_written_or_not_stored_and_the_next_one_goes_on_there() {
    let mut queue = queue_with("ppptp");
    assert_eq!(queue.page_out(0, Seq(1), 0).ready, 2);
    assert_eq!(queue.page_out(0, Seq(1), 0).ready, 0);
    assert_eq!(queue.page_out(0, Seq(4), 0).ready, 1);
    assert_eq!(queue.page_out(0, Seq(4), 0).ready, 0, "the transient one is in the way");
    assert_eq!(candidates(&mut queue, 0, usize::MAX), [3]);
    assert_eq!(queue.page_out(0, Seq(4), usize::MAX).ready, 2, "what is to be kept is about the front");
    assert_eq!((queue.ready_count(), queue.memory_bytes()), (5, 0));
    page_in(&mut queue, 0..5, 4);
    assert_eq!(seqs_of(&mut queue), [0, 1, 2, 3, 4]);
}

#[test]
fn what_was_delivered_once_stays_in_memory() {
    let mut queue = queue_with("ppppp");
    let slots: Vec<_> =
        (0..3).map(|_| queue.take(AckMode::Manual, 0, &mut Vec::new()).unwrap().slot).collect();
    queue.settle(Settlement::Requeue, &slots[..2], &mut Vec::new());
    assert_eq!(queue.page_out(0, Seq(4), 0).ready, 2);
    assert_eq!(wanted_from(&queue, usize::MAX), Some(3));
    // Returned while others behind it are paged.
    queue.settle(Settlement::Requeue, &slots[2..], &mut Vec::new());
    assert_eq!(take_all(&mut queue), [(0, true), (1, true), (2, true)]);
    page_in(&mut queue, 3..5, 4);
    assert_eq!(take_all(&mut queue), [(3, false), (4, false)]);
}

#[test]
fn candidates_are_the_transient_ones_that_may_go_each_named_once() {
    let mut queue = queue_with("ttptptt");
    let taken = queue.take(AckMode::Manual, 0, &mut Vec::new()).unwrap();
    queue.settle(Settlement::Requeue, &[taken.slot], &mut Vec::new());
    // The first was delivered, the second is to be kept; two exceed the bytes of one and a half.
    assert_eq!(candidates(&mut queue, 2 * message_bytes(), message_bytes() * 3 / 2), [3, 5]);
    enqueue(&mut queue, "pt");
    assert_eq!(candidates(&mut queue, 2 * message_bytes(), usize::MAX), [6, 8]);
    assert_eq!(candidates(&mut queue, 2 * message_bytes(), usize::MAX), [0; 0]);
    assert_eq!(candidates(&mut queue, message_bytes(), usize::MAX), [1]);
    assert_eq!(candidates(&mut queue, 0, usize::MAX), [0; 0]);
    assert_eq!(queue.page_out(0, Seq(8), 0).ready, 8);
    enqueue(&mut queue, "tt");
    assert_eq!(candidates(&mut queue, usize::MAX, 1), [9]);
    assert_eq!(candidates(&mut queue, usize::MAX, 1), [10]);
}

#[test]
fn a_transient_message_that_the_store_keeps_is_settled_like_a_persistent_one() {
    for durable in [true, false] {
        let mut queue = Queue::new(options(durable));
        enqueue(&mut queue, "ttttt");
        assert_eq!(candidates(&mut queue, message_bytes(), 3 * message_bytes()), [1, 2, 3]);
        drop(queue.page_out(0, Seq(2), message_bytes()));
        let unstored = queue.take(AckMode::Automatic, 0, &mut Vec::new()).unwrap();
        assert_eq!((unstored.settled, unstored.delivered), (None, None));
        page_in(&mut queue, 1..3, 2);
        let taken: Vec<_> =
            (0..3).map(|_| queue.take(AckMode::Manual, 0, &mut Vec::new()).unwrap()).collect();
        let told: Vec<_> = taken.iter().filter_map(|taken| taken.delivered).collect();
        assert_eq!(told, if durable { vec![Seq(1), Seq(2), Seq(3)] } else { vec![] });
        let mut effects = Vec::new();
        queue.settle(Settlement::Requeue, &[taken[0].slot], &mut effects);
        assert_eq!(effects.len(), usize::from(durable), "{effects:?}");
        effects.clear();
        queue.settle(Settlement::Ack, &[taken[1].slot], &mut effects);
        queue.settle(Settlement::Discard, &[taken[2].slot], &mut effects);
        assert!(matches!(
            effects[..],
            [Effect::Settled { seq: Seq(2), .. }, Effect::Settled { seq: Seq(3), .. }]
        ));
        assert_eq!(take_all(&mut queue), [(1, true), (u64::MAX, false)]);
    }
}

#[test]
fn what_was_loaded_for_another_range_is_ignored() {
    let mut queue = queue_with("pppppp");
    drop(queue.page_out(0, Seq(3), 0));
    let early = wanted(&queue);
    page_in(&mut queue, 0..2, 1);
    let in_memory = queue.memory_bytes();
    // Another one was faster, though this one loaded more; one that found nothing; one that did not look.
    queue.page_in(found(early, 0..4, 3));
    queue.page_in(found(early, [], 5));
    let late = wanted(&queue);
    queue.page_in(found(late, [], 1));
    assert_eq!((queue.ready_count(), queue.memory_bytes()), (6, in_memory));
    assert_eq!(wanted(&queue), late);
    drop(queue.purge(&mut Vec::new()));
    queue.page_in(found(late, 2..4, 3));
    assert_eq!((queue.ready_count(), queue.memory_bytes()), (0, 0));
    enqueue(&mut queue, "pp");
    drop(queue.page_out(0, Seq(7), 0));
    queue.page_in(found(late, 2..4, 3));
    assert_eq!((queue.ready_count(), queue.memory_bytes()), (2, 0));
    let last = wanted(&queue);
    drop(queue.delete(&mut Vec::new()));
    queue.page_in(found(last, 6..8, 7));
    assert_eq!((queue.ready_count(), queue.memory_bytes()), (0, 0));
}

#[test]
fn messages_paged_a_second_time_are_not_taken_for_the_first() {
    let mut queue = queue_with("pppp");
    drop(queue.page_out(0, Seq(3), 0));
    let early = wanted(&queue);
    // The second is damaged; a load that began before says nothing about how many are left.
    queue.page_in(PagedIn { damaged: vec![Seq(1)], ..found(early, [0, 2, 3], 3) });
    drop(queue.page_out(0, Seq(3), 0));
    assert_eq!(wanted(&queue).range.first, early.range.first);
    queue.page_in(PagedIn { damaged: vec![Seq(1)], ..found(early, [0], 1) });
    assert_eq!((queue.ready_count(), queue.memory_bytes()), (3, 0));
}

#[test]
fn a_load_that_reads_on_into_the_tail_brings_nothing_twice() {
    let mut queue = queue_with("pppp");
    drop(queue.page_out(0, Seq(1), 0));
    page_in(&mut queue, 0..4, 3);
    assert_eq!(queue.ready_count(), 4);
    assert_eq!(queue.memory_bytes(), 4 * message_bytes());
    assert_eq!(seqs_of(&mut queue), [0, 1, 2, 3]);
}

#[test]
fn a_load_that_reads_on_does_not_speak_for_messages_paged_meanwhile() {
    let mut queue = queue_with("pptp");
    drop(queue.page_out(0, Seq(1), 0));
    let before = wanted(&queue);
    // The store gets the transient one only after it was read, and lets it go from memory before that is taken in.
    assert_eq!(candidates(&mut queue, 0, usize::MAX), [2]);
    drop(queue.page_out(0, Seq(3), 0));
    queue.page_in(found(before, [0, 1, 3], 3));
    assert_eq!((queue.ready_count(), wanted_from(&queue, usize::MAX)), (4, Some(2)));
    page_in(&mut queue, [2, 3], 3);
    assert_eq!(seqs_of(&mut queue), [0, 1, 2, 3]);
}

#[test]
fn damaged_messages_leave_the_count_and_do_not_hold_up_the_rest() {
    let mut queue = queue_with("pppppp");
    drop(queue.page_out(0, Seq(4), 0));
    queue.page_in(PagedIn { damaged: vec![Seq(0), Seq(2)], ..found(wanted(&queue), [1], 2) });
    assert_eq!(queue.ready_count(), 4);
    assert_eq!(seqs_of(&mut queue), [1]);
    queue.page_in(PagedIn { damaged: vec![Seq(3), Seq(4)], ..found(wanted(&queue), [], 4) });
    assert_eq!(queue.ready_count(), 1);
    assert_eq!(seqs_of(&mut queue), [5]);
}

#[test]
fn a_range_of_which_all_messages_are_loaded_ends_though_its_numbers_do_not() {
    let mut queue = restored(9, None, (0, 8, 2));
    page_in(&mut queue, [0, 4], 4);
    assert_eq!(queue.page_in_wanted(usize::MAX), None);
    assert_eq!(seqs_of(&mut queue), [0, 4]);
    assert_eq!(queue.take(AckMode::Manual, 0, &mut Vec::new()).err(), Some(NothingTaken::Empty));
}

#[test]
fn loading_is_wanted_as_soon_as_the_front_is_short_of_bytes() {
    let mut queue = queue_with("pppp");
    drop(queue.page_out(0, Seq(2), 2 * message_bytes()));
    enqueue(&mut queue, "pp");
    assert_eq!(queue.page_in_wanted(2 * message_bytes()), None);
    assert_eq!(wanted_from(&queue, 2 * message_bytes() + 1), Some(2));
    let slot = queue.take(AckMode::Manual, 0, &mut Vec::new()).unwrap().slot;
    assert_eq!(queue.page_in_wanted(message_bytes()), None);
    assert_eq!(wanted_from(&queue, message_bytes() + 1), Some(2));
    queue.settle(Settlement::Requeue, &[slot], &mut Vec::new());
    assert_eq!(queue.page_in_wanted(2 * message_bytes()), None);
    let slots: Vec<_> =
        (0..2).map(|_| queue.take(AckMode::Manual, 0, &mut Vec::new()).unwrap().slot).collect();
    assert_eq!(queue.page_in_wanted(0), None);
    assert_eq!(wanted_from(&queue, 1), Some(2));
    queue.settle(Settlement::Requeue, &slots, &mut Vec::new());
    assert_eq!(queue.page_in_wanted(2 * message_bytes()), None);
}

#[test]
fn purge_names_what_is_paged_and_counts_it() {
    let mut queue = queue_with("pppppptt");
    let held = queue.take(AckMode::Manual, 0, &mut Vec::new()).unwrap();
    let other = queue.take(AckMode::Manual, 0, &mut Vec::new()).unwrap();
    queue.settle(Settlement::Requeue, &[held.slot], &mut Vec::new());
    drop(queue.page_out(0, Seq(4), 2 * message_bytes()));
    let mut effects = Vec::new();
    assert_eq!(queue.purge(&mut effects).ready, 7);
    let [Effect::Purged { level: 0, ranges }] = &effects[..] else {
        panic!("unexpected {effects:?}");
    };
    let bounds: Vec<_> = ranges.iter().map(|range| (range.first.0, range.last.0)).collect();
    assert_eq!(bounds, [(0, 0), (2, 7)]);
    assert_eq!((queue.ready_count(), queue.unacked_count()), (0, 1));
    assert_eq!(queue.memory_bytes(), message_bytes());
    queue.settle(Settlement::Requeue, &[other.slot], &mut effects);
    assert_eq!(take_all(&mut queue), [(1, true)]);
}

#[test]
fn purge_of_transient_messages_tells_the_store_if_it_keeps_some() {
    let mut queue = Queue::new(options(false));
    enqueue(&mut queue, "ttt");
    let mut effects = Vec::new();
    drop(queue.purge(&mut effects));
    assert!(effects.is_empty());
    enqueue(&mut queue, "ttt");
    assert_eq!(candidates(&mut queue, 0, 1), [3]);
    drop(queue.page_out(0, Seq(3), 0));
    assert_eq!(queue.purge(&mut effects).ready, 3);
    assert!(
        matches!(&effects[..], [Effect::Purged { level: 0, ranges }] if ranges.len() == 1),
        "{effects:?}"
    );
}

#[test]
fn delete_counts_what_is_paged() {
    let mut queue = queue_with("ppppp");
    drop(queue.page_out(0, Seq(3), message_bytes()));
    let mut effects = Vec::new();
    assert_eq!(queue.delete(&mut effects).ready, 5);
    assert!(effects.is_empty());
    assert_eq!((queue.ready_count(), queue.memory_bytes()), (0, 0));
    assert_eq!(queue.page_in_wanted(usize::MAX), None);
    assert_eq!(queue.page_out(0, Seq(9), 0).ready, 0);
    assert_eq!(candidates(&mut queue, 0, usize::MAX), [0; 0]);
}

#[test]
fn a_restored_queue_has_its_messages_paged_and_knows_which_were_delivered() {
    let mut queue = restored(12, Some(5), (3, 9, 4));
    assert_eq!((queue.ready_count(), queue.unacked_count(), queue.memory_bytes()), (4, 0, 0));
    assert_eq!(queue.take(AckMode::Manual, 0, &mut Vec::new()).err(), Some(NothingTaken::PagedOut));
    assert_eq!(enqueue_one(&mut queue, message(true)), Seq(12));
    assert_eq!(wanted_from(&queue, 1), Some(3));
    let mut loaded = found(wanted(&queue), [3, 5, 6, 9], 9);
    // It was returned, and then delivered again without the mark having become durable.
    loaded.messages[2].2 = 4;
    queue.page_in(loaded);
    let told: Vec<_> = (0..5)
        .map(|_| queue.take(AckMode::Manual, 0, &mut Vec::new()).unwrap())
        .map(|taken| (taken.redelivered, taken.delivered.map(|seq| seq.0), taken.slot))
        .collect();
    let expected = [(true, None), (true, None), (true, Some(6)), (false, Some(9)), (false, Some(12))];
    assert_eq!(told.iter().map(|&(redelivered, mark, _)| (redelivered, mark)).collect::<Vec<_>>(), expected);
    let mut effects = Vec::new();
    queue.settle(Settlement::Requeue, &[told[2].2], &mut effects);
    assert!(matches!(effects[..], [Effect::Returned { seq: Seq(6), count: 5, .. }]), "{effects:?}");
}

#[test]
fn a_restored_queue_uses_no_number_again() {
    assert_eq!(enqueue_one(&mut restored(4, Some(20), (3, 9, 4)), message(true)), Seq(21));
    assert_eq!(enqueue_one(&mut restored(4, Some(2), (3, 9, 4)), message(true)), Seq(10));
    let nothing = Restored { next_seq: Seq(7), delivered: None, paged: None };
    let mut queue = Queue::restore(options(true), &[nothing]);
    assert_eq!(queue.take(AckMode::Manual, 0, &mut Vec::new()).err(), Some(NothingTaken::Empty));
    assert_eq!(enqueue_one(&mut queue, message(true)), Seq(7));
    let mut queue = restored(7, None, (1, 5, 0));
    assert_eq!(queue.take(AckMode::Manual, 0, &mut Vec::new()).err(), Some(NothingTaken::Empty));
}

#[test]
fn counts_beyond_what_the_wire_can_say_stay_at_the_largest() {
    let mut queue = restored(9, None, (0, u64::MAX >> 1, u64::from(u32::MAX) + 5));
    assert_eq!(queue.ready_count(), u32::MAX);
    assert_eq!(queue.purge(&mut Vec::new()).ready, u32::MAX);
    let mut queue = restored(9, None, (0, 0, 1));
    let mut loaded = found(wanted(&queue), [0], 0);
    loaded.messages[0].2 = u16::MAX - 1;
    queue.page_in(loaded);
    for _ in 0..3 {
        let taken = queue.take(AckMode::Manual, 0, &mut Vec::new()).unwrap();
        assert!(taken.redelivered);
        let mut effects = Vec::new();
        queue.settle(Settlement::Requeue, &[taken.slot], &mut effects);
        assert!(matches!(effects[..], [Effect::Returned { count: u16::MAX, .. }]), "{effects:?}");
    }
}

#[test]
fn a_dispatch_tells_once_how_far_stored_messages_were_delivered() {
    let mut queue = queue_with("pptt");
    let spec = ConsumerSpec { ack_mode: AckMode::Manual, prefetch: 0, exclusive: false, priority: 0 };
    queue.add_consumer(spec).unwrap();
    let dispatch = |queue: &mut Queue| {
        let (mut effects, mut slots, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        queue.dispatch(0, &mut Unlimited, &mut effects);
        for effect in &effects {
            match effect {
                Effect::Deliver { slot, .. } => slots.push(*slot),
                Effect::Delivered { up_to, .. } => marks.push(up_to.0),
                other => panic!("unexpected {other:?}"),
            }
        }
        assert!(marks.is_empty() || matches!(effects.last(), Some(Effect::Delivered { .. })));
        (slots, marks)
    };
    let (slots, marks) = dispatch(&mut queue);
    assert_eq!((slots.len(), marks), (4, vec![1]));
    queue.settle(Settlement::Requeue, &slots, &mut Vec::new());
    let (slots, marks) = dispatch(&mut queue);
    assert_eq!((slots.len(), marks), (4, vec![]), "again is not further");
    assert_eq!(dispatch(&mut queue), (vec![], vec![]));
    enqueue(&mut queue, "tp");
    assert_eq!(dispatch(&mut queue).1, [5]);
}
