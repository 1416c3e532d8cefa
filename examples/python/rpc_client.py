"""Remote procedure call, the asking half: `rpc_client.py 30` prints the 30th Fibonacci number."""

import os
import sys
import uuid

import pika

from broker import connect, run, say

QUEUE = os.environ.get("QUEUE", "rpc_queue")


def main():
    n = sys.argv[1] if len(sys.argv) > 1 else "30"
    connection = connect("rpc_client.py")
    channel = connection.channel()
    replies = channel.queue_declare(queue="", exclusive=True).method.queue
    correlation_id = str(uuid.uuid4())
    answers = []

    def received(_channel, _method, properties, body):
        # A reply queue may hold the late answer to an earlier question.
        if properties.correlation_id == correlation_id:
            answers.append(body.decode())

    channel.basic_consume(queue=replies, on_message_callback=received, auto_ack=True)
    say(f" [x] Requesting fib({n})")
    properties = pika.BasicProperties(reply_to=replies, correlation_id=correlation_id)
    channel.basic_publish(exchange="", routing_key=QUEUE, body=n, properties=properties)
    while not answers:
        connection.process_data_events(time_limit=None)
    say(f" [.] Got {answers[0]}")
    connection.close()


run(main)
