"""Logins by certificate (EXTERNAL) with pika. CERT and KEY name a user who may configure only queues that the broker names, OTHER_CERT
and OTHER_KEY nobody who exists.
"""

import os
import ssl

import pika

from smoke import run, scenario


def parameters(certificate):
    context = ssl.create_default_context(cafile=os.environ["CA"])
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return pika.ConnectionParameters(
        "127.0.0.1",
        int(os.environ["TLS_PORT"]),
        ssl_options=pika.SSLOptions(context, "localhost"),
        credentials=pika.credentials.ExternalCredentials(),
        connection_attempts=1,
    )


def certificate(prefix=""):
    return os.environ[prefix + "CERT"], os.environ[prefix + "KEY"]


def refused(parameters):
    try:
        pika.BlockingConnection(parameters).close()
    except pika.exceptions.AMQPError as error:
        return error
    raise AssertionError("was let in")


@scenario
def the_user_in_the_certificate_is_let_in_and_may_say_who_it_is():
    with pika.BlockingConnection(parameters(certificate())) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = channel.queue_declare("", exclusive=True).method.queue
        properties = pika.BasicProperties(user_id=os.environ["EXPECTED_USER"])
        channel.basic_publish("", queue, b"x", properties)
        assert channel.basic_get(queue, auto_ack=True)[2] == b"x"


@scenario
def who_is_in_the_certificate_may_do_what_the_user_is_permitted_and_no_more():
    with pika.BlockingConnection(parameters(certificate())) as connection:
        for refused_action in [
            lambda channel: channel.queue_declare("named"),
            lambda channel: channel.exchange_declare("named", "fanout"),
            lambda channel: channel.queue_delete("named"),
        ]:
            try:
                refused_action(connection.channel())
            except pika.exceptions.ChannelClosedByBroker as closed:
                assert closed.reply_code == 403, closed
                assert f"refused for user '{os.environ['EXPECTED_USER']}'" in closed.reply_text, closed
            else:
                raise AssertionError("was not refused")


@scenario
def a_certificate_without_a_user_is_refused():
    error = refused(parameters(certificate("OTHER_")))
    assert "ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL" in str(error), error


@scenario
def without_a_certificate_it_is_not_offered():
    error = refused(parameters(None))
    assert isinstance(error, pika.exceptions.AuthenticationError), error


@scenario
def without_tls_it_is_not_offered():
    plain = pika.ConnectionParameters(
        "127.0.0.1", int(os.environ["PLAIN_PORT"]), credentials=pika.credentials.ExternalCredentials()
    )
    assert isinstance(refused(plain), pika.exceptions.AuthenticationError)


run()
