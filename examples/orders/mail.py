"""Mail: tells the customer, who must not get two mails."""

from service import Service


def write_to_customer(order, attempt):
    """Its row in the database is all there is to it here."""


Service("mail", "order.shipped", write_to_customer).run()
