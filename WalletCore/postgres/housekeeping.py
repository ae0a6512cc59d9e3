"""Throws away what is kept for a time only: idempotency keys, and whole partitions of the log.

A partition goes when its last day is older than the retention and every event in it is in the
inbox, which outlives it. It is detached CONCURRENTLY, which does not wait for writers, and then
dropped; that needs the owner's rights.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from psycopg import errors, sql
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from WalletCore.postgres.connect import connect_arguments, parse_url
from WalletCore.postgres.partitions import SECONDS_PER_DAY, seconds_of_uuid7
from WalletCore.telemetry import get_logger

KEYS_PER_STATEMENT: Final = 5000
ROWS_PER_SLICE: Final = 20_000
DETACH_TIMEOUT_SECONDS: Final = 600
"""Detaching waits for the transactions that were open when it began."""

FIRST_ID: Final = UUID(int=0)

DELETE_KEYS = text(
    "DELETE FROM coffer.idempotency_keys WHERE ctid = ANY(ARRAY("
    "SELECT ctid FROM coffer.idempotency_keys "
    "WHERE created_at < now() - make_interval(days => :days) ORDER BY created_at LIMIT :rows))"
)
PARTITIONS = text(
    "SELECT c.relname, "
    "substring(pg_get_expr(c.relpartbound, c.oid) FROM $$TO \\('([0-9a-f-]+)'$$), "
    "i.inhdetachpending FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = 'coffer.events'::regclass ORDER BY 2"
)
DETACHED = text(
    "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = 'coffer' AND c.relkind = 'r' AND NOT c.relispartition "
    "AND c.relname ~ '^events_[0-9]{4}_[0-9]{2}$'"
)
"""Partitions that were detached and not dropped, because somebody was killed between the two."""

_SLICE = (
    "WITH slice AS (SELECT id FROM coffer.{} WHERE id > %s ORDER BY id LIMIT %s) "
    "SELECT count(*), count(*) FILTER (WHERE NOT EXISTS "
    "(SELECT FROM notifications.inbox i WHERE i.event_id = slice.id)), "
    "(array_agg(id ORDER BY id DESC))[1] FROM slice"
)


class Housekeeper:
    """``owner_url``: of a role that owns the log. Belongs to one thread."""

    def __init__(self, owner_url: str, *, log_days: int, key_days: int) -> None:
        self._engine = create_engine(
            parse_url(owner_url),
            poolclass=NullPool,
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",
            connect_args=connect_arguments("coffer-housekeeping"),
        )
        self._log_days = log_days
        self._key_days = key_days
        self._log = get_logger().bind(role="relay")

    def run(self, stopping: Callable[[], bool]) -> None:
        """Throw away what is due.

        Raises sqlalchemy.exc.DBAPIError or psycopg.Error if the database refuses or is away.
        """
        with self._engine.connect() as connection:
            self._delete_keys(connection, stopping)
            self._drop_detached(connection)
            for name, until, pending in connection.execute(PARTITIONS).all():
                if stopping():
                    return
                if pending or self._is_done_with(connection, name, until, stopping):
                    self._drop(connection, name, pending=pending)

    def _delete_keys(self, connection: Connection, stopping: Callable[[], bool]) -> None:
        total = 0
        while not stopping():
            wanted = {"days": self._key_days, "rows": KEYS_PER_STATEMENT}
            deleted = connection.execute(DELETE_KEYS, wanted).rowcount
            total += deleted
            if deleted < KEYS_PER_STATEMENT:
                break
        if total:
            self._log.info("idempotency_keys_forgotten", keys=total)

    def _is_done_with(
        self,
        connection: Connection,
        name: str,
        until: str | None,
        stopping: Callable[[], bool],
    ) -> bool:
        """Whether partition ``name``, which ends with the id ``until``, is old and recorded."""
        keep_from = time.time() - self._log_days * SECONDS_PER_DAY
        if until is None or seconds_of_uuid7(until) > keep_from:
            return False
        after = FIRST_ID
        driver: Any = connection.connection.driver_connection
        slice_ = sql.SQL(_SLICE).format(sql.Identifier(name))
        while not stopping():
            count, missing, last = driver.execute(slice_, (after, ROWS_PER_SLICE)).fetchone()
            if missing:
                self._log.warning("partition_kept", partition=name, not_recorded_at_least=missing)
                return False
            if count < ROWS_PER_SLICE:
                return True
            after = last
        return False

    def _drop(self, connection: Connection, name: str, *, pending: bool) -> None:
        driver: Any = connection.connection.driver_connection
        how = "FINALIZE" if pending else "CONCURRENTLY"
        driver.execute(f"SET statement_timeout = '{DETACH_TIMEOUT_SECONDS}s'")
        driver.execute("SET lock_timeout = 0")
        detach = sql.SQL("ALTER TABLE coffer.events DETACH PARTITION coffer.{} {}")
        driver.execute(detach.format(sql.Identifier(name), sql.SQL(how)))
        driver.execute(sql.SQL("DROP TABLE coffer.{}").format(sql.Identifier(name)))
        self._log.info("partition_dropped", partition=name)

    def _drop_detached(self, connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        for (name,) in connection.execute(DETACHED).all():
            driver.execute(sql.SQL("DROP TABLE coffer.{}").format(sql.Identifier(name)))
            self._log.info("partition_dropped", partition=name)


def lacks_rights(error: BaseException) -> bool:
    """Whether the role may not do it."""
    return isinstance(getattr(error, "orig", error), errors.InsufficientPrivilege)
