"""What celery and kombu ask of a broker and its workers besides tasks: ping, inspect, control, status, and the HTTP API of the broker.

Expects the worker of celery_app.py. API is host:port of the broker's HTTP API.
"""

import asyncio
import os
import subprocess
import sys

from kombu import Connection, Exchange, Queue

import flower.utils.broker

from celery_app import app
from smoke import DEADLINE, NAMES, URL, run, scenario

API = os.environ["API"]


def inspect():
    return app.control.inspect(timeout=DEADLINE, limit=1)


@scenario
def a_worker_answers_ping_and_inspect():
    [(worker, answer)] = inspect().ping().items()
    assert answer == {"ok": "pong"}, answer
    assert inspect().stats()[worker]["broker"]["transport"] == "amqp"
    [queue] = inspect().active_queues()[worker]
    assert queue["name"] == f"{NAMES}.celery", queue
    for look in ["active", "reserved", "scheduled", "registered", "conf"]:
        assert worker in getattr(inspect(), look)(), look


@scenario
def a_worker_is_controlled_by_broadcast():
    control = app.control
    answers = control.broadcast("pool_grow", {"n": 1}, reply=True, timeout=DEADLINE, limit=1)
    assert "ok" in list(answers[0].values())[0], answers
    [answer] = control.add_consumer(f"{NAMES}.second", reply=True, timeout=DEADLINE, limit=1)
    assert "ok" in list(answer.values())[0], answer
    [answer] = control.cancel_consumer(f"{NAMES}.second", reply=True, timeout=DEADLINE, limit=1)
    assert "ok" in list(answer.values())[0], answer


@scenario
def celery_status_finds_the_worker():
    command = [sys.executable, "-m", "celery", "-A", "celery_app", "status", "--timeout", "5"]
    status = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert status.returncode == 0 and "1 node online" in status.stdout, status


@scenario
def kombu_lists_bindings_through_the_management_api():
    host, port = API.split(":")
    with Connection(URL) as connection:
        manager = connection.transport.get_manager(hostname=host, port=port)
        queue = Queue(f"{NAMES}.bound", Exchange(f"{NAMES}.exchange", "direct"), "key", auto_delete=True)
        queue(connection.default_channel).declare()
        bindings = manager.get_bindings()
        found = [entry for entry in bindings if entry["source"] == f"{NAMES}.exchange"]
        assert [entry["destination"] for entry in found] == [f"{NAMES}.bound"], bindings
        assert manager.get_vhost_names() == ["/"]
        queue(connection.default_channel).delete()
        Exchange(f"{NAMES}.exchange", "direct")(connection.default_channel).delete()


@scenario
def flower_reads_lengths_of_queues():
    api = f"http://guest:guest@{API}/api/"
    # With the virtual host as celery's own documentation writes it.
    broker = flower.utils.broker.Broker(URL.replace("%2F", "/"), http_api=api)
    found = asyncio.run(broker.queues([f"{NAMES}.celery"]))
    [queue] = [queue for queue in found if queue["name"] == f"{NAMES}.celery"]
    assert queue["messages"] == 0 and queue["consumers"] == 1, queue


run()
