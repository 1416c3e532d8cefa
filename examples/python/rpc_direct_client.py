"""Remote procedure call with direct reply-to: asks the same rpc_server.py without a reply queue of its own."""

import os
import sys

import pika

from broker import connect, run, say

QUEUE = os.environ.get("QUEUE", "rpc_queue")
# Not a real queue: the broker hands what is sent there straight to the channel that consumes from it.
REPLY_TO = "amq.rabbitmq.reply-to"


def main():
    n = sys.argv[1] if len(sys.argv) > 1 else "30"
    connection = connect("rpc_direct_client.py")
    channel = connection.channel()
    answers = []

    def received(_channel, _method, _properties, body):
        answers.append(body.decode())

    # The consumer must exist before the question is asked, on the same channel, and without acknowledgements.
    channel.basic_consume(queue=REPLY_TO, on_message_callback=received, auto_ack=True)
    say(f" [x] Requesting fib({n})")
    properties = pika.BasicProperties(reply_to=REPLY_TO)
    channel.basic_publish(exchange="", routing_key=QUEUE, body=n, properties=properties)
    while not answers:
        connection.process_data_events(time_limit=None)
    say(f" [.] Got {answers[0]}")
    connection.close()


run(main)
