//! Rules and texts of a topology, one by one; against a naive model at random in [`model`].

use std::cell::Cell;

use amq_protocol::types::AMQPValue;

use super::*;
use crate::engine::exchange::MessageView;
use crate::{engine::queue::QueueDeclare, error::ReplyCode};

mod changes;
mod kinds;
mod model;
mod policies;
mod restart;
mod routing;

/// Small numbers from a seed (splitmix64), so that a failure can be repeated.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap() % bound
    }

    pub(crate) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    /// Up to `words_max` of the words, joined by dots.
    pub(crate) fn key(&mut self, words: &[&str], words_max: usize) -> String {
        let count = self.below(words_max + 1);
        (0..count).map(|_| self.pick(words)).collect::<Vec<_>>().join(".")
    }
}

const ME: ConnectionId = ConnectionId(1);
const OTHER: ConnectionId = ConnectionId(2);

/// No property flags.
const NO_PROPERTIES: [u8; 2] = [0, 0];

/// The handle of a queue is its name here.
type Names = Topology<String>;

impl Handle for String {
    type History = ();
    type Meter = ();

    /// The first bytes of the name, so that short names have different numbers.
    fn id(&self) -> QueueId {
        QueueId(self.bytes().take(8).fold(0, |id, byte| id << 8 | u64::from(byte)))
    }
}

fn no_arguments() -> FieldTable {
    FieldTable::default()
}

