"""Publisher confirms: `confirms.py 1000` publishes that many messages in three ways, then shows what is not a confirm.

A confirm of a persistent message in a durable queue means that it is on the broker's disk. Waiting for each one before
the next message costs a sync of the disk each time; many on their way share one.
"""

import os
import sys
import threading
import time
from concurrent.futures import wait

import pika
from pika.exceptions import NackError, UnroutableError

from broker import connect, parameters_for, run, say
from publisher import Publisher

QUEUE = os.environ.get("QUEUE", "confirms")
PERSISTENT = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
AT_ONCE = 50


def one_by_one(channel, count):
    # After this, basic_publish returns when the confirm has come, and raises NackError or UnroutableError otherwise.
    channel.confirm_delivery()
    for _ in range(count):
        channel.basic_publish("", QUEUE, b"one by one", PERSISTENT, mandatory=True)


def in_batches(publisher, count):
    for start in range(0, count, AT_ONCE):
        batch = [publisher.publish("", QUEUE, b"in a batch") for _ in range(min(AT_ONCE, count - start))]
        # If one fails, the program knows which of the batch to publish again.
        for future in batch:
            future.result()


def pipelined(publisher, count):
    room = threading.Semaphore(AT_ONCE)
    futures = []
    for _ in range(count):
        # The next message is sent as soon as any is confirmed. The bound keeps memory and what may be repeated small.
        room.acquire()
        future = publisher.publish("", QUEUE, b"pipelined")
        future.add_done_callback(lambda _: room.release())
        futures.append(future)
    wait(futures)
    for future in futures:
        future.result()


def timed(what, publish, through, count):
    start = time.monotonic()
    publish(through, count)
    say(f" [x] {what}: {count} confirmed in {(time.monotonic() - start) * 1000:.0f} ms")


def what_is_not_a_confirm(channel):
    full = f"{QUEUE}_full"
    channel.queue_declare(full, exclusive=True, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    answers = []
    for _ in range(3):
        try:
            channel.basic_publish("", full, b"one more")
            answers.append("ack")
        except NackError:
            # The message is not kept anywhere: publish it again later, slow down, or tell the user.
            answers.append("nack")
    say(f" [x] Into a queue with room for two: {', '.join(answers)}")
    try:
        channel.basic_publish("", f"{QUEUE}_nowhere", b"lost", mandatory=True)
    except UnroutableError as error:
        returned = error.messages[0].method
        say(f" [x] Mandatory, without a queue: returned with {returned.reply_code} {returned.reply_text}")
    # Without `mandatory` that is a confirm: the broker did all there was to do with it.
    channel.basic_publish("", f"{QUEUE}_nowhere", b"lost")
    say(" [x] Not mandatory, without a queue: confirmed, and gone")


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    connection = connect("confirms.py")
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True)
    timed("One by one", one_by_one, channel, count)

    publisher = Publisher(parameters_for("confirms.py, pipelined"), lambda channel: channel.queue_declare(QUEUE, durable=True))
    publisher.wait_until_connected(10)
    timed(f"In batches of {AT_ONCE}", in_batches, publisher, count)
    timed(f"Pipelined, {AT_ONCE} on their way", pipelined, publisher, count)
    publisher.close()

    what_is_not_a_confirm(channel)
    kept = channel.queue_delete(QUEUE).method.message_count
    say(f" [x] The queue held {kept} messages; it is deleted, so that the next run begins anew")
    connection.close()


run(main)
