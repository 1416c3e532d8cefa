"""aio-pika, the client most asyncio programs use."""

import asyncio

import aio_pika
from aio_pika import ExchangeType, Message
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed, DeliveryError

from smoke import DEADLINE, URL, expect, name, run, scenario


async def take(queue, count, **options):
    """The next messages of a queue, from a consumer that is cancelled afterwards; they are not acknowledged."""
    arrived = asyncio.Queue()
    tag = await queue.consume(arrived.put, **options)
    async with asyncio.timeout(DEADLINE):
        messages = [await arrived.get() for _ in range(count)]
    await queue.cancel(tag)
    return messages


async def publish(channel, queue, *bodies):
    for body in bodies:
        await channel.default_exchange.publish(Message(body), queue.name)


async def messages_in(channel, queue):
    """How many messages are ready, asked of the broker."""
    return (await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count


@scenario
async def a_confirmed_message_arrives_with_its_properties(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(name("properties"), durable=True)
    sent = Message(
        b"body",
        headers={"text": "value", "number": 42, "list": [1, "two", True], "table": {"inner": None}},
        content_type="text/plain",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        priority=3,
        correlation_id="7",
        reply_to="somewhere",
        message_id="m1",
        type="kind",
        app_id="smoke",
    )
    await channel.default_exchange.publish(sent, queue.name, mandatory=True)
    message = await queue.get(timeout=DEADLINE)
    await message.ack()
    expect(message.body, b"body", "body")
    for field in ("headers", "content_type", "delivery_mode", "priority", "correlation_id", "reply_to"):
        expect(getattr(message, field), getattr(sent, field), field)
    for field in ("message_id", "type", "app_id"):
        expect(getattr(message, field), getattr(sent, field), field)
    expect(await queue.get(fail=False), None, "a second get")
    await queue.delete()


@scenario
async def a_large_body_is_split_and_joined(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue("", exclusive=True)
    body = bytes(range(256)) * 4096
    await publish(channel, queue, body, b"")
    large, empty = await take(queue, 2, no_ack=True)
    expect(large.body == body, True, "1 MiB is the same after the journey")
    expect(empty.body, b"", "an empty body")


@scenario
async def an_unroutable_mandatory_message_comes_back(connection):
    channel = await connection.channel(on_return_raises=True)
    try:
        await channel.default_exchange.publish(Message(b"lost"), name("nowhere"), mandatory=True)
    except DeliveryError as error:
        expect(error.frame.name, "Basic.Return", "the reason")
        expect((error.frame.reply_code, error.frame.reply_text), (312, "NO_ROUTE"), "the reply")
    else:
        raise AssertionError("the message did not come back")
    await channel.default_exchange.publish(Message(b"lost"), name("nowhere"), mandatory=False)


@scenario
async def rejected_and_unacknowledged_messages_return_in_order(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(name("requeue"), auto_delete=False)
    await publish(channel, queue, b"1", b"2", b"3", b"4")
    one, two, three, four = [await queue.get(timeout=DEADLINE) for _ in range(4)]
    await one.ack()
    await two.nack(requeue=True)
    await three.reject(requeue=False)
    await channel.close()

    channel = await connection.channel()
    queue = await channel.declare_queue(name("requeue"))
    again = await take(queue, 2)
    expect([m.body for m in again], [b"2", b"4"], "what is left, in order")
    expect([m.redelivered for m in again], [True, True], "redelivered")
    for message in again:
        await message.ack()
    await queue.delete()


@scenario
async def prefetch_limits_what_is_unacknowledged(connection):
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=2)
    queue = await channel.declare_queue("", exclusive=True)
    await publish(channel, queue, b"1", b"2", b"3")
    arrived = asyncio.Queue()
    await queue.consume(arrived.put)
    async with asyncio.timeout(DEADLINE):
        first, _second = await arrived.get(), await arrived.get()
        # Asked and answered on the consumer's own channel: a third delivery would have come before the answer.
        expect(await messages_in(channel, queue), 1, "messages held back")
        expect(arrived.empty(), True, "no third delivery")
        await first.ack()
        expect((await arrived.get()).body, b"3", "after an acknowledgement")


@scenario
async def a_topic_exchange_routes_by_pattern(connection):
    channel = await connection.channel()
    exchange = await channel.declare_exchange(name("topic"), ExchangeType.TOPIC, auto_delete=True)
    star, hash_ = await channel.declare_queue("", exclusive=True), await channel.declare_queue("", exclusive=True)
    await star.bind(exchange, "old.*")
    await hash_.bind(exchange, "old.#")
    for key in ("old.boy.python", "old", "old.boy"):
        await exchange.publish(Message(key.encode()), key)
    expect([m.body for m in await take(star, 1)], [b"old.boy"], "old.*")
    expect([m.body for m in await take(hash_, 3)], [b"old.boy.python", b"old", b"old.boy"], "old.#")
    await star.unbind(exchange, "old.*")
    # aio-pika's publish is mandatory unless told otherwise, so this must not come back.
    await exchange.publish(Message(b""), "old.boy")


@scenario
async def exchanges_can_be_bound_to_exchanges(connection):
    channel = await connection.channel()
    source = await channel.declare_exchange(name("source"), ExchangeType.FANOUT, auto_delete=True)
    target = await channel.declare_exchange(name("target"), ExchangeType.DIRECT, auto_delete=True)
    queue = await channel.declare_queue("", exclusive=True)
    await target.bind(source)
    await queue.bind(target, "key")
    await source.publish(Message(b"through two"), "key")
    expect([m.body for m in await take(queue, 1)], [b"through two"], "the message")


@scenario
async def an_exclusive_queue_is_locked_for_others_and_ends_with_its_connection(connection):
    owner = await aio_pika.connect(URL)
    queue = await (await owner.channel()).declare_queue(name("exclusive"), exclusive=True)
    try:
        await (await connection.channel()).declare_queue(queue.name, passive=True)
    except aio_pika.exceptions.ChannelClosed as error:
        expect("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue" in str(error), True, str(error))
    else:
        raise AssertionError("another connection could use the queue")
    await owner.close()
    try:
        await (await connection.channel()).declare_queue(queue.name, passive=True)
    except ChannelNotFoundEntity:
        pass
    else:
        raise AssertionError("the queue outlived its connection")


@scenario
async def a_missing_queue_closes_only_the_channel(connection):
    channel, other = await connection.channel(), await connection.channel()
    try:
        await channel.declare_queue(name("missing"), passive=True)
    except ChannelNotFoundEntity as error:
        expect(f"NOT_FOUND - no queue '{name('missing')}' in vhost '/'" in str(error), True, str(error))
    else:
        raise AssertionError("a missing queue was found")
    await other.declare_queue("", exclusive=True)


@scenario
async def a_different_redeclaration_is_refused(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(name("redeclared"), durable=True)
    await channel.declare_queue(queue.name, durable=True)
    try:
        await channel.declare_queue(queue.name, durable=False)
    except ChannelPreconditionFailed as error:
        wanted = (
            f"PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{queue.name}' in vhost '/': "
            "received 'false' but current is 'true'"
        )
        expect(wanted in str(error), True, str(error))
    else:
        raise AssertionError("a different declaration was accepted")
    await (await connection.channel()).queue_delete(queue.name)


@scenario
async def a_transaction_is_all_or_nothing(connection):
    channel = await connection.channel(publisher_confirms=False)
    queue = await channel.declare_queue("", exclusive=True)
    transaction = channel.transaction()
    await transaction.select()
    await channel.default_exchange.publish(Message(b"forgotten"), queue.name)
    await transaction.rollback()
    await channel.default_exchange.publish(Message(b"kept"), queue.name)
    await transaction.commit()
    expect((await queue.get(timeout=DEADLINE)).body, b"kept", "the first message")
    expect(await queue.get(fail=False), None, "the second message")


@scenario
async def a_robust_connection_reconnects_and_consumes_on(connection):
    robust = await aio_pika.connect_robust(URL)
    channel = await robust.channel()
    queue = await channel.declare_queue(name("robust"), auto_delete=False)
    arrived = asyncio.Queue()
    await queue.consume(arrived.put, no_ack=True)
    await robust.reconnect()
    await publish(await connection.channel(), queue, b"after the break")
    async with asyncio.timeout(DEADLINE):
        expect((await arrived.get()).body, b"after the break", "the message")
    await robust.close()
    await (await connection.channel()).queue_delete(queue.name)


def in_a_connection(function):
    async def main():
        async with asyncio.timeout(2 * DEADLINE):
            async with await aio_pika.connect(URL) as connection:
                await function(connection)

    asyncio.run(main())


run(in_a_connection)
