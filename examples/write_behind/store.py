"""The table of readings, and how a batch of them gets into it: each message once, however often it is delivered."""

import sqlalchemy
from sqlalchemy import CheckConstraint, Column, Float, MetaData, String, Table, create_engine
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError

readings = Table(
    "readings",
    MetaData(),
    # The key by which a reading that comes again is known.
    Column("message_id", String(64), primary_key=True),
    Column("sensor", String(100), nullable=False),
    Column("value", Float, nullable=False),
    # What no reading can be: -300 °C. Stands for whatever rules a database has and the gateway does not know.
    CheckConstraint("value > -273.16", name="above_absolute_zero"),
)


# How often a row is tried alone before it counts as one that can never be stored: others may have been in its way.
TRIES = 3


class DatabaseAway(Exception):
    """Nothing is wrong with the readings: try again later."""


class RowsRefused(Exception):
    """The database is there, and does not want these rows."""


class Store:
    def __init__(self, url):
        # Checks a connection before it is used, because databases are restarted, too.
        self._engine = create_engine(url, pool_pre_ping=True)

    def open(self):
        """Makes the table if it is not there."""
        try:
            readings.metadata.create_all(self._engine)
        except DBAPIError as error:
            raise DatabaseAway(str(error.orig)) from error

    def write(self, rows):
        """Writes the rows in one transaction. If that cannot be, each in its own; returns those that can never be stored
        as their positions with the reasons."""
        try:
            self._insert(rows)
            return {}
        except RowsRefused:
            refusals = ((position, self._refusal(row)) for position, row in enumerate(rows))
            return {position: reason for position, reason in refusals if reason}

    def _refusal(self, row):
        for _ in range(TRIES):
            try:
                self._insert([row])
                return None
            except RowsRefused as refusal:
                reason = str(refusal)
        return reason

    def count(self):
        with self._engine.connect() as connection:
            return connection.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(readings)).scalar_one()

    def message_ids(self):
        with self._engine.connect() as connection:
            return list(connection.execute(sqlalchemy.select(readings.c.message_id)).scalars())

    def _insert(self, rows):
        try:
            with self._engine.begin() as connection:
                connection.execute(insert_or_ignore(self._engine.dialect.name), rows)
        except DBAPIError as error:
            self._ask_whether_away()
            raise RowsRefused(str(error.orig)) from error

    def _ask_whether_away(self):
        # Drivers do not agree on which error is whose fault. So ask for the table: if it is there, it is the rows'.
        try:
            with self._engine.connect() as connection:
                connection.execute(sqlalchemy.select(readings).limit(0))
        except DBAPIError as error:
            raise DatabaseAway(str(error.orig)) from error


def insert_or_ignore(dialect):
    """An insert that passes over rows whose message id is there already, and nothing else."""
    if dialect == "sqlite":
        return sqlite.insert(readings).on_conflict_do_nothing(index_elements=["message_id"])
    if dialect == "postgresql":
        return postgresql.insert(readings).on_conflict_do_nothing(index_elements=["message_id"])
    if dialect in ("mysql", "mariadb"):
        # Not INSERT IGNORE, which would also cut and bend values until they fit.
        insert = mysql.insert(readings)
        return insert.on_duplicate_key_update(message_id=insert.inserted.message_id)
    raise NotImplementedError(f"say here how {dialect} inserts or ignores")
