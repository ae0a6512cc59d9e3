"""What a transaction of the committer locks and reads: statements on their way through a pipeline,
and their rows as the domain's own classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg

from WalletCore.domain.model import (
    Entry,
    Hold,
    HoldStatus,
    Message,
    MessageStatus,
    OperationType,
    Original,
    Wallet,
    WalletStatus,
)
from WalletCore.postgres import statements
from WalletCore.postgres.arrays import integers, texts, uuids
from WalletCore.postgres.currencies import StoredCurrencies
from WalletCore.store import Remembered

HOLD_WIDTH: Final = len(statements.HOLD_COLUMNS.split(","))
ENTRY_WIDTH: Final = len(statements.ENTRY_COLUMNS.split(","))

WALLET_LOCKS: Final = (
    statements.LOCK_WALLETS,
    statements.TRY_LOCK_WALLETS,
    statements.EXISTING_WALLETS,
)
MESSAGE_LOCKS: Final = (
    statements.LOCK_MESSAGES,
    statements.TRY_LOCK_MESSAGES,
    statements.EXISTING_MESSAGES,
)

_STATUS_OF: Final = {status.value: status for status in WalletStatus}
"""Of each locked wallet; to call the enumeration takes ten times as long."""


class Rows:
    """Rows on their way through a pipeline: locked in the order of their ids, and read."""

    def __init__(
        self,
        locked: psycopg.Cursor[Any],
        existing: psycopg.Cursor[Any],
        ids: Sequence[UUID],
        *,
        only_try: bool,
    ) -> None:
        self._locked = locked
        self._existing = existing
        self._ids = ids
        self._only_try = only_try

    def lock(self, lock: LiteralString, try_lock: LiteralString, existing: LiteralString) -> None:
        """Send the statements."""
        if self._ids:
            ids = (uuids(self._ids),)
            self._locked.execute(try_lock if self._only_try else lock, ids)
            if self._only_try:
                self._existing.execute(existing, ids)

    def rows(self) -> Iterable[Sequence[Any]]:
        """Those that exist and were had."""
        return self._locked.fetchall() if self._ids else ()

    def busy(self, found: Mapping[UUID, object]) -> frozenset[UUID]:
        """Those that somebody else keeps locked."""
        if not self._ids or not self._only_try:
            return frozenset()
        return frozenset(row[0] for row in self._existing) - found.keys()


class Keys:
    """Idempotency keys on their way through a pipeline: locked, then read, then asked about."""

    def __init__(
        self,
        locks: psycopg.Cursor[Any],
        rows: psycopg.Cursor[Any],
        keys: Sequence[tuple[str, str]],
        *,
        only_try: bool,
    ) -> None:
        self._locks = locks
        self._rows = rows
        self._hashes = {key: _key_hash(key) for key in keys}
        self._only_try = only_try

    def lock(self) -> None:
        """Send the statement."""
        if self._hashes:
            statement = statements.TRY_LOCK_KEYS if self._only_try else statements.LOCK_KEYS
            self._locks.execute(statement, (integers(sorted(set(self._hashes.values()))),))

    def read(self) -> None:
        """Send the statement that reads what is remembered."""
        if keys := list(self._hashes):
            columns = (texts([k[0] for k in keys]), texts([k[1] for k in keys]))
            self._rows.execute(statements.REMEMBERED, columns)

    def answers(self) -> dict[tuple[str, str], Remembered]:
        """What is remembered, by key."""
        return {
            (scope, key): Remembered(bytes(request_hash), status, response.encode())
            for scope, key, request_hash, status, response in (self._rows if self._hashes else ())
        }

    def busy(self) -> frozenset[tuple[str, str]]:
        """Keys that somebody else keeps locked."""
        if not self._hashes or not self._only_try:
            return frozenset()
        taken = {row[0] for row in self._locks if not row[1]}
        return frozenset(key for key, hash_ in self._hashes.items() if hash_ in taken)


def wallet_of_row(row: Sequence[Any], currencies: StoredCurrencies) -> Wallet:
    """A row of WALLET_COLUMNS as a Wallet."""
    values = list(row)
    values[3] = currencies.stored(values[3])
    values[10] = _STATUS_OF[values[10]]
    return Wallet(*values)


def message_of_row(row: Sequence[Any]) -> Message:
    """A row of LOCK_MESSAGES as a Message."""
    values = list(row)
    values[3] = MessageStatus(values[3]) if values[3] is not None else None
    return Message(*values)


class Dependents:
    """Holds, and operations that are to be reversed, of wallets that are locked before."""

    def __init__(
        self,
        cursors: tuple[psycopg.Cursor[Any], psycopg.Cursor[Any], psycopg.Cursor[Any]],
        holds: Sequence[UUID],
        originals: Sequence[UUID],
    ) -> None:
        self._holds, self._entries, self._reversed = cursors
        self._hold_ids = holds
        self._original_ids = originals

    def read(self) -> None:
        """Send the statements."""
        if self._hold_ids:
            self._holds.execute(statements.HOLDS, (uuids(self._hold_ids),))
        if self._original_ids:
            ids = (uuids(self._original_ids),)
            self._entries.execute(statements.ORIGINALS, ids)
            self._reversed.execute(statements.REVERSED, ids)

    def holds(self) -> dict[UUID, Hold]:
        """Those that exist, by id."""
        rows = self._holds if self._hold_ids else ()
        return {row[0]: hold_of_row(row) for row in rows}

    def originals(self) -> dict[UUID, Original]:
        """Those that exist, by id."""
        if not self._original_ids:
            return {}
        sides: dict[UUID, list[Entry]] = {}
        for row in self._entries:
            sides.setdefault(row[2], []).append(entry_of_row(row))
        before = {(row[0], row[1]): int(row[2]) for row in self._reversed}
        return {
            id_: Original(tuple(entries), before.get((id_, entries[0].wallet_id), 0))
            for id_, entries in sides.items()
        }


def hold_of_row(row: Sequence[Any]) -> Hold:
    """A row that begins with HOLD_COLUMNS as a Hold."""
    values = list(row[:HOLD_WIDTH])
    values[4] = HoldStatus(values[4])
    return Hold(*values)


def entry_of_row(row: Sequence[Any]) -> Entry:
    """A row that begins with ENTRY_COLUMNS as an Entry."""
    values = list(row[:ENTRY_WIDTH])
    values[3] = OperationType(values[3])
    return Entry(*values)


def _key_hash(key: tuple[str, str]) -> int:
    """64 bits for an advisory lock; keys that share them only wait for each other."""
    digest = hashlib.blake2b("\0".join(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
