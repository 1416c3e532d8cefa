"""Shipping: sends what was put aside."""

from service import Service


def ship(order, attempt):
    """Its row in the database is all there is to it here."""


Service("shipping", "order.reserved", ship, announces="order.shipped", next_service="mail").run()
