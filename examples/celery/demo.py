"""Celery with retries, time limits, groups and a worker that is killed: `python examples/celery/demo.py`.

It starts a broker if AMQP_URL names none, and workers; `tasks.py` holds the tasks.
"""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parent / "python"))

from warren_process import Warren  # noqa: E402

# How long anything may take before the demo gives up, in seconds.
PATIENCE = 60


def say(text):
    print(text, flush=True)


class Worker:
    """A Celery worker in processes of its own."""

    def __init__(self, name):
        command = ["worker", "--concurrency", "2", "--loglevel", "ERROR", "--hostname", f"{name}@localhost"]
        # A group of its own, so that its whole pool can be killed.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tasks", *command],
            cwd=FOLDER, start_new_session=True, stdout=subprocess.DEVNULL,
        )

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Celery finishes what runs, and leaves the rest in the queue."""
        self.process.terminate()
        return self.process.wait(PATIENCE)


def main():
    with ExitStack() as stack:
        if "AMQP_URL" not in os.environ:
            os.environ["AMQP_URL"] = stack.enter_context(Warren()).url
        # Only now: importing the tasks reads AMQP_URL.
        from celery import chain, group
        from tasks import app, fetch, search, square, total

        stack.callback(app.close)
        first = Worker("first")
        stack.callback(first.kill)
        say(f" [x] A task: the square of 12 is {square.delay(12).get(PATIENCE)}")
        say(f" [x] Retries: fetched {fetch.delay('the weather').get(PATIENCE)}")
        say(f" [x] A time limit: {'in time' if search.delay().get(PATIENCE) else 'nothing found'}")
        numbers = group(square.s(n) for n in range(100))().get(PATIENCE)
        say(f" [x] A group of 100, and a task with all their results: {total.delay(numbers).get(PATIENCE)}")
        say(f" [x] A chain: 2, squared three times, is {chain(square.s(2), square.s(), square.s())().get(PATIENCE)}")

        slow = group(square.s(n, seconds=0.2) for n in range(12))()
        slow.results[0].get(PATIENCE)
        first.kill()
        say(f" [ ] Killed the worker when it had done {slow.completed_count()} of 12 tasks")
        second = Worker("second")
        stack.callback(second.kill)
        results = slow.get(PATIENCE)
        if results != [n * n for n in range(12)]:
            sys.exit(f"these are not the squares: {results}")
        say(f" [x] Another worker did the rest: {len(results)} of 12 results, all as expected")
        say(f" [x] The worker stopped with {second.stop()}")


if __name__ == "__main__":
    main()
