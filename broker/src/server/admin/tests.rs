//! What operators see and do, without clients.

use amq_protocol::types::FieldTable;

use super::*;
use crate::session::action::TopologyRequest;
use crate::{Broker, Config};

fn declare(name: &str) -> TopologyRequest {
    TopologyRequest::DeclareQueue {
        name: name.to_owned(),
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::default(),
    }
}

fn message(routing_key: &str, body: &[u8]) -> NewMessage {
    NewMessage {
        routing_key: routing_key.to_owned(),
        properties: vec![0, 0],
        body: body.to_vec(),
        ..NewMessage::default()
    }
}

fn value(measures: &[Measure], name: &str) -> u64 {
    measures.iter().find(|measure| measure.name == name).unwrap().value
}

#[tokio::test]
async fn what_an_actor_does_shows_in_the_views() {
    let broker = Broker::start(Config::in_process()).await.unwrap();
    let admin = broker.admin();
    let mut guest = admin.act_as(Some("guest"), "/").unwrap();
    guest.topology(declare("q")).unwrap();
    for body in [&b"one"[..], b"three"] {
        assert_eq!(guest.publish(message("q", body)).unwrap(), Published::Routed);
    }
    assert_eq!(guest.publish(message("nowhere", b"")).unwrap(), Published::Unroutable);
    let got = guest.get("q", 1, Requeue::Yes).unwrap();
    assert_eq!((got[0].message.body(), got[0].redelivered, got[0].remaining), (&b"one"[..], false, 1));
    let got = guest.get("q", 9, Requeue::Acknowledge).unwrap();
    let bodies: Vec<_> = got.iter().map(|got| (got.message.body(), got.redelivered)).collect();
    assert_eq!(bodies, [(&b"one"[..], true), (b"three", false)]);

    let view = admin.queue("/", "q", Windows::default()).unwrap();
    assert_eq!((value(&view.lengths, "messages"), view.ready_bytes, view.unacked_bytes), (0, 0, 0));
    let stats = |name| value(&view.message_stats, name);
    assert_eq!((stats("publish"), stats("get"), stats("ack"), stats("redeliver")), (2, 3, 2, 1));
    drop(guest);
    let overview = admin.overview(Windows::default());
    assert_eq!((overview.queues, overview.exchanges, overview.connections), (1, 7, 0));
    let stats = |name| value(&overview.message_stats, name);
    assert_eq!((stats("publish"), stats("return_unroutable"), stats("deliver_get")), (3, 1, 3));
    assert_eq!(value(&overview.churn, "queue_created"), 1);
    broker.shutdown().await;
}

#[tokio::test]
async fn an_actor_may_do_what_its_user_may() {
    let broker = Broker::start(Config::in_process()).await.unwrap();
    let admin = broker.admin();
    admin.add_user("mallory", b"x", Tags::new(["management"])).unwrap();
    assert!(admin.act_as(Some("mallory"), "/").is_none(), "no permissions at all");
    assert!(admin.act_as(Some("nobody"), "/").is_none() && admin.act_as(None, "nowhere").is_none());
    admin.set_permissions("mallory", "/", Permissions::new("^mine", "", "").unwrap()).unwrap();
    let mut mallory = admin.act_as(Some("mallory"), "/").unwrap();
    mallory.topology(declare("mine")).unwrap();
    for error in [
        mallory.topology(declare("yours")).unwrap_err(),
        mallory.publish(message("mine", b"")).unwrap_err(),
        mallory.get("mine", 1, Requeue::Yes).unwrap_err(),
    ] {
        assert!(error.reply_text().starts_with("ACCESS_REFUSED"), "{error:?}");
    }
    let mut local = admin.act_as(None, "/").unwrap();
    local.topology(declare("yours")).unwrap();
    assert_eq!(local.publish(message("mine", b"")).unwrap(), Published::Routed);
    broker.shutdown().await;
}

#[tokio::test]
async fn samples_make_rates() {
    let broker = Broker::start(Config::in_process()).await.unwrap();
    let admin = broker.admin();
    let mut guest = admin.act_as(None, "/").unwrap();
    guest.topology(declare("q")).unwrap();
    let shared = &broker.shared;
    // The first makes the series. In the future, so that what the thread sees meanwhile is passed over as too early.
    guest.publish(message("q", b"x")).unwrap();
    let at_ms = shared.census.now_ms() / 5_000 * 5_000 + 3_600_000;
    shared.census.look(shared, at_ms);
    for _ in 0..50 {
        guest.publish(message("q", b"x")).unwrap();
    }
    shared.census.look(shared, at_ms - 3_600_000);
    shared.census.look(shared, at_ms + 5_000);
    let view = admin.queue("/", "q", Windows::default()).unwrap();
    assert_eq!(view.lengths[0].rates.rate, 10.0);
    let publish = view.message_stats.iter().find(|measure| measure.name == "publish").unwrap();
    assert_eq!(publish.rates.rate, 10.0);
    broker.shutdown().await;
}

#[tokio::test]
async fn bindings_include_those_of_the_default_exchange() {
    let broker = Broker::start(Config::in_process()).await.unwrap();
    let admin = broker.admin();
    let mut guest = admin.act_as(Some("guest"), "/").unwrap();
    guest.topology(declare("q")).unwrap();
    let sources = |bindings: Option<Vec<BindingView>>| {
        bindings.map(|all| all.into_iter().map(|binding| binding.source).collect::<Vec<_>>())
    };
    assert_eq!(sources(admin.bindings_to("/", EndKind::Queue, "q")), Some(vec![String::new()]));
    assert_eq!(sources(admin.bindings_from("/", "")), Some(vec![String::new()]));
    assert_eq!(sources(admin.bindings_from("/", "nothing")), None);
    assert_eq!(admin.bindings(Some("/")).len(), 1);
    broker.shutdown().await;
}
