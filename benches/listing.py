#!/usr/bin/env python3
"""How long lists of many queues take while messages pass, and what that does to the messages.

Starts the broker it is given, on free ports and without a data folder, imports the queues, lets a tenth of them be used
by warren-perf at a fixed rate, and asks for lists meanwhile. Needs nothing but Python's standard library:

    cargo build --release -p warren -p warren-benches
    benches/listing.py target/release/warren target/release/warren-perf
"""

import argparse
import base64
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

LISTS = [
    ("page 1 of 100", "?page=1&page_size=100"),
    ("page 1 of 100, sorted by messages", "?page=1&page_size=100&sort=messages&sort_reverse=true"),
    ("page 1 of 100, sorted by a rate", "?page=1&page_size=100&sort=message_stats.publish_details.rate&sort_reverse=true"),
    ("page 50 of 100, names by pattern", "?page=50&page_size=100&name=%5Eq&use_regex=true"),
    ("all, two columns", "?columns=name,messages"),
    ("all", ""),
]


class Api:
    """One connection to the HTTP API as guest."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode()}

    def request(self, method, path, body=None):
        self.connection.request(method, path, body, self.headers)
        response = self.connection.getresponse()
        data = response.read()
        if response.status >= 400:
            raise SystemExit(f"{method} {path}: {response.status} {data[:200]!r}")
        return data


def start(warren):
    """A broker in memory; its process, AMQP port and HTTP port."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("WARREN_")}
    command = [warren, "--data", "", "--bind", "127.0.0.1", "--port", "0", "--http-port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    ports = {}
    for line in process.stdout:
        for name, port in re.findall(r"(amqp|http)://127\.0\.0\.1:(\d+)", line):
            ports.setdefault(name, int(port))
        if len(ports) == 2:
            break
    else:
        raise SystemExit("the broker did not start")
    threading.Thread(target=lambda: [None for _ in process.stdout], daemon=True).start()
    return process, ports["amqp"], ports["http"]


def load(perf, port, used, rate, seconds):
    """Starts messages through `used` queues at a fixed rate."""
    command = [perf, "--url", f"amqp://guest:guest@127.0.0.1:{port}/", "--queues", str(used), "--queue", "used"]
    command += ["--rate", str(rate), "--confirms", "1000", "--duration", f"{seconds}s", "--warmup", "1s"]
    output = tempfile.TemporaryFile("w+")
    return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT), output


def finished(running):
    """What warren-perf says of latencies at its end."""
    process, output = running
    if process.wait() != 0:
        raise SystemExit("warren-perf failed")
    output.seek(0)
    lines = output.read().splitlines()
    return [line.strip() for line in lines if re.search(r"(deliver|confirm).*p99|latency", line, re.I)][-4:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("warren")
    parser.add_argument("perf")
    parser.add_argument("--queues", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=5_000, help="messages per second")
    parser.add_argument("--requests", type=int, default=20, help="of each list")
    options = parser.parse_args()

    process, amqp, port = start(options.warren)
    try:
        api = Api(port)
        used = options.queues // 10
        names = [f"q{number:05}" for number in range(options.queues - used)]
        queues = [{"name": name, "vhost": "/", "durable": True, "auto_delete": False, "arguments": {}} for name in names]
        api.request("POST", "/api/definitions", json.dumps({"queues": queues}))

        print(f"{options.queues} queues, {options.rate} messages a second through {used} of them")
        quiet = finished(load(options.perf, amqp, used, options.rate, 8))
        running = load(options.perf, amqp, used, options.rate, 60)
        deadline = time.monotonic() + 30
        while json.loads(api.request("GET", "/api/overview"))["object_totals"]["queues"] < options.queues:
            if time.monotonic() > deadline:
                raise SystemExit("the queues are not there")
            time.sleep(0.1)
        time.sleep(11)
        print(f"| list | median ms | max ms | bytes |\n|---|---:|---:|---:|")
        for name, query in LISTS:
            times, size = [], 0
            for _ in range(options.requests):
                before = time.perf_counter()
                size = len(api.request("GET", "/api/queues" + query))
                times.append((time.perf_counter() - before) * 1000)
            print(f"| {name} | {statistics.median(times):.1f} | {max(times):.1f} | {size:,} |", flush=True)
        running[0].terminate()
        running[0].wait()

        running = load(options.perf, amqp, used, options.rate, 8)
        asked = 0
        while running[0].poll() is None:
            api.request("GET", "/api/queues" + LISTS[1][1])
            asked += 1
        print("latencies while nobody asks:", *quiet, sep="\n    ")
        print(f"latencies while somebody asks for one page after the other, {asked} in all:", *finished(running), sep="\n    ")
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
