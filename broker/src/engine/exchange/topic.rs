//! [`Topic`]: binding keys as patterns over words, in a trie.
//!
//! Words are what stands between dots, compared as bytes; the empty key has none, `a..b` has an empty one in the middle.
//! `*` stands for exactly one word, `#` for any number of words.
//!
//! Matching walks the trie as a nondeterministic automaton: word by word it keeps the set of nodes that the words so
//! far can reach. A node is visited at most once per word, so that a publish costs at most (words of its key) x (nodes
//! of the trie) visits whatever the patterns are. Backtracking over `#.a.#.a.#` would be exponential; RabbitMQ 4.3
//! therefore refuses keys with more than two `#`, which is not needed here.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use smallvec::SmallVec;

use super::{Bucket, Entry, Matched};
use crate::engine::arena::Arena;

/// No node; also the parent of the root.
const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

/// One step of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step<W> {
    Word(W),
    /// `*`
    Star,
    /// `#`
    Hash,
}

/// The bindings of a topic exchange.
#[derive(Debug)]
pub(crate) struct Topic {
    nodes: Arena<Node>,
    /// From a node by a literal word to its child. One map for the whole trie: most nodes have one child.
    edges: HashMap<(u32, u32), u32>,
    /// Each distinct word once, so that a publish hashes each word of its key once.
    word_numbers: HashMap<Arc<[u8]>, u32>,
    words: Arena<Word>,
}

#[derive(Debug)]
struct Node {
    parent: u32,
    /// How the parent reaches it.
    step: Step<u32>,
    /// Children by literal words.
    literals: u32,
    star: u32,
    hash: u32,
    bucket: Bucket,
}

#[derive(Debug)]
struct Word {
    text: Arc<[u8]>,
    /// Edges that bear it.
    uses: u32,
}

impl Node {
    fn new(parent: u32, step: Step<u32>) -> Self {
        Self { parent, step, literals: 0, star: NONE, hash: NONE, bucket: Bucket::default() }
    }

    fn is_dead(&self) -> bool {
        self.parent != NONE
            && self.bucket.is_empty()
            && self.literals == 0
            && self.star == NONE
            && self.hash == NONE
    }
}

impl Default for Topic {
    fn default() -> Self {
        let mut nodes = Arena::default();
        let root = nodes.insert(Node::new(NONE, Step::Hash));
        debug_assert_eq!(root, ROOT);
        Self { nodes, edges: HashMap::new(), word_numbers: HashMap::new(), words: Arena::default() }
    }
}

impl Topic {
    pub(super) fn insert(&mut self, binding_key: &str, entry: Entry) -> u32 {
        let mut node = ROOT;
        for step in steps(binding_key) {
            node = match self.child(node, step) {
                Some(child) => child,
                None => self.add_child(node, step),
            };
        }
        self.nodes[node].bucket.insert(entry)
    }

    pub(super) fn remove(&mut self, binding_key: &str, slot: u32) -> Option<u32> {
        let mut node = ROOT;
        for step in steps(binding_key) {
            node = self.child(node, step)?;
        }
        let moved = self.nodes[node].bucket.remove(slot);
        self.prune(node);
        moved
    }

    /// Adds what matches; returns the number of nodes visited, which tests hold against the bound.
    pub(super) fn collect(&self, routing_key: &str, matched: &mut Matched) -> usize {
        let mut current = SmallVec::<[u32; 16]>::new();
        let mut next = SmallVec::<[u32; 16]>::new();
        let mut visits = 0;
        self.enter(ROOT, &mut current);
        for word in words(routing_key) {
            let word = self.word_numbers.get(word).copied();
            let mut stayed = false;
            for &at in &current {
                let node = &self.nodes[at];
                if node.step == Step::Hash && at != ROOT {
                    next.push(at);
                    stayed = true;
                }
                if node.literals > 0
                    && let Some(&child) = word.and_then(|word| self.edges.get(&(at, word)))
                {
                    self.enter(child, &mut next);
                }
                if node.star != NONE {
                    self.enter(node.star, &mut next);
                }
            }
            visits += current.len();
            // Only a `#` can be reached in two ways at once: by staying, and by entering its parent anew.
            if stayed {
                next.sort_unstable();
                next.dedup();
            }
            std::mem::swap(&mut current, &mut next);
            next.clear();
            if current.is_empty() {
                return visits;
            }
        }
        for &at in &current {
            self.nodes[at].bucket.collect(matched);
        }
        visits + current.len()
    }

