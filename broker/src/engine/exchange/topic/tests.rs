//! Patterns by table, against a naive matcher at random, and the bound on the work for hostile keys.

use super::*;
use crate::engine::{exchange::Target, topology::tests::Random};

fn entry(binding: u32) -> Entry {
    Entry { target: Target::Queue(binding), binding }
}

fn matches(pattern: &str, routing_key: &str) -> bool {
    let mut topic = Topic::default();
    topic.insert(pattern, entry(7));
    let mut matched = Matched::default();
    topic.collect(routing_key, &mut matched);
    assert!(matched.queues.len() <= 1, "{pattern} on {routing_key} matched twice");
    !matched.queues.is_empty()
}

#[test]
fn patterns_match_word_by_word() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("old.*", &["old.boy", "old.", "old.#"], &["old", "old.boy.python", "new.boy", ".old.boy"]),
        ("old.#", &["old", "old.boy", "old.boy.python", "old.", "old.."], &["older", "", ".old", "new.old"]),
        ("#", &["", "a", "a.b", ".", "..", "a..b"], &[]),
        ("#.#", &["", "a", "a.b.c", "."], &[]),
        ("*", &["a", "*", "#"], &["", "a.b", "."]),
        ("*.*", &["a.b", ".", "a.", ".b"], &["a", "", "a.b.c", ".."]),
        (
            "a.#.b",
            &["a.b", "a.x.b", "a.x.y.b", "a..b", "a.b.b", "a.a.b"],
            &["a", "b", "a.b.c", "ab", "a.x.b.y"],
        ),
        ("#.b", &["b", "a.b", "b.b", ".b"], &["", "b.a", "b."]),
        ("#.*", &["a", "a.b", "."], &[""]),
        ("*.#", &["a", "a.b", "."], &[""]),
        ("#.*.#", &["a", "a.b", "."], &[""]),
        ("a.*.#.b", &["a.x.b", "a.x.y.b", "a.b.b", "a..b"], &["a.b", "a", "a.x"]),
        ("a..b", &["a..b"], &["a.b", "a.x.b", "a"]),
        ("a.*.b", &["a..b", "a.x.b"], &["a.b"]),
        ("", &[""], &["a", ".", "."]),
        (".", &["."], &["", "a", ".."]),
        (".a", &[".a"], &["a", "a."]),
        ("a.", &["a."], &["a", ".a", "a.."]),
        ("a.b", &["a.b"], &["a", "a.b.c", "A.b", "a.B"]),
        ("a*.b", &["a*.b"], &["ax.b", "a.b"]),
        ("a.##", &["a.##"], &["a", "a.b"]),
        ("ä.*", &["ä.ö"], &["a.ö"]),
    ];
    for (pattern, hits, misses) in table {
        for key in *hits {
            assert!(matches(pattern, key), "'{pattern}' should match '{key}'");
        }
        for key in *misses {
            assert!(!matches(pattern, key), "'{pattern}' should not match '{key}'");
        }
    }
}

fn naive(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern, key) {
        ([], []) => true,
        (["#", rest @ ..], _) => naive(rest, key) || (!key.is_empty() && naive(pattern, &key[1..])),
        (["*", rest @ ..], [_, tail @ ..]) => naive(rest, tail),
        ([word, rest @ ..], [first, tail @ ..]) => word == first && naive(rest, tail),
        _ => false,
    }
}

fn split(key: &str) -> Vec<&str> {
    if key.is_empty() { Vec::new() } else { key.split('.').collect() }
}

#[test]
fn the_trie_agrees_with_a_naive_matcher_while_bindings_come_and_go() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut topic = Topic::default();
        let mut bindings: Vec<(String, u32, u32)> = Vec::new();
        for number in 0..200_u32 {
            if random.below(3) == 0 && !bindings.is_empty() {
                let (pattern, _, slot) = bindings.swap_remove(random.below(bindings.len()));
                if let Some(moved) = topic.remove(&pattern, slot) {
                    bindings.iter_mut().find(|binding| binding.1 == moved).unwrap().2 = slot;
                }
            } else {
                let pattern = random.key(&["a", "b", "", "*", "#", "#"], 6);
                let slot = topic.insert(&pattern, entry(number));
                bindings.push((pattern, number, slot));
            }
            let key = random.key(&["a", "b", "", "c"], 7);
            let mut matched = Matched::default();
            topic.collect(&key, &mut matched);
            matched.queues.sort_unstable();
            let mut expected: Vec<u32> = bindings
                .iter()
                .filter(|(pattern, ..)| naive(&split(pattern), &split(&key)))
                .map(|binding| binding.1)
                .collect();
            expected.sort_unstable();
            assert_eq!(
                matched.queues.as_slice(),
                expected,
                "seed {seed}, key '{key}', bindings {bindings:?}"
            );
        }
        while let Some((pattern, _, slot)) = bindings.pop() {
            if let Some(moved) = topic.remove(&pattern, slot) {
                bindings.iter_mut().find(|binding| binding.1 == moved).unwrap().2 = slot;
            }
        }
        assert_eq!((topic.nodes.len(), topic.words.len()), (1, 0), "seed {seed}: only the root is left");
        assert!(topic.edges.is_empty() && topic.word_numbers.is_empty(), "seed {seed}");
    }
}

#[test]
fn hostile_keys_visit_each_node_at_most_once_per_word() {
    let mut topic = Topic::default();
    for (number, unit) in (0..).zip(["#.a.", "#.*.", "#.a.a.", "#.a.*.", "*.#.a."]) {
        let pattern = unit.repeat(250 / unit.len());
        topic.insert(pattern.trim_end_matches('.'), entry(number));
    }
    // 128 words, the last of which fits no pattern that ends in `a`.
    let key = format!("{}b", "a.".repeat(127));
    let mut matched = Matched::default();
    let visits = topic.collect(&key, &mut matched);
    assert!(visits <= topic.nodes.len() * 129, "{visits} visits of {} nodes", topic.nodes.len());
    assert!(visits > 10_000, "the keys are meant to be hostile, but cost {visits} visits only");
    matched.queues.sort_unstable();
    assert_eq!(matched.queues.as_slice(), [1, 3], "only the patterns that end in `*` match");
}

#[test]
fn runs_of_hashes_take_one_node() {
    let mut topic = Topic::default();
    let pattern = format!("{}#", "#.".repeat(127));
    let first = topic.insert(&pattern, entry(0));
    let second = topic.insert("#", entry(1));
    assert_eq!(topic.nodes.len(), 2);
    let mut matched = Matched::default();
    assert!(topic.collect(&".".repeat(255), &mut matched) <= 2 * 257);
    assert_eq!(matched.queues.as_slice(), [0, 1]);
    assert_eq!(topic.remove("#", second), None);
    assert_eq!(topic.remove(&pattern, first), None);
    assert_eq!(topic.nodes.len(), 1);
}
