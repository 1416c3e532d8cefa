//! Backups that are made while clients publish and acknowledge as fast as they can, and what comes of restoring them.
//!
//! `WARREN_BACKUP_ROUNDS` is how many rounds, `WARREN_BACKUP_SEED` repeats the random choices (not the timing).

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use warren_tests::{Broker, warren};

use crate::connection::{Connection, Lifetime};
use crate::ledger::{Copy, Ledger, Settlement};
use crate::load::{Load, Plan};
use crate::message::{Id, Messages, Sizes};
use crate::random::{Random, seed, setting};
use crate::rounds::{FANOUT, QUEUES, ROUTES, look_at};

const MAIN: u16 = 1;

/// More than can be published in a round.
const PUBLISHES: usize = 1_000_000;

/// What the clients had done at one moment.
struct Moment {
    sent: HashSet<Copy>,
    confirmed: HashSet<Copy>,
    /// Acknowledged or rejected for good, by whom ever.
    settled: HashSet<Copy>,
    /// The same, and on the disk for certain.
    settled_for_certain: HashSet<Copy>,
}

impl Moment {
    fn of(ledgers: &[Ledger]) -> Self {
        let mut moment = Self {
            sent: HashSet::new(),
            confirmed: HashSet::new(),
            settled: HashSet::new(),
            settled_for_certain: HashSet::new(),
        };
        for ledger in ledgers {
            for (id, queues, is_confirmed) in ledger.sent() {
                let copies = queues.iter().map(|&queue| (queue, id));
                moment.sent.extend(copies.clone());
                moment.confirmed.extend(copies.filter(|_| is_confirmed));
            }
            for (copy, seen) in ledger.seen() {
                let settlement = ledger.settlement(seen);
                moment.settled.extend((settlement >= Settlement::Sent).then_some(copy));
                moment.settled_for_certain.extend((settlement == Settlement::Durable).then_some(copy));
            }
        }
        moment
    }
}

#[test]
fn a_backup_under_load_has_everything_that_was_confirmed_before_it_began() {
    let rounds = setting("WARREN_BACKUP_ROUNDS", || 4);
    let seed = seed("WARREN_BACKUP_SEED");
    println!("WARREN_BACKUP_SEED={seed} WARREN_BACKUP_ROUNDS={rounds}");
    let mut random = Random::new(seed);
    let mut checked = 0;
    for round in 0..rounds {
        checked += run_round(seed, round, &mut random);
    }
    // Else the load was too small or too slow to prove anything.
    assert!(checked > rounds * 50, "hardly a message was looked at");
}

/// How many messages had to be there.
fn run_round(seed: u64, round: usize, random: &mut Random) -> usize {
    let messages = Messages { seed: seed ^ u64::try_from(round).unwrap(), sizes: Sizes::Mixed };
    let mut broker = Broker::warren(&[]);
    let mut connection = Connection::open(broker.port());
    connection.channel(MAIN);
    connection.declare_exchange(MAIN, FANOUT, "fanout", Lifetime::Durable).unwrap();
    for (queue, name) in QUEUES.iter().enumerate() {
        connection.declare(MAIN, name, Lifetime::Durable).unwrap();
        if ROUTES[1].1.contains(&queue) {
            connection.bind(MAIN, name, FANOUT, "").unwrap();
        }
    }
    drop(connection);
    let loads: Vec<Load> = plans(random)
        .into_iter()
        .map(|plan| Load::start(broker.port(), messages, plan, random.fork()))
        .collect();
    // The moment of the backup, mostly after something is confirmed.
    thread::sleep(Duration::from_millis(150 + random.below(800)));
    let now = || Moment::of(&loads.iter().map(Load::ledger).collect::<Vec<_>>());
    let place = TempDir::new().unwrap();
    let backup = place.path().join("backup");
    let before = now();
    let rate = ["0", "20"][random.index(2)];
    let data = broker.data().unwrap().as_os_str();
    run(&[
        OsStr::new("ctl"),
        "--data".as_ref(),
        data,
        "backup".as_ref(),
        backup.as_ref(),
        "--rate".as_ref(),
        rate.as_ref(),
    ]);
    let after = now();
    broker.crash();
    for load in loads {
        assert_eq!(load.finish().problems(), Vec::<String>::new());
    }
    let restored = restore(&backup);
    let found = contents(messages, restored);
    let problems = judge(&before, &after, &found);
    assert!(problems.is_empty(), "WARREN_BACKUP_SEED={seed}, round {round}: {problems:#?}");
    let needed = before.confirmed.difference(&after.settled).count();
    println!(
        "round {round}: {needed} messages had to be there of {}",
        found.values().map(Vec::len).sum::<usize>()
    );
    needed
}

