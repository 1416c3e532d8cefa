"""Stock: puts aside what was paid for."""

from service import Service


def reserve(order, attempt):
    """Its row in the database is all there is to it here."""


Service("stock", "order.paid", reserve, announces="order.reserved", next_service="shipping").run()
