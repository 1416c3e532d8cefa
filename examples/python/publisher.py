"""A publisher for any number of threads, with a confirm for each message and nobody waiting for another one's.

pika's BlockingConnection waits for a confirm before it sends the next message, so each costs a round trip and a sync
of the broker's disk. Here the connection has a thread of its own: it sends what comes, and when the confirm of a message
arrives the future of that message is done. The broker then syncs once for all that came meanwhile.
"""

import threading
import uuid
from collections import deque
from concurrent.futures import Future

import pika

from broker import innermost, say

# How long the publisher waits before it tries to connect again, in seconds.
RETRY_SECONDS = 0.2


class Away(Exception):
    """There is no connection to the broker, or it ended before the confirm came. In the second case the message may have
    been kept all the same: publish it again under the same message id, and let the receiver ignore what it has seen."""


class Refused(Exception):
    """The broker answered, and did not keep the message: nacked by a full queue, or returned because no queue gets it."""


class Publisher:
    """`declare` gets each new channel, to declare what is published to; without callbacks, it does not wait."""

    def __init__(self, parameters, declare):
        self._parameters = parameters
        self._declare = declare
        self._lock = threading.Lock()
        self._outgoing = deque()
        self._connection = None
        self._channel = None
        # From here on only the publisher's thread: delivery tag to message id and future, and what was returned.
        self._unconfirmed = {}
        self._returned = set()
        self._last_tag = 0
        self._last_reason = None
        self._stopping = threading.Event()
        self._connected = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def publish(self, exchange, routing_key, body, message_id=None, properties=None):
        """Returns a future: done when the broker has taken responsibility, else `Away` or `Refused`. Never waits.

        Without properties the message is persistent and has the message id given, or one made up."""
        future = Future()
        properties = properties or pika.BasicProperties(
            delivery_mode=pika.DeliveryMode.Persistent, message_id=message_id or str(uuid.uuid4())
        )
        with self._lock:
            if self._channel is None:
                future.set_exception(Away("the broker is away"))
                return future
            self._outgoing.append((exchange, routing_key, body, properties, future))
            # One wake-up sends all that is there.
            if len(self._outgoing) == 1:
                self._connection.ioloop.add_callback_threadsafe(self._send)
        return future

    def wait_until_connected(self, timeout):
        """Whether there is a connection, within `timeout` seconds."""
        return self._connected.wait(timeout)

    def close(self):
        """Ends the connection. Publish nothing more; what is not confirmed by now is `Away`."""
        self._stopping.set()
        with self._lock:
            if self._channel is not None:
                self._connection.ioloop.add_callback_threadsafe(self._connection.close)
        self._thread.join()

    def _run(self):
        while not self._stopping.is_set():
            connection = pika.SelectConnection(
                self._parameters,
                on_open_callback=lambda connection: connection.channel(on_open_callback=self._opened),
                on_open_error_callback=self._ended,
                on_close_callback=self._ended,
            )
            connection.ioloop.start()
            self._lost()
            self._stopping.wait(RETRY_SECONDS)

    def _ended(self, connection, reason):
        # Once for each reason, not each time it tries again.
        cause = innermost(reason)
        text = str(cause) or type(cause).__name__
        if text != self._last_reason and not self._stopping.is_set():
            say(f" [ ] No connection to the broker: {text}")
        self._last_reason = text
        connection.ioloop.stop()

    def _opened(self, channel):
        channel.add_on_close_callback(lambda channel, _reason: channel.connection.is_open and channel.connection.close())
        channel.add_on_return_callback(self._was_returned)
        self._declare(channel)
        channel.confirm_delivery(self._confirmed, callback=lambda _ok: self._ready(channel))

    def _ready(self, channel):
        with self._lock:
            self._channel, self._connection = channel, channel.connection
        self._last_reason = None
        self._connected.set()
        if self._stopping.is_set():
            channel.connection.close()

    def _send(self):
        with self._lock:
            channel, outgoing, self._outgoing = self._channel, self._outgoing, deque()
        for exchange, routing_key, body, properties, future in outgoing:
            # The broker counts what it gets on a channel; its confirms name these numbers.
            self._last_tag += 1
            self._unconfirmed[self._last_tag] = properties.message_id, future
            if channel.is_open:
                channel.basic_publish(exchange, routing_key, body, properties, mandatory=True)

    def _was_returned(self, _channel, _method, properties, _body):
        # A return comes before the confirm of the same message.
        self._returned.add(properties.message_id)

    def _confirmed(self, frame):
        confirm = frame.method
        tags = [confirm.delivery_tag]
        if confirm.multiple:
            tags = [tag for tag in self._unconfirmed if tag <= confirm.delivery_tag]
        for tag in tags:
            message_id, future = self._unconfirmed.pop(tag)
            if isinstance(confirm, pika.spec.Basic.Nack):
                future.set_exception(Refused("nacked: a queue is full"))
            elif message_id in self._returned:
                # Which of those without an id it was is not known, so all that follow count as returned.
                if message_id is not None:
                    self._returned.discard(message_id)
                future.set_exception(Refused("returned: no queue gets this message"))
            else:
                future.set_result(None)

    def _lost(self):
        with self._lock:
            self._channel = self._connection = None
            outgoing, self._outgoing = self._outgoing, deque()
        self._connected.clear()
        futures = [future for _, future in self._unconfirmed.values()] + [message[-1] for message in outgoing]
        self._unconfirmed, self._returned, self._last_tag = {}, set(), 0
        for future in futures:
            future.set_exception(Away("the connection to the broker ended before the confirm came"))
