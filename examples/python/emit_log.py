"""Publish/subscribe, the sending half: `emit_log.py some text` reaches every receive_logs.py that is running."""

import os
import sys

from broker import connect, run, say

EXCHANGE = os.environ.get("EXCHANGE", "logs")


def main():
    line = " ".join(sys.argv[1:]) or "info: Hello World!"
    connection = connect("emit_log.py")
    channel = connection.channel()
    channel.exchange_declare(exchange=EXCHANGE, exchange_type="fanout")

    # A fanout exchange ignores the routing key. With nobody listening the line is dropped, which suits a live log.
    channel.basic_publish(exchange=EXCHANGE, routing_key="", body=line)
    say(f" [x] Sent '{line}'")
    connection.close()


run(main)
