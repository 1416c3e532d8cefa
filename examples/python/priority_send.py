"""Priorities, the sending half: `priority_send.py 9 Fire!` sends a line of priority 9, of those from 0 to 9."""

import os
import sys

import pika

from broker import connect, run, say

QUEUE = os.environ.get("QUEUE", "priority_queue")


def main():
    level = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    line = " ".join(sys.argv[2:]) or "Hello World!"
    connection = connect("priority_send.py")
    channel = connection.channel()
    # How many levels there are belongs to the queue: it keeps a sequence for each.
    channel.queue_declare(QUEUE, durable=True, arguments={"x-max-priority": 9})

    properties = pika.BasicProperties(priority=level, delivery_mode=pika.DeliveryMode.Persistent)
    channel.basic_publish(exchange="", routing_key=QUEUE, body=line, properties=properties)
    say(f" [x] Sent {level}:'{line}'")
    connection.close()


run(main)
