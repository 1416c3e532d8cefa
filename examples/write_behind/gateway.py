"""The way in: takes readings over HTTP and answers 202 when the broker has them on its disk. It never waits for a database.

    curl -i localhost:8080/readings -H 'Idempotency-Key: 1' -d '{"sensor": "roof", "value": 21.5}'

Without an Idempotency-Key the gateway makes one up. A client that got 503, or no answer at all, repeats the request under the
same key; however often it is taken, it becomes one row.
"""

import json
import signal
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from settings import CONFIRM_SECONDS, HTTP_PORT, QUEUE, declare

from broker import parameters_for, say
from publisher import Away, Publisher, Refused

BODY_BYTES_MAX = 64 * 1024


class Gateway(BaseHTTPRequestHandler):
    # Connections stay open for further requests.
    protocol_version = "HTTP/1.1"
    # What a client may take for the next request, in seconds.
    timeout = 60
    publisher = None

    def do_POST(self):
        body = self.body()
        if body is None:
            return
        key = self.headers.get("Idempotency-Key") or str(uuid.uuid4())
        if self.path != "/readings":
            self.answer(404, error="post readings to /readings")
        elif not is_json_object(body):
            self.answer(400, error="send a JSON object")
        elif len(key) > 64:
            self.answer(400, error="an Idempotency-Key has 64 characters at most")
        else:
            self.take(key, body)

    def take(self, key, body):
        try:
            self.publisher.publish("", QUEUE, body, message_id=key).result(CONFIRM_SECONDS)
        except (Away, Refused, TimeoutError) as reason:
            # Whether it was kept is not known after a timeout or a lost connection, but repeating it does no harm.
            self.answer(503, id=key, error=str(reason) or "the broker did not confirm in time", retry="under the same id")
        else:
            self.answer(202, id=key)

    def do_GET(self):
        if self.path == "/health":
            away = not self.publisher.wait_until_connected(0)
            self.answer(503 if away else 200, broker="away" if away else "connected")
        else:
            self.answer(404, error="post readings to /readings, or get /health")

    def body(self):
        length = self.headers.get("Content-Length", "")
        if length.isdecimal() and len(length) < 10 and int(length) <= BODY_BYTES_MAX:
            return self.rfile.read(int(length))
        # What follows is not read, so nothing else can come over this connection.
        self.close_connection = True
        self.answer(413 if length.isdecimal() else 411, error=f"send Content-Length, {BODY_BYTES_MAX} bytes at most")
        return None

    def answer(self, status, **fields):
        body = json.dumps(fields).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 503:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Not a line for each request."""


def is_json_object(body):
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False


def main():
    Gateway.publisher = Publisher(parameters_for("gateway.py"), declare)
    server = ThreadingHTTPServer(("127.0.0.1", HTTP_PORT), Gateway)

    def stop(*_):
        # `shutdown` waits for the loop below, which runs in this thread.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    say(f" [*] Readings go to http://127.0.0.1:{server.server_port}/readings")
    server.serve_forever()
    Gateway.publisher.close()
    say(" [x] Stopped")


if __name__ == "__main__":
    main()
