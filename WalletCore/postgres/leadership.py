"""One leader among the processes of a kind, by a lock of a session.

The lock goes with the session, however the leader ends: a process that is killed loses it at once,
one that is stopped or cut off after IDLE_SESSION_TIMEOUT_SECONDS or by TCP's keepalives. What the
leader keeps it writes through the same session; so one that wakes up late can keep nothing.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import random
from collections.abc import Callable
from threading import Event
from typing import Final, TypeAlias

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from WalletCore.postgres.connect import connect_arguments, parse_url
from WalletCore.telemetry import get_logger, mask_secrets

STANDBY_POLL_SECONDS: Final = 0.5
IDLE_SESSION_TIMEOUT_SECONDS: Final = 3
"""A leader asks the database something at least once a second."""
KEEP_ALIVE_SECONDS: Final = 1.0
RETRY_PAUSE_SECONDS: Final = 0.1
MAX_RETRY_PAUSE_SECONDS: Final = 2.0

SESSION_OPTIONS: Final = (
    f"-c idle_session_timeout={IDLE_SESSION_TIMEOUT_SECONDS}s -c synchronous_commit=off "
    "-c enable_seqscan=off -c jit=off -c plan_cache_mode=force_generic_plan"
)
"""The place in the log that is lost with a crash is only read again. See also COMMITTER_PLANS; to
plan each look at the log anew takes three times as long as the look itself."""

TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
KEEP_ALIVE = text("SELECT 1")

Work: TypeAlias = Callable[[Connection], None]
"""What a leader does on its session until it is told to stop. Raises DBAPIError."""


class Leader:
    """Does ``work`` as long as this process is the leader of ``name``, else waits."""

    def __init__(self, url: str, name: str) -> None:
        self._engine = create_engine(
            parse_url(url),
            poolclass=NullPool,
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",
            connect_args=connect_arguments(f"coffer-{name}", SESSION_OPTIONS),
        )
        self._name = name
        self._log = get_logger().bind(role=name)
        self.leading = False
        self.connected = False

    def run(self, stop: Event, work: Work) -> None:
        """Lead or wait until ``stop`` is set. A lost database is waited for."""
        pause = RETRY_PAUSE_SECONDS
        while not stop.is_set():
            try:
                with self._engine.connect() as connection:
                    self.connected = True
                    pause = RETRY_PAUSE_SECONDS
                    self._stand_by(connection, stop, work)
            except DBAPIError as error:
                if self.connected:
                    self._log.warning("database_lost", error=_first_line(error))
            finally:
                self.leading = self.connected = False
            stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - it spreads retries
            pause = min(pause * 2, MAX_RETRY_PAUSE_SECONDS)

    def _stand_by(self, connection: Connection, stop: Event, work: Work) -> None:
        waiting = False
        while not stop.is_set():
            if connection.execute(TRY_LOCK, {"name": lock_name(self._name)}).scalar_one():
                self.leading = True
                self._log.info("leading")
                work(connection)
                return
            if not waiting:
                self._log.info("standing_by")
                waiting = True
            stop.wait(STANDBY_POLL_SECONDS)


def lock_name(name: str) -> str:
    """What the lock of ``name`` is called."""
    return f"coffer.leader.{name}"


def _first_line(error: DBAPIError) -> str:
    lines = str(error.orig or error).strip().splitlines()
    return mask_secrets(lines[0]) if lines else type(error).__name__
