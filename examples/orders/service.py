"""What payment, stock, shipping and mail have in common: take an event, do one thing about it once, announce the next event.

- Its queue is bound to the exchange `orders`, so that who announces something need not know who cares.
- What it does and the id of the event are written in one transaction. An event that comes again is known by its id.
- The next event is confirmed before the one at hand is acknowledged. A crash in between announces it twice, never not at all.
- What fails comes back after a delay, and after MAX_ATTEMPTS it is kept in the queue of the dead.
"""

import json
import os
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "python"))
os.environ.setdefault("RETRY_DELAY_MS", "200")

import pika  # noqa: E402
from pika.exceptions import AMQPError  # noqa: E402

from broker import StopSignal, parameters_for, say  # noqa: E402
import retry_queues  # noqa: E402

EXCHANGE = "orders"
MAX_ATTEMPTS = 3
RECONNECT_SECONDS = 0.2
# Where each service has its own database.
STATE = Path(os.environ.get("STATE", "."))


class Failed(Exception):
    """It did not work out this time."""


def database(name, *tables):
    """The service's own database, which survives kill -9; only what is committed counts."""
    connection = sqlite3.connect(STATE / f"{name}.db", timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    for table in tables:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
    return connection


def announce(channel, event, order):
    """Publishes an event about an order; returns when the broker has it on its disk."""
    properties = pika.BasicProperties(
        # Not random: announced again after a crash, it is the same event.
        message_id=f"{order['id']}/{event}",
        content_type="application/json",
        delivery_mode=pika.DeliveryMode.Persistent,
    )
    # Mandatory: an event that no service listens to is a mistake.
    channel.basic_publish(EXCHANGE, event, json.dumps(order), properties, mandatory=True)


def declare(channel, service, listens_to):
    """The exchange, and a service's three queues. Whoever announces declares them too, so that it may start first."""
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    retry_queues.declare(channel, service)
    channel.queue_bind(service, EXCHANGE, listens_to)


class Service:
    def __init__(self, name, listens_to, act, announces=None, next_service=None):
        """`act(order, attempt)` does the work, and raises `Failed` if it did not work out."""
        self.name, self.listens_to = name, listens_to
        self._act, self._announces, self._next = act, announces, next_service
        self._stop = StopSignal()
        self._connected = True

    def run(self):
        with closing(database(self.name, "inbox (event TEXT PRIMARY KEY)", "done (order_id TEXT)")) as self._database:
            while not self._stop.requested:
                try:
                    self._serve()
                except (AMQPError, OSError) as error:
                    # Said once, not at each attempt.
                    if self._connected:
                        say(f"{self.name}: the broker is away ({type(error).__name__})")
                    self._connected = False
                    time.sleep(RECONNECT_SECONDS)

    def _serve(self):
        connection = pika.BlockingConnection(parameters_for(self.name))
        self._connected = True
        channel = connection.channel()
        declare(channel, self.name, self.listens_to)
        if self._next:
            declare(channel, self._next, self._announces)
        channel.confirm_delivery()
        channel.basic_qos(prefetch_count=10)
        for method, properties, body in channel.consume(self.name, inactivity_timeout=0.2):
            if self._stop.requested:
                break
            if method is not None:
                self._take(channel, method.delivery_tag, properties, body)
        channel.cancel()
        connection.close()

    def _take(self, channel, tag, properties, body):
        order = json.loads(body)
        attempt = retry_queues.failures(properties, self.name) + 1
        try:
            self._act_once(properties.message_id, order, attempt)
        except Failed as reason:
            if attempt < MAX_ATTEMPTS:
                channel.basic_nack(tag, requeue=False)
                return
            say(f"{self.name}: gave up {order['id']}: {reason}")
            channel.basic_publish("", f"{self.name}.dead", body, properties, mandatory=True)
        else:
            if self._announces:
                announce(channel, self._announces, order)
        channel.basic_ack(tag)

    def _act_once(self, event, order, attempt):
        # The transaction ends with the block: committed, or rolled back when an exception leaves it.
        with self._database:
            if self._database.execute("INSERT OR IGNORE INTO inbox VALUES (?)", (event,)).rowcount == 0:
                return
            self._act(order, attempt)
            self._database.execute("INSERT INTO done VALUES (?)", (order["id"],))
