"""Topics, the sending half: `emit_log_topic.py kern.critical A line` sends a line about a dotted topic."""

import os
import sys

from broker import connect, run, say

EXCHANGE = os.environ.get("EXCHANGE", "topic_logs")


def main():
    topic = sys.argv[1] if len(sys.argv) > 1 else "anonymous.info"
    line = " ".join(sys.argv[2:]) or "Hello World!"
    connection = connect("emit_log_topic.py")
    channel = connection.channel()
    channel.exchange_declare(exchange=EXCHANGE, exchange_type="topic")

    channel.basic_publish(exchange=EXCHANGE, routing_key=topic, body=line)
    say(f" [x] Sent '{topic}':'{line}'")
    connection.close()


run(main)
