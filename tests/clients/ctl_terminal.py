"""`warren ctl` by hand: on a terminal, with connected clients, completed by bash. WARREN is the program, DATA its broker's data folder."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import time

import pika

from smoke import DEADLINE, URL, run, scenario

CTL = [os.environ["WARREN"], "ctl", "--data", os.environ["DATA"]]


def ctl(*arguments, code=0):
    done = subprocess.run([*CTL, *arguments], capture_output=True, text=True, timeout=DEADLINE, stdin=subprocess.DEVNULL)
    assert done.returncode == code, (arguments, done)
    return done.stdout if code == 0 else done.stderr


def listed(*arguments):
    return json.loads(ctl("--json", *arguments))


def on_terminal(arguments, answers):
    """Runs a command on a terminal of its own and answers its questions; what it wrote, and its exit code."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm"
        os.execv(CTL[0], [*CTL, *arguments])
    written, until = b"", time.monotonic() + DEADLINE
    while True:
        assert time.monotonic() < until, written
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                chunk = os.read(terminal, 65536)
            except OSError:
                chunk = b""
            if not chunk:
                break
            written += chunk
        if answers and re.search(answers[0][0], written):
            os.write(terminal, answers.pop(0)[1])
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return written.decode().replace("\r\n", "\n"), os.waitstatus_to_exitcode(status)


@scenario
def a_password_is_asked_for_on_a_terminal_and_does_not_show():
    written, code = on_terminal(["add_user", "bob"], [(rb"(?i)password", b"s3cret\n")])
    assert code == 0, written
    assert "s3cret" not in written, written
    ctl("authenticate_user", "bob", "s3cret")
    ctl("delete_user", "bob")


@scenario
def lists_are_framed_on_a_terminal():
    written, code = on_terminal(["list_users"], [])
    assert code == 0, written
    lines = written.splitlines()
    assert any("guest" in line and "administrator" in line for line in lines), written
    assert any(set(line.strip()) & set("─│┌+|") for line in lines), written
    # In a pipe they are plain.
    assert "guest\t[administrator]" in ctl("list_users")


@scenario
def errors_on_a_terminal_have_their_exit_codes():
    written, code = on_terminal(["delete_user", "nobody"], [])
    assert code == 67 and "does not exist" in written, (code, written)


@scenario
def clients_are_listed_and_their_connections_closed():
    parameters = pika.URLParameters(URL)
    clients = [pika.BlockingConnection(parameters) for _ in range(3)]
    channel = clients[0].channel()
    channel.queue_declare("listed")
    channel.basic_qos(prefetch_count=7)
    tag = channel.basic_consume("listed", lambda *_: None)
    assert len(listed("list_connections", "name", "user", "state")) == 3
    [seen] = listed("list_channels", "name", "user", "prefetch_count", "consumer_count")
    assert (seen["user"], seen["prefetch_count"], seen["consumer_count"]) == ("guest", 7, 1), seen
    [consumer] = listed("list_consumers")
    assert (consumer["queue_name"], consumer["consumer_tag"]) == ("listed", tag), consumer
    [queue] = listed("list_queues", "name", "consumers")
    assert queue == {"name": "listed", "consumers": 1}
    told = []

    def left(count):
        """Waits until so many are left, while all clients take notice of what they are told."""
        until = time.monotonic() + DEADLINE
        while len(listed("list_connections", "name")) != count or len(told) != 3 - count:
            assert time.monotonic() < until, told
            for client in clients:
                try:
                    if client.is_open:
                        client.process_data_events()
                except pika.exceptions.ConnectionClosedByBroker as closed:
                    told.append((closed.reply_code, closed.reply_text))

    # Which of the clients it is does not matter.
    name = listed("list_connections", "name")[0]["name"]
    ctl("close_connection", name, "maintenance")
    left(2)
    ctl("close_connection", name, "again", code=69)
    ctl("close_all_connections", "--vhost", "/", "--limit", "1", "enough")
    left(1)
    ctl("close_all_connections", "that is all")
    left(0)
    assert told == [
        (320, f"CONNECTION_FORCED - {reason}") for reason in ["maintenance", "enough", "that is all"]
    ], told
    ctl("delete_queue", "listed")


@scenario
def messages_that_await_acknowledgement_are_listed_with_who_has_them():
    with pika.BlockingConnection(pika.URLParameters(URL)) as client:
        channel = client.channel()
        channel.confirm_delivery()
        channel.queue_declare("held")
        for body in ("one", "two"):
            channel.basic_publish("", "held", body)
        assert listed("list_unacked", "held") == []
        tag = channel.basic_consume("held", lambda *_: None)
        until = time.monotonic() + DEADLINE
        while len(seen := listed("list_unacked", "held", "--body-bytes", "2")) != 2:
            assert time.monotonic() < until, seen
        assert [row["payload"] for row in seen] == ["on", "tw"], seen
        [consumer] = listed("list_consumers")
        assert all(row["consumer_tag"] == tag and row["holder"] == "consumer" for row in seen), seen
        [channel_seen] = listed("list_channels", "name")
        assert seen[0]["channel"] == channel_seen["name"] and seen[0]["age"] >= 0, (seen, channel_seen, consumer)
        assert listed("list_unacked", "held", "--min-age", "3600") == []
        assert len(listed("list_unacked", "held", "--count", "1")) == 1
        ctl("list_unacked", "nowhere", code=69)
        channel.queue_delete("held")


@scenario
def bash_completes_commands():
    bash = shutil.which("bash")
    if bash is None:
        print("passed over: there is no bash")
        return
    script = subprocess.run([CTL[0], "completions", "bash"], capture_output=True, text=True, check=True).stdout
    ask = script + """
COMP_WORDS=(warren ctl list_u) COMP_CWORD=2 COMP_LINE="warren ctl list_u" COMP_POINT=17
_warren warren list_u ctl
printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run([bash, "--norc", "-s"], input=ask, capture_output=True, text=True, timeout=DEADLINE)
    assert {"list_users", "list_user_permissions"} <= set(done.stdout.split()), done


run()
