//! Random operations against a naive model. `WARREN_SEED=n` repeats one run.

use super::*;

/// A queue of the model: what is stored, and what of it is only perhaps durable.
#[derive(Debug, Default)]
struct Model {
    queues: BTreeMap<u64, BTreeMap<u64, Vec<u8>>>,
    next: BTreeMap<u64, u64>,
    definitions: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A small generator (xorshift64*).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32).try_into().expect("32 bits are left")
    }
}

fn random_bytes(rng: &mut Rng, max: u32) -> Vec<u8> {
    let len = match rng.next() % 20 {
        0 => rng.next() % (200 * max),
        1 => 0,
        _ => rng.next() % max,
    };
    let seed = rng.next().to_le_bytes();
    seed.iter().copied().cycle().take(len as usize).collect()
}

/// One random operation on both.
fn step(rng: &mut Rng, store: &LogStore, model: &mut Model) {
    let id = u64::from(rng.next() % 4);
    let queue = QueueId(id);
    match rng.next() % 12 {
        0..6 => {
            let count = 1 + rng.next() % 30;
            let bodies: Vec<Vec<u8>> = (0..count).map(|_| random_bytes(rng, 2000)).collect();
            let next = model.next.entry(id).or_default();
            // A gap is a transient message that was never stored.
            *next += u64::from(rng.next() % 2);
            let messages: Vec<(u64, Vec<u8>)> = (*next..).zip(bodies).collect();
            *next += u64::from(count);
            model.queues.entry(id).or_default().extend(messages.iter().cloned());
            append(store, queue, messages);
        }
        6..10 => {
            let held = model.queues.entry(id).or_default();
            let seqs: Vec<u64> =
                held.keys().copied().filter(|_| rng.next().is_multiple_of(3)).take(40).collect();
            seqs.iter().for_each(|seq| drop(held.remove(seq)));
            store.settle(queue, &seqs.into_iter().map(Seq).collect::<Vec<_>>());
        }
        10 => {
            let held = model.queues.entry(id).or_default();
            if let Some((&first, _)) = held.first_key_value() {
                // Not beyond what there is: a commit's settling may come after the messages that it brings.
                let newest = model.next[&id] - 1;
                let last = (first + u64::from(rng.next() % 100)).min(newest);
                held.retain(|seq, _| !(first..=last).contains(seq));
                store.settle_ranges(queue, &[SeqRange { first: Seq(first), last: Seq(last) }]);
            }
        }
        _ => {
            let key = vec![u8::try_from(rng.next() % 5).expect("small")];
            let value = rng.next().is_multiple_of(2).then(|| random_bytes(rng, 20));
            match &value {
                Some(value) => drop(model.definitions.insert(key.clone(), value.clone())),
                None => drop(model.definitions.remove(&key)),
            }
            store.define(key, value);
        }
    }
}

fn check(store: &LogStore, restored: &Restored, model: &Model) {
    assert!(restored.findings.is_empty(), "{:?}", restored.findings);
    assert_eq!(restored.definitions, model.definitions);
    for (&id, held) in &model.queues {
        let found = contents(store, restored, QueueId(id));
        assert_eq!(found.keys().collect::<Vec<_>>(), held.keys().collect::<Vec<_>>(), "queue {id}");
        assert!(found == *held, "bodies of queue {id} differ");
    }
}

#[test]
fn random_operations_survive_closing_and_crashing() {
    let seed = std::env::var("WARREN_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| crate::store::flusher::now_ms() | 1);
    println!("WARREN_SEED={seed}");
    let mut rng = Rng(seed);
    let root = tempfile::tempdir().expect("a folder");
    let mut data: PathBuf = root.path().join("0");
    fs::create_dir_all(&data).expect("a folder");
    let mut model = Model::default();
    for round in 1..30 {
        let (store, restored) = open(&data);
        check(&store, &restored, &model);
        for _ in 0..rng.next() % 60 {
            step(&mut rng, &store, &mut model);
            if rng.next().is_multiple_of(8) {
                wait_durable(&store, store.current());
            }
        }
        if rng.next().is_multiple_of(2) {
            store.close().expect("closes");
        } else {
            // The barrier, and then what a killed process would leave.
            store.define(b"barrier".to_vec(), None);
            let epoch = store.append(QueueId(99), Kept::Durably, &mut vec![(Seq(round), message(b""))]);
            wait_durable(&store, epoch);
            let next = root.path().join(round.to_string());
            copy(&data, &next);
            drop(store);
            data = next;
        }
    }
}
