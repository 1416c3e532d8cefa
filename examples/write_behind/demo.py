"""The gateway and the writer at work while they and the broker are killed: `python examples/write_behind/demo.py`.

Several threads send readings and repeat what was not accepted. At the end every accepted reading is one row, and each that
can never be stored is in the queue of the dead. It starts a broker that it may kill, and uses SQLite in a folder of its own
unless DATABASE_URL names a database (whose table must then be empty). READINGS says how many, SEED repeats the choices.
"""

import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parent / "python"))

import pika  # noqa: E402

from warren_process import Warren  # noqa: E402

READINGS = int(os.environ.get("READINGS", "1000"))
SEED = int(os.environ.get("SEED", random.randrange(2**32)))
THREADS = 8
# How long anything may take before the demo gives up, in seconds.
PATIENCE = 60


def say(text):
    print(text, flush=True)


class Part:
    """The gateway or the writer, in a process of its own."""

    def __init__(self, script, environment):
        self._script, self._environment = script, environment
        self.start()

    def start(self):
        self._process = subprocess.Popen(
            [sys.executable, str(FOLDER / self._script)], env=self._environment, stdout=subprocess.PIPE, text=True
        )
        self.first_line = self._process.stdout.readline().strip()
        threading.Thread(target=self._drain, args=(self._process.stdout,), daemon=True).start()

    def _drain(self, output):
        for _ in output:
            pass

    def kill(self):
        self._process.kill()
        self._process.wait()

    def stop(self):
        self._process.terminate()
        return self._process.wait(PATIENCE)


class Senders:
    """Threads that send readings, and repeat each until it is accepted."""

    def __init__(self, port_of_gateway):
        self._port = port_of_gateway
        self._left = iter(range(READINGS))
        self._lock = threading.Lock()
        self.accepted, self.repeated = set(), 0
        self.threads = [threading.Thread(target=self._send_all, daemon=True) for _ in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def _send_all(self):
        connection = None
        while (number := self._next()) is not None:
            key = f"reading-{number}"
            body = json.dumps(reading(number))
            status = None
            while status != 202:
                try:
                    if connection is None:
                        connection = http.client.HTTPConnection("127.0.0.1", self._port(), timeout=PATIENCE)
                    connection.request("POST", "/readings", body, {"Idempotency-Key": key})
                    response = connection.getresponse()
                    response.read()
                    status = response.status
                except (OSError, http.client.HTTPException):
                    # No answer: perhaps it was taken, perhaps not.
                    connection = None
                if status != 202:
                    with self._lock:
                        self.repeated += 1
                    time.sleep(0.02)
            with self._lock:
                self.accepted.add(key)

    def _next(self):
        with self._lock:
            return next(self._left, None)

    def wait_for(self, count):
        deadline = time.monotonic() + PATIENCE
        while len(self.accepted) < count:
            if time.monotonic() > deadline:
                sys.exit(f"only {len(self.accepted)} of {count} readings were accepted within {PATIENCE} s")
            time.sleep(0.005)


def is_bad(number):
    return number % 50 == 42


def reading(number):
    """One in fifty can never be stored, which the gateway does not know: the database refuses it, or it is no reading."""
    if is_bad(number):
        return [
            {"sensor": "out of this world", "value": -1000},
            {"value": 20},
            {"sensor": "no text: \ud800", "value": 20},
            {"sensor": "large", "value": 10**400},
        ][number // 50 % 4]
    return {"sensor": f"sensor {number % 7}", "value": number / 10}


def disturb(senders, broker, gateway, writer):
    """Kills each part with -9 twice, spread over the readings."""
    choose = random.Random(SEED)
    victims = ["the writer", "the broker", "the gateway"] * 2
    choose.shuffle(victims)
    moments = sorted(choose.randrange(READINGS // 20, READINGS) for _ in victims)
    parts = {"the writer": writer, "the broker": broker, "the gateway": gateway}
    for moment, victim in zip(moments, victims):
        senders.wait_for(moment)
        parts[victim].kill()
        parts[victim].start()
    say(f" [ ] Killed with -9 and started again: {', '.join(victims)}")


class Dead:
    """The queue of what can never be stored."""

    def __init__(self, url):
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self.connection.channel()

    def count(self):
        return self._channel.queue_declare("readings.dead", passive=True).method.message_count

    def take_message_ids(self):
        ids = []
        while True:
            method, properties, _body = self._channel.basic_get("readings.dead", auto_ack=True)
            if method is None:
                return ids
            ids.append(properties.message_id)


def main():
    with tempfile.TemporaryDirectory() as folder, Warren() as broker:
        database = os.environ.get("DATABASE_URL", f"sqlite:///{folder}/readings.db")
        os.environ["DATABASE_URL"] = database
        from store import Store

        environment = dict(os.environ, AMQP_URL=broker.url, QUEUE="readings", HTTP_PORT="0", BATCH_ROWS="50")
        gateway, writer = Part("gateway.py", environment), Part("writer.py", environment)
        say(f" [x] Sending {READINGS} readings from {THREADS} threads, SEED={SEED}")
        senders = Senders(lambda: int(gateway.first_line.rsplit(":", 1)[1].split("/")[0]))
        disturb(senders, broker, gateway, writer)
        senders.wait_for(READINGS)
        say(f" [x] All were accepted; {senders.repeated} times a request had to be repeated")

        bad = {f"reading-{number}" for number in range(READINGS) if is_bad(number)}
        store, dead = Store(database), Dead(broker.url)
        deadline = time.monotonic() + PATIENCE
        while store.count() < READINGS - len(bad) or dead.count() < len(bad):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        # What is counted now does not change any more.
        say(f" [x] The writer stopped with {writer.stop()}, the gateway with {gateway.stop()}")
        rows, dead_ids = store.message_ids(), set(dead.take_message_ids())
        dead.connection.close()
        lost = senders.accepted - set(rows) - dead_ids
        say(f" [x] {len(rows)} rows, {len(rows) - len(set(rows))} twice; {len(dead_ids)} readings cannot be stored; {len(lost)} lost")
        if lost or set(rows) != senders.accepted - bad or dead_ids != bad:
            sys.exit("the readings do not add up")
        say(" [x] Every accepted reading is there, once")


if __name__ == "__main__":
    main()
