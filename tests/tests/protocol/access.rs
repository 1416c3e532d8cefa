//! Permissions: what each method needs, one by one.

use amq_protocol::protocol::{AMQPClass, basic, channel, connection, exchange, queue, tx};

use crate::oauth;
use crate::operator::{Operator, PASSWORD};
use crate::peer::{ALL_CAPABILITIES, Channel, Peer, passive, table, text};
use crate::target::{needs_own_broker, unique};

/// The things of one case.
struct Names {
    /// A queue with a message in it.
    queue: String,
    /// A direct exchange.
    exchange: String,
    /// A fanout exchange.
    other: String,
    /// Not there.
    new: String,
}

/// Kind of permission, kind of thing, and its name.
type Need = (&'static str, &'static str, fn(&Names) -> &str);

struct Case {
    name: &'static str,
    needs: &'static [Need],
    act: fn(Channel<'_>, &Names),
    /// Blamed for a refusal.
    method: (u16, u16),
}

const THE_QUEUE: fn(&Names) -> &str = |names| &names.queue;
const THE_EXCHANGE: fn(&Names) -> &str = |names| &names.exchange;
const THE_OTHER: fn(&Names) -> &str = |names| &names.other;
const THE_NEW: fn(&Names) -> &str = |names| &names.new;
const THE_DEFAULT: fn(&Names) -> &str = |_| "amq.default";

const DECLARE_QUEUE: (u16, u16) = (50, 10);
const DECLARE_EXCHANGE: (u16, u16) = (40, 10);

fn declare_with(channel: Channel<'_>, names: &Names, dead_letter_exchange: &str) {
    channel.send(queue::Declare {
        queue: names.new.as_str().into(),
        arguments: table([("x-dead-letter-exchange", text(dead_letter_exchange))]),
        ..Default::default()
    });
}

fn publish(channel: Channel<'_>, exchange: &str, key: &str) {
    channel.publish(exchange, key, "m");
    // A publish is not answered; what comes next says whether it passed.
    channel.send(channel::Flow { active: true });
}

const QUEUE_CASES: &[Case] = &[
    Case {
        name: "queue.declare",
        needs: &[("configure", "queue", THE_NEW)],
        act: |channel, names| {
            channel.send(queue::Declare { queue: names.new.as_str().into(), ..Default::default() });
        },
        method: DECLARE_QUEUE,
    },
    Case {
        name: "queue.declare of one that exists",
        needs: &[("configure", "queue", THE_QUEUE)],
        act: |channel, names| {
            let queue = names.queue.as_str().into();
            channel.send(queue::Declare { queue, durable: true, ..Default::default() });
        },
        method: DECLARE_QUEUE,
    },
    Case {
        name: "queue.declare with dead letters",
        needs: &[
            ("configure", "queue", THE_NEW),
            ("read", "queue", THE_NEW),
            ("write", "exchange", THE_EXCHANGE),
        ],
        act: |channel, names| declare_with(channel, names, &names.exchange),
        method: DECLARE_QUEUE,
    },
    Case {
        name: "queue.declare with dead letters to the default exchange",
        needs: &[
            ("configure", "queue", THE_NEW),
            ("read", "queue", THE_NEW),
            ("write", "exchange", THE_DEFAULT),
        ],
        act: |channel, names| declare_with(channel, names, ""),
        method: DECLARE_QUEUE,
    },
    Case {
        name: "queue.declare, passive",
        needs: &[],
        act: |channel, names| channel.send(passive(&names.queue)),
        method: DECLARE_QUEUE,
    },
    Case {
        name: "queue.delete",
        needs: &[("configure", "queue", THE_QUEUE)],
        act: |channel, names| {
            channel.send(queue::Delete { queue: names.queue.as_str().into(), ..Default::default() });
        },
        method: (50, 40),
    },
    Case {
        name: "queue.purge",
        needs: &[("read", "queue", THE_QUEUE)],
        act: |channel, names| {
            channel.send(queue::Purge { queue: names.queue.as_str().into(), nowait: false });
        },
        method: (50, 30),
    },
    Case {
        name: "queue.bind",
        needs: &[("write", "queue", THE_QUEUE), ("read", "exchange", THE_EXCHANGE)],
        act: |channel, names| {
            let (queue, exchange) = (names.queue.as_str().into(), names.exchange.as_str().into());
            channel.send(queue::Bind { queue, exchange, ..Default::default() });
        },
        method: (50, 20),
    },
    Case {
        name: "queue.unbind",
        needs: &[("write", "queue", THE_QUEUE), ("read", "exchange", THE_EXCHANGE)],
        act: |channel, names| {
            let (queue, exchange) = (names.queue.as_str().into(), names.exchange.as_str().into());
            channel.send(queue::Unbind { queue, exchange, ..Default::default() });
        },
        method: (50, 50),
    },
    Case {
        name: "basic.consume",
        needs: &[("read", "queue", THE_QUEUE)],
        act: |channel, names| {
            channel.send(basic::Consume { queue: names.queue.as_str().into(), ..Default::default() });
        },
        method: (60, 20),
    },
    Case {
        name: "basic.get",
        needs: &[("read", "queue", THE_QUEUE)],
        act: |channel, names| {
            channel.send(basic::Get { queue: names.queue.as_str().into(), no_ack: true });
        },
        method: (60, 70),
    },
];

const EXCHANGE_CASES: &[Case] = &[
    Case {
        name: "basic.publish",
        needs: &[("write", "exchange", THE_EXCHANGE)],
        act: |channel, names| publish(channel, &names.exchange, "k"),
        method: (60, 40),
    },
    Case {
        name: "basic.publish to the default exchange",
        needs: &[("write", "exchange", THE_DEFAULT)],
        act: |channel, names| publish(channel, "", &names.queue),
        method: (60, 40),
    },
    Case {
        name: "exchange.declare",
        needs: &[("configure", "exchange", THE_NEW)],
        act: |channel, names| {
            let (exchange, kind) = (names.new.as_str().into(), "fanout".into());
            channel.send(exchange::Declare { exchange, kind, ..Default::default() });
        },
        method: DECLARE_EXCHANGE,
    },
    Case {
        name: "exchange.declare with an alternate exchange",
        needs: &[
            ("configure", "exchange", THE_NEW),
            ("read", "exchange", THE_NEW),
            ("write", "exchange", THE_EXCHANGE),
        ],
        act: |channel, names| {
            channel.send(exchange::Declare {
                exchange: names.new.as_str().into(),
                kind: "fanout".into(),
                arguments: table([("alternate-exchange", text(&names.exchange))]),
                ..Default::default()
            });
        },
        method: DECLARE_EXCHANGE,
    },
    Case {
        name: "exchange.declare, passive",
        needs: &[],
        act: |channel, names| {
            let (exchange, kind) = (names.exchange.as_str().into(), "direct".into());
            channel.send(exchange::Declare { exchange, kind, passive: true, ..Default::default() });
        },
        method: DECLARE_EXCHANGE,
    },
    Case {
        name: "exchange.delete",
        needs: &[("configure", "exchange", THE_EXCHANGE)],
        act: |channel, names| {
            channel.send(exchange::Delete { exchange: names.exchange.as_str().into(), ..Default::default() });
        },
        method: (40, 20),
    },
    Case {
        name: "exchange.bind",
        needs: &[("write", "exchange", THE_EXCHANGE), ("read", "exchange", THE_OTHER)],
        act: |channel, names| {
            let (destination, source) = (names.exchange.as_str().into(), names.other.as_str().into());
            channel.send(exchange::Bind { destination, source, ..Default::default() });
        },
        method: (40, 30),
    },
    Case {
        name: "exchange.unbind",
        needs: &[("write", "exchange", THE_EXCHANGE), ("read", "exchange", THE_OTHER)],
        act: |channel, names| {
            let (destination, source) = (names.exchange.as_str().into(), names.other.as_str().into());
            channel.send(exchange::Unbind { destination, source, ..Default::default() });
        },
        method: (40, 40),
    },
    Case {
        name: "basic.qos",
        needs: &[],
        act: |channel, _| channel.send(basic::Qos { prefetch_count: 1, ..Default::default() }),
        method: (60, 10),
    },
];

/// Patterns that permit exactly what is needed, except for one.
fn patterns(needs: &[Need], names: &Names, except: Option<usize>) -> [String; 3] {
    ["configure", "write", "read"].map(|kind| {
        let allowed: Vec<String> = (0..)
            .zip(needs)
            .filter(|(at, (needed, _, _))| Some(*at) != except && *needed == kind)
            .map(|(_, (_, _, name))| name(names).replace('.', "\\."))
            .collect();
        if allowed.is_empty() { String::new() } else { format!("^({})$", allowed.join("|")) }
    })
}

/// What a refusal says: code, text and the method that is blamed.
type Refusal = (u16, String, (u16, u16));

impl Names {
    /// Declares what a case needs.
    fn new(owner: Channel<'_>) -> Self {
        let [queue, exchange, other, new] = ["queue", "exchange", "other", "new"].map(unique);
        owner.queue(&queue);
        owner.exchange(&exchange, "direct");
        owner.exchange(&other, "fanout");
        owner.publish("", &queue, "m");
        Self { queue, exchange, other, new }
    }

