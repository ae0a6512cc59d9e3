"""The committer's transactions on PostgreSQL: lock and read in one round trip, write and commit in
a second one; of a large batch, what is only appended is sent before, while the rest is decided.

READ COMMITTED, and one statement after the other in one pipeline: each sees what was committed
while the one before it waited for a lock. The order, keys first and then wallets by id, is the same
in every process, so that two of them never wait for each other.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus

from WalletCore.domain.model import Entry, Event, Wallet
from WalletCore.domain.working_set import Changes
from WalletCore.failures import DataRefused, StoreUnavailable, TooSlow
from WalletCore.postgres import statements
from WalletCore.postgres.arrays import uuids
from WalletCore.postgres.columns import (
    balance_columns,
    description_columns,
    entry_columns,
    event_columns,
    hold_columns,
    key_columns,
    mark_columns,
    message_columns,
    resolution_columns,
    user_columns,
    wallet_columns,
)
from WalletCore.postgres.connect import committer_connection
from WalletCore.postgres.currencies import StoredCurrencies
from WalletCore.postgres.errors import QUERY_CANCELED, commit_failure
from WalletCore.postgres.locking import (
    MESSAGE_LOCKS,
    WALLET_LOCKS,
    Dependents,
    Keys,
    Rows,
    message_of_row,
    rows_of,
    wallet_of_row,
)
from WalletCore.postgres.pipeline import Pipeline
from WalletCore.store import Loaded, Needs, Remembered

RECONNECT_PAUSE_SECONDS: Final = 0.05
"""The pause after a failed connect; it doubles up to the next one. Commands that come meanwhile are
answered 503 at once, so that a database that is away costs nobody a time-out."""
MAX_RECONNECT_PAUSE_SECONDS: Final = 1.0

OUTCOME_WAIT_SECONDS: Final = 5.0
"""How long the fate of a commit is asked for after its connection broke."""
OUTCOME_PAUSE_SECONDS: Final = 0.05


class _Broken(Exception):
    """The connection broke."""


class PostgresTransactions:
    """The committer's source of transactions: one connection, made on first use and remade when it
    is lost. Belongs to the committer's thread.
    """

    def __init__(self, url: str, currencies: StoredCurrencies) -> None:
        self._url = url
        self._currencies = currencies
        self._pipeline: Pipeline | None = None
        self._pause_seconds = RECONNECT_PAUSE_SECONDS
        self._next_try = 0.0

    @contextmanager
    def begin(self) -> Iterator[PostgresTransaction]:
        """A transaction; whatever happens inside, the connection is clean or gone afterwards."""
        pipeline = self._connected()
        transaction = PostgresTransaction(pipeline, self._currencies, self._url)
        try:
            yield transaction
        except StoreUnavailable:
            # Also where the connection itself works: a session of a server that became read-only,
            # say, has no better days ahead of it.
            try:
                transaction.leave()
            finally:
                self.close()
            raise
        except BaseException:
            self._clean(pipeline, transaction)
            raise
        if not transaction.committed:
            self._clean(pipeline, transaction)

    def close(self) -> None:
        """Close the connection."""
        if self._pipeline is not None:
            with suppress(psycopg.Error):
                self._pipeline.connection.close()
            self._pipeline = None

    def is_open(self) -> bool:
        """Whether there is a connection now. Safe in any thread."""
        pipeline = self._pipeline
        return pipeline is not None and not pipeline.connection.closed

    def _connected(self) -> Pipeline:
        if self._pipeline is not None and not self._pipeline.connection.closed:
            return self._pipeline
        if time.monotonic() < self._next_try:
            raise StoreUnavailable("the database is away; the next try comes soon")
        try:
            self._pipeline = Pipeline(committer_connection(self._url))
        except psycopg.Error as error:
            self._next_try = time.monotonic() + self._pause_seconds
            self._pause_seconds = min(self._pause_seconds * 2, MAX_RECONNECT_PAUSE_SECONDS)
            raise StoreUnavailable(f"no connection: {type(error).__name__}") from None
        self._pause_seconds = RECONNECT_PAUSE_SECONDS
        return self._pipeline

    def _clean(self, pipeline: Pipeline, transaction: PostgresTransaction) -> None:
        """Roll back; a connection on which even that fails, for whatever reason, is thrown away:
        the next transaction would go on with what is open there, and commit it.
        """
        try:
            transaction.leave()
            if not pipeline.connection.closed:
                # Not by psycopg, which takes a ROLLBACK for the end of all prepared statements.
                with suppress(psycopg.Error), pipeline.running():
                    pipeline.send(statements.ROLLBACK)
        finally:
            if pipeline.connection.pgconn.transaction_status != TransactionStatus.IDLE:
                with suppress(psycopg.Error):
                    pipeline.connection.close()


class PostgresTransaction:
    """One transaction on an autocommit connection, with its own BEGIN and COMMIT."""

    def __init__(self, pipeline: Pipeline, currencies: StoredCurrencies, url: str) -> None:
        self._pipeline = pipeline
        self._currencies = currencies
        self._url = url
        self._transaction_id = ""
        self._writing = ExitStack()
        self._writes = False
        self._first_event: Event | None = None
        self.committed = False

    def load(self, needs: Needs, keys: Sequence[tuple[str, str]], *, skip_locked: bool) -> Loaded:
        """Lock and read, all in one round trip. Raises CommitFailure."""
        try:
            with self._pipeline.running() as pipeline:
                pipeline.send(statements.BEGIN)
                transaction_id = pipeline.send(statements.TRANSACTION_ID)
                locked_keys = Keys(pipeline, keys, only_try=skip_locked)
                wallets = Rows(pipeline, needs.wallets, *WALLET_LOCKS, only_try=skip_locked)
                messages = Rows(pipeline, needs.messages, *MESSAGE_LOCKS, only_try=skip_locked)
                dependents = Dependents(pipeline, needs.holds, needs.originals)
                locked_keys.read()
            self._transaction_id = transaction_id.rows[0][0]
            found = {row[0]: self._wallet(row) for row in wallets.rows()}
            told = {row[0]: message_of_row(row) for row in messages.rows()}
            return Loaded(
                found,
                locked_keys.answers(),
                wallets.busy(found),
                locked_keys.busy(),
                told,
                messages.busy(told),
                dependents.holds(),
                dependents.originals(),
            )
        except psycopg.Error as error:
            raise commit_failure(error) from error

    def join(self, keys: Sequence[tuple[str, str]], wallet_ids: Sequence[UUID]) -> Loaded:
        """See Transaction. One round trip. Raises CommitFailure."""
        try:
            with self._pipeline.running() as pipeline:
                more_keys = Keys(pipeline, keys, only_try=True)
                wallets = None
                if wallet_ids:
                    wallets = pipeline.send(statements.TRY_LOCK_WALLETS, (uuids(wallet_ids),))
                more_keys.read()
            found = {row[0]: self._wallet(row) for row in rows_of(wallets)}
            return Loaded(found, more_keys.answers(), busy_keys=more_keys.busy())
        except psycopg.Error as error:
            raise commit_failure(error) from error

    def append(self, entries: Sequence[Entry], events: Sequence[Event]) -> None:
        """See Transaction. Raises CommitFailure, also for what was appended before."""
        try:
            with self._failures():
                with _storing():
                    self._append(entries, events)
                self._pipeline.flush()
        except _Broken as broken:
            raise StoreUnavailable("the connection broke; nothing was committed") from broken

    def save(self, changes: Changes, remembered: Mapping[tuple[str, str], Remembered]) -> None:
        """Write set-wise what is left and COMMIT, in one round trip. Raises CommitFailure.

        A connection that breaks from COMMIT on leaves the outcome open; it is then asked for.
        """
        committing = False
        try:
            with self._failures():
                with _storing():
                    self._append(changes.entries, changes.events)
                    _write(self._pipeline, changes, remembered)
                committing = True
                self._pipeline.send(statements.COMMIT)
                self._writing.close()
        except _Broken as broken:
            if not (committing and self._was_committed(remembered)):
                raise StoreUnavailable("the connection broke; nothing was committed") from broken
        self.committed = True

    def leave(self) -> None:
        """Stop to write, whatever became of it."""
        with suppress(psycopg.Error):
            self._writing.close()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Translate those of writing: all locks are held by now, and COMMIT is not done.

        Raises _Broken where the connection cannot say what it is about.
        """
        try:
            yield
        except psycopg.Error as error:
            if isinstance(error, psycopg.DataError) or (
                error.sqlstate is not None and not self._pipeline.connection.broken
            ):
                if error.sqlstate == QUERY_CANCELED:
                    raise TooSlow(str(error)) from error
                raise commit_failure(error) from error
            raise _Broken(type(error).__name__) from error

    def _append(self, entries: Sequence[Entry], events: Sequence[Event]) -> None:
        """Send both on the pipeline on which everything is written, up to COMMIT."""
        if not self._writes:
            self._writing.enter_context(self._pipeline.running())
            self._writes = True
        if entries:
            self._pipeline.send(statements.INSERT_ENTRIES, entry_columns(entries))
        if events:
            self._first_event = self._first_event or events[0]
            self._pipeline.send(statements.INSERT_EVENTS, event_columns(events))

    def _was_committed(self, remembered: Mapping[tuple[str, str], Remembered]) -> bool:
        """Whether this transaction was committed, asked on a new connection.

        While PostgreSQL calls it in progress, wait. Then look for one row that only it can have
        written: its id alone is no proof, because after a crash PostgreSQL may give an id that was
        never made durable to another transaction. Raises StoreUnavailable with outcome_unknown.
        """
        deadline = time.monotonic() + OUTCOME_WAIT_SECONDS
        while time.monotonic() < deadline:
            with suppress(psycopg.Error), committer_connection(self._url) as connection:
                if _finished(connection, self._transaction_id):
                    return _written(connection, self._first_event, remembered)
            time.sleep(OUTCOME_PAUSE_SECONDS)
        raise StoreUnavailable("the connection broke during COMMIT", outcome_unknown=True)

    def _wallet(self, row: Sequence[Any]) -> Wallet:
        return wallet_of_row(row, self._currencies)