    /// A node is reached together with its `#` child, which asks for no word at all.
    fn enter(&self, node: u32, set: &mut SmallVec<[u32; 16]>) {
        set.push(node);
        let hash = self.nodes[node].hash;
        if hash != NONE {
            set.push(hash);
        }
    }

    fn child(&self, node: u32, step: Step<&[u8]>) -> Option<u32> {
        match step {
            Step::Word(word) => {
                let word = self.word_numbers.get(word)?;
                self.edges.get(&(node, *word)).copied()
            }
            Step::Star => Some(self.nodes[node].star).filter(|&child| child != NONE),
            Step::Hash => Some(self.nodes[node].hash).filter(|&child| child != NONE),
        }
    }

    fn add_child(&mut self, parent: u32, step: Step<&[u8]>) -> u32 {
        match step {
            Step::Word(word) => {
                let word = self.intern(word);
                let child = self.nodes.insert(Node::new(parent, Step::Word(word)));
                self.edges.insert((parent, word), child);
                self.nodes[parent].literals += 1;
                child
            }
            Step::Star => {
                let child = self.nodes.insert(Node::new(parent, Step::Star));
                self.nodes[parent].star = child;
                child
            }
            Step::Hash => {
                let child = self.nodes.insert(Node::new(parent, Step::Hash));
                self.nodes[parent].hash = child;
                child
            }
        }
    }

    fn intern(&mut self, word: &[u8]) -> u32 {
        if let Some(&number) = self.word_numbers.get(word) {
            self.words[number].uses += 1;
            return number;
        }
        let text: Arc<[u8]> = word.into();
        let number = self.words.insert(Word { text: text.clone(), uses: 1 });
        self.word_numbers.insert(text, number);
        number
    }

    fn release_word(&mut self, number: u32) {
        self.words[number].uses -= 1;
        if self.words[number].uses == 0
            && let Some(word) = self.words.remove(number)
        {
            self.word_numbers.remove(&word.text);
        }
    }

    /// Removes the node and its ancestors as far as nothing needs them any more.
    fn prune(&mut self, mut node: u32) {
        while self.nodes[node].is_dead() {
            let Some(dead) = self.nodes.remove(node) else { return };
            let parent = &mut self.nodes[dead.parent];
            match dead.step {
                Step::Word(word) => {
                    parent.literals -= 1;
                    self.edges.remove(&(dead.parent, word));
                    self.release_word(word);
                }
                Step::Star => parent.star = NONE,
                Step::Hash => parent.hash = NONE,
            }
            node = dead.parent;
        }
    }
}

/// The words of a key: none if it is empty.
fn words(key: &str) -> impl Iterator<Item = &[u8]> {
    let words = if key.is_empty() { None } else { Some(key.as_bytes().split(|&byte| byte == b'.')) };
    words.into_iter().flatten()
}

/// The steps of a pattern, with runs of `#` made one: `#.#` means what `#` means.
fn steps(pattern: &str) -> impl Iterator<Item = Step<&[u8]>> {
    let mut after_hash = false;
    words(pattern)
        .map(|word| match word {
            b"*" => Step::Star,
            b"#" => Step::Hash,
            word => Step::Word(word),
        })
        .filter(move |step| {
            let repeated = after_hash && *step == Step::Hash;
            after_hash = *step == Step::Hash;
            !repeated
        })
}

#[cfg(test)]
mod tests;
