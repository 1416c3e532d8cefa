"""What gateway.py and writer.py share: settings from the environment, and the queues."""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "python"))

# SQLAlchemy's form: sqlite:///FILE, postgresql+psycopg://USER:PASSWORD@HOST/NAME, mysql+pymysql://USER:PASSWORD@HOST/NAME.
DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite:///readings.db")
QUEUE = os.environ.get("QUEUE", "readings")
HTTP_PORT = int(os.environ.get("HTTP_PORT", "8080"))
# How long a request may wait for the broker's confirm, in seconds.
CONFIRM_SECONDS = float(os.environ.get("CONFIRM_SECONDS", "5"))
# The writer commits when it has so many readings, or when the oldest has waited that long.
BATCH_ROWS = int(os.environ.get("BATCH_ROWS", "500"))
BATCH_SECONDS = float(os.environ.get("BATCH_SECONDS", "0.2"))


def declare(channel):
    """The durable queue of readings, and the one for those that can never be stored."""
    channel.queue_declare(f"{QUEUE}.dead", durable=True)
    to_dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{QUEUE}.dead"}
    channel.queue_declare(QUEUE, durable=True, arguments=to_dead)
