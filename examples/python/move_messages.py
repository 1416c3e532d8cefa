"""Moves the messages of a queue from one broker to another: `move_messages.py FROM_URL TO_URL QUEUE`.

It ends when the queue is empty. It may be stopped at any moment, also with kill -9, and started again: a message is
acknowledged where it was only when the other broker has confirmed it. What was in between is then in both for a while and
arrives twice. Messages keep their order, bodies and properties, except for what only makes sense where they were:

- they arrive by the default exchange; the headers x-original-exchange and x-original-routing-key say by which they came,
- the header CC, which would have copies made once more, and the user id, which the other broker would check,
- a time to live (`expiration`) begins anew.
"""

import sys
from collections import deque

import pika

from broker import StopSignal, run, say
from publisher import Away, Publisher, Refused

# How many messages may be on their way. As many may arrive twice after a crash.
AT_ONCE = 200
# Without a message for so long the queue is looked at: is it empty?
IDLE_SECONDS = 0.5


class Mover:
    def __init__(self, source, publisher, queue):
        self._source, self._publisher, self._queue = source, publisher, queue
        self._unconfirmed = deque()
        self.moved = 0

    def run(self, stop):
        self._source.basic_qos(prefetch_count=AT_ONCE)
        for method, properties, body in self._source.consume(self._queue, inactivity_timeout=IDLE_SECONDS):
            if stop.requested:
                break
            if method is not None:
                properties = for_elsewhere(method, properties)
                future = self._publisher.publish("", self._queue, body, properties=properties)
                self._unconfirmed.append((method.delivery_tag, future))
            idle = method is None
            self._acknowledge(wait=idle or len(self._unconfirmed) >= AT_ONCE // 2)
            if idle and self._source.queue_declare(self._queue, passive=True).method.message_count == 0:
                break
        self._acknowledge(wait=True)
        # Gives back what was fetched and not begun.
        self._source.cancel()

    def _acknowledge(self, wait):
        """Acknowledges, in order, what is confirmed; with `wait`, after all that is on its way is."""
        last = None
        while self._unconfirmed and (wait or self._unconfirmed[0][1].done()):
            last, future = self._unconfirmed.popleft()
            # An exception ends the program: what is not acknowledged stays where it was.
            future.result()
            self.moved += 1
        if last is not None:
            self._source.basic_ack(last, multiple=True)
            say(f" [x] Moved {self.moved}")


def for_elsewhere(method, properties):
    headers = {name: value for name, value in (properties.headers or {}).items() if name != "CC"}
    # Kept when a message is moved once more.
    headers.setdefault("x-original-exchange", method.exchange)
    headers.setdefault("x-original-routing-key", method.routing_key)
    properties.headers, properties.user_id = headers, None
    return properties


def main():
    if len(sys.argv) != 4:
        sys.exit("say from where to where and what: move_messages.py amqp://... amqp://... QUEUE")
    source_url, target_url, queue = sys.argv[1:]
    stop = StopSignal()
    target_parameters = pika.URLParameters(target_url)
    # Must be there already, with the arguments it shall have: that is for its owner to say, or for imported definitions.
    target = pika.BlockingConnection(target_parameters)
    target.channel().queue_declare(queue, passive=True)
    target.close()
    publisher = Publisher(target_parameters, lambda channel: None)
    publisher.wait_until_connected(10)
    source = pika.BlockingConnection(pika.URLParameters(source_url))
    mover = Mover(source.channel(), publisher, queue)
    try:
        mover.run(stop)
    except (Away, Refused) as reason:
        sys.exit(f"stopped after {mover.moved} messages: {reason}. Nothing is lost; start it again to go on")
    publisher.close()
    source.close()
    say(f" [x] {'Stopped' if stop.requested else 'The queue is empty'}, {mover.moved} messages moved")


run(main)
