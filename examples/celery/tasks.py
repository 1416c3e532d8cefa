"""The tasks, and how Celery is set up so that none gets lost. `celery -A tasks worker` in this folder runs them."""

import os
import random
import time

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

app = Celery(
    "tasks",
    broker=os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2F"),
    # Results come back as messages, to a queue of each client's own.
    backend="rpc://",
)
app.conf.update(
    task_default_queue=os.environ.get("QUEUE", "celery_tasks"),
    # Acknowledged when done, not when begun: the task of a worker that dies goes to another. So tasks may run twice.
    task_acks_late=True,
    # The same when only the process of the pool dies that has the task.
    task_reject_on_worker_lost=True,
    # No more tasks at a worker than it has processes: what it has not begun is free for others.
    worker_prefetch_multiplier=1,
    # `delay` returns once the broker has the task on its disk.
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    result_expires=600,
)


class Unreachable(Exception):
    """What a service that is overloaded answers with."""


@app.task
def square(n, seconds=0.0):
    """Takes that long, as if it were work."""
    time.sleep(seconds)
    return n * n


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, autoretry_for=(Unreachable,), max_retries=5, retry_backoff=0.1, retry_jitter=False)
def fetch(self, address, fails=2):
    """Fails so many times. Celery holds it back between attempts, and the broker keeps it as unacknowledged."""
    if self.request.retries < fails:
        raise Unreachable(address)
    return f"{address}, at attempt {self.request.retries + 1}"


@app.task(soft_time_limit=0.5, time_limit=5)
def search():
    """The soft limit raises an exception in the task, which can still give an answer; the hard one kills its process."""
    best = 0.0
    try:
        while True:
            best = max(best, random.random())
    except SoftTimeLimitExceeded:
        return best > 0
