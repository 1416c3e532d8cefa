"""Retries, the sending half: `retry_send.py Call the bank!!` queues a task that fails once for each `!`."""

import os
import sys

import pika

from broker import connect, run, say
from retry_queues import declare

QUEUE = os.environ.get("QUEUE", "retry_queue")


def main():
    task = " ".join(sys.argv[1:]) or "Hello World!"
    connection = connect("retry_send.py")
    channel = connection.channel()
    declare(channel, QUEUE)

    channel.confirm_delivery()
    persistent = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
    channel.basic_publish(exchange="", routing_key=QUEUE, body=task, properties=persistent, mandatory=True)
    say(f" [x] Sent '{task}'")
    connection.close()


run(main)