@contextmanager
def _storing() -> Iterator[None]:
    """Around what is before COMMIT and nothing else: a value may have no form in the database.
    Raises DataRefused.
    """
    try:
        yield
    except (ValueError, TypeError, struct.error) as error:
        raise DataRefused(f"not storable: {type(error).__name__}") from error


def _write(
    pipeline: Pipeline, changes: Changes, remembered: Mapping[tuple[str, str], Remembered]
) -> None:
    if created := list(changes.created.values()):
        pipeline.send(statements.INSERT_WALLETS, wallet_columns(created))
    described = [changes.changed[id_] for id_ in changes.described]
    moved = [w for id_, w in changes.changed.items() if id_ not in changes.described]
    if moved:
        pipeline.send(statements.UPDATE_WALLETS, balance_columns(moved))
    if described:
        # Balance and limits at once: in between they may contradict each other.
        pipeline.send(statements.DESCRIBE_WALLETS, description_columns(described))
    if placed := list(changes.placed.values()):
        pipeline.send(statements.INSERT_HOLDS, hold_columns(placed))
    if held := list(changes.held.values()):
        pipeline.send(statements.UPDATE_HOLDS, resolution_columns(held))
    if sent := list(changes.sent.values()):
        pipeline.send(statements.INSERT_MESSAGES, message_columns(sent))
    if marked := list(changes.marked.values()):
        pipeline.send(statements.MARK_MESSAGES, mark_columns(marked))
    if changes.users:
        pipeline.send(statements.INSERT_USERS, user_columns(changes.users))
    if remembered:
        pipeline.send(statements.INSERT_KEYS, key_columns(remembered))


def _finished(connection: psycopg.Connection[Any], transaction_id: str) -> bool:
    """Whether the transaction has ended. One that a crash undid may lie in the future by now."""
    try:
        row = connection.execute(statements.TRANSACTION_STATUS, (transaction_id,)).fetchone()
    except psycopg.errors.InvalidParameterValue:
        return True
    return row is None or row[0] != "in progress"


def _written(
    connection: psycopg.Connection[Any],
    event: Event | None,
    remembered: Mapping[tuple[str, str], Remembered],
) -> bool:
    if event is not None:
        row = connection.execute(statements.EVENT_EXISTS, (event.id,)).fetchone()
    elif remembered:
        (scope, key), answer = next(iter(remembered.items()))
        row = connection.execute(
            statements.KEY_EXISTS, (scope, key, answer.request_hash)
        ).fetchone()
    else:
        return True
    return bool(row and row[0])
