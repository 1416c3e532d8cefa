"""What all these programs share: where the broker is, and how to fail and stop politely.

AMQP_URL chooses the broker; QUEUE and EXCHANGE, where a program uses one, replace its usual name.
"""

import os
import signal
import sys

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout
from pika.exceptions import (
    AMQPConnectionError,
    AMQPError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

DEFAULT_URL = "amqp://guest:guest@127.0.0.1:5672/%2F"


def connect(name):
    """Opens a connection that the broker shows as `name`; ends the program if that fails."""
    parameters = parameters_for(name)
    # The address only in what is printed: the URL holds a password.
    broker = f"{parameters.host}:{parameters.port}"
    try:
        return pika.BlockingConnection(parameters)
    except AMQPConnectorStackTimeout:
        sys.exit(
            f"whatever listens at {broker} does not answer as a broker does. "
            "Set AMQP_URL to the address of an AMQP 0-9-1 broker."
        )
    except (AMQPConnectionError, OSError) as error:
        cause = innermost(error)
        if isinstance(cause, (ProbableAccessDeniedError, ProbableAuthenticationError)):
            sys.exit(
                f"the broker at {broker} refused the connection: {cause}. "
                "Check the user, password and virtual host in AMQP_URL."
            )
        sys.exit(
            f"cannot reach a broker at {broker}: {cause}. "
            "Start one (`cargo run --release` runs Warren) or set AMQP_URL to the address of another."
        )


def parameters_for(name):
    """What pika needs to open a connection that the broker shows as `name`."""
    parameters = address()
    parameters.client_properties = {"connection_name": name}
    # How long a broker may take to let us in, in seconds.
    parameters.stack_timeout = 10
    return parameters


def address():
    """AMQP_URL as pika wants it; ends the program if it makes no sense."""
    url = os.environ.get("AMQP_URL", DEFAULT_URL)
    problem = "it does not begin with amqp:// or amqps://"
    if url.startswith(("amqp://", "amqps://")):
        try:
            return pika.URLParameters(url)
        except Exception as error:  # pika reports a bad URL as whatever its parsing stumbles over
            problem = error
    sys.exit(f"AMQP_URL is not usable ({problem}); it should look like {DEFAULT_URL}")


def innermost(error):
    """The cause of a failed connection: pika wraps it, often several times and without a text of its own."""
    inner = getattr(error, "exception", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
    # A connection that was tried several times, or at several addresses.
    inner = inner or (getattr(error, "exceptions", None) or [None])[-1]
    return innermost(inner) if inner is not None else error


def say(text):
    """Prints one line at once, also when the output is a pipe."""
    print(text, flush=True)


def run(main):
    """Runs a program until it returns or CTRL+C is pressed, which is the normal way to end a receiver."""
    try:
        main()
    except KeyboardInterrupt:
        # Leaving at once is enough: a broker takes back what a vanished client had not acknowledged.
        sys.exit(0)
    except AMQPError as error:
        sys.exit(f"the broker ended the conversation: {error or type(error).__name__}")


class StopSignal:
    """Whether SIGTERM or CTRL+C has come, for programs that finish what they do before they end."""

    def __init__(self):
        self.requested = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, _number, _frame):
        # Nothing more than this: a handler runs in the middle of anything, also of pika's code.
        self.requested = True