    fn delete(&self, owner: Channel<'_>) {
        for name in [&self.queue, &self.new] {
            owner.call(queue::Delete { queue: name.as_str().into(), ..Default::default() });
        }
        for name in [&self.exchange, &self.other, &self.new] {
            owner.call(exchange::Delete { exchange: name.as_str().into(), ..Default::default() });
        }
    }
}

impl Case {
    /// With everything that it needs, and without each single permission.
    fn variants(&self) -> impl Iterator<Item = Option<usize>> {
        (0..self.needs.len()).map(Some).chain([None])
    }

    /// Carries it out.
    fn refusal(&self, channel: Channel<'_>, names: &Names) -> Option<Refusal> {
        (self.act)(channel, names);
        match channel.next().method {
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                Some((close.reply_code, close.reply_text.to_string(), (close.class_id, close.method_id)))
            }
            _ => None,
        }
    }

    /// How it is refused without one of its permissions; `says_which` if the text names the permission.
    fn expected(&self, names: &Names, except: usize, user: &str, says_which: bool) -> Refusal {
        let (kind, what, name) = (self.needs[except].0, self.needs[except].1, self.needs[except].2(names));
        let kind = if says_which { format!("{kind} ") } else { String::new() };
        let text = format!(
            "ACCESS_REFUSED - {kind}access to {what} '{name}' in vhost '/' refused for user '{user}'"
        );
        (403, text, self.method)
    }
}

