"""What pika sees of policies. The broker is to have these:

small    on ^small     max-length 3
retry    on ^retry     dead-letter-exchange "", dead-letter-routing-key "retried", message-ttl 50
strict   on ^strict    max-length 1, overflow reject-publish
spare    on exchanges ^spare   alternate-exchange "amq.fanout"
"""

import time

import pika
from pika.exceptions import NackError

from smoke import DEADLINE, URL, expect, run, scenario


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def get_all(channel, queue):
    bodies = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(body)


@scenario
def a_policy_limits_a_queue_that_asked_for_nothing(channel):
    channel.queue_declare("small.one")
    for number in range(5):
        channel.basic_publish("", "small.one", str(number).encode())
    expect(get_all(channel, "small.one"), [b"2", b"3", b"4"], "messages")


@scenario
def the_smaller_of_policy_and_argument_holds(channel):
    channel.queue_declare("small.two", arguments={"x-max-length": 2})
    for number in range(5):
        channel.basic_publish("", "small.two", str(number).encode())
    expect(get_all(channel, "small.two"), [b"3", b"4"], "messages")


@scenario
def a_policy_lets_messages_expire_to_another_queue(channel):
    channel.queue_declare("retried")
    channel.queue_declare("retry.one")
    channel.basic_publish("", "retry.one", b"again")
    deadline = time.monotonic() + DEADLINE
    while ready(channel, "retried") == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    _, properties, body = channel.basic_get("retried", auto_ack=True)
    expect(body, b"again", "body")
    expect(properties.headers["x-death"][0]["reason"], "expired", "reason")


@scenario
def a_policy_refuses_what_is_too_much(channel):
    channel.queue_declare("strict.one")
    channel.confirm_delivery()
    channel.basic_publish("", "strict.one", b"first")
    try:
        channel.basic_publish("", "strict.one", b"second")
    except NackError:
        return
    raise AssertionError("the second message was not refused")


@scenario
def a_policy_gives_an_exchange_an_alternate(channel):
    channel.exchange_declare("spare.topic", "topic")
    channel.queue_declare("caught")
    channel.queue_bind("caught", "amq.fanout")
    channel.basic_publish("spare.topic", "nobody.listens", b"caught")
    expect(get_all(channel, "caught"), [b"caught"], "messages")


def on_a_channel_of_its_own(function):
    with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
        function(connection.channel())


run(on_a_channel_of_its_own)
