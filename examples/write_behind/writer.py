"""The way to the database: takes readings from the queue and writes them in batches, one transaction for many.

A reading is acknowledged after the commit that holds it. A writer that dies between the two leaves the readings to be
delivered again, and the table ignores those it has. Run as many writers as you like.
"""

import json
import math
import time

import pika
from pika.exceptions import AMQPError

from settings import BATCH_ROWS, BATCH_SECONDS, DATABASE_URL, QUEUE, declare
from store import DatabaseAway, Store

from broker import StopSignal, parameters_for, say

RETRY_SECONDS = 0.2


class Writer:
    def __init__(self, store, stop):
        self._store = store
        self._stop = stop
        self._batch = []
        self._oldest = 0.0

    def run(self):
        """Writes until it is told to stop, through restarts of the broker."""
        while not self._stop.requested:
            # What was not acknowledged comes again over the new connection.
            self._batch = []
            try:
                self._consume()
            except (AMQPError, OSError) as error:
                say(f" [ ] The broker is away ({type(error).__name__}), connecting again")
                time.sleep(RETRY_SECONDS)

    def _consume(self):
        connection = pika.BlockingConnection(parameters_for("writer.py"))
        channel = connection.channel()
        declare(channel)
        # Room for the next batch while one is being committed. More would only keep readings from other writers.
        channel.basic_qos(prefetch_count=2 * BATCH_ROWS)
        for method, properties, body in channel.consume(QUEUE, inactivity_timeout=min(BATCH_SECONDS, 0.2)):
            if method is not None:
                if not self._batch:
                    self._oldest = time.monotonic()
                self._batch.append((method.delivery_tag, properties.message_id, body))
            full = len(self._batch) >= BATCH_ROWS or time.monotonic() - self._oldest >= BATCH_SECONDS
            if self._batch and (full or self._stop.requested):
                self._flush(connection, channel)
            if self._stop.requested:
                break
        channel.cancel()
        connection.close()

    def _flush(self, connection, channel):
        batch, self._batch = self._batch, []
        tags, rows = [], []
        refused = {}
        for tag, message_id, body in batch:
            try:
                rows.append(row_of(message_id, body))
                tags.append(tag)
            except ValueError as reason:
                refused[tag] = str(reason)
        while rows:
            try:
                refused.update((tags[position], reason) for position, reason in self._store.write(rows).items())
                break
            except DatabaseAway as error:
                say(f" [ ] The database is away ({error}), trying again")
                if self._stop.requested:
                    # Unacknowledged, they stay in the queue.
                    return
                # Answers the broker's heartbeats meanwhile.
                connection.sleep(RETRY_SECONDS)
        for tag, reason in refused.items():
            say(f" [ ] Can never be stored, goes to {QUEUE}.dead: {reason}")
            channel.basic_nack(tag, requeue=False)
        # All others up to the last of the batch, in one frame.
        channel.basic_ack(batch[-1][0], multiple=True)
        say(f" [x] Wrote {len(batch) - len(refused)} readings")


def row_of(message_id, body):
    """The row of a message; ValueError if it can be none."""
    try:
        reading = json.loads(body)
        sensor, value = reading["sensor"], float(reading["value"])
        # Half a character, which JSON can spell, fits no database.
        sensor.encode()
    except (AttributeError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a reading: {error!r}") from error
    if not message_id or len(sensor) > 100 or not math.isfinite(value):
        raise ValueError("not a reading: it has no message id, or its sensor or value is of no use")
    return {"message_id": message_id, "sensor": sensor, "value": value}


def main():
    stop = StopSignal()
    store = Store(DATABASE_URL)
    while not stop.requested:
        try:
            store.open()
            break
        except DatabaseAway as error:
            say(f" [ ] The database is away ({error}), trying again")
            time.sleep(RETRY_SECONDS)
    say(" [*] Writing readings")
    Writer(store, stop).run()
    say(" [x] Stopped")


if __name__ == "__main__":
    main()
