"""The inbox on PostgreSQL, as a worker writes it. Reading is in WalletCore.postgres.notifications.

A batch is one statement and one commit. It first takes a lock that every worker takes and that goes
with the transaction: so positions are drawn, and notifications become visible, in one order. Who
reads ``position > last`` misses nothing, and two workers with the same events never wait for each
other's rows. A worker that hangs there loses its session after IDLE_IN_TRANSACTION_TIMEOUT_SECONDS.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

import orjson
import psycopg
from uuid_utils.compat import uuid7

from WalletCore.domain.notices import Notice
from WalletCore.failures import CommitFailure, DataRefused, StoreUnavailable
from WalletCore.postgres import statements
from WalletCore.postgres.arrays import Array, jsons, nullable_uuids, texts, uuids
from WalletCore.postgres.connect import connect_arguments, connection_info
from WalletCore.postgres.errors import commit_failure
from WalletCore.postgres.pipeline import Pipeline

LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('coffer.notifications.order', 0))"
RECORD: Final = (
    "WITH arrived AS (SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[], "
    "%s::text[], %s::text[], %s::text[], %s::jsonb[]) WITH ORDINALITY "
    "AS a(event_id, id, wallet_id, user_id, type, title, text, data, place)), "
    "fresh AS (INSERT INTO notifications.inbox (event_id) SELECT event_id FROM arrived "
    "ON CONFLICT DO NOTHING RETURNING event_id) "
    "INSERT INTO notifications.notifications "
    "(id, event_id, wallet_id, user_id, type, title, text, data) "
    "SELECT a.id, a.event_id, a.wallet_id, a.user_id, a.type, a.title, a.text, a.data "
    "FROM arrived a JOIN fresh USING (event_id) ORDER BY a.place RETURNING event_id"
)
"""Of ``arrived`` only what the inbox did not have, in the order in which it arrived."""

PROGRAM_LIMIT_EXCEEDED: Final = "54"
"""The class of errors that tell of a value too large for an index: doing it again is no use."""


class PostgresInbox:
    """See WalletCore.inbox.Inbox. One connection, made on first use and remade when it is lost.

    Belongs to one thread.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._pipeline: Pipeline | None = None

    def record(self, notices: Sequence[Notice]) -> set[UUID]:
        """See Inbox. An event that is there twice is recorded once."""
        unique: dict[UUID, Notice] = {}
        for notice in notices:
            unique.setdefault(notice.event_id, notice)
        try:
            columns = _columns(list(unique.values()))
        except (ValueError, TypeError) as error:
            raise DataRefused(f"not storable: {type(error).__name__}") from error
        try:
            with self._connected().running() as pipeline:
                pipeline.send(statements.BEGIN)
                pipeline.send(LOCK)
                recorded = pipeline.send(RECORD, columns)
                pipeline.send(statements.COMMIT)
            return {row[0] for row in recorded.rows}
        except psycopg.Error as error:
            failure = _failure(error)
            if isinstance(failure, DataRefused):
                self._roll_back()
            else:
                # A statement that was prepared before a table changed fails again and again there.
                self.close()
            raise failure from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._pipeline is not None:
            with suppress(psycopg.Error):
                self._pipeline.connection.close()
            self._pipeline = None

    def _connected(self) -> Pipeline:
        if self._pipeline is None or self._pipeline.connection.closed:
            self._pipeline = Pipeline(
                psycopg.connect(
                    connection_info(self._url),
                    autocommit=True,
                    **connect_arguments("coffer-worker"),
                )
            )
        return self._pipeline

    def _roll_back(self) -> None:
        try:
            if self._pipeline is not None and not self._pipeline.connection.closed:
                with self._pipeline.running() as pipeline:
                    pipeline.send(statements.ROLLBACK)
        except psycopg.Error:
            self.close()


def _failure(error: psycopg.Error) -> CommitFailure:
    """Whether the data is at fault, or everything else: then the batch is simply done again, which
    is right whatever became of it, because the inbox knows what it has.
    """
    failure = commit_failure(error)
    if isinstance(failure, DataRefused):
        return failure
    if (error.sqlstate or "").startswith(PROGRAM_LIMIT_EXCEEDED):
        return DataRefused(str(failure))
    return StoreUnavailable(str(failure))


def _columns(notices: Sequence[Notice]) -> tuple[Array, ...]:
    return (
        uuids([n.event_id for n in notices]),
        uuids([uuid7() for _ in notices]),
        nullable_uuids([n.wallet_id for n in notices]),
        texts([n.user_id for n in notices]),
        texts([n.type for n in notices]),
        texts([n.title for n in notices]),
        texts([n.text for n in notices]),
        jsons([orjson.dumps(n.data) for n in notices]),
    )
