"""Direct routing, the sending half: `emit_log_direct.py error The disk is full` sends a line with a severity."""

import os
import sys

from broker import connect, run, say

EXCHANGE = os.environ.get("EXCHANGE", "direct_logs")


def main():
    severity = sys.argv[1] if len(sys.argv) > 1 else "info"
    line = " ".join(sys.argv[2:]) or "Hello World!"
    connection = connect("emit_log_direct.py")
    channel = connection.channel()
    channel.exchange_declare(exchange=EXCHANGE, exchange_type="direct")

    channel.basic_publish(exchange=EXCHANGE, routing_key=severity, body=line)
    say(f" [x] Sent '{severity}':'{line}'")
    connection.close()


run(main)
