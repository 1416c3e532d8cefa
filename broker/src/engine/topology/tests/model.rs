//! Random operations on a topology and on a naive model: a list of bindings, looked through from end to end.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Queue(&'static str),
    Exchange(&'static str),
}

impl End {
    fn destination(self) -> Destination<'static> {
        match self {
            Self::Queue(name) => Destination::Queue(name),
            Self::Exchange(name) => Destination::Exchange(name),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ModelBinding {
    source: &'static str,
    to: End,
    key: &'static str,
    /// Stands for the arguments `{"x-match": "any", "h": mark}`, or none.
    mark: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Model {
    exchanges: BTreeMap<&'static str, ExchangeOptions>,
    queues: BTreeMap<&'static str, Option<ConnectionId>>,
    bindings: BTreeSet<ModelBinding>,
}

const EXCHANGES: &[&str] = &["e0", "e1", "e2", "e3", "e4", "e5"];
const QUEUES: &[&str] = &["q0", "q1", "q2", "q3", "q4"];
const KEYS: &[&str] = &["", "a", "a.b", "q1", "*.b", "#", "a.#", "#.b.#"];
const MARKS: &[Option<&str>] = &[None, Some("u"), Some("v")];

impl Model {
    fn has(&self, end: End) -> bool {
        match end {
            End::Queue(name) => self.queues.contains_key(name),
            End::Exchange(name) => self.exchanges.contains_key(name),
        }
    }

    fn owned_by_other(&self, end: End, by: ConnectionId) -> bool {
        matches!(end, End::Queue(name) if self.queues[name].is_some_and(|owner| owner != by))
    }

    /// Removes bindings, then auto-delete exchanges that thereby have lost their last, until nothing changes.
    fn unlink(&mut self, gone: impl Fn(&ModelBinding) -> bool) {
        let mut removed: Vec<ModelBinding> = self.bindings.iter().copied().filter(|one| gone(one)).collect();
        while let Some(binding) = removed.pop() {
            self.bindings.remove(&binding);
            let source = binding.source;
            let unused = self.exchanges.get(source).is_some_and(|options| options.auto_delete)
                && !self.bindings.iter().any(|other| other.source == source);
            if unused {
                self.exchanges.remove(source);
                removed.extend(self.bindings.iter().filter(|other| other.to == End::Exchange(source)));
            }
        }
    }

    fn delete_exchange(&mut self, name: &'static str) {
        self.exchanges.remove(name);
        self.bindings.retain(|binding| binding.source != name);
        self.unlink(|binding| binding.to == End::Exchange(name));
    }

    fn matches(&self, binding: &ModelBinding, key: &str, header: &str) -> bool {
        match self.exchanges[binding.source].kind {
            ExchangeKind::Direct => binding.key == key,
            ExchangeKind::Fanout => true,
            ExchangeKind::Topic => naive_topic(&split(binding.key), &split(key)),
            // Without arguments all of nothing is asked.
            ExchangeKind::Headers => binding.mark.is_none_or(|mark| mark == header),
            other => unreachable!("no exchange of type {} is made here", other.name()),
        }
    }

    /// What the exchange reaches through bindings alone: queues, and exchanges with itself among them.
    fn reach(
        &self,
        start: &'static str,
        key: &str,
        header: &str,
    ) -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
        let (mut queues, mut exchanges) = (BTreeSet::new(), BTreeSet::from([start]));
        loop {
            let before = (queues.len(), exchanges.len());
            for binding in &self.bindings {
                if exchanges.contains(binding.source) && self.matches(binding, key, header) {
                    match binding.to {
                        End::Queue(name) => queues.insert(name),
                        End::Exchange(name) => exchanges.insert(name),
                    };
                }
            }
            if before == (queues.len(), exchanges.len()) {
                return (queues, exchanges);
            }
        }
    }

    fn route(&self, start: &'static str, key: &str, header: &str) -> Vec<&'static str> {
        let (mut queues, mut exchanges) = self.reach(start, key, header);
        loop {
            let alternates: Vec<&'static str> = exchanges
                .iter()
                .filter(|exchange| self.reach(exchange, key, header).0.is_empty())
                .filter_map(|exchange| self.exchanges[exchange].alternate_exchange.as_deref())
                .filter_map(|alternate| self.exchanges.get_key_value(alternate).map(|(&name, _)| name))
                .collect();
            let before = exchanges.len();
            for alternate in alternates {
                let (more_queues, more_exchanges) = self.reach(alternate, key, header);
                queues.extend(more_queues);
                exchanges.extend(more_exchanges);
            }
            if exchanges.len() == before {
                return queues.into_iter().collect();
            }
        }
    }
}

fn split(key: &str) -> Vec<&str> {
    if key.is_empty() { Vec::new() } else { key.split('.').collect() }
}

fn naive_topic(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern, key) {
        ([], []) => true,
        (["#", rest @ ..], _) => {
            naive_topic(rest, key) || (!key.is_empty() && naive_topic(pattern, &key[1..]))
        }
        (["*", rest @ ..], [_, tail @ ..]) => naive_topic(rest, tail),
        ([word, rest @ ..], [first, tail @ ..]) => word == first && naive_topic(rest, tail),
        _ => false,
    }
}

fn marked(mark: Option<&str>) -> FieldTable {
    mark.map(|mark| arguments(&[("x-match", text("any")), ("h", text(mark))])).unwrap_or_default()
}

fn random_exchange(random: &mut Random, name: &str) -> ExchangeOptions {
    let kind = random.pick(&["direct", "fanout", "topic", "headers"]);
    let mut options = exchange(name, kind);
    options.auto_delete = random.below(3) == 0;
    options.alternate_exchange = (random.below(3) == 0).then(|| random.pick(EXCHANGES).to_owned());
    options
}

/// One random operation on both; they must agree on whether it is allowed.
fn step(random: &mut Random, topology: &mut Names, model: &mut Model) -> String {
    let by = random.pick(&[ME, OTHER]);
    let (exchange, queue) = (random.pick(EXCHANGES), random.pick(QUEUES));
    let to = if random.below(3) == 0 { End::Exchange(random.pick(EXCHANGES)) } else { End::Queue(queue) };
    let binding = ModelBinding { source: exchange, to, key: random.pick(KEYS), mark: random.pick(MARKS) };
    let arguments = marked(binding.mark);
    match random.below(12) {
        0 | 1 => {
            let options = random_exchange(random, exchange);
            let allowed = model.exchanges.get(exchange).is_none_or(|existing| *existing == options);
            assert_eq!(topology.declare_exchange(options.clone()).is_ok(), allowed);
            model.exchanges.entry(exchange).or_insert(options);
            format!("declare {exchange}")
        }
        2 => {
            let if_unused = random.below(2) == 0;
            let used = model.bindings.iter().any(|binding| binding.source == exchange);
            let allowed = !(if_unused && used);
            assert_eq!(topology.delete_exchange(exchange, if_unused).is_ok(), allowed);
            if allowed && model.exchanges.contains_key(exchange) {
                model.delete_exchange(exchange);
            }
            format!("delete {exchange}, if unused {if_unused}")
        }
        3 | 4 => {
            let owner = (random.below(3) == 0).then_some(by);
            let allowed = model.queues.get(queue).is_none_or(|existing| *existing == owner);
            assert_eq!(declare(topology, queue, owner, by).is_ok(), allowed);
            model.queues.entry(queue).or_insert(owner);
            format!("declare {queue} of {owner:?}")
        }
        5 => {
            let existed = model.queues.remove(queue).is_some();
            assert_eq!(topology.remove_queue(queue).is_some(), existed);
            model.unlink(|binding| binding.to == End::Queue(queue));
            format!("remove {queue}")
        }
        6 => {
            let allowed = !model.bindings.contains(&binding) || !model.owned_by_other(to, by);
            let result = topology.unbind(to.destination(), exchange, binding.key, &arguments, by);
            assert_eq!(result.is_ok(), allowed);
            if allowed {
                model.unlink(|other| *other == binding);
            }
            format!("unbind {binding:?}")
        }
        _ => {
            let exists = model.exchanges.contains_key(exchange) && model.has(to);
            let allowed = exists && !model.owned_by_other(to, by);
            let result = topology.bind(to.destination(), exchange, binding.key, &arguments, by);
            assert_eq!(result.is_ok(), allowed);
            if allowed {
                model.bindings.insert(binding);
            }
            format!("bind {binding:?}")
        }
    }
}

fn assert_same(topology: &Names, model: &Model, what: &str) {
    let mut listed: Vec<String> = topology
        .bindings()
        .map(|view| {
            format!("{} {:?} {} {:?}", view.source, view.destination, view.routing_key, view.arguments)
        })
        .collect();
    let mut expected: Vec<String> = model
        .bindings
        .iter()
        .map(|one| format!("{} {:?} {} {:?}", one.source, one.to.destination(), one.key, &marked(one.mark)))
        .collect();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected, "{what}");
    for exchange in EXCHANGES {
        assert_eq!(
            topology.check_exchange(exchange).is_ok(),
            model.exchanges.contains_key(exchange),
            "{what}"
        );
        let from = model.bindings.iter().filter(|binding| binding.source == *exchange).count();
        assert_eq!(topology.bindings_from(exchange).count(), from, "{what}");
    }
    for queue in QUEUES {
        assert_eq!(topology.find_queue(queue).is_some(), model.queues.contains_key(queue), "{what}");
        let to = model.bindings.iter().filter(|binding| binding.to == End::Queue(queue)).count();
        assert_eq!(topology.bindings_of(Destination::Queue(queue)).count(), to, "{what}");
    }
    for owner in [ME, OTHER] {
        let mut owned: Vec<&String> = topology.queues_of(owner).collect();
        owned.sort();
        let expected: Vec<&str> =
            model.queues.iter().filter(|one| *one.1 == Some(owner)).map(|one| *one.0).collect();
        assert_eq!(owned, expected, "{what}");
    }
}

#[test]
fn random_topologies_agree_with_a_naive_model() {
    let mut copies = 0;
    for seed in 0..25 {
        let mut random = Random::new(seed);
        let mut topology = Names::new("/");
        let mut model = Model::default();
        for number in 0..300 {
            let generation = topology.generation();
            let routes_before: Vec<_> =
                model.exchanges.keys().map(|name| model.route(name, "a.b", "u")).collect();
            let what =
                format!("seed {seed}, step {number}: {}", step(&mut random, &mut topology, &mut model));
            assert_same(&topology, &model, &what);
            let routes_after: Vec<_> =
                model.exchanges.keys().map(|name| model.route(name, "a.b", "u")).collect();
            assert!(routes_before == routes_after || topology.generation() != generation, "{what}");
            let (key, header) =
                (random.pick(&["", "a", "a.b", "b", "q1", "x.b.y"]), random.pick(&["u", "v", "w"]));
            for name in model.exchanges.keys() {
                let properties = with_headers(&arguments(&[("h", text(header))]));
                let message = MessageView::new(&properties, 0);
                let mut targets = topology.route(name, &[key], &message).unwrap().queues;
                targets.sort();
                assert_eq!(targets, model.route(name, key, header), "{what}, route {name} '{key}' {header}");
                assert!(
                    !message.has_decoded_headers() || topology.varies_by_message(name),
                    "{what}, route {name}"
                );
                copies += targets.len();
            }
        }
    }
    assert!(
        copies > 10_000,
        "the random topologies are meant to route something, but made {copies} copies only"
    );
}