fn arguments(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in fields {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn exchange(name: &str, kind: &str) -> ExchangeOptions {
    ExchangeOptions::from_declare("/", name, kind, false, false, false, &no_arguments()).unwrap()
}

fn auto_delete(name: &str) -> ExchangeOptions {
    ExchangeOptions { auto_delete: true, ..exchange(name, "fanout") }
}

fn with_alternate(name: &str, kind: &str, alternate: &str) -> ExchangeOptions {
    let arguments = arguments(&[("alternate-exchange", text(alternate))]);
    ExchangeOptions::from_declare("/", name, kind, false, false, false, &arguments).unwrap()
}

fn declare(
    topology: &mut Names,
    name: &str,
    owner: Option<ConnectionId>,
    by: ConnectionId,
) -> Result<Declared<String>, AmqpError> {
    let declare = QueueDeclare { name: name.into(), exclusive: owner.is_some(), ..QueueDeclare::default() };
    let options = QueueOptions::from_declare("/", declare).unwrap();
    topology.declare_queue(options, QueueName::Given, owner, by, |options| options.name.clone())
}

fn queue(topology: &mut Names, name: &str) {
    assert!(declare(topology, name, None, ME).unwrap().created);
}

fn bind_queue(topology: &mut Names, queue: &str, source: &str, key: &str) {
    let outcome = topology.bind(Destination::Queue(queue), source, key, &no_arguments(), ME).unwrap();
    assert_eq!(outcome, Outcome::Changed);
}

fn bind_exchange(topology: &mut Names, to: &str, source: &str, key: &str) {
    let outcome = topology.bind(Destination::Exchange(to), source, key, &no_arguments(), ME).unwrap();
    assert_eq!(outcome, Outcome::Changed);
}

fn routed(topology: &Names, exchange: &str, key: &str) -> Vec<String> {
    let message = MessageView::new(&NO_PROPERTIES, 0);
    let mut routed = topology.route(exchange, &[key], &message).unwrap();
    assert!(!message.has_decoded_headers(), "no headers exchange here");
    routed.queues.sort();
    routed.queues
}

/// Property bytes with nothing but headers.
fn with_headers(headers: &FieldTable) -> Vec<u8> {
    crate::wire::properties::with_headers(&NO_PROPERTIES, headers).unwrap()
}

fn reply<T: fmt::Debug>(result: Result<T, AmqpError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.scope, crate::error::Scope::Channel);
    error.reply_text()
}

const LOCKED: &str = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It could be \
    originally declared on another connection or the exclusive property value does not match that of the original \
    declaration.";

#[test]
fn every_vhost_begins_with_the_standard_exchanges() {
    let topology = Names::new("/");
    let mut listed: Vec<_> = topology
        .exchanges()
        .map(|view| (view.options.name.as_str(), view.options.kind.name(), view.options.internal))
        .collect();
    listed.sort_unstable();
    assert_eq!(
        listed,
        [
            ("", "direct", false),
            ("amq.direct", "direct", false),
            ("amq.fanout", "fanout", false),
            ("amq.headers", "headers", false),
            ("amq.match", "headers", false),
            ("amq.rabbitmq.trace", "topic", true),
            ("amq.topic", "topic", false),
        ]
    );
    assert!(topology.exchanges().all(|view| view.options.durable));
}

#[test]
fn an_exchange_may_be_declared_again_only_as_what_it_is() {
    let mut topology = Names::new("/");
    let base = with_alternate("e", "direct", "amq.fanout");
    assert_eq!(topology.declare_exchange(base.clone()).unwrap(), Outcome::Changed);
    assert_eq!(topology.declare_exchange(base.clone()).unwrap(), Outcome::Unchanged);
    let other_argument = ExchangeOptions { arguments: arguments(&[("k", text("v"))]), ..base.clone() };
    assert_eq!(topology.declare_exchange(other_argument).unwrap(), Outcome::Unchanged);
    let table = [
        (
            ExchangeOptions { kind: ExchangeKind::Topic, durable: true, ..base.clone() },
            "type",
            "'topic' but current is 'direct'",
        ),
        (ExchangeOptions { durable: true, ..base.clone() }, "durable", "'true' but current is 'false'"),
        (
            ExchangeOptions { auto_delete: true, ..base.clone() },
            "auto_delete",
            "'true' but current is 'false'",
        ),
        (ExchangeOptions { internal: true, ..base }, "internal", "'true' but current is 'false'"),
        (with_alternate("e", "direct", "other"), "alternate-exchange", "'other' but current is 'amq.fanout'"),
        (
            exchange("e", "direct"),
            "alternate-exchange",
            "none but current is the value 'amq.fanout' of type 'longstr'",
        ),
    ];
    for (again, argument, difference) in table {
        assert_eq!(
            reply(topology.declare_exchange(again)),
            format!(
                "PRECONDITION_FAILED - inequivalent arg '{argument}' for exchange 'e' in vhost '/': received {difference}"
            )
        );
    }
    topology.declare_exchange(exchange("plain", "fanout")).unwrap();
    assert_eq!(
        reply(topology.declare_exchange(with_alternate("plain", "fanout", "ae"))),
        "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'plain' in vhost '/': received the \
         value 'ae' of type 'longstr' but current is none"
    );
}

#[test]
fn exchange_declarations_are_parsed_at_the_edge() {
    let parse = |kind, arguments| {
        ExchangeOptions::from_declare("/", "e", kind, true, false, false, &arguments)
            .map(|options| options.kind)
    };
    for kind in [ExchangeKind::Direct, ExchangeKind::Fanout, ExchangeKind::Topic, ExchangeKind::Headers] {
        assert_eq!(parse(kind.name(), no_arguments()).unwrap(), kind);
    }
    assert_eq!(reply(parse("x", no_arguments())), "PRECONDITION_FAILED - unknown exchange type 'x'");
    assert_eq!(reply(parse("", no_arguments())), "PRECONDITION_FAILED - unknown exchange type ''");
    assert_eq!(
        reply(parse("direct", arguments(&[("alternate-exchange", AMQPValue::LongInt(5))]))),
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'e' in vhost '/'"
    );
}

#[test]
fn reserved_names_are_refused_only_where_something_would_be_created() {
    let mut topology = Names::new("/");
    assert_eq!(
        reply(topology.declare_exchange(exchange("amq.x", "direct"))),
        "ACCESS_REFUSED - exchange name 'amq.x' contains reserved prefix 'amq.*'"
    );
    assert_eq!(
        reply(declare(&mut topology, "amq.x", None, ME)),
        "ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*'"
    );
    let standard = ExchangeOptions { durable: true, ..exchange("amq.topic", "topic") };
    assert_eq!(topology.declare_exchange(standard).unwrap(), Outcome::Unchanged);
    topology.declare_exchange(exchange("amq", "direct")).unwrap();
    queue(&mut topology, "AMQ.x");

    let options =
        QueueOptions::from_declare("/", QueueDeclare { name: "amq.gen-1".into(), ..QueueDeclare::default() });
    let make = |options: Arc<QueueOptions>| options.name.clone();
    let declared = topology.declare_queue(options.unwrap(), QueueName::Generated, None, ME, make).unwrap();
    assert_eq!((declared.queue.as_str(), declared.created), ("amq.gen-1", true));
    assert!(!declare(&mut topology, "amq.gen-1", None, ME).unwrap().created);
}

#[test]
fn the_default_exchange_cannot_be_declared_deleted_or_bound() {
    let mut topology = Names::new("/");
    queue(&mut topology, "q");
    let none = no_arguments();
    let refused = "ACCESS_REFUSED - operation not permitted on the default exchange";
    assert_eq!(reply(topology.declare_exchange(exchange("", "direct"))), refused);
    assert_eq!(reply(topology.check_exchange("")), refused);
    assert_eq!(reply(topology.delete_exchange("", false)), refused);
    assert_eq!(reply(topology.bind(Destination::Queue("q"), "", "k", &none, ME)), refused);
    assert_eq!(reply(topology.unbind(Destination::Queue("q"), "", "k", &none, ME)), refused);
    assert_eq!(reply(topology.bind(Destination::Exchange(""), "amq.fanout", "k", &none, ME)), refused);
    assert_eq!(reply(topology.unbind(Destination::Exchange(""), "amq.fanout", "k", &none, ME)), refused);
}

#[test]
fn deleting_an_exchange_respects_its_conditions() {
    let mut topology = Names::new("/");
    for name in ["amq.direct", "amq.missing"] {
        assert_eq!(
            reply(topology.delete_exchange(name, false)),
            format!("ACCESS_REFUSED - deletion of system exchange '{name}' in vhost '/' not allowed")
        );
    }
    assert_eq!(topology.delete_exchange("missing", true).unwrap(), Outcome::Unchanged);
    for name in ["from", "to"] {
        topology.declare_exchange(exchange(name, "fanout")).unwrap();
    }
    bind_exchange(&mut topology, "to", "from", "");
    assert_eq!(
        reply(topology.delete_exchange("from", true)),
        "PRECONDITION_FAILED - exchange 'from' in vhost '/' in use"
    );
    // Being a destination is no use.
    assert_eq!(topology.delete_exchange("to", true).unwrap(), Outcome::Changed);
    assert_eq!(topology.bindings().count(), 0);
    assert_eq!(topology.delete_exchange("from", true).unwrap(), Outcome::Changed);
    assert_eq!(reply(topology.check_exchange("from")), "NOT_FOUND - no exchange 'from' in vhost '/'");
}

#[test]
fn missing_ends_of_a_binding_are_named_the_source_first() {
    let mut topology = Names::new("v");
    queue(&mut topology, "q");
    let none = no_arguments();
    let no_exchange = "NOT_FOUND - no exchange 'nox' in vhost 'v'";
    let no_queue = "NOT_FOUND - no queue 'noq' in vhost 'v'";
    assert_eq!(reply(topology.bind(Destination::Queue("noq"), "nox", "", &none, ME)), no_exchange);
    assert_eq!(reply(topology.bind(Destination::Queue("q"), "nox", "", &none, ME)), no_exchange);
    assert_eq!(reply(topology.bind(Destination::Queue("noq"), "amq.direct", "", &none, ME)), no_queue);
    assert_eq!(reply(topology.bind(Destination::Exchange("nox"), "amq.direct", "", &none, ME)), no_exchange);
    // Unbinding what is not there succeeds, whatever is missing.
    for (destination, source) in [("noq", "nox"), ("q", "nox"), ("noq", "amq.direct"), ("q", "amq.direct")] {
        let outcome = topology.unbind(Destination::Queue(destination), source, "", &none, ME).unwrap();
        assert_eq!(outcome, Outcome::Unchanged);
    }
}

#[test]
fn an_exclusive_queue_is_its_owners_alone() {
    let mut topology = Names::new("/");
    declare(&mut topology, "mine", Some(ME), ME).unwrap();
    let none = no_arguments();
    assert_eq!(topology.queue("mine", ME).unwrap(), "mine");
    assert_eq!(reply(topology.queue("mine", OTHER)), LOCKED);
    assert_eq!(reply(declare(&mut topology, "mine", None, OTHER)), LOCKED);
    assert_eq!(reply(declare(&mut topology, "mine", Some(OTHER), OTHER)), LOCKED);
    // Its owner may not declare it as shared either.
    assert_eq!(reply(declare(&mut topology, "mine", None, ME)), LOCKED);
    assert!(!declare(&mut topology, "mine", Some(ME), ME).unwrap().created);

    let mine = Destination::Queue("mine");
    assert_eq!(reply(topology.bind(mine, "amq.fanout", "", &none, OTHER)), LOCKED);
    assert_eq!(topology.unbind(mine, "amq.fanout", "", &none, OTHER).unwrap(), Outcome::Unchanged);
    assert_eq!(topology.bind(mine, "amq.fanout", "", &none, ME).unwrap(), Outcome::Changed);
    assert_eq!(reply(topology.unbind(mine, "amq.fanout", "", &none, OTHER)), LOCKED);

    // Anybody may publish to it.
    assert_eq!(routed(&topology, "", "mine"), ["mine"]);
    assert_eq!(topology.queues_of(ME).collect::<Vec<_>>(), ["mine"]);
    assert_eq!(topology.queues_of(OTHER).count(), 0);
    topology.remove_queue("mine").unwrap();
    assert_eq!(topology.queues_of(ME).count(), 0);
    assert!(topology.exclusive.is_empty());
}

#[test]
fn exclusive_queues_leave_their_owners_list_in_any_order() {
    let mut topology = Names::new("/");
    for name in ["a", "b", "c", "d"] {
        declare(&mut topology, name, Some(ME), ME).unwrap();
    }
    for (gone, left) in [("a", &["b", "c", "d"][..]), ("d", &["b", "c"]), ("b", &["c"]), ("c", &[])] {
        topology.remove_queue(gone).unwrap();
        let mut owned: Vec<&String> = topology.queues_of(ME).collect();
        owned.sort_unstable();
        assert_eq!(owned, left);
    }
    assert!(topology.exclusive.is_empty());
}

#[test]
fn a_shared_queue_cannot_be_declared_exclusive() {
    let mut topology = Names::new("/");
    queue(&mut topology, "mine");
    assert_eq!(reply(declare(&mut topology, "mine", Some(ME), ME)), LOCKED);
    assert_eq!(topology.queue("mine", OTHER).unwrap(), "mine");
}

#[test]
fn a_queue_is_made_once_and_compared_afterwards() {
    let mut topology = Names::new("/");
    queue(&mut topology, "q");
    let again = QueueDeclare { name: "q".into(), durable: true, ..QueueDeclare::default() };
    let options = QueueOptions::from_declare("/", again).unwrap();
    let made = Cell::new(false);
    let result = topology.declare_queue(options, QueueName::Given, None, ME, |_| {
        made.set(true);
        String::new()
    });
    assert_eq!(
        reply(result),
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'"
    );
    assert!(!made.get());
    assert_eq!(reply(topology.queue("x", ME)), "NOT_FOUND - no queue 'x' in vhost '/'");
    assert_eq!(topology.remove_queue("q").as_deref(), Some("q"));
    assert_eq!(topology.remove_queue("q"), None);
    assert!(topology.find_queue("q").is_none());
}

#[test]
fn bindings_are_a_set_and_the_order_of_arguments_is_nothing() {
    let mut topology = Names::new("/");
    queue(&mut topology, "q");
    let q = Destination::Queue("q");
    let nan = AMQPValue::Double(f64::NAN);
    let one = arguments(&[("a", text("1")), ("b", nan.clone())]);
    let same = arguments(&[("b", nan), ("a", text("1"))]);
    let other = arguments(&[("a", text("1"))]);
    assert_eq!(topology.bind(q, "amq.direct", "k", &one, ME).unwrap(), Outcome::Changed);
    assert_eq!(topology.bind(q, "amq.direct", "k", &same, ME).unwrap(), Outcome::Unchanged);
    assert_eq!(topology.bind(q, "amq.direct", "k", &other, ME).unwrap(), Outcome::Changed);
    assert_eq!(routed(&topology, "amq.direct", "k"), ["q"]);
    assert_eq!(topology.unbind(q, "amq.direct", "k", &same, ME).unwrap(), Outcome::Changed);
    assert_eq!(topology.unbind(q, "amq.direct", "k", &one, ME).unwrap(), Outcome::Unchanged);
    assert_eq!(routed(&topology, "amq.direct", "k"), ["q"]);
    assert_eq!(topology.unbind(q, "amq.direct", "k", &other, ME).unwrap(), Outcome::Changed);
    assert!(routed(&topology, "amq.direct", "k").is_empty());
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding_and_takes_those_before_it_along() {
    let mut topology = Names::new("/");
    queue(&mut topology, "q");
    for name in ["first", "second", "third"] {
        topology.declare_exchange(auto_delete(name)).unwrap();
    }
    topology.declare_exchange(exchange("stays", "fanout")).unwrap();
    bind_exchange(&mut topology, "first", "stays", "");
    bind_exchange(&mut topology, "second", "first", "");
    bind_exchange(&mut topology, "third", "second", "");
    bind_queue(&mut topology, "q", "third", "a");
    bind_queue(&mut topology, "q", "third", "b");
    topology.unbind(Destination::Queue("q"), "third", "a", &no_arguments(), ME).unwrap();
    assert!(topology.check_exchange("third").is_ok());
    topology.remove_queue("q").unwrap();
    for name in ["first", "second", "third"] {
        assert_eq!(topology.check_exchange(name).unwrap_err().code, ReplyCode::NotFound, "{name}");
    }
    assert!(topology.check_exchange("stays").is_ok());
    assert_eq!(topology.bindings().count(), 0);

    // One that never had a binding stays; one bound to itself goes with that binding.
    topology.declare_exchange(auto_delete("alone")).unwrap();
    queue(&mut topology, "q");
    topology.remove_queue("q").unwrap();
    assert!(topology.check_exchange("alone").is_ok());
    bind_exchange(&mut topology, "alone", "alone", "");
    topology.unbind(Destination::Exchange("alone"), "alone", "", &no_arguments(), ME).unwrap();
    assert!(topology.check_exchange("alone").is_err());
}

#[test]
fn the_generation_changes_with_every_change_and_with_nothing_else() {
    let mut topology = Names::new("/");
    let none = no_arguments();
    let q = Destination::Queue("q");
    let mut before = topology.generation();
    let mut expect = |topology: &Names, change: Outcome, what: &str| {
        assert_eq!(topology.generation() != before, change == Outcome::Changed, "{what}");
        before = topology.generation();
    };
    queue(&mut topology, "q");
    expect(&topology, Outcome::Changed, "a new queue");
    declare(&mut topology, "q", None, ME).unwrap();
    expect(&topology, Outcome::Unchanged, "the same queue again");
    topology.declare_exchange(exchange("e", "direct")).unwrap();
    expect(&topology, Outcome::Changed, "a new exchange");
    topology.declare_exchange(exchange("e", "direct")).unwrap();
    expect(&topology, Outcome::Unchanged, "the same exchange again");
    topology.bind(q, "e", "k", &none, ME).unwrap();
    expect(&topology, Outcome::Changed, "a binding");
    topology.bind(q, "e", "k", &none, ME).unwrap();
    expect(&topology, Outcome::Unchanged, "the same binding again");
    topology.unbind(q, "e", "other", &none, ME).unwrap();
    expect(&topology, Outcome::Unchanged, "no such binding");
    routed(&topology, "e", "k");
    expect(&topology, Outcome::Unchanged, "a route");
    topology.unbind(q, "e", "k", &none, ME).unwrap();
    expect(&topology, Outcome::Changed, "a binding removed");
    topology.delete_exchange("e", false).unwrap();
    expect(&topology, Outcome::Changed, "an exchange removed");
    topology.remove_queue("q").unwrap();
    expect(&topology, Outcome::Changed, "a queue removed");
    topology.remove_queue("q");
    expect(&topology, Outcome::Unchanged, "no such queue");
}

#[test]
fn listings_name_both_ends_of_a_binding() {
    let mut topology = Names::new("/");
    queue(&mut topology, "q");
    topology.declare_exchange(exchange("e", "fanout")).unwrap();
    bind_queue(&mut topology, "q", "amq.topic", "a.*");
    bind_exchange(&mut topology, "e", "amq.topic", "#");
    let none = no_arguments();
    let to_queue = BindingView {
        source: "amq.topic",
        destination: Destination::Queue("q"),
        routing_key: "a.*",
        arguments: &none,
        durable: false,
    };
    let to_exchange = BindingView { destination: Destination::Exchange("e"), routing_key: "#", ..to_queue };
    assert_eq!(topology.bindings_from("amq.topic").collect::<Vec<_>>(), [to_queue, to_exchange]);
    assert_eq!(topology.bindings_of(Destination::Queue("q")).collect::<Vec<_>>(), [to_queue]);
    assert_eq!(topology.bindings_of(Destination::Exchange("e")).collect::<Vec<_>>(), [to_exchange]);
    assert_eq!(topology.bindings_from("missing").count() + topology.bindings_from("e").count(), 0);
    let listed = topology.queues().next().unwrap();
    assert_eq!((listed.options.name.as_str(), listed.owner, listed.bindings), ("q", None, 1));
    assert_eq!(topology.queue_count(), 1);
}

#[test]
fn an_unbound_queue_costs_few_bytes() {
    assert!(size_of::<QueueEntry<Arc<()>>>() <= 64);
}
