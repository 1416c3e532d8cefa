"""Quotes: answers what an item costs, a remote procedure call."""

import json
import time

import pika
from pika.exceptions import AMQPError
from service import RECONNECT_SECONDS, StopSignal, parameters_for

QUEUE = "quotes"
PRICES = {"book": 20, "lamp": 35, "chair": 120}


def serve(stop):
    connection = pika.BlockingConnection(parameters_for("quotes"))
    channel = connection.channel()
    channel.queue_declare(QUEUE)
    # Without acknowledgements: a question that is lost with this service is asked again.
    for method, question, item in channel.consume(QUEUE, auto_ack=True, inactivity_timeout=0.2):
        if stop.requested:
            break
        if method is not None:
            price = json.dumps(PRICES.get(item.decode()))
            channel.basic_publish("", question.reply_to, price, pika.BasicProperties(correlation_id=question.correlation_id))
    connection.close()


def main():
    stop = StopSignal()
    while not stop.requested:
        try:
            serve(stop)
        except (AMQPError, OSError):
            time.sleep(RECONNECT_SECONDS)


main()
