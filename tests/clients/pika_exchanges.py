"""Exchange types that RabbitMQ has as plugins, as pika's users meet them. The broker is restarted between two runs: STEP says
which one this is."""

import json
import os

import pika

from smoke import URL, expect, name, run, scenario

STEP = os.environ.get("STEP", "")
PLACES = os.environ.get("PLACES", "")
KEYS = [f"customer-{number}" for number in range(300)]
WEIGHTS = {"one": "1", "two": "2"}


def places(channel):
    """Which queue each key is in; empties the queues."""
    found = {}
    for base in WEIGHTS:
        while True:
            method, _, body = channel.basic_get(name(base), auto_ack=True)
            if method is None:
                break
            found[body.decode()] = base
    return found


def publish_all(channel):
    for key in KEYS:
        channel.basic_publish(name("hash"), key, key.encode(), mandatory=True)


@scenario
def a_key_stays_in_its_queue_by_weight_and_over_a_restart():
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    channel.confirm_delivery()
    if STEP == "before":
        channel.exchange_declare(name("hash"), "x-consistent-hash", durable=True)
        for base, weight in WEIGHTS.items():
            channel.queue_declare(name(base), durable=True)
            channel.queue_bind(name(base), name("hash"), weight)
    publish_all(channel)
    first = places(channel)
    expect(sorted(first), sorted(KEYS), "every key is in one queue")
    share = sum(base == "one" for base in first.values()) / len(KEYS)
    expect(0.2 < share < 0.47, True, f"the share of a weight of 1 in 3, {share}")
    publish_all(channel)
    expect(places(channel), first, "the same again")
    if STEP == "before":
        with open(PLACES, "w", encoding="utf-8") as file:
            json.dump(first, file)
    else:
        with open(PLACES, encoding="utf-8") as file:
            expect(first, json.load(file), "as before the restart")
    connection.close()


run()
