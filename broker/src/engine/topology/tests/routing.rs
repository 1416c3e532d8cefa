//! Ways through several exchanges.

use super::*;

#[test]
fn the_default_exchange_routes_by_queue_name() {
    let mut topology = Names::new("/");
    queue(&mut topology, "q");
    assert_eq!(routed(&topology, "", "q"), ["q"]);
    assert!(routed(&topology, "", "x").is_empty());
}

#[test]
fn publishing_needs_an_exchange_that_is_not_internal() {
    let mut topology = Names::new("/");
    queue(&mut topology, "q");
    topology.declare_exchange(ExchangeOptions { internal: true, ..exchange("i", "fanout") }).unwrap();
    bind_queue(&mut topology, "q", "i", "");
    let message = MessageView::new(&NO_PROPERTIES, 0);
    assert_eq!(reply(topology.route("x", &["k"], &message)), "NOT_FOUND - no exchange 'x' in vhost '/'");
    assert_eq!(
        reply(topology.route("i", &["k"], &message)),
        "ACCESS_REFUSED - cannot publish to internal exchange 'i' in vhost '/'"
    );
    assert!(topology.check_publish("i").is_err() && topology.check_publish("").is_ok());
    // Messages reach it from other exchanges and from the broker itself.
    bind_exchange(&mut topology, "i", "amq.fanout", "");
    assert_eq!(routed(&topology, "amq.fanout", ""), ["q"]);
    assert_eq!(topology.route_internally("i", &[""], &message).unwrap().queues, ["q"]);
    assert!(topology.route_internally("x", &[""], &message).is_none());
}

#[test]
fn a_queue_gets_one_copy_by_however_many_ways() {
    let mut topology = Names::new("/");
    queue(&mut topology, "q");
    for key in ["a.*", "*.b", "#", "a.b"] {
        bind_queue(&mut topology, "q", "amq.topic", key);
    }
    bind_exchange(&mut topology, "amq.fanout", "amq.topic", "a.#");
    bind_queue(&mut topology, "q", "amq.fanout", "");
    assert_eq!(routed(&topology, "amq.topic", "a.b"), ["q"]);
    let message = MessageView::new(&NO_PROPERTIES, 0);
    for (exchange, keys) in [("amq.topic", ["a.b", "x", "a.b"]), ("", ["q", "q", "x"])] {
        assert_eq!(topology.route(exchange, &keys, &message).unwrap().queues, ["q"]);
    }
}

#[test]
fn cycles_of_exchanges_end() {
    let mut topology = Names::new("/");
    queue(&mut topology, "q");
    for name in ["a", "b", "c"] {
        topology.declare_exchange(exchange(name, "fanout")).unwrap();
    }
    for (to, from) in [("b", "a"), ("c", "b"), ("a", "c"), ("a", "a")] {
        bind_exchange(&mut topology, to, from, "");
    }
    assert!(routed(&topology, "a", "").is_empty());
    bind_queue(&mut topology, "q", "c", "");
    for name in ["a", "b", "c"] {
        assert_eq!(routed(&topology, name, ""), ["q"]);
    }
}

#[test]
fn a_long_chain_of_exchanges_does_not_exhaust_the_stack() {
    let mut topology = Names::new("/");
    queue(&mut topology, "q");
    topology.declare_exchange(auto_delete("0")).unwrap();
    for number in 1..20_000 {
        let (before, this) = ((number - 1).to_string(), number.to_string());
        topology.declare_exchange(auto_delete(&this)).unwrap();
        bind_exchange(&mut topology, &this, &before, "");
    }
    bind_queue(&mut topology, "q", "19999", "");
    assert_eq!(routed(&topology, "0", ""), ["q"]);
    assert!(!topology.varies_by_message("0"));
    topology.remove_queue("q").unwrap();
    assert_eq!(topology.exchanges().count(), 7, "all of the chain went with its end");
}

#[test]
fn an_alternate_exchange_gets_what_reaches_no_queue() {
    let mut topology = Names::new("/");
    for name in ["q", "lost"] {
        queue(&mut topology, name);
    }
    topology.declare_exchange(with_alternate("e", "direct", "ae")).unwrap();
    assert!(routed(&topology, "e", "k").is_empty(), "the alternate exchange need not exist");
    topology.declare_exchange(with_alternate("ae", "direct", "last")).unwrap();
    topology.declare_exchange(exchange("last", "fanout")).unwrap();
    bind_queue(&mut topology, "lost", "last", "");
    bind_queue(&mut topology, "q", "e", "k");
    assert_eq!(routed(&topology, "e", "k"), ["q"]);
    assert_eq!(routed(&topology, "e", "x"), ["lost"], "from one alternate exchange to the next");
    bind_queue(&mut topology, "q", "ae", "x");
    assert_eq!(routed(&topology, "e", "x"), ["q"]);
}

