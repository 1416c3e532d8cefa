"""The shop: `shop.py 200` places that many orders. Started again after a crash it goes on where it was.

An order and the note that it is to be announced (the outbox) are written in one transaction; what is in the outbox is
published until the broker has confirmed it. So no order is announced that does not exist, and none is forgotten.
"""

import json
import sys
import time
from contextlib import closing

import pika
from pika.exceptions import AMQPError, UnroutableError
from service import RECONNECT_SECONDS, announce, database, declare, parameters_for, say

ITEMS = ("book", "lamp", "chair")
# How long to wait for a quote before asking again, in seconds.
QUOTE_SECONDS = 2


class Quotes:
    """Asks for prices, by direct reply-to: the answers come to this channel without a queue."""

    def __init__(self, connection):
        self._connection, self._channel = connection, connection.channel()
        self._answers = {}
        self._channel.basic_consume("amq.rabbitmq.reply-to", self._answered, auto_ack=True)
        # With confirms, a question is refused at once when there is no queue for it.
        self._channel.confirm_delivery()

    def ask(self, item, question):
        """The price, or None if there was no answer in time."""
        properties = pika.BasicProperties(
            reply_to="amq.rabbitmq.reply-to", correlation_id=question, expiration=str(QUOTE_SECONDS * 1000)
        )
        try:
            self._channel.basic_publish("", "quotes", item, properties, mandatory=True)
        except UnroutableError:
            self._connection.sleep(RECONNECT_SECONDS)
            return None
        deadline = time.monotonic() + QUOTE_SECONDS
        while question not in self._answers and time.monotonic() < deadline:
            self._connection.process_data_events(time_limit=0.1)
        return self._answers.pop(question, None)

    def _answered(self, _channel, _method, properties, body):
        self._answers[properties.correlation_id] = json.loads(body)


def place_orders(shop, count):
    """Through one connection, for as long as that lasts."""
    connection = pika.BlockingConnection(parameters_for("shop"))
    channel = connection.channel()
    declare(channel, "payment", "order.placed")
    channel.confirm_delivery()
    quotes = Quotes(connection)
    send_outbox(shop, channel)
    while (number := shop.execute("SELECT count(*) FROM orders").fetchone()[0]) < count:
        item = ITEMS[number % len(ITEMS)]
        price = quotes.ask(item, f"order-{number}")
        if price is None:
            continue
        order = {"id": f"order-{number}", "number": number, "item": item, "price": price}
        with shop:
            shop.execute("INSERT INTO orders VALUES (?)", (order["id"],))
            shop.execute("INSERT INTO outbox VALUES (?)", (json.dumps(order),))
        send_outbox(shop, channel)
    connection.close()


def send_outbox(shop, channel):
    for row, order in shop.execute("SELECT rowid, order_json FROM outbox ORDER BY rowid").fetchall():
        announce(channel, "order.placed", json.loads(order))
        # A crash before this announces the order again, under the same message id.
        with shop:
            shop.execute("DELETE FROM outbox WHERE rowid = ?", (row,))


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with closing(database("shop", "orders (order_id TEXT PRIMARY KEY)", "outbox (order_json TEXT)")) as shop:
        while True:
            try:
                place_orders(shop, count)
                break
            except (AMQPError, OSError):
                time.sleep(RECONNECT_SECONDS)
    say(f"shop: all {count} orders are placed")


main()
