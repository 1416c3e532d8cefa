"""Hello world, the receiving half: prints every message of a queue until CTRL+C."""

import os

from broker import connect, run, say

QUEUE = os.environ.get("QUEUE", "hello")


def main():
    channel = connect("receive.py").channel()
    channel.queue_declare(queue=QUEUE, durable=True)

    def received(_channel, _method, _properties, body):
        say(f" [x] Received '{body.decode()}'")

    # With automatic acknowledgement a message counts as done the moment it is sent to us.
    channel.basic_consume(queue=QUEUE, on_message_callback=received, auto_ack=True)
    say(" [*] Waiting for messages. To exit press CTRL+C")
    channel.start_consuming()


run(main)
