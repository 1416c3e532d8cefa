"""A real broker in tests: unittest starts a Warren on a free port with an empty data folder, in some milliseconds.

Nothing has to be installed or cleaned up beforehand, and tests that run at the same time do not meet. With pytest the
same is a fixture:

    @pytest.fixture
    def broker():
        with Warren() as warren:
            yield warren
"""

import unittest

import pika

from warren_process import Warren


class Orders:
    """What is tested here: a few lines that somebody wrote around a queue."""

    def __init__(self, url):
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.channel.queue_declare("orders", durable=True)
        self.channel.confirm_delivery()

    def place(self, order):
        persistent = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
        self.channel.basic_publish("", "orders", order, persistent, mandatory=True)

    def take(self):
        method, _properties, body = self.channel.basic_get("orders", auto_ack=True)
        return body.decode() if method else None


class OrdersWithABroker(unittest.TestCase):
    def setUp(self):
        self.broker = self.enterContext(Warren())

    def orders(self):
        orders = Orders(self.broker.url)
        self.addCleanup(lambda: orders.connection.is_open and orders.connection.close())
        return orders

    def test_an_order_that_was_placed_can_be_taken_once(self):
        orders = self.orders()
        orders.place("a book")
        self.assertEqual(orders.take(), "a book")
        self.assertIsNone(orders.take())

    def test_each_test_begins_with_an_empty_broker(self):
        self.assertIsNone(self.orders().take())

    def test_an_order_survives_a_crash_of_the_broker(self):
        before = self.orders()
        before.place("a book")
        self.broker.kill()
        self.broker.start()
        self.assertRaises(pika.exceptions.AMQPError, before.take)
        self.assertEqual(self.orders().take(), "a book")


if __name__ == "__main__":
    unittest.main(verbosity=2)
