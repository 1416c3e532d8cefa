"""Queue features across a restart of the broker, which happens between two runs: STEP says which one this is."""

import os
import time

import pika

from smoke import DEADLINE, URL, expect, name, run, scenario

IS_BEFORE = os.environ.get("STEP") == "before"

LONG_MS = 3_600_000


def before(function):
    return scenario(function) if IS_BEFORE else function


def after(function):
    return function if IS_BEFORE else scenario(function)


def declare(channel, base, arguments):
    """Declares a durable queue; the same declaration proves after the restart that it has kept its arguments."""
    return channel.queue_declare(name(base), durable=True, arguments=arguments).method


def publish(channel, base, body, **properties):
    channel.basic_publish("", name(base), body, pika.BasicProperties(delivery_mode=2, **properties))


def take(channel, base):
    """Waits for a message and takes it; returns its properties and body."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        method, properties, body = channel.basic_get(name(base), auto_ack=True)
        if method is not None:
            return properties, body.decode()
        time.sleep(0.01)
    raise AssertionError(f"no message in {name(base)} within {DEADLINE} seconds")


def drain(channel, base):
    bodies = []
    while (message := channel.basic_get(name(base), auto_ack=True))[0] is not None:
        bodies.append(message[2].decode())
    return bodies


def dead_letters_to(base):
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name(base)}


def deaths(properties):
    return [(death["queue"], death["reason"], death["count"]) for death in properties.headers["x-death"]]


def ttl():
    return dead_letters_to("ttl.dead") | {"x-message-ttl": LONG_MS}


@before
def messages_wait_for_the_end_of_their_time(channel):
    declare(channel, "ttl.dead", {})
    declare(channel, "ttl", ttl())
    publish(channel, "ttl", "stays")
    publish(channel, "ttl", "goes", expiration="2000")
    publish(channel, "ttl", "stays too", expiration=str(LONG_MS))


@after
def messages_expire_when_they_would_have_expired(channel):
    properties, body = take(channel, "ttl.dead")
    expect((body, deaths(properties)), ("goes", [(name("ttl"), "expired", 1)]), "the dead letter")
    expect(declare(channel, "ttl", ttl()).message_count, 2, "messages left")
    expect(drain(channel, "ttl"), ["stays", "stays too"], "what is left")


def limited():
    return dead_letters_to("limit.dead") | {"x-max-length": 3, "x-max-length-bytes": 30}


@before
def a_queue_is_filled_to_its_limit(channel):
    declare(channel, "limit.dead", {})
    declare(channel, "limit", limited())
    for body in ("1", "2", "3", "4"):
        publish(channel, "limit", body)


@after
def a_full_queue_is_still_full(channel):
    expect(declare(channel, "limit", limited()).message_count, 3, "messages")
    publish(channel, "limit", "5")
    expect([take(channel, "limit.dead")[1] for _ in range(2)], ["1", "2"], "dead letters before and after")
    publish(channel, "limit", "x" * 29)
    expect([take(channel, "limit.dead")[1] for _ in range(2)], ["3", "4"], "dead letters for the sake of bytes")
    expect(drain(channel, "limit"), ["5", "x" * 29], "what is left")


def refusing():
    return {"x-max-length": 1, "x-overflow": "reject-publish"}


@before
def a_queue_that_refuses_is_filled(channel):
    declare(channel, "refusing", refusing())
    publish(channel, "refusing", "1")


@after
def a_queue_that_refuses_still_does(channel):
    declare(channel, "refusing", refusing())
    try:
        publish(channel, "refusing", "2")
    except pika.exceptions.NackError:
        pass
    else:
        raise AssertionError("a full queue took a message")
    expect(drain(channel, "refusing"), ["1"], "what is left")


@before
def messages_of_several_priorities_wait(channel):
    declare(channel, "priorities", {"x-max-priority": 5})
    for body, priority in (("1a", 1), ("5a", 5), ("0a", 0), ("1b", 1), ("9", 9)):
        publish(channel, "priorities", body, priority=priority)


@after
def priorities_keep_their_order(channel):
    expect(declare(channel, "priorities", {"x-max-priority": 5}).message_count, 5, "messages")
    publish(channel, "priorities", "3a", priority=3)
    publish(channel, "priorities", "1c", priority=1)
    expect(drain(channel, "priorities"), ["5a", "9", "3a", "1a", "1b", "1c", "0a"], "the order")


def rejected():
    return dead_letters_to("story.second")


@before
def a_message_dies_and_dies_again(channel):
    declare(channel, "story.first", rejected())
    declare(channel, "story.second", {})
    publish(channel, "story.first", "x")
    method, _, _ = channel.basic_get(name("story.first"))
    channel.basic_reject(method.delivery_tag, requeue=False)
    properties, body = take(channel, "story.second")
    channel.basic_publish("", name("story.second"), body, properties)


@after
def a_dead_letter_keeps_its_story(channel):
    declare(channel, "story.first", rejected())
    properties, body = take(channel, "story.second")
    expect((body, deaths(properties)), ("x", [(name("story.first"), "rejected", 1)]), "the dead letter")


def counting():
    return dead_letters_to("counting.dead") | {"x-queue-type": "quorum", "x-delivery-limit": 1}


def back(channel, base):
    """Fetches a message, gives it back, and returns how often it had come back before."""
    method, properties, _ = channel.basic_get(name(base))
    channel.basic_reject(method.delivery_tag, requeue=True)
    return (properties.headers or {}).get("x-delivery-count", 0)


@before
def a_message_waits_to_come_back_too_often(channel):
    declare(channel, "counting.dead", {})
    declare(channel, "counting", counting())
    publish(channel, "counting", "poison")


@after
def a_delivery_limit_holds_as_before(channel):
    declare(channel, "counting", counting())
    expect([back(channel, "counting") for _ in range(2)], [0, 1], "how often it had come back")
    properties, body = take(channel, "counting.dead")
    expect((body, deaths(properties)), ("poison", [(name("counting"), "delivery_limit", 1)]), "the dead letter")


@before
def queues_are_declared_that_expire_when_nobody_uses_them(channel):
    declare(channel, "expires", {"x-expires": 3_000})
    declare(channel, "expires.late", {"x-expires": LONG_MS})
    publish(channel, "expires.late", "x")


@after
def an_unused_queue_goes_away_and_another_stays(channel):
    # Publishing is no use of a queue.
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            channel.basic_publish("", name("expires"), "are you there?", mandatory=True)
            time.sleep(0.02)
        except pika.exceptions.UnroutableError:
            break
    else:
        raise AssertionError("the queue stayed")
    expect(declare(channel, "expires.late", {"x-expires": LONG_MS}).message_count, 1, "messages")


@before
def a_queue_with_a_single_active_consumer_is_declared(channel):
    declare(channel, "single", {"x-single-active-consumer": True, "x-consumer-timeout": LONG_MS})


@after
def a_single_active_consumer_is_still_alone(channel):
    declare(channel, "single", {"x-single-active-consumer": True, "x-consumer-timeout": LONG_MS})
    received = []
    for tag in ("first", "second"):
        callback = lambda channel, method, _, body: received.append((method.consumer_tag, body.decode()))
        channel.basic_consume(name("single"), callback, auto_ack=True, consumer_tag=tag)
    for body in ("1", "2"):
        publish(channel, "single", body)
    deadline = time.monotonic() + DEADLINE
    while len(received) < 2 and time.monotonic() < deadline:
        channel.connection.process_data_events(0.01)
    expect(received, [("first", "1"), ("first", "2")], "who got what")


def in_a_channel(function):
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    channel.confirm_delivery()
    function(channel)
    connection.close()


run(in_a_channel)
