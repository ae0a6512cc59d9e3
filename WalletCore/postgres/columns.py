"""Columns of a batch as PostgreSQL array literals.

One text per column keeps the parameter types of a prepared statement the same for every batch
(a list of Python integers is int2[], int4[] or int8[], by its values), and building it is a join.
https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import orjson

from WalletCore.domain.model import Entry, Event, Hold, Message, Wallet, rfc3339
from WalletCore.store import Remembered


def array(values: Iterable[object]) -> str:
    """An array of values whose text needs no quotes: integers, UUIDs."""
    return "{" + ",".join(map(str, values)) + "}"


def nullable_array(values: Iterable[object]) -> str:
    """The same with NULLs."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def text_array(values: Iterable[str | None]) -> str:
    """An array of any text, quoted and escaped, or NULL."""
    return "{" + ",".join([_quoted(value) for value in values]) + "}"


def _quoted(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def wallet_columns(wallets: Sequence[Wallet]) -> tuple[str, ...]:
    """Of INSERT_WALLETS."""
    return (
        array(w.id for w in wallets),
        text_array(w.owner for w in wallets),
        text_array(w.name for w in wallets),
        array(w.currency.code for w in wallets),
        array(w.balance_minor for w in wallets),
        array(w.held_minor for w in wallets),
        array(w.shortfall_minor for w in wallets),
        array(w.min_balance_minor for w in wallets),
        array(w.version for w in wallets),
        array(w.entry_seq for w in wallets),
        array(w.status.value for w in wallets),
        text_array(_json(w.metadata) for w in wallets),
        array(rfc3339(w.created_at) for w in wallets),
        array(rfc3339(w.updated_at) for w in wallets),
        nullable_array(w.max_balance_minor for w in wallets),
    )


def balance_columns(wallets: Sequence[Wallet]) -> tuple[str, ...]:
    """Of UPDATE_WALLETS."""
    return (
        array(w.id for w in wallets),
        array(w.balance_minor for w in wallets),
        array(w.held_minor for w in wallets),
        array(w.shortfall_minor for w in wallets),
        array(w.version for w in wallets),
        array(w.entry_seq for w in wallets),
        array(rfc3339(w.updated_at) for w in wallets),
    )


def description_columns(wallets: Sequence[Wallet]) -> tuple[str, ...]:
    """Of DESCRIBE_WALLETS."""
    return (
        *balance_columns(wallets),
        text_array(w.name for w in wallets),
        array(w.status.value for w in wallets),
        text_array(_json(w.metadata) for w in wallets),
        array(w.min_balance_minor for w in wallets),
        nullable_array(w.max_balance_minor for w in wallets),
    )


def entry_columns(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Of INSERT_ENTRIES."""
    return (
        array(e.wallet_id for e in entries),
        array(e.seq for e in entries),
        array(e.operation_id for e in entries),
        array(e.operation_type.value for e in entries),
        array(e.delta_minor for e in entries),
        array(e.balance_after_minor for e in entries),
        text_array(e.counterparty for e in entries),
        text_array(e.reference for e in entries),
        text_array(e.description for e in entries),
        text_array(_json(e.metadata) for e in entries),
        array(rfc3339(e.created_at) for e in entries),
        nullable_array(e.related_id for e in entries),
    )


def hold_columns(holds: Sequence[Hold]) -> tuple[str, ...]:
    """Of INSERT_HOLDS."""
    return (
        array(h.id for h in holds),
        array(h.wallet_id for h in holds),
        array(h.amount_minor for h in holds),
        array(h.captured_minor for h in holds),
        array(h.status.value for h in holds),
        text_array(h.reference for h in holds),
        text_array(h.description for h in holds),
        text_array(_json(h.metadata) for h in holds),
        array(rfc3339(h.expires_at) for h in holds),
        array(rfc3339(h.created_at) for h in holds),
        array(rfc3339(h.updated_at) for h in holds),
    )


def resolution_columns(holds: Sequence[Hold]) -> tuple[str, ...]:
    """Of UPDATE_HOLDS."""
    return (
        array(h.wallet_id for h in holds),
        array(h.id for h in holds),
        array(h.captured_minor for h in holds),
        array(h.status.value for h in holds),
        array(rfc3339(h.updated_at) for h in holds),
    )


def event_columns(events: Sequence[Event]) -> tuple[str, ...]:
    """Of INSERT_EVENTS."""
    return (
        array(e.id for e in events),
        nullable_array(e.wallet_id for e in events),
        nullable_array(e.seq for e in events),
        array(e.type for e in events),
        text_array(e.user_id for e in events),
        text_array(_json(e.body) for e in events),
        array(rfc3339(e.created_at) for e in events),
    )


def message_columns(messages: Sequence[Message]) -> tuple[str, ...]:
    """Of INSERT_MESSAGES."""
    return (
        array(m.id for m in messages),
        text_array(m.user_id for m in messages),
        text_array(m.description for m in messages),
        nullable_array(m.status for m in messages),
        array(rfc3339(m.created_at) for m in messages),
        array(rfc3339(m.updated_at) for m in messages),
    )


def mark_columns(messages: Sequence[Message]) -> tuple[str, ...]:
    """Of MARK_MESSAGES."""
    return (
        array(m.id for m in messages),
        nullable_array(m.status for m in messages),
        array(rfc3339(m.updated_at) for m in messages),
    )


def key_columns(remembered: Mapping[tuple[str, str], Remembered]) -> tuple[str, ...]:
    """Of INSERT_KEYS."""
    answers = remembered.values()
    return (
        text_array(scope for scope, _ in remembered),
        text_array(key for _, key in remembered),
        text_array("\\x" + answer.request_hash.hex() for answer in answers),
        array(answer.status for answer in answers),
        text_array(answer.body.decode() for answer in answers),
    )