fn try_case(operator: &Operator, owner: Channel<'_>, user: &str, case: &Case) {
    for except in case.variants() {
        let names = Names::new(owner);
        let patterns = patterns(case.needs, &names, except);
        operator.permit(user, "/", patterns.each_ref().map(String::as_str));
        let peer = operator.connect(user, "/");
        let refusal = case.refusal(peer.open(1), &names);
        // Which permission it was is said since RabbitMQ 3.12.
        let says_which = !operator.is_rabbitmq();
        let expected = except.map(|at| case.expected(&names, at, user, says_which));
        assert_eq!(refusal, expected, "{} with {patterns:?}", case.name);
        names.delete(owner);
    }
}

#[test]
fn tokens_need_the_same_permissions_as_scopes() {
    if needs_own_broker() {
        return;
    }
    let (broker, _keys) = oauth::broker();
    let guest = broker.connect();
    let owner = guest.open(1);
    for case in QUEUE_CASES.iter().chain(EXCHANGE_CASES) {
        for except in case.variants() {
            let names = Names::new(owner);
            // The first only opens the vhost.
            let mut scopes = "broker.read:%2F/nothing".to_owned();
            for (_, (kind, _, name)) in (0..).zip(case.needs).filter(|(at, _)| Some(*at) != except) {
                scopes += &format!(" broker.{kind}:%2F/{}", name(&names));
            }
            let peer = oauth::connect(&broker, oauth::token("alex", oauth::in_an_hour_s(), &scopes));
            let refusal = case.refusal(peer.open(1), &names);
            let expected = except.map(|at| case.expected(&names, at, "alex", true));
            assert_eq!(refusal, expected, "{} with {scopes}", case.name);
            names.delete(owner);
        }
    }
}

#[test]
fn every_method_needs_its_permissions_and_no_others() {
    let Some(operator) = Operator::start() else { return };
    let user = operator.user("permitted");
    let guest = operator.connect_as_guest();
    let owner = guest.open(1);
    for case in QUEUE_CASES.iter().chain(EXCHANGE_CASES) {
        try_case(&operator, owner, &user, case);
    }
}

/// Kinds of users who are let in and may not do everything: what they may configure, write and read.
const LIMITED: &[(&str, [&str; 3])] = &[
    ("nothing", ["", "", ""]),
    ("configuring only", [".*", "", ""]),
    ("writing only", ["", ".*", ""]),
    ("reading only", ["", "", ".*"]),
    ("all but configuring", ["", ".*", ".*"]),
    ("names of others", ["^others\\.", "^others\\.", "^others\\."]),
];

