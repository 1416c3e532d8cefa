"""Queue features, seen through pika: what a queue does by itself with messages, consumers and publishers."""

import time

import pika
from pika.exceptions import NackError, UnroutableError

from smoke import DEADLINE, URL, expect, name, run, scenario


def connect():
    return pika.BlockingConnection(pika.URLParameters(URL))


def keyed(**arguments):
    """Queue arguments: x_max_length is x-max-length."""
    return {key.replace("_", "-"): value for key, value in arguments.items()}


def queue_with(channel, **arguments):
    """A queue of this connection, with arguments."""
    return channel.queue_declare("", exclusive=True, arguments=keyed(**arguments)).method.queue


def dead_letters_to(queue):
    return {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": queue}


def publish(channel, queue, body, **properties):
    channel.basic_publish("", queue, body, pika.BasicProperties(**properties))


def eventually(connection, what, look):
    """Looks again and again until there is something, and returns it."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        connection.sleep(0.01)
    raise AssertionError(f"{what}: not within {DEADLINE} seconds")


def take(connection, channel, queue):
    """Waits for a message and takes it; returns its properties and body."""

    def look():
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        return None if method is None else (properties, body.decode())

    return eventually(connection, f"a message in {queue}", look)


def drain(channel, queue):
    bodies = []
    while (message := channel.basic_get(queue, auto_ack=True))[0] is not None:
        bodies.append(message[2].decode())
    return bodies


def count(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def deaths(properties):
    """What x-death tells, the latest first."""
    return [(death["queue"], death["reason"], death["count"]) for death in properties.headers["x-death"]]


@scenario
def messages_of_a_queue_with_a_time_to_live_become_dead_letters(connection):
    channel = connection.channel()
    dead = queue_with(channel)
    queue = queue_with(channel, x_message_ttl=50, **dead_letters_to(dead))
    for body in ("1", "2"):
        publish(channel, queue, body)
    properties, body = take(connection, channel, dead)
    expect((body, deaths(properties)), ("1", [(queue, "expired", 1)]), "the first")
    expect(properties.headers["x-first-death-reason"], "expired", "the reason of the first death")
    expect(take(connection, channel, dead)[1], "2", "the second")
    expect(count(channel, queue), 0, "messages left")


@scenario
def a_message_expires_by_itself_and_others_do_not(connection):
    channel = connection.channel()
    dead = queue_with(channel)
    queue = queue_with(channel, **dead_letters_to(dead))
    publish(channel, queue, "short", expiration="50")
    publish(channel, queue, "for ever")
    properties, body = take(connection, channel, dead)
    expect((body, properties.expiration), ("short", None), "the dead letter")
    expect(properties.headers["x-death"][0]["original-expiration"], "50", "its expiration")
    expect(drain(channel, queue), ["for ever"], "the rest")


@scenario
def a_full_queue_drops_its_oldest_messages(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    dead = queue_with(channel)
    queue = queue_with(channel, x_max_length=2, **dead_letters_to(dead))
    for body in ("1", "2", "3"):
        publish(channel, queue, body)
    properties, body = take(connection, channel, dead)
    expect((body, deaths(properties)), ("1", [(queue, "maxlen", 1)]), "the dead letter")
    expect(drain(channel, queue), ["2", "3"], "the rest")


@scenario
def a_queue_has_a_limit_of_bytes(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    queue = queue_with(channel, x_max_length_bytes=10)
    for body in ("12345", "67890", "x"):
        publish(channel, queue, body)
    expect(drain(channel, queue), ["67890", "x"], "what is left")


@scenario
def a_full_queue_refuses_and_the_publisher_hears_of_it(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    dead = queue_with(channel)
    queue = queue_with(channel, x_max_length=1, x_overflow="reject-publish-dlx", **dead_letters_to(dead))
    publish(channel, queue, "1")
    try:
        publish(channel, queue, "2")
    except NackError:
        pass
    else:
        raise AssertionError("a full queue took a message")
    expect(take(connection, channel, dead)[1], "2", "the dead letter")
    expect(drain(channel, queue), ["1"], "what is left")
    publish(channel, queue, "3")
    expect(drain(channel, queue), ["3"], "after there was room again")


@scenario
def work_that_fails_is_tried_again_after_a_while_and_then_put_aside(connection):
    channel = connection.channel()
    work, wait, parked = (name(base) for base in ("retry.work", "retry.wait", "retry.parked"))
    channel.queue_declare(work, durable=True, arguments=keyed(**dead_letters_to(wait)))
    channel.queue_declare(wait, durable=True, arguments=keyed(x_message_ttl=30, **dead_letters_to(work)))
    channel.queue_declare(parked, durable=True)
    channel.basic_qos(prefetch_count=1)
    publish(channel, work, "task", delivery_mode=2)
    attempts = 0
    for method, properties, body in channel.consume(work, inactivity_timeout=DEADLINE):
        attempts += 1
        failures = [death["count"] for death in (properties.headers or {}).get("x-death", []) if death["queue"] == work]
        expect(failures, [attempts - 1] if attempts > 1 else [], "failures so far")
        if attempts == 4:
            channel.basic_publish("", parked, body, properties)
            channel.basic_ack(method.delivery_tag)
            break
        channel.basic_reject(method.delivery_tag, requeue=False)
    channel.cancel()
    properties, body = take(connection, channel, parked)
    expect(body, "task", "what was put aside")
    expect(deaths(properties), [(wait, "expired", 3), (work, "rejected", 3)], "its story")
    for queue in (work, wait, parked):
        channel.queue_delete(queue)


@scenario
def higher_priorities_come_first(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    queue = queue_with(channel, x_max_priority=5)
    for body, priority in (("low", 1), ("none", None), ("high", 5), ("beyond", 9), ("middle", 3)):
        publish(channel, queue, body, priority=priority)
    expect(drain(channel, queue), ["high", "beyond", "middle", "low", "none"], "the order")


@scenario
def a_message_that_comes_back_too_often_is_put_aside(connection):
    channel = connection.channel()
    dead = queue_with(channel)
    queue = name("limited")
    arguments = keyed(x_queue_type="quorum", x_delivery_limit=2, **dead_letters_to(dead))
    channel.queue_declare(queue, durable=True, arguments=arguments)
    channel.basic_qos(prefetch_count=1)
    publish(channel, queue, "poison", delivery_mode=2)
    counts = []
    for method, properties, _ in channel.consume(queue, inactivity_timeout=DEADLINE):
        counts.append((properties.headers or {}).get("x-delivery-count"))
        channel.basic_nack(method.delivery_tag, requeue=True)
        if len(counts) == 3:
            break
    channel.cancel()
    expect(counts, [None, 1, 2], "how often it had come back")
    properties, body = take(connection, channel, dead)
    expect((body, deaths(properties)), ("poison", [(queue, "delivery_limit", 1)]), "the dead letter")
    channel.queue_delete(queue)


@scenario
def an_unused_queue_goes_away(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    queue = queue_with(channel, x_expires=100)

    def look():
        # Publishing is no use of a queue, asking for it is.
        try:
            channel.basic_publish("", queue, "are you there?", mandatory=True)
        except UnroutableError:
            return True
        return None

    eventually(connection, "the queue goes away", look)


@scenario
def one_consumer_is_active_and_the_next_takes_over(connection):
    first, second = connection.channel(), connection.channel()
    queue = queue_with(first, x_single_active_consumer=True)
    received = []

    def consumer_of(tag):
        def callback(channel, method, properties, body):
            received.append((tag, body.decode()))
            channel.basic_ack(method.delivery_tag)

        return callback

    first.basic_consume(queue, consumer_of("first"), consumer_tag="first")
    second.basic_consume(queue, consumer_of("second"), consumer_tag="second")
    for body in ("1", "2"):
        publish(first, queue, body)
    eventually(connection, "two messages", lambda: len(received) == 2 or None)
    first.basic_cancel("first")
    publish(second, queue, "3")
    eventually(connection, "the third message", lambda: len(received) == 3 or None)
    expect(received, [("first", "1"), ("first", "2"), ("second", "3")], "who got what")


@scenario
def a_forgotten_delivery_closes_its_channel(connection):
    if connection._impl.server_properties["product"] == "RabbitMQ":
        return  # It looks once a minute, and before 3.12 it knew no timeout of a queue.
    channel, other = connection.channel(), connection.channel()
    queue = queue_with(other, x_consumer_timeout=150)
    received = []
    channel.basic_consume(queue, lambda *message: received.append(message[3]))
    publish(other, queue, "forgotten")
    eventually(connection, "the delivery", lambda: received or None)
    eventually(connection, "the channel is closed", lambda: channel.is_closed or None)
    expect(take(connection, other, queue)[1], "forgotten", "the message")


def in_a_connection(function):
    connection = connect()
    function(connection)
    connection.close()


run(in_a_connection)
