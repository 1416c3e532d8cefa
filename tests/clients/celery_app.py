"""The tasks that celery_smoke.py has a real Celery worker do, with results over AMQP (rpc://)."""

from celery import Celery

from smoke import URL, name

app = Celery("celery_app", broker=URL, backend="rpc://")
app.conf.update(
    task_default_queue=name("celery"),
    # Acknowledged when done, so that a task outlives its worker.
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=False,
    broker_transport_options={"confirm_publish": True},
    result_expires=300,
)


@app.task
def add(a, b):
    return a + b


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=3)
def succeed_at_third_try(self):
    """Each retry is a new message with an estimated time of arrival, which the worker holds back unacknowledged."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.2)
    return self.request.retries


@app.task(bind=True)
def started_at_or_after_its_eta(self):
    from datetime import datetime, timezone

    return datetime.now(timezone.utc) >= datetime.fromisoformat(self.request.eta)
