"""Priorities, the receiving half: of what waits, the highest priority comes first, and within one the oldest."""

import os

from broker import connect, run, say

QUEUE = os.environ.get("QUEUE", "priority_queue")


def main():
    channel = connect("priority_receive.py").channel()
    channel.queue_declare(QUEUE, durable=True, arguments={"x-max-priority": 9})

    def received(channel, method, properties, body):
        say(f" [x] {properties.priority or 0}:'{body.decode()}'")
        channel.basic_ack(method.delivery_tag)

    # What has been sent to us already cannot be overtaken, so take one at a time.
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue=QUEUE, on_message_callback=received)
    say(" [*] Waiting for messages. To exit press CTRL+C")
    channel.start_consuming()


run(main)
