"""Fuzzes the HTTP API by its own description: what is sent fits it or nearly so, and what comes back has to be in it.

API is host:port of a broker with a guest, WHO the name:password of a user to make with the tag TAG, SECONDS how long to go on. Half of
the names in paths are of things that exist. SEED repeats the choices of a run as far as time permits.
"""

import os
import random
import sys
import time

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.specs.openapi import checks

API = os.environ["API"]
WHO = tuple(os.environ["WHO"].split(":"))
SEED = int(os.environ.get("SEED") or random.randrange(2**32))

# Names of things that were made for this.
KNOWN = {
    "vhost": ["/", "shop"],
    "user": ["alex", "guest"],
    "exchange": ["amq.topic"],
    "source": ["e", "amq.topic", "amq.default"],
    "destination": ["q", "e"],
    "key": ["key", "~"],
    "protocol": ["amqp", "http"],
    "node": ["warren"],
    "component": ["operator_policy", "vhost-limits"],
}
NAMES = {
    "queues": ["q"], "exchanges": ["e", "amq.default", "amq.topic"], "policies": ["p"], "operator-policies": ["p"],
    "users": ["alex", "new"], "vhosts": ["/", "shop", "new"], "user-limits": ["max-channels", "max-connections"],
    "vhost-limits": ["max-queues", "max-connections"], "nodes": ["warren"],
    "parameters": ["p", "limits"], "global-parameters": ["g", "cluster_name"],
}

# What would end the fuzzing itself or its users, and is tried elsewhere.
LEFT_OUT = {("DELETE", "/api/users/{name}"), ("POST", "/api/users/bulk-delete"), ("PUT", "/api/users/{name}"),
            # It has no end.
            ("GET", "/api/events")}

# That a fault of the broker (5xx) is none that is described follows from the first.
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


def make(method, path, body):
    response = requests.request(method, f"http://{API}/api/{path}", auth=("guest", "guest"), json=body)
    assert response.status_code < 300, (path, response.text)


def make_known():
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    make("PUT", f"users/{WHO[0]}", {"password": WHO[1], "tags": os.environ["TAG"]})
    make("PUT", "vhosts/shop", {})
    for user, vhost in [("guest", "%2F"), (WHO[0], "%2F"), (WHO[0], "shop")]:
        make("PUT", f"permissions/{vhost}/{user}", everything)
    make("PUT", "users/alex", {"password": "x", "tags": ""})
    make("PUT", "permissions/%2F/alex", everything)
    make("PUT", "topic-permissions/%2F/alex", {"exchange": "amq.topic", "write": "a", "read": "b"})
    make("PUT", "queues/%2F/q", {"durable": True})
    make("PUT", "exchanges/%2F/e", {"durable": True})
    make("POST", "bindings/%2F/e/e/q/q", {"routing_key": "key"})
    make("PUT", "policies/%2F/p", {"pattern": "^none$", "definition": {"max-length": 9}})
    make("PUT", "operator-policies/%2F/p", {"pattern": "^none$", "definition": {"max-length": 9}})
    make("PUT", "global-parameters/g", {"value": 1})
    for number in range(20):
        message = {"routing_key": "q", "payload": str(number), "payload_encoding": "string", "properties": {}}
        make("POST", "exchanges/%2F/amq.default/publish", message)


def known_names(case, chance):
    for name in case.path_parameters:
        resource = case.operation.path.split("/")[2]
        known = NAMES.get(resource) if name == "name" else KNOWN.get(name)
        if known and chance.random() < 0.5:
            case.path_parameters[name] = chance.choice(known)


def fuzz(operation, session, count, until):
    faults, chance = [], random.Random(SEED)

    @seed(SEED)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def run(case):
        if time.monotonic() > until or faults:
            return
        known_names(case, chance)
        parts = case.formatted_path.split("/")
        if len(parts) != len(operation.path.split("/")) or {"", ".", ".."} & set(parts[1:]):
            # An empty name makes it another path, with other answers.
            return
        response = case.call(session=session, auth=WHO, timeout=30)
        count_of[response.status_code] = count_of.get(response.status_code, 0) + 1
        try:
            case.validate_response(response, checks=CHECKS)
        except BaseExceptionGroup as found:
            faults.append(f"{operation.method.upper()} {operation.path}: {found}\n{case.as_curl_command()}")

    run()
    return faults


count_of = {}
session = requests.Session()
make_known()
schema = schemathesis.openapi.from_url(f"http://{API}/api/openapi.json", auth=WHO)
operations = [found.ok() for found in schema.get_all_operations()]
operations = [one for one in operations if (one.method.upper(), one.path) not in LEFT_OUT and "/api/local" not in one.path]
random.Random(SEED).shuffle(operations)
until = time.monotonic() + float(os.environ.get("SECONDS", "20"))
faults, rounds = [], 0
while time.monotonic() < until and not faults:
    rounds += 1
    if rounds > 1:
        make_known()
    for operation in operations:
        faults += fuzz(operation, session, 5 * rounds, until)
for fault in faults:
    print(f"FAIL {fault} SEED={SEED}\n", flush=True)
assert count_of, "nothing was sent"
if not faults:
    print(f"PASS {sum(count_of.values())} requests in {rounds} rounds as {WHO[0]}, SEED={SEED}: {sorted(count_of.items())}", flush=True)
sys.exit(1 if faults else 0)
