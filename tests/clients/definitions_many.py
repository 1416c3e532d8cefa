"""Definitions of 1,000 queues and what goes with them, in the shape in which RabbitMQ 3.10 exports them, imported with nothing lost.

API is host:port of a broker with a guest. With RABBITMQ_API, a RabbitMQ's, that one imports and exports them first, so that they are its
own. STEP=compare only looks whether all that is durable is still there; what was imported is in the file DEFINITIONS.
"""

import json
import os

import requests

from smoke import run, scenario

FILE = os.environ["DEFINITIONS"]
LISTS = ["users", "vhosts", "permissions", "topic_permissions", "parameters", "global_parameters", "policies", "queues",
         "exchanges", "bindings"]


def call(api, method, **arguments):
    response = requests.request(method, f"http://{api}/api/definitions", auth=("guest", "guest"), timeout=120, **arguments)
    assert response.status_code in (200, 204), response.text
    return response.json() if method == "GET" else None


def arguments_of(number):
    """Of every fourth queue none; of the others some of each kind of value."""
    return [
        {},
        {"x-max-length": number, "x-overflow": "reject-publish", "x-message-ttl": 60000 + number},
        {"x-dead-letter-exchange": "e1", "x-dead-letter-routing-key": f"größe {number}", "x-expires": 86400000},
        {"x-queue-type": "quorum", "x-delivery-limit": 7, "a table": {"of": ["texts", 1, True, {"deep": 1.5}]}},
    ][number % 4]


def generated():
    vhosts = ["/", "shop", "größer/als", "staging"]
    hash_of_guest = "ZpmIOOfDK2Tbl7FQr3OLEyergbUv0MROv0p5KFQ4C8OdsqNg"
    users = [{"name": f"user-{n}", "password_hash": hash_of_guest, "tags": [["administrator"], [], ["monitoring", "other"]][n % 3],
              "hashing_algorithm": "rabbit_password_hashing_sha256",
              "limits": {"max-connections": n} if n % 5 == 1 else {}} for n in range(50)]
    queues = [{"name": f"queue {n}", "vhost": vhosts[n % 4], "durable": n % 8 != 0, "auto_delete": n % 16 == 2,
               "arguments": arguments_of(n)} for n in range(1000)]
    exchanges = [{"name": f"e{n}", "vhost": vhosts[n % 4], "type": ["direct", "topic", "fanout", "headers"][n // 4 % 4],
                  "durable": True, "auto_delete": n % 7 == 3, "internal": n % 9 == 5,
                  "arguments": {"alternate-exchange": "amq.fanout"} if n % 3 == 0 else {}} for n in range(200)]
    bindings = [{"source": f"e{n % 200}", "vhost": vhosts[n % 4], "destination": f"queue {n % 1000}",
                 "destination_type": "queue", "routing_key": f"key.{n % 13}.#",
                 "arguments": {"x-match": "any", "n": n} if n % 10 == 0 else {}} for n in range(2000)]
    bindings += [{"source": f"e{n}", "vhost": vhosts[n % 4], "destination": f"e{n + 4}", "destination_type": "exchange",
                  "routing_key": "", "arguments": {}} for n in range(100)]
    return {
        "rabbit_version": "3.10.8", "rabbitmq_version": "3.10.8", "product_name": "RabbitMQ", "product_version": "3.10.8",
        "users": users,
        "vhosts": [{"name": name, "limits": [], "metadata": {"description": name, "tags": []}} for name in vhosts],
        "permissions": [{"user": user["name"], "vhost": vhost, "configure": "^a", "write": ".*", "read": "^(b|c)$"}
                        for user in users for vhost in vhosts],
        "topic_permissions": [{"user": user["name"], "vhost": "shop", "exchange": "e5", "write": "^{username}", "read": ""}
                              for user in users],
        "parameters": [
            {"vhost": "shop", "component": "vhost-limits", "name": "limits",
             "value": {"max-connections": 100, "max-queues": 2000}},
            {"vhost": "shop", "component": "operator_policy", "name": "bounded",
             "value": {"pattern": "^queue", "definition": {"max-length": 100000}, "priority": 2, "apply-to": "queues"}},
        ],
        "global_parameters": [{"name": "cluster_name", "value": "burrow"}, {"name": "other", "value": {"a": [1, 2]}}],
        "policies": [{"vhost": vhost, "name": f"policy {n}", "pattern": f"^queue {n}", "apply-to": "queues", "priority": n,
                      "definition": {"max-length": 1000 + n}} for vhost in vhosts for n in range(25)],
        "queues": queues, "exchanges": exchanges, "bindings": bindings,
    }


def key_of(kind, entry):
    names = ["component", "vhost", "user", "name", "exchange", "source", "destination", "destination_type", "routing_key"]
    key = [(name, entry.get(name)) for name in names]
    return json.dumps(key + [entry["arguments"]] if kind == "bindings" else key, sort_keys=True)


def compare(wanted):
    exported = call(os.environ["API"], "GET")
    for kind in LISTS:
        there = {key_of(kind, entry): entry for entry in exported[kind]}
        for entry in wanted[kind]:
            found = there.get(key_of(kind, entry))
            assert found is not None, (kind, entry)
            # Limits are also told as parameters; metadata may have more than was said.
            ignored = {"limits", "metadata"} if kind == "vhosts" else set()
            if kind == "users" and entry["password_hash"] == "":
                # There is no password, so how it would be hashed is not kept.
                ignored = {"hashing_algorithm"}
            if kind == "users" and entry["name"] == "guest":
                # RabbitMQ's hash was renewed when this guest logged in.
                ignored = {"password_hash", "hashing_algorithm"}
            lost = {name: value for name, value in entry.items() if name not in ignored and found.get(name) != value}
            assert not lost, (kind, lost, found)
            if kind == "vhosts" and "metadata" in entry:
                assert found["metadata"]["description"] == entry["metadata"]["description"], found
    print(", ".join(f"{kind}: {len(wanted[kind])}" for kind in LISTS))


@scenario
def nothing_is_lost():
    if os.environ.get("STEP") == "compare":
        with open(FILE) as file:
            definitions = json.load(file)
        gone = {(queue["vhost"], queue["name"]) for queue in definitions["queues"] if not queue["durable"]}
        for kind, name in [("queues", "name"), ("bindings", "destination")]:
            definitions[kind] = [entry for entry in definitions[kind] if (entry["vhost"], entry[name]) not in gone]
        compare(definitions)
        return
    definitions = generated()
    if "RABBITMQ_API" in os.environ:
        call(os.environ["RABBITMQ_API"], "POST", json=definitions)
        definitions = call(os.environ["RABBITMQ_API"], "GET")
    with open(FILE, "w") as file:
        json.dump(definitions, file)
    call(os.environ["API"], "POST", json=definitions)
    compare(definitions)


run()
