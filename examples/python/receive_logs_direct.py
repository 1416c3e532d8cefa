"""Direct routing, the receiving half: `receive_logs_direct.py warning error` prints the lines of those severities."""

import os
import sys

from broker import connect, run, say

EXCHANGE = os.environ.get("EXCHANGE", "direct_logs")


def main():
    severities = sys.argv[1:]
    if not severities:
        sys.exit("say which severities to receive, for example: receive_logs_direct.py warning error")
    channel = connect("receive_logs_direct.py").channel()
    channel.exchange_declare(exchange=EXCHANGE, exchange_type="direct")

    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    for severity in severities:
        channel.queue_bind(exchange=EXCHANGE, queue=queue, routing_key=severity)

    def received(_channel, method, _properties, body):
        say(f" [x] '{method.routing_key}':'{body.decode()}'")

    channel.basic_consume(queue=queue, on_message_callback=received, auto_ack=True)
    say(" [*] Waiting for logs. To exit press CTRL+C")
    channel.start_consuming()


run(main)
