//! Direct reply-to: answers without a queue of one's own.

use amq_protocol::protocol::basic::{self, AMQPProperties};
use amq_protocol::protocol::queue;

use crate::peer::{Channel, passive};
use crate::target::{Test, differs_from_rabbitmq};

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

fn consume(consumer_tag: &str) -> basic::Consume {
    basic::Consume {
        queue: REPLY_TO.into(),
        consumer_tag: consumer_tag.into(),
        no_ack: true,
        ..basic::Consume::default()
    }
}

/// Asks a question at `queue` and returns the address for answers, as the responder sees it.
fn ask(requester: Channel<'_>, queue: &str, responder: Channel<'_>) -> String {
    let properties =
        AMQPProperties::default().with_reply_to(REPLY_TO.into()).with_correlation_id("c1".into());
    requester.publish_with("", queue, &properties, b"question");
    let question = responder.expect_deliver();
    assert_eq!(question.text(), "question");
    assert_eq!(question.properties.correlation_id().as_ref().map(|id| id.as_str()), Some("c1"));
    question.properties.reply_to().clone().expect("an address").into()
}

#[test]
fn the_pseudo_queue_looks_like_a_queue_with_a_consumer() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    for passive in [false, true] {
        let declared =
            channel.call(queue::Declare { queue: REPLY_TO.into(), passive, ..queue::Declare::default() });
        assert_eq!(
            (declared.queue.as_str(), declared.message_count, declared.consumer_count),
            (REPLY_TO, 0, 1)
        );
    }
}

#[test]
fn an_answer_comes_back_over_the_address_that_the_broker_gives() {
    let test = Test::start();
    let (client, server) = (test.connect(), test.connect());
    let (requester, responder) = (client.open(1), server.open(1));
    let queue = test.queue("rpc");
    responder.queue(&queue);
    responder.consume_with(basic::Consume {
        queue: queue.as_str().into(),
        no_ack: true,
        ..Default::default()
    });
    requester.consume_with(consume("answers"));
    let address = ask(requester, &queue, responder);
    assert!(address.starts_with("amq.rabbitmq.reply-to."), "{address}");
    for number in 1..=3 {
        let properties = AMQPProperties::default().with_correlation_id("c1".into());
        responder.publish_with("", &address, &properties, format!("answer {number}").as_bytes());
        let answer = requester.expect_deliver();
        assert_eq!((answer.text(), answer.consumer_tag.as_str()), (&*format!("answer {number}"), "answers"));
        assert_eq!((answer.redelivered, answer.exchange.as_str()), (false, ""));
        assert_eq!(answer.routing_key, address);
        assert_eq!(answer.properties, properties);
    }
}

#[test]
fn a_responder_can_ask_whether_anybody_still_waits() {
    let test = Test::start();
    let (client, server) = (test.connect(), test.connect());
    let (requester, responder) = (client.open(1), server.open(1));
    let queue = test.queue("rpc");
    responder.queue(&queue);
    responder.consume_with(basic::Consume {
        queue: queue.as_str().into(),
        no_ack: true,
        ..Default::default()
    });
    requester.consume_with(consume("answers"));
    let address = ask(requester, &queue, responder);
    let ask_for = |declare: queue::Declare| {
        let ok = responder.call(declare);
        assert_eq!((ok.queue.as_str(), ok.message_count, ok.consumer_count), (address.as_str(), 0, 1));
    };
    ask_for(passive(&address));
    ask_for(queue::Declare { queue: address.as_str().into(), ..queue::Declare::default() });
    requester.close();
    let gone = || {
        let channel = server.open(2);
        channel.send(passive(&address));
        match channel.next().method {
            amq_protocol::protocol::AMQPClass::Channel(_) => {
                channel.send(amq_protocol::protocol::channel::CloseOk {});
                true
            }
            _ => {
                channel.close();
                false
            }
        }
    };
    warren_tests::eventually("the address goes", || gone().then_some(()));
}

