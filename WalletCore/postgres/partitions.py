"""Keeps the event log's partitions made ahead, while the service runs."""

from __future__ import annotations

import threading
import time
from typing import Final

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from WalletCore.postgres.event_log import ADOPT, PARTITION_DAYS_AHEAD_WANTED
from WalletCore.telemetry import PARTITION_DAYS_AHEAD, get_logger

CHECK_INTERVAL_SECONDS: Final = 3600
RETRY_INTERVAL_SECONDS: Final = 5
SECONDS_PER_DAY: Final = 86_400

WARN_BELOW_DAYS: Final = 7
CLOSE_WAIT_SECONDS: Final = 5.0
"""A statement under way ends within its own limit; after that its connection is left to itself."""

ENSURE = text("SELECT coffer.ensure_event_partitions(:days)")
COVERED_UNTIL = text(
    "SELECT max(substring(pg_get_expr(c.relpartbound, c.oid) FROM $$TO \\('([0-9a-f-]+)'$$)) "
    "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = 'coffer.events'::regclass"
)
"""The upper bound of the newest partition: a UUIDv7, whose first 48 bits are milliseconds."""


class PartitionKeeper:
    """A thread that asks for the partitions at once and then every hour.

    Each process has one: whoever comes first makes them, the others find them made.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stop = threading.Event()
        self._covered_until: float | None = None
        self._log = get_logger()
        self._thread = threading.Thread(target=self._run, name="partitions", daemon=True)
        self._thread.start()

    def covered(self) -> bool:
        """Whether there is known to be a partition for what happens now."""
        return self._covered_until is not None and time.time() < self._covered_until

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join(CLOSE_WAIT_SECONDS)

    def _run(self) -> None:
        interval: float = 0
        while not self._stop.wait(interval):
            interval = CHECK_INTERVAL_SECONDS if self._ensure() else RETRY_INTERVAL_SECONDS

    def _ensure(self) -> bool:
        """Make the partitions, and look how far they reach, whoever made them."""
        made = True
        try:
            with self._engine.connect() as connection:
                connection.execute(ENSURE, {"days": PARTITION_DAYS_AHEAD_WANTED})
                if connection.execute(ADOPT).scalar_one():
                    self._log.warning("log_adopted", hint="it was restored from another cluster")
        except SQLAlchemyError as error:
            self._log.error("partitions_not_made", error=type(error).__name__)
            made = False
        try:
            with self._engine.connect() as connection:
                bound: str | None = connection.execute(COVERED_UNTIL).scalar_one()
        except SQLAlchemyError:
            return False
        self._covered_until = seconds_of_uuid7(bound) if bound else 0.0
        days = max(0, int((self._covered_until - time.time()) / SECONDS_PER_DAY))
        PARTITION_DAYS_AHEAD.set(days)
        if days < WARN_BELOW_DAYS:
            self._log.error("partitions_run_out", days=days)
        return made


def seconds_of_uuid7(uuid7: str) -> float:
    """The moment in a UUIDv7's first 48 bits, in seconds since 1970."""
    return int(uuid7.replace("-", "")[:12], 16) / 1000
