"""Topics, the receiving half: `receive_logs_topic.py "kern.*" "#.critical"` prints the lines whose topic matches.

`*` stands for exactly one word, `#` for any number of words, also none.
"""

import os
import sys

from broker import connect, run, say

EXCHANGE = os.environ.get("EXCHANGE", "topic_logs")


def main():
    patterns = sys.argv[1:]
    if not patterns:
        sys.exit('say which topics to receive, for example: receive_logs_topic.py "kern.*" "#.critical"')
    channel = connect("receive_logs_topic.py").channel()
    channel.exchange_declare(exchange=EXCHANGE, exchange_type="topic")

    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    for pattern in patterns:
        channel.queue_bind(exchange=EXCHANGE, queue=queue, routing_key=pattern)

    def received(_channel, method, _properties, body):
        say(f" [x] '{method.routing_key}':'{body.decode()}'")

    channel.basic_consume(queue=queue, on_message_callback=received, auto_ack=True)
    say(" [*] Waiting for logs. To exit press CTRL+C")
    channel.start_consuming()


run(main)