#[test]
fn an_answer_to_nobody_is_dropped() {
    let test = Test::start();
    let (client, server) = (test.connect(), test.connect());
    let (requester, responder) = (client.open(1), server.open(1));
    let queue = test.queue("rpc");
    responder.queue(&queue);
    responder.consume_with(basic::Consume {
        queue: queue.as_str().into(),
        no_ack: true,
        ..Default::default()
    });
    requester.consume_with(consume("answers"));
    let address = ask(requester, &queue, responder);
    requester.call(basic::Cancel { consumer_tag: "answers".into(), nowait: false });
    responder.publish("", &address, "too late");
    responder.expect_nothing();
    requester.expect_nothing();
    // The name is free for another consumer, under a new address.
    requester.consume_with(consume("answers"));
    assert_ne!(ask(requester, &queue, responder), address);
}

#[test]
fn each_channel_has_its_own_address() {
    let test = Test::start();
    let peer = test.connect();
    let (one, two, responder) = (peer.open(1), peer.open(2), peer.open(3));
    let queue = responder.temp_queue();
    responder.consume_with(basic::Consume {
        queue: queue.as_str().into(),
        no_ack: true,
        ..Default::default()
    });
    one.consume_with(consume("same tag"));
    two.consume_with(consume("same tag"));
    let (first, second) = (ask(one, &queue, responder), ask(two, &queue, responder));
    assert_ne!(first, second);
    responder.publish("", &second, "for two");
    responder.publish("", &first, "for one");
    assert_eq!(two.expect_deliver().text(), "for two");
    assert_eq!(one.expect_deliver().text(), "for one");
}

#[test]
fn answers_cannot_be_acknowledged() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.send(basic::Consume { no_ack: false, ..consume("c") });
    channel.expect_close(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge", (60, 20));
}

#[test]
fn a_channel_has_one_consumer_of_answers() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.consume_with(consume("one"));
    channel.send(consume("two"));
    channel.expect_close(406, "PRECONDITION_FAILED - reply consumer already set", (60, 20));
}

#[test]
fn a_question_needs_a_consumer_of_answers_on_the_same_channel() {
    let test = Test::start();
    let peer = test.connect();
    let (with, without) = (peer.open(1), peer.open(2));
    with.consume_with(consume("c"));
    without.publish_with("", "nowhere", &AMQPProperties::default().with_reply_to(REPLY_TO.into()), b"x");
    without.expect_close(406, "PRECONDITION_FAILED - fast reply consumer does not exist", (60, 40));
}

#[test]
fn a_mandatory_answer_comes_back_once_nobody_waits() {
    let test = Test::start();
    let peer = test.connect();
    let (requester, responder) = (peer.open(1), peer.open(2));
    let queue = responder.temp_queue();
    responder.consume_with(basic::Consume {
        queue: queue.as_str().into(),
        no_ack: true,
        ..Default::default()
    });
    requester.consume_with(consume("answers"));
    let address = ask(requester, &queue, responder);
    requester.close();
    responder.publish_mandatory("", &address, "too late");
    assert_eq!(responder.expect_return().text(), "too late");
}

#[test]
fn a_mandatory_answer_counts_as_routed() {
    if differs_from_rabbitmq("before 4.2 it returns mandatory answers though they arrive") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let (requester, responder) = (peer.open(1), peer.open(2));
    let queue = responder.temp_queue();
    responder.consume_with(basic::Consume {
        queue: queue.as_str().into(),
        no_ack: true,
        ..Default::default()
    });
    requester.consume_with(consume("answers"));
    let address = ask(requester, &queue, responder);
    responder.publish_mandatory("", &address, "answer");
    assert_eq!(requester.expect_deliver().text(), "answer");
    responder.expect_nothing();
}

#[test]
fn the_address_cannot_be_bound() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.consume_with(consume("c"));
    channel.send(queue::Bind { queue: REPLY_TO.into(), exchange: "amq.direct".into(), ..Default::default() });
    let close = channel.expect::<amq_protocol::protocol::channel::Close>();
    assert!([403, 404].contains(&close.reply_code), "{close:?}");
}