#[test]
fn every_method_is_refused_to_each_kind_of_user_who_may_not() {
    let Some(operator) = Operator::start() else { return };
    let guest = operator.connect_as_guest();
    let owner = guest.open(1);
    for (kind, patterns) in LIMITED {
        let user = operator.user("limited");
        operator.permit(&user, "/", *patterns);
        // What somebody may administer permits nothing here.
        operator.tag(&user, "administrator");
        for case in QUEUE_CASES.iter().chain(EXCHANGE_CASES) {
            let names = Names::new(owner);
            let permits = |kind: &str| {
                let at = ["configure", "write", "read"].iter().position(|known| *known == kind);
                patterns[at.expect("a kind of permission")] == ".*"
            };
            let missing = case.needs.iter().position(|(kind, _, _)| !permits(kind));
            let peer = operator.connect(&user, "/");
            let refusal = case.refusal(peer.open(1), &names);
            let expected = missing.map(|at| case.expected(&names, at, &user, !operator.is_rabbitmq()));
            assert_eq!(refusal, expected, "{} by a user with {kind}", case.name);
            names.delete(owner);
        }
    }
}

#[test]
fn who_is_nobody_or_permitted_nowhere_gets_to_no_method() {
    let Some(operator) = Operator::start() else { return };
    let user = operator.user("tags-only");
    operator.tag(&user, "administrator");
    for (name, password) in [("nobody", PASSWORD), (&*user, "wrong"), (&*user, "")] {
        let peer = Peer::dial(operator.address());
        peer.log_in_as(ALL_CAPABILITIES, name, password);
        let close = peer.control().expect::<connection::Close>();
        assert_eq!(close.reply_code, 403, "{name} with {password:?}: {close:?}");
    }
    let peer = Peer::authenticated(operator.address(), &Operator::options(&user, "/"));
    peer.control().send(connection::Open { virtual_host: "/".into() });
    peer.expect_close(530, &format!("NOT_ALLOWED - access to vhost '/' refused for user '{user}'"), (10, 40));
}

#[test]
fn a_transaction_asks_for_permission_when_a_message_is_published() {
    let Some(operator) = Operator::start() else { return };
    let user = operator.user("transaction");
    operator.permit(&user, "/", ["", "^amq\\.direct$", ""]);
    let peer = operator.connect(&user, "/");
    let channel = peer.open(1);
    channel.call(tx::Select {});
    channel.publish("amq.direct", "k", "m");
    channel.publish("amq.fanout", "k", "m");
    let close = channel.expect::<channel::Close>();
    assert_eq!((close.reply_code, close.class_id, close.method_id), (403, 60, 40), "{close:?}");
}

#[test]
fn topic_permissions_look_at_routing_keys() {
    let Some(operator) = Operator::start() else { return };
    let user = operator.user("topics");
    operator.permit(&user, "/", [".*", ".*", ".*"]);
    operator.permit_topics(&user, "amq.topic", ["^{username}\\.", "^public\\."]);
    operator.permit_topics(&user, "amq.direct", ["", ""]);
    let peer = operator.connect(&user, "/");
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.bind(&queue, "amq.topic", "public.#");
    // Exchanges of other types are not looked at.
    channel.bind(&queue, "amq.direct", "k");
    channel.publish("amq.topic", &format!("{user}.a"), "m");
    channel.publish("amq.direct", "k", "m");
    // Not counted: RabbitMQ answers that before it has put everything in.
    assert_eq!(channel.drain(&queue), ["m"]);
    let refused = |channel: Channel<'_>, kind: &str, key: &str, method| {
        let kind = if operator.is_rabbitmq() { String::new() } else { format!("{kind} ") };
        let what = format!("topic '{key}' in exchange 'amq.topic' in vhost '/'");
        let text = format!("ACCESS_REFUSED - {kind}access to {what} refused for user '{user}'");
        channel.expect_close(403, &text, method);
    };
    channel.publish("amq.topic", "public.a", "m");
    refused(channel, "write", "public.a", (60, 40));
    let channel = peer.open(2);
    let bind =
        queue::Bind { queue: queue.as_str().into(), exchange: "amq.topic".into(), ..Default::default() };
    channel.send(queue::Bind { routing_key: "secret.#".into(), ..bind });
    refused(channel, "read", "secret.#", (50, 20));
}
