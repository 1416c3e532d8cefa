"""Remote procedure call, the serving half: answers requests for Fibonacci numbers."""

import os

import pika

from broker import connect, run, say

QUEUE = os.environ.get("QUEUE", "rpc_queue")


def fib(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


def main():
    channel = connect("rpc_server.py").channel()
    channel.queue_declare(queue=QUEUE)

    def answer(channel, method, request, body):
        text = body.decode(errors="replace")
        # Up to 90 the answer fits 64 bits, so that servers in any language give the same one.
        if text.isdecimal() and int(text) <= 90:
            say(f" [.] fib({text})")
            result = str(fib(int(text)))
        else:
            say(f" [.] cannot compute fib({text})")
            result = "error: expected a whole number from 0 to 90"
        if request.reply_to:
            # The client recognises its answer by the id it chose.
            properties = pika.BasicProperties(correlation_id=request.correlation_id)
            channel.basic_publish(exchange="", routing_key=request.reply_to, body=result, properties=properties)
        channel.basic_ack(delivery_tag=method.delivery_tag)

    # Several servers share the load evenly if none of them hoards requests.
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue=QUEUE, on_message_callback=answer)
    say(" [x] Awaiting RPC requests")
    channel.start_consuming()


run(main)