#[test]
fn an_alternate_exchange_waits_for_what_exchanges_bound_to_the_first_one_do() {
    let mut topology = Names::new("/");
    for name in ["q", "lost"] {
        queue(&mut topology, name);
    }
    topology.declare_exchange(with_alternate("e", "fanout", "ae")).unwrap();
    topology.declare_exchange(exchange("ae", "fanout")).unwrap();
    topology.declare_exchange(exchange("next", "direct")).unwrap();
    bind_queue(&mut topology, "lost", "ae", "");
    bind_exchange(&mut topology, "next", "e", "");
    assert_eq!(routed(&topology, "e", "k"), ["lost"]);
    bind_queue(&mut topology, "q", "next", "k");
    assert_eq!(routed(&topology, "e", "k"), ["q"]);
}

#[test]
fn a_cycle_of_alternate_exchanges_ends() {
    let mut topology = Names::new("/");
    topology.declare_exchange(with_alternate("a", "direct", "b")).unwrap();
    topology.declare_exchange(with_alternate("b", "direct", "a")).unwrap();
    topology.declare_exchange(with_alternate("self", "direct", "self")).unwrap();
    assert!(routed(&topology, "a", "k").is_empty());
    assert!(routed(&topology, "self", "k").is_empty());
}

#[test]
fn headers_are_decoded_only_where_they_decide() {
    let mut topology = Names::new("/");
    for name in ["q", "r"] {
        queue(&mut topology, name);
    }
    let properties = with_headers(&arguments(&[("k", text("v"))]));
    let message = MessageView::new(&properties, 0);
    for exchange in ["amq.headers", "amq.direct"] {
        assert!(topology.route(exchange, &[""], &message).unwrap().queues.is_empty());
    }
    assert!(!message.has_decoded_headers());
    let wanted = arguments(&[("k", text("v"))]);
    topology.bind(Destination::Queue("q"), "amq.headers", "", &wanted, ME).unwrap();
    topology.bind(Destination::Queue("r"), "amq.match", "", &wanted, ME).unwrap();
    topology.bind(Destination::Exchange("amq.match"), "amq.headers", "", &wanted, ME).unwrap();
    let mut targets = topology.route("amq.headers", &[""], &message).unwrap().queues;
    targets.sort();
    assert_eq!(targets, ["q", "r"]);
    assert!(message.has_decoded_headers());
}

#[test]
fn routes_depend_on_headers_also_through_other_exchanges() {
    let mut topology = Names::new("/");
    topology.declare_exchange(exchange("bound", "fanout")).unwrap();
    topology.declare_exchange(with_alternate("ae", "fanout", "bound")).unwrap();
    topology.declare_exchange(with_alternate("loop", "fanout", "loop")).unwrap();
    bind_exchange(&mut topology, "loop", "loop", "");
    for (name, depends) in [("amq.headers", true), ("amq.match", true), ("bound", false), ("ae", false)] {
        assert_eq!(topology.varies_by_message(name), depends, "{name}");
    }
    bind_exchange(&mut topology, "amq.headers", "bound", "");
    for (name, depends) in [("bound", true), ("ae", true), ("", false), ("loop", false), ("x", false)] {
        assert_eq!(topology.varies_by_message(name), depends, "{name}");
    }
}

#[test]
fn a_wide_fanout_reaches_every_queue_once() {
    let mut topology = Names::new("/");
    for number in 0..10_000 {
        let name = number.to_string();
        queue(&mut topology, &name);
        bind_queue(&mut topology, &name, "amq.fanout", "a");
        bind_queue(&mut topology, &name, "amq.fanout", "b");
    }
    let mut targets = routed(&topology, "amq.fanout", "");
    assert_eq!(targets.len(), 10_000);
    targets.dedup();
    assert_eq!(targets.len(), 10_000);
    for number in 0..10_000 {
        topology.remove_queue(&number.to_string()).unwrap();
    }
    assert_eq!(topology.bindings().count(), 0);
    assert!(routed(&topology, "amq.fanout", "").is_empty());
}
