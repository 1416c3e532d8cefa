"""A Warren of one's own, in a process that a test or a demo starts, may kill, and ends.

It listens on a free port of this machine and says which in the first lines that it prints.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WORKSPACE = Path(__file__).resolve().parents[2]


def find_warren():
    """WARREN_BIN, or what cargo built here, or `warren` on the PATH; ends the program if there is none."""
    named = os.environ.get("WARREN_BIN")
    built = [WORKSPACE / "target" / profile / "warren" for profile in ("release", "debug")]
    found = [named] if named else [str(path) for path in built if path.is_file()] + [shutil.which("warren")]
    if not found[0]:
        sys.exit(
            f"there is no warren to start: build it with `cargo build --release` in {WORKSPACE}, "
            "or let WARREN_BIN name the program"
        )
    return found[0]


class Warren:
    """Runs when made; `with` ends it. Data and log lie in `folder`, else in a folder that is removed at the end."""

    name = "broker"

    def __init__(self, folder=None):
        self._own_folder = None if folder else tempfile.TemporaryDirectory(prefix="warren-")
        self.folder = Path(folder or self._own_folder.name)
        self.port = 0
        self.start()

    @property
    def url(self):
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def start(self):
        """Starts it, again on the same port and data if it was there before; returns when it listens."""
        arguments = ["--port", str(self.port), "--http-port", "0", "--data", str(self.folder / "data")]
        # Settings in the environment of whoever runs this are not meant for this broker.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WARREN_")}
        with open(self.folder / "warren.log", "ab") as log:
            self.process = subprocess.Popen(
                [find_warren(), *arguments], stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        # All it prints are these lines, so nobody needs to read on.
        for line in self.process.stdout:
            # "  listening  amqp://127.0.0.1:40123"
            if "listening" in line and "amqp://127.0.0.1:" in line:
                self.port = int(line.rsplit(":", 1)[1])
            if line.lstrip().startswith("stop "):
                return
        log = (self.folder / "warren.log").read_text(errors="replace")
        raise RuntimeError(f"warren ended with {self._ended()} and did not start: {log}")

    def kill(self):
        """Ends it as a crash of the machine would: no goodbye, nothing written any more."""
        self.process.kill()
        self._ended()

    def stop(self):
        """Asks it to end, and waits: its clients are told, what is durable is kept."""
        if self.process.poll() is None:
            self.process.terminate()
        self._ended()

    def _ended(self):
        self.process.stdout.close()
        return self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._own_folder:
            # Nobody will read its data again, so it need not say goodbye to clients that are still connected.
            self.kill()
            self._own_folder.cleanup()
        else:
            self.stop()
