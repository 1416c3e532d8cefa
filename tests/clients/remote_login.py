"""Logins from a machine that is not the broker's, which is at HOST and PORT: guest must be refused, alex let in."""

import os

import pika

from smoke import run, scenario


def connect(user, password):
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            os.environ["HOST"], int(os.environ["PORT"]), credentials=pika.PlainCredentials(user, password)
        )
    )


@scenario
def guest_is_refused():
    try:
        connect("guest", "guest").close()
    except pika.exceptions.AMQPError as error:
        assert "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN" in str(error), error
        return
    raise AssertionError("guest was let in")


@scenario
def alex_is_let_in():
    with connect("alex", "123") as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_publish("", queue, b"x")
        assert channel.basic_get(queue, auto_ack=True)[2] == b"x"


run()
