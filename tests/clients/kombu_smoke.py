"""kombu, the messaging library of Celery and of many OpenStack services."""

import socket

from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.exceptions import ChannelError
from kombu.pools import producers

from smoke import DEADLINE, URL, expect, name, run, scenario


def drain(connection, received, count):
    while len(received) < count:
        connection.drain_events(timeout=DEADLINE)


@scenario
def a_producer_declares_what_it_needs_and_a_consumer_gets_json(connection):
    exchange = Exchange(name("media"), "direct", durable=True)
    queue = Queue(name("video"), exchange=exchange, routing_key="video", durable=True)
    producer = Producer(connection, serializer="json")
    producer.publish({"name": "clip", "size": 1301013}, exchange=exchange, routing_key="video", declare=[queue])
    received = []
    with Consumer(connection, queue, accept=["json"]) as consumer:
        consumer.register_callback(lambda body, message: (received.append(body), message.ack()))
        drain(connection, received, 1)
    expect(received, [{"name": "clip", "size": 1301013}], "the message")
    bound = queue(connection.default_channel)
    expect(bound.get(), None, "nothing left")
    bound.delete()
    exchange(connection.default_channel).delete()


@scenario
def prefetch_works_as_kombu_chooses_it(connection):
    # kombu asks for a limit per channel when the broker does not call itself RabbitMQ.
    channel = connection.channel()
    queue = Queue(name("prefetch"), channel=channel, exclusive=True)
    queue.declare()
    producer = Producer(channel)
    for body in ("1", "2", "3"):
        producer.publish(body, routing_key=queue.name)
    received = []
    consumer = Consumer(channel, queue, prefetch_count=2, on_message=received.append)
    consumer.consume()
    drain(connection, received, 2)
    expect(queue.queue_declare(passive=True).message_count, 1, "messages held back")
    consumer.qos(prefetch_count=3)
    received[0].ack()
    drain(connection, received, 3)
    expect([m.body for m in received], ["1", "2", "3"], "all messages")
    consumer.cancel()


@scenario
def a_requeued_message_comes_again(connection):
    with connection.SimpleQueue(name("simple")) as simple:
        simple.put({"hello": "world"}, serializer="json", compression="zlib")
        message = simple.get(timeout=DEADLINE)
        message.requeue()
        message = simple.get(timeout=DEADLINE)
        expect((message.payload, message.delivery_info["redelivered"]), ({"hello": "world"}, True), "the message")
        message.ack()
    connection.default_channel.queue_delete(name("simple"))
    connection.default_channel.exchange_delete(name("simple"))


@scenario
def a_topic_exchange_routes_by_pattern(connection):
    channel = connection.channel()
    exchange = Exchange(name("topics"), "topic", channel=channel, auto_delete=True)
    queue = Queue(name("topics"), exchange, "news.#.sport", channel=channel, exclusive=True)
    queue.declare()
    producer = Producer(channel, exchange)
    for key in ("news.sport", "news.weather", "news.local.sport"):
        producer.publish(key, routing_key=key)
    expect([queue.get(no_ack=True).body for _ in range(2)], ["news.sport", "news.local.sport"], "messages")
    expect(queue.get(), None, "nothing else")


@scenario
def a_missing_queue_is_a_channel_error(connection):
    try:
        Queue(name("missing"), channel=connection.channel()).queue_declare(passive=True)
    except connection.channel_errors as error:
        expect(isinstance(error, ChannelError) or "NOT_FOUND - no queue" in str(error), True, str(error))
        expect(f"NOT_FOUND - no queue '{name('missing')}' in vhost '/'" in str(error), True, str(error))
    else:
        raise AssertionError("a missing queue was found")


@scenario
def a_broken_connection_is_opened_again(connection):
    queue = Queue(name("ensured"), durable=True)
    connection.ensure_connection(max_retries=3)
    connection.connection.transport.sock.shutdown(socket.SHUT_RDWR)
    with producers[connection].acquire(block=True) as producer:
        producer.publish("again", routing_key=queue.name, declare=[queue], retry=True)
    with Connection(URL) as other:
        bound = queue(other.default_channel)
        expect(bound.get(no_ack=True).body, "again", "the message")
        bound.delete()


def in_a_connection(function):
    with Connection(URL, connect_timeout=DEADLINE, transport_options={"confirm_publish": True}) as connection:
        function(connection)


run(in_a_connection)
