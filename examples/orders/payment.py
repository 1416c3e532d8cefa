"""Payment: the service that fails. Every fifth payment works at the third attempt only, and some never do."""

from service import Failed, Service


def pay(order, attempt):
    if order["number"] % 25 == 7:
        raise Failed("the card is refused")
    if order["number"] % 5 == 0 and attempt < 3:
        raise Failed("the bank does not answer")


Service("payment", "order.placed", pay, announces="order.paid", next_service="stock").run()
