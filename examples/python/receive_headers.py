"""Headers, the receiving half: `receive_headers.py all format=pdf type=report` prints what carries all of these.

With `any` in place of `all`, one matching header is enough.
"""

import os
import sys

from broker import connect, run, say

EXCHANGE = os.environ.get("EXCHANGE", "header_logs")


def main():
    match, wanted = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if match not in ("all", "any") or not all("=" in argument for argument in wanted):
        sys.exit("say what to receive, for example: receive_headers.py all format=pdf type=report")
    channel = connect("receive_headers.py").channel()
    channel.exchange_declare(exchange=EXCHANGE, exchange_type="headers")

    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    arguments = dict(argument.split("=", 1) for argument in wanted)
    channel.queue_bind(exchange=EXCHANGE, queue=queue, arguments={**arguments, "x-match": match})

    def received(_channel, _method, properties, body):
        headers = ", ".join(f"{name}={value}" for name, value in sorted((properties.headers or {}).items()))
        say(f" [x] '{body.decode()}' ({headers})")

    channel.basic_consume(queue=queue, on_message_callback=received, auto_ack=True)
    say(" [*] Waiting for messages. To exit press CTRL+C")
    channel.start_consuming()


run(main)
