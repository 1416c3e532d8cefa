"""The three queues of retry_send.py and retry_worker.py, and how often a message has failed."""

import os

# How long a failed task waits before it is tried again.
DELAY_MS = int(os.environ.get("RETRY_DELAY_MS", "2000"))


def declare(channel, queue):
    """A queue for tasks; one where failed tasks wait; one for those that are given up."""
    # What a worker rejects is dead-lettered: published again by the broker, here to the queue where it waits.
    to_wait = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{queue}.wait"}
    channel.queue_declare(queue, durable=True, arguments=to_wait)
    # Nobody consumes from this one. What expires in it is dead-lettered too: back to the tasks.
    to_work = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue, "x-message-ttl": DELAY_MS}
    channel.queue_declare(f"{queue}.wait", durable=True, arguments=to_work)
    channel.queue_declare(f"{queue}.dead", durable=True)


def failures(properties, queue):
    """How often the message was rejected from the queue: the broker counts that in the header x-death."""
    deaths = (properties.headers or {}).get("x-death", [])
    return sum(death["count"] for death in deaths if death["queue"] == queue and death["reason"] == "rejected")
