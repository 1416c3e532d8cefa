"""Runs the scenarios of one client: prints PASS or FAIL for each and ends with 1 if one failed.

AMQP_URL says where the broker is, NAMES what the names of queues and exchanges begin with, so that runs do not meet.
"""

import os
import sys
import traceback

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2F")
NAMES = os.environ.get("NAMES", f"smoke-{os.getpid()}")

# How long a scenario waits for something that must happen; only a broken broker needs all of it.
DEADLINE = 30

SCENARIOS = []


def scenario(function):
    """Marks a function as a scenario; its name, in words, is what is printed."""
    SCENARIOS.append(function)
    return function


def name(base):
    """A name for a queue or an exchange."""
    return f"{NAMES}.{base}"


def expect(actual, wanted, what):
    if actual != wanted:
        raise AssertionError(f"{what}: wanted {wanted!r}, got {actual!r}")


def run(call=lambda function: function()):
    """Runs all scenarios, each through `call`, and ends the program."""
    failed = 0
    for function in SCENARIOS:
        words = function.__name__.replace("_", " ")
        try:
            call(function)
        except Exception:
            failed += 1
            print(f"FAIL {words}", flush=True)
            traceback.print_exc()
        else:
            print(f"PASS {words}", flush=True)
    print(f"{len(SCENARIOS) - failed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)
