"""Logs in with the user and password of the environment, and uses a queue: prints PASS, or how the login failed."""

import os
import sys

import pika

credentials = pika.PlainCredentials(os.environ["AMQP_USER"], os.environ["AMQP_PASSWORD"])
parameters = pika.ConnectionParameters(
    "127.0.0.1", int(os.environ["AMQP_PORT"]), os.environ.get("AMQP_VHOST", "/"), credentials
)
try:
    connection = pika.BlockingConnection(parameters)
except pika.exceptions.ProbableAuthenticationError as error:
    print(f"REFUSED {error}")
    sys.exit(0)
channel = connection.channel()
channel.queue_declare("by-" + credentials.username, durable=True)
channel.basic_publish("", "by-" + credentials.username, b"hello", pika.BasicProperties(delivery_mode=2))
method, _, body = channel.basic_get("by-" + credentials.username, auto_ack=False)
assert body == b"hello", body
connection.close()
print("PASS")
