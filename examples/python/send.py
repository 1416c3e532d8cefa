"""Hello world, the sending half: puts one message into a queue."""

import os

from broker import connect, run, say

QUEUE = os.environ.get("QUEUE", "hello")


def main():
    connection = connect("send.py")
    channel = connection.channel()
    # Both halves declare the queue, so that it does not matter which one starts first.
    channel.queue_declare(queue=QUEUE, durable=True)

    # The default exchange, whose name is empty, delivers to the queue named by the routing key.
    channel.basic_publish(exchange="", routing_key=QUEUE, body="Hello World!")
    say(" [x] Sent 'Hello World!'")
    # Closing also flushes: the broker answers only after it has read everything before.
    connection.close()


run(main)
