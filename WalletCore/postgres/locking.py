"""What a transaction of the committer locks and reads: statements on their way through a pipeline,
and their rows as the domain's own classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, LiteralString, TypeAlias
from uuid import UUID

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
from WalletCore.postgres.pipeline import Answer, Pipeline
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

Row: TypeAlias = Sequence[Any]

_STATUS_OF: Final = {status.value: status for status in WalletStatus}
"""Of each locked wallet; to call the enumeration takes ten times as long."""


class Rows:
    """Rows on their way through a pipeline: locked in the order of their ids, and read."""

    def __init__(
        self,
        pipeline: Pipeline,
        ids: Sequence[UUID],
        lock: LiteralString,
        try_lock: LiteralString,
        existing: LiteralString,
        *,
        only_try: bool,
    ) -> None:
        """Send the statements."""
        self._locked: Answer | None = None
        self._existing: Answer | None = None
        if ids:
            parameters = (uuids(ids),)
            self._locked = pipeline.send(try_lock if only_try else lock, parameters)
            if only_try:
                self._existing = pipeline.send(existing, parameters)

    def rows(self) -> Sequence[Row]:
        """Those that exist and were had."""
        return rows_of(self._locked)

    def busy(self, found: Mapping[UUID, object]) -> frozenset[UUID]:
        """Those that somebody else keeps locked."""
        return frozenset(row[0] for row in rows_of(self._existing)) - found.keys()


class Keys:
    """Idempotency keys on their way through a pipeline: locked, then read, then asked about."""

    def __init__(
        self, pipeline: Pipeline, keys: Sequence[tuple[str, str]], *, only_try: bool
    ) -> None:
        """Send the statement that locks them."""
        self._hashes = {key: _key_hash(key) for key in keys}
        self._pipeline = pipeline
        self._tried: Answer | None = None
        self._read: Answer | None = None
        if keys:
            hashes = (integers(sorted(set(self._hashes.values()))),)
            if only_try:
                self._tried = pipeline.send(statements.TRY_LOCK_KEYS, hashes)
            else:
                pipeline.send(statements.LOCK_KEYS, hashes)

    def read(self) -> None:
        """Send the statement that reads what is remembered."""
        if keys := list(self._hashes):
            columns = (texts([k[0] for k in keys]), texts([k[1] for k in keys]))
            self._read = self._pipeline.send(statements.REMEMBERED, columns)

    def answers(self) -> dict[tuple[str, str], Remembered]:
        """What is remembered, by key."""
        return {
            (scope, key): Remembered(bytes(request_hash), status, response.encode())
            for scope, key, request_hash, status, response in rows_of(self._read)
        }

    def busy(self) -> frozenset[tuple[str, str]]:
        """Keys that somebody else keeps locked."""
        taken = {row[0] for row in rows_of(self._tried) if not row[1]}
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
        self, pipeline: Pipeline, holds: Sequence[UUID], originals: Sequence[UUID]
    ) -> None:
        """Send the statements."""
        self._holds: Answer | None = None
        self._entries: Answer | None = None
        self._reversed: Answer | None = None
        if holds:
            self._holds = pipeline.send(statements.HOLDS, (uuids(holds),))
        if originals:
            ids = (uuids(originals),)
            self._entries = pipeline.send(statements.ORIGINALS, ids)
            self._reversed = pipeline.send(statements.REVERSED, ids)

    def holds(self) -> dict[UUID, Hold]:
        """Those that exist, by id."""
        return {row[0]: hold_of_row(row) for row in rows_of(self._holds)}

    def originals(self) -> dict[UUID, Original]:
        """Those that exist, by id."""
        sides: dict[UUID, list[Entry]] = {}
        for row in rows_of(self._entries):
            sides.setdefault(row[2], []).append(entry_of_row(row))
        before = {(row[0], row[1]): int(row[2]) for row in rows_of(self._reversed)}
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


def rows_of(answer: Answer | None) -> Sequence[Row]:
    """The rows of a statement; none of one that was not needed."""
    return answer.rows if answer is not None else ()


def _key_hash(key: tuple[str, str]) -> int:
    """64 bits for an advisory lock; keys that share them only wait for each other."""
    digest = hashlib.blake2b("\0".join(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
