"""Work queue, the receiving half: works through tasks one by one, a second (SECONDS_PER_DOT) for each dot."""

import os

from broker import connect, run, say

QUEUE = os.environ.get("QUEUE", "task_queue")
SECONDS_PER_DOT = float(os.environ.get("SECONDS_PER_DOT", "1"))


def main():
    connection = connect("worker.py")
    channel = connection.channel()
    channel.queue_declare(queue=QUEUE, durable=True)

    def work(channel, method, _properties, body):
        task = body.decode()
        say(f" [x] Received '{task}'")
        # Unlike time.sleep, this keeps answering the broker's heartbeats during a long task.
        connection.sleep(task.count(".") * SECONDS_PER_DOT)
        say(" [x] Done")
        # Only now: a worker that dies in mid-task leaves the task to another one.
        channel.basic_ack(delivery_tag=method.delivery_tag)

    # Never more than one unfinished task each, so that a slow task does not hold up those queued behind it.
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue=QUEUE, on_message_callback=work)
    say(" [*] Waiting for messages. To exit press CTRL+C")
    channel.start_consuming()


run(main)
