"""Orders through a shop, payment, stock, shipping and mail, while all of them and the broker are killed.

`python examples/orders/demo.py` starts a broker (or uses the one that AMQP_URL names, and does not kill that), starts the
services, kills one after the other with -9 while orders come in, and counts at the end. ORDERS says how many orders, KILLS
how often something is killed, SEED repeats the choices.
"""

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parent / "python"))

import pika  # noqa: E402

from broker import parameters_for, say  # noqa: E402
from warren_process import Warren  # noqa: E402

ORDERS = int(os.environ.get("ORDERS", "200"))
KILLS = int(os.environ.get("KILLS", "10"))
SEED = int(os.environ.get("SEED", random.randrange(2**32)))
# How long the services may take to finish once all orders are placed, in seconds.
PATIENCE = 60
SERVICES = ("payment", "stock", "shipping", "mail")
QUEUES = [f"{service}{suffix}" for service in SERVICES for suffix in ("", ".wait", ".dead")] + ["quotes"]


class Part:
    """A service, in a process of its own."""

    def __init__(self, name, *arguments):
        self.name = name
        self._command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self._command)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait()


def wait_until(what, look):
    deadline = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {PATIENCE} s")
        time.sleep(0.02)


def rows(state, database, table):
    """What a service has written so far; nothing before its first start."""
    try:
        with closing(sqlite3.connect(f"file:{state}/{database}.db?mode=ro", uri=True, timeout=30)) as connection:
            return [row[0] for row in connection.execute(f"SELECT order_id FROM {table}")]
    except sqlite3.OperationalError:
        return []


def disturb(state, parts, broker):
    """Kills something, starts it again, and goes on when more orders have come in."""
    choose = random.Random(SEED)
    victims = choose.choices(parts, k=KILLS)
    if broker:
        victims[1::3] = [broker] * len(victims[1::3])
    for kill, victim in enumerate(victims):
        goal = (kill + 1) * ORDERS // (KILLS + 1)
        wait_until(f"{goal} orders are placed", lambda: len(rows(state, "shop", "orders")) >= goal)
        victim.kill()
        # Away for a while, so that others meet its absence.
        time.sleep(choose.uniform(0, 0.3))
        victim.start()
    killed = Counter(victim.name for victim in victims)
    say("Killed with -9: " + ", ".join(f"{name} {times}x" for name, times in sorted(killed.items())))


def take_dead():
    """The orders that payment gave up."""
    connection = pika.BlockingConnection(parameters_for("demo"))
    channel = connection.channel()
    dead = []
    while True:
        method, properties, _body = channel.basic_get("payment.dead", auto_ack=True)
        if method is None:
            break
        dead.append(properties.message_id.split("/")[0])
    connection.close()
    return dead


def clean_up():
    """Leaves a broker that is not ours as it was."""
    connection = pika.BlockingConnection(parameters_for("demo"))
    channel = connection.channel()
    for queue in QUEUES:
        channel.queue_delete(queue)
    channel.exchange_delete("orders")
    connection.close()


def report(state, dead):
    placed = set(rows(state, "shop", "orders"))
    say(f"{'placed':>9}: {len(placed)} orders")
    twice = 0
    for service in SERVICES:
        done = rows(state, service, "done")
        twice += len(done) - len(set(done))
        say(f"{service:>9}: {len(set(done))} orders, {len(done) - len(set(done))} of them twice")
    mailed = set(rows(state, "mail", "done"))
    lost = placed - mailed - set(dead)
    say(f"{'refused':>9}: {len(set(dead))} orders, kept in payment.dead")
    say(f"{'lost':>9}: {len(lost)} orders")
    if lost or twice or len(placed) != ORDERS or mailed & set(dead):
        sys.exit("the orders do not add up")
    say("Nothing was lost, and nothing was done twice.")


def main():
    with ExitStack() as stack:
        state = stack.enter_context(tempfile.TemporaryDirectory(prefix="orders-"))
        os.environ["STATE"] = state
        broker = None
        if "AMQP_URL" not in os.environ:
            broker = stack.enter_context(Warren())
            os.environ["AMQP_URL"] = broker.url
        else:
            stack.callback(clean_up)
        say(f"{ORDERS} orders, {KILLS} kills, SEED={SEED}")
        parts = []
        for name in ("quotes", *SERVICES):
            parts.append(Part(name))
            stack.callback(parts[-1].kill)
        shop = Part("shop", str(ORDERS))
        stack.callback(shop.kill)
        disturb(state, [*parts, shop], broker)
        wait_until("the shop placed all orders", lambda: shop.process.poll() == 0)
        expected = sum(number % 25 != 7 for number in range(ORDERS))
        wait_until("all orders are through", lambda: len(rows(state, "mail", "done")) >= expected)
        dead = []
        wait_until("all refused orders are given up", lambda: dead.extend(take_dead()) or len(set(dead)) >= ORDERS - expected)
        for part in parts:
            part.stop()
        report(state, dead)


if __name__ == "__main__":
    main()
