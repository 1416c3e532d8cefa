"""A worker for new_task.py that stops as a service should: on SIGTERM or CTRL+C it takes no further task, finishes the
one it has, acknowledges it, and closes its connection.

Killing a worker loses nothing either, but the task it had is done again by another worker, from its beginning.
"""

import os

from broker import StopSignal, connect, run, say

QUEUE = os.environ.get("QUEUE", "task_queue")
SECONDS_PER_DOT = float(os.environ.get("SECONDS_PER_DOT", "1"))


def main():
    stop = StopSignal()
    connection = connect("graceful_shutdown.py")
    channel = connection.channel()
    channel.queue_declare(queue=QUEUE, durable=True)
    channel.basic_qos(prefetch_count=1)

    say(" [*] Waiting for messages. To exit press CTRL+C")
    # With no task for that long, `consume` yields three times None: the moment to look whether to stop.
    for method, _properties, body in channel.consume(QUEUE, inactivity_timeout=0.2):
        if stop.requested:
            break
        if method is None:
            continue
        say(f" [x] Received '{body.decode()}'")
        connection.sleep(body.count(b".") * SECONDS_PER_DOT)
        say(" [x] Done")
        channel.basic_ack(delivery_tag=method.delivery_tag)
    # Gives back what was sent to us and not begun; it goes to another worker at once.
    channel.cancel()
    connection.close()
    say(" [x] Stopped")


run(main)
