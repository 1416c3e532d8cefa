"""Retries, the receiving half: a failed task comes back after RETRY_DELAY_MS, and is given up after MAX_ATTEMPTS.

The task waits in the broker, so that neither a crash of this worker nor one of the broker loses it, and meanwhile the
worker does other tasks. nack with requeue would bring the task back at once, again and again.
"""

import os

import pika

from broker import connect, run, say
from retry_queues import declare, failures

QUEUE = os.environ.get("QUEUE", "retry_queue")
MAX_ATTEMPTS = int(os.environ.get("MAX_ATTEMPTS", "3"))


def main():
    channel = connect("retry_worker.py").channel()
    declare(channel, QUEUE)
    # So that a task is gone from the queue only when it is safe among the dead ones.
    channel.confirm_delivery()

    def work(channel, method, properties, body):
        task = body.decode()
        attempt = failures(properties, QUEUE) + 1
        say(f" [x] Attempt {attempt} of '{task}'")
        if attempt > task.count("!"):
            say(" [x] Done")
            channel.basic_ack(method.delivery_tag)
        elif attempt < MAX_ATTEMPTS:
            say(" [ ] Failed, will be tried again")
            channel.basic_nack(method.delivery_tag, requeue=False)
        else:
            say(f" [ ] Failed for good, kept in {QUEUE}.dead")
            persistent = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent, headers=properties.headers)
            channel.basic_publish("", f"{QUEUE}.dead", body, persistent, mandatory=True)
            channel.basic_ack(method.delivery_tag)

    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue=QUEUE, on_message_callback=work)
    say(" [*] Waiting for messages. To exit press CTRL+C")
    channel.start_consuming()


run(main)
