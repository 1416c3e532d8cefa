"""TLS with pika, against AMQPS_URL. CA names the authority of the broker; CERT and KEY, if set, the client's own."""

import os
import ssl

import pika

from smoke import run, scenario


def parameters(with_certificate=True):
    context = ssl.create_default_context(cafile=os.environ["CA"])
    if with_certificate and "CERT" in os.environ:
        context.load_cert_chain(os.environ["CERT"], os.environ["KEY"])
    parameters = pika.URLParameters(os.environ["AMQPS_URL"])
    parameters.ssl_options = pika.SSLOptions(context, "localhost")
    return parameters


@scenario
def a_large_message_comes_back_over_tls():
    with pika.BlockingConnection(parameters()) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = channel.queue_declare("", exclusive=True).method.queue
        body = os.urandom(1_000_000)
        channel.basic_publish("", queue, body)
        assert channel.basic_get(queue, auto_ack=True)[2] == body


@scenario
def a_thousand_small_messages_come_back_in_order():
    with pika.BlockingConnection(parameters()) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        for number in range(1000):
            channel.basic_publish("", queue, str(number).encode())
        numbers = []
        for _, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=10):
            numbers.append(int(body))
            if len(numbers) == 1000:
                break
        assert numbers == list(range(1000))


def a_stranger_without_a_certificate_is_turned_away():
    try:
        pika.BlockingConnection(parameters(with_certificate=False)).close()
    except Exception:
        return
    raise AssertionError("was let in")


if "CERT" in os.environ:
    scenario(a_stranger_without_a_certificate_is_turned_away)
run()
