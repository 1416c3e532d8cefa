"""py-amqp, the blocking client under kombu and Celery, on its own."""

import socket

import amqp
from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed
from kombu.utils.url import parse_url

from smoke import DEADLINE, URL, expect, name, run, scenario


def connect(**options):
    address = parse_url(URL)
    connection = amqp.Connection(
        host=f"{address['hostname']}:{address['port'] or 5672}",
        userid=address["userid"] or "guest",
        password=address["password"] or "guest",
        virtual_host=address["virtual_host"] or "/",
        connect_timeout=DEADLINE,
        read_timeout=DEADLINE,
        write_timeout=DEADLINE,
        **options,
    )
    connection.connect()
    return connection


@scenario
def a_confirmed_message_arrives(connection):
    channel = connection.channel()
    channel.confirm_select()
    queue = channel.queue_declare(name("confirmed"), durable=True, auto_delete=False).queue
    message = amqp.Message("text", content_type="text/plain", delivery_mode=2, application_headers={"n": 1})
    channel.basic_publish_confirm(message, routing_key=queue)
    received = channel.basic_get(queue)
    expect((received.body, received.headers, received.properties["delivery_mode"]), ("text", {"n": 1}, 2), "message")
    channel.basic_ack(received.delivery_tag)
    expect(channel.queue_delete(queue), 0, "messages left")


@scenario
def deliveries_are_acknowledged_and_requeued(connection):
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).queue
    for body in ("1", "2", "3"):
        channel.basic_publish(amqp.Message(body), routing_key=queue)
    arrived = []
    channel.basic_qos(0, 1, False)
    channel.basic_consume(queue, callback=arrived.append)
    while not arrived:
        connection.drain_events(timeout=DEADLINE)
    expect([m.body for m in arrived], ["1"], "with a prefetch of one")
    expect(channel.queue_declare(queue, passive=True).message_count, 2, "messages held back")
    channel.basic_reject(arrived[0].delivery_tag, requeue=True)
    while len(arrived) < 2:
        connection.drain_events(timeout=DEADLINE)
    expect((arrived[1].body, arrived[1].delivery_info["redelivered"]), ("1", True), "the requeued message")
    channel.basic_ack(arrived[1].delivery_tag)
    while len(arrived) < 3:
        connection.drain_events(timeout=DEADLINE)
    channel.basic_recover(requeue=True)
    while len(arrived) < 4:
        connection.drain_events(timeout=DEADLINE)
    expect([m.body for m in arrived], ["1", "1", "2", "2"], "all deliveries")


@scenario
def an_unroutable_mandatory_message_comes_back(connection):
    channel = connection.channel()
    channel.confirm_select()
    returned = []
    channel.events["basic_return"].add(lambda *reply: returned.append(reply))
    channel.basic_publish_confirm(amqp.Message("lost"), routing_key=name("nowhere"), mandatory=True)
    expect(len(returned), 1, "returned before the confirm")
    error, exchange, routing_key, message = returned[0]
    expect((error.reply_code, error.reply_text), (312, "NO_ROUTE"), "the reply")
    expect((exchange, routing_key, message.body), ("", name("nowhere"), "lost"), "what came back")


@scenario
def a_missing_queue_closes_only_the_channel(connection):
    channel, other = connection.channel(), connection.channel()
    try:
        channel.queue_declare(name("missing"), passive=True)
    except NotFound as error:
        expect((error.code, error.method_name), (404, "Queue.declare"), "the error")
        expect(error.reply_text, f"NOT_FOUND - no queue '{name('missing')}' in vhost '/'", "the text")
    else:
        raise AssertionError("a missing queue was found")
    other.queue_declare("", exclusive=True)


@scenario
def queues_are_purged_and_deleted_with_conditions(connection):
    channel = connection.channel()
    queue = channel.queue_declare(name("conditions"), auto_delete=False).queue
    channel.basic_publish(amqp.Message("x"), routing_key=queue)
    try:
        channel.queue_delete(queue, if_empty=True)
    except PreconditionFailed as error:
        expect(error.reply_text, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty", "the text")
    else:
        raise AssertionError("a queue with a message was deleted")
    channel = connection.channel()
    expect(channel.queue_purge(queue), 1, "purged messages")
    expect(channel.queue_delete(queue, if_unused=True, if_empty=True), 0, "messages lost")


@scenario
def reserved_names_are_refused(connection):
    try:
        connection.channel().queue_declare("amq.mine", exclusive=True)
    except AccessRefused as error:
        wanted = "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'"
        expect(error.reply_text, wanted, "the text")
    else:
        raise AssertionError("a reserved name was accepted")


@scenario
def a_transaction_is_all_or_nothing(connection):
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).queue
    channel.tx_select()
    channel.basic_publish(amqp.Message("forgotten"), routing_key=queue)
    channel.tx_rollback()
    channel.basic_publish(amqp.Message("kept"), routing_key=queue)
    channel.tx_commit()
    expect(channel.basic_get(queue, no_ack=True).body, "kept", "the message")
    expect(channel.basic_get(queue, no_ack=True), None, "another message")


@scenario
def heartbeats_keep_an_idle_connection(connection):
    quick = connect(heartbeat=1)
    expect(quick.heartbeat, 1, "the negotiated heartbeat")
    enough = quick.bytes_recv + 6
    # At two frames each second this takes longer than a broker may wait for a client that sends nothing.
    while quick.bytes_recv < enough:
        try:
            quick.drain_events(timeout=0.2)
        except socket.timeout:
            quick.heartbeat_tick()
    quick.channel().queue_declare("", exclusive=True)
    quick.close()


def in_a_connection(function):
    connection = connect()
    function(connection)
    connection.close()
    expect(bool(connection.connected), False, "connected after close")


run(in_a_connection)