fn plans(random: &mut Random) -> Vec<Plan> {
    let plan = |publisher, window, consumes, hold| Plan {
        publisher,
        routes: &ROUTES,
        window,
        publishes: PUBLISHES,
        consumes,
        hold,
    };
    let all: Vec<_> = (0..).zip(QUEUES).map(|(queue, name)| (queue, name, 300)).collect();
    vec![
        plan(1, 128, Vec::new(), 0),
        plan(2, 2_000, Vec::new(), 0),
        plan(3, 1, vec![all[random.index(all.len())]], 40),
        plan(4, 128, vec![all[0], all[2]], random.index(200)),
    ]
}

fn restore(backup: &Path) -> TempDir {
    let restored = TempDir::new().unwrap();
    let data = restored.path().as_os_str();
    run(&[OsStr::new("restore"), backup.as_ref(), "--data".as_ref(), data]);
    run(&[OsStr::new("data"), "check".as_ref(), "--data".as_ref(), data]);
    restored
}

/// Runs a command that has to work.
fn run(arguments: &[&OsStr]) {
    let done = warren(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{arguments:?}: {out}{err}");
}

/// What is in the queues of a broker on this data folder, in their order.
fn contents(messages: Messages, data: TempDir) -> HashMap<usize, Vec<Id>> {
    let broker = Broker::warren_on(data);
    let mut connection = Connection::open(broker.port());
    connection.channel(MAIN);
    connection.find_exchange(MAIN, FANOUT).expect("the exchange is there");
    let mut found = HashMap::new();
    for queue in 0..QUEUES.len() {
        let look = look_at(messages, &mut connection, queue);
        assert_eq!(look.problems, Vec::<String>::new());
        found.insert(queue, look.messages.iter().map(|(_, found)| found.id).collect());
    }
    found
}

fn judge(before: &Moment, after: &Moment, found: &HashMap<usize, Vec<Id>>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut all = HashSet::new();
    for (&queue, ids) in found {
        let mut last: HashMap<u32, u32> = HashMap::new();
        for &id in ids {
            let copy = (queue, id);
            if !all.insert(copy) {
                problems.push(format!("queue {queue}: {id} is there twice"));
            } else if last.insert(id.publisher, id.number).is_some_and(|last| last > id.number) {
                problems.push(format!("queue {queue}: {id} is out of order"));
            }
            if !after.sent.contains(&copy) {
                problems.push(format!("queue {queue}: {id} was not published there"));
            }
            if before.settled_for_certain.contains(&copy) {
                problems.push(format!("queue {queue}: {id} was acknowledged on the disk before"));
            }
        }
    }
    for (queue, id) in before.confirmed.difference(&after.settled).filter(|copy| !all.contains(copy)) {
        problems.push(format!("queue {queue}: {id} was confirmed before and is not there"));
    }
    problems.truncate(30);
    problems
}

#[test]
fn the_judge_notices_each_kind_of_fault() {
    let id = |number| Id { publisher: 1, number };
    let copies = |numbers: &[u32]| numbers.iter().map(|&number| (0, id(number))).collect::<HashSet<Copy>>();
    let moment = |confirmed: &[u32], settled: &[u32]| Moment {
        sent: copies(&[0, 1, 2, 3]),
        confirmed: copies(confirmed),
        settled: copies(settled),
        settled_for_certain: copies(settled),
    };
    let verdict = |found: &[u32]| {
        let found = HashMap::from([(0, found.iter().map(|&number| id(number)).collect())]);
        judge(&moment(&[0, 1, 2], &[0]), &moment(&[0, 1, 2, 3], &[0, 1]), &found).join("; ")
    };
    assert_eq!(verdict(&[1, 2]), "");
    assert_eq!(verdict(&[2, 3]), "");
    assert!(verdict(&[1]).contains("p1-2 was confirmed before and is not there"));
    assert!(verdict(&[2, 2]).contains("p1-2 is there twice"));
    assert!(verdict(&[2, 1]).contains("p1-1 is out of order"));
    assert!(verdict(&[2, 9]).contains("p1-9 was not published there"));
    assert!(verdict(&[0, 2]).contains("p1-0 was acknowledged on the disk before"));
}
