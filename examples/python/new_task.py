"""Work queue, the sending half: `new_task.py First task...` queues one task; each dot is a second of work."""

import os
import sys

import pika

from broker import connect, run, say

QUEUE = os.environ.get("QUEUE", "task_queue")


def main():
    task = " ".join(sys.argv[1:]) or "Hello World!"
    connection = connect("new_task.py")
    channel = connection.channel()
    channel.queue_declare(queue=QUEUE, durable=True)

    # A task survives a restart of the broker only if its queue is durable and the message persistent.
    persistent = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
    # With confirms, basic_publish returns once the broker has taken responsibility for the task.
    channel.confirm_delivery()
    channel.basic_publish(exchange="", routing_key=QUEUE, body=task, properties=persistent, mandatory=True)
    say(f" [x] Sent '{task}'")
    connection.close()


run(main)
