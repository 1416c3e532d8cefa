"""Celery: sends tasks to a worker that runs already (`celery -A celery_app worker`) and waits for their results."""

from datetime import datetime, timedelta, timezone

from celery import group
from celery_app import add, app, fail, started_at_or_after_its_eta, succeed_at_third_try

from smoke import DEADLINE, expect, run, scenario


@scenario
def a_task_returns_its_result():
    expect(add.delay(2, 40).get(timeout=DEADLINE), 42, "2 + 40")


@scenario
def a_failure_is_raised_where_the_result_is_awaited():
    result = fail.delay("no good")
    try:
        result.get(timeout=DEADLINE)
    except ValueError as error:
        expect(str(error), "no good", "the error")
    else:
        raise AssertionError("the task did not fail")


@scenario
def a_task_is_retried_until_it_succeeds():
    expect(succeed_at_third_try.delay().get(timeout=DEADLINE), 2, "retries")


@scenario
def a_task_with_a_countdown_or_an_eta_does_not_start_early():
    by_countdown = started_at_or_after_its_eta.apply_async(countdown=1)
    by_eta = started_at_or_after_its_eta.apply_async(eta=datetime.now(timezone.utc) + timedelta(seconds=1))
    # Held back by the worker, they do not keep other tasks from it.
    expect(add.delay(1, 1).get(timeout=DEADLINE), 2, "1 + 1")
    expect(by_countdown.get(timeout=DEADLINE), True, "countdown respected")
    expect(by_eta.get(timeout=DEADLINE), True, "eta respected")


@scenario
def many_tasks_all_return():
    results = group(add.s(n, n) for n in range(100))().get(timeout=DEADLINE)
    expect(results, [2 * n for n in range(100)], "results")


@scenario
def the_worker_answers_a_broadcast():
    answers = app.control.ping(timeout=DEADLINE, limit=1)
    expect([list(answer.values()) for answer in answers], [[{"ok": "pong"}]], "answers")


run()
