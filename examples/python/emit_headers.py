"""Headers, the sending half: `emit_headers.py "a report" format=pdf type=report` sends a text with headers."""

import os
import sys

import pika

from broker import connect, run, say

EXCHANGE = os.environ.get("EXCHANGE", "header_logs")


def main():
    text = sys.argv[1] if len(sys.argv) > 1 else "Hello World!"
    headers = dict(argument.split("=", 1) for argument in sys.argv[2:] if "=" in argument)
    connection = connect("emit_headers.py")
    channel = connection.channel()
    channel.exchange_declare(exchange=EXCHANGE, exchange_type="headers")

    properties = pika.BasicProperties(headers=headers)
    channel.basic_publish(exchange=EXCHANGE, routing_key="", body=text, properties=properties)
    say(f" [x] Sent '{text}'")
    connection.close()


run(main)
