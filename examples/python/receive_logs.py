"""Publish/subscribe, the receiving half: prints the log lines that are sent while it runs."""

import os

from broker import connect, run, say

EXCHANGE = os.environ.get("EXCHANGE", "logs")


def main():
    channel = connect("receive_logs.py").channel()
    channel.exchange_declare(exchange=EXCHANGE, exchange_type="fanout")

    # Named by the broker, ours alone, and gone with this connection.
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    channel.queue_bind(exchange=EXCHANGE, queue=queue)

    def received(_channel, _method, _properties, body):
        say(f" [x] {body.decode()}")

    channel.basic_consume(queue=queue, on_message_callback=received, auto_ack=True)
    say(" [*] Waiting for logs. To exit press CTRL+C")
    channel.start_consuming()


run(main)
