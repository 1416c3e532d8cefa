//! The ledger without a broker.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::*;

type Answer = oneshot::Receiver<Result<(), Error>>;

fn entry(id: &str, deadline: Option<Instant>) -> (Entry, Answer) {
    let (reply, answer) = oneshot::channel();
    let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let entry = Entry {
        exchange: "".into(),
        routing_key: "q".into(),
        message: Arc::new(Message::text(id)),
        id: id.to_owned(),
        attempts: 0,
        deadline,
        reply,
        _room: room,
    };
    (entry, answer)
}

fn ledger(count: usize) -> (Ledger, Vec<Answer>) {
    let mut ledger = Ledger::default();
    let mut answers = Vec::new();
    for number in 0..count {
        let (entry, answer) = entry(&format!("m{number}"), None);
        ledger.add(entry);
        answers.push(answer);
    }
    (ledger, answers)
}

fn send_all(ledger: &mut Ledger) -> Vec<u64> {
    std::iter::from_fn(|| ledger.send_next().map(|(number, _)| number)).collect()
}

#[test]
fn messages_are_sent_in_order_and_those_to_be_sent_again_first() {
    let (mut ledger, _answers) = ledger(4);
    assert_eq!(send_all(&mut ledger), [0, 1, 2, 3]);
    ledger.arrived(2);
    ledger.again(2);
    let (entry, _answer) = entry("m4", None);
    ledger.add(entry);
    assert_eq!(send_all(&mut ledger), [2, 4]);
}

#[test]
fn suspects_go_alone_until_each_is_settled() {
    let (mut ledger, _answers) = ledger(3);
    send_all(&mut ledger);
    for number in 0..3 {
        ledger.arrived(number);
    }
    ledger.suspect(&[0, 1]);
    ledger.again(2);
    assert_eq!(send_all(&mut ledger), [0]);
    assert!(send_all(&mut ledger).is_empty(), "0 is on its way");
    assert_eq!(ledger.on_their_way(), [0]);
    ledger.arrived(0);
    ledger.settle(0, Err(Error::Closed));
    assert_eq!(send_all(&mut ledger), [1]);
    ledger.arrived(1);
    ledger.settle(1, Ok(()));
    assert_eq!(send_all(&mut ledger), [2]);
}

#[test]
fn what_was_returned_is_found_by_its_id() {
    let (mut ledger, _answers) = ledger(3);
    send_all(&mut ledger);
    ledger.note_returned("m1", "NO_ROUTE");
    ledger.note_returned("unknown", "NO_ROUTE");
    assert_eq!(ledger.take_returned(0), None);
    assert_eq!(ledger.take_returned(1).as_deref(), Some("NO_ROUTE"));
    assert_eq!(ledger.take_returned(1), None);
}

#[test]
fn a_flush_waits_for_what_came_before_and_tells_of_failures_nobody_heard_of() {
    let (mut ledger, mut answers) = ledger(2);
    let (reply, mut flushed) = oneshot::channel();
    ledger.flush(reply);
    let (later, _answer) = entry("m2", None);
    ledger.add(later);
    drop(answers.remove(0));
    ledger.settle(0, Err(Error::Closed));
    assert!(flushed.try_recv().is_err(), "m1 is not settled");
    ledger.settle(1, Err(Error::Closed));
    let told = flushed.try_recv().unwrap().unwrap_err();
    assert!(matches!(told, Error::Flush { failed: 1, .. }), "{told}");
    assert!(answers.remove(0).try_recv().unwrap().is_err());
    ledger.settle(2, Ok(()));
    let (reply, mut flushed) = oneshot::channel();
    ledger.flush(reply);
    assert!(flushed.try_recv().unwrap().is_ok(), "told once");
}

#[test]
fn only_the_overdue_are_given_up() {
    let now = Instant::now();
    let mut ledger = Ledger::default();
    let (first, mut answer) = entry("a", Some(now));
    let (second, mut other) = entry("b", Some(now + Duration::from_secs(1)));
    ledger.add(first);
    ledger.add(second);
    assert_eq!(ledger.deadline(), Some(now));
    ledger.settle_overdue(now, |_| Error::Closed);
    assert!(answer.try_recv().unwrap().is_err());
    assert!(other.try_recv().is_err());
    assert_eq!(ledger.len(), 1);
}

#[test]
fn a_blocked_broker_may_have_what_was_sent_and_nothing_else() {
    let (mut ledger, mut answers) = ledger(2);
    assert_eq!(send_all(&mut ledger), [0, 1]);
    // The broker declined it, and its pause is not over.
    ledger.arrived(1);
    let (entry, answer) = entry("m2", None);
    ledger.add(entry);
    answers.push(answer);
    let unsent = Error::Blocked { reason: "low on memory".to_owned() };
    ledger.settle_blocked(&unsent, |_| Error::Closed);
    let told: Vec<Error> = answers.iter_mut().map(|answer| answer.try_recv().unwrap().unwrap_err()).collect();
    assert!(matches!(told[..], [Error::Closed, Error::Blocked { .. }, Error::Blocked { .. }]), "{told:?}");
    ledger.again(1);
    ledger.arrived(0);
    assert_eq!((ledger.len(), ledger.send_next().is_none()), (0, true), "what was settled is not sent again");
}
