"""The columns of a batch, as arrays: what the parameters of the committer's statements are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import orjson

from WalletCore.domain.model import Entry, Event, Hold, Message, User, Wallet
from WalletCore.postgres.arrays import (
    Array,
    binaries,
    integers,
    jsons,
    nullable_integers,
    nullable_uuids,
    texts,
    times,
    utf8,
    uuids,
)
from WalletCore.store import Remembered

Columns: TypeAlias = tuple[Array, ...]


def wallet_columns(wallets: Sequence[Wallet]) -> Columns:
    """Of INSERT_WALLETS."""
    return (
        uuids([w.id for w in wallets]),
        texts([w.owner for w in wallets]),
        texts([w.name for w in wallets]),
        texts([w.currency.code for w in wallets]),
        integers([w.balance_minor for w in wallets]),
        integers([w.held_minor for w in wallets]),
        integers([w.shortfall_minor for w in wallets]),
        integers([w.min_balance_minor for w in wallets]),
        integers([w.version for w in wallets]),
        integers([w.entry_seq for w in wallets]),
        texts([w.status.value for w in wallets]),
        jsons([orjson.dumps(w.metadata) for w in wallets]),
        times([w.created_at for w in wallets]),
        times([w.updated_at for w in wallets]),
        nullable_integers([w.max_balance_minor for w in wallets]),
    )


def balance_columns(wallets: Sequence[Wallet]) -> Columns:
    """Of UPDATE_WALLETS."""
    return (
        uuids([w.id for w in wallets]),
        integers([w.balance_minor for w in wallets]),
        integers([w.held_minor for w in wallets]),
        integers([w.shortfall_minor for w in wallets]),
        integers([w.version for w in wallets]),
        integers([w.entry_seq for w in wallets]),
        times([w.updated_at for w in wallets]),
    )


def description_columns(wallets: Sequence[Wallet]) -> Columns:
    """Of DESCRIBE_WALLETS."""
    return (
        *balance_columns(wallets),
        texts([w.name for w in wallets]),
        texts([w.status.value for w in wallets]),
        jsons([orjson.dumps(w.metadata) for w in wallets]),
        integers([w.min_balance_minor for w in wallets]),
        nullable_integers([w.max_balance_minor for w in wallets]),
    )


def entry_columns(entries: Sequence[Entry]) -> Columns:
    """Of INSERT_ENTRIES."""
    return (
        uuids([e.wallet_id for e in entries]),
        integers([e.seq for e in entries]),
        uuids([e.operation_id for e in entries]),
        texts([e.operation_type for e in entries]),
        integers([e.delta_minor for e in entries]),
        integers([e.balance_after_minor for e in entries]),
        texts([e.counterparty for e in entries]),
        texts([e.reference for e in entries]),
        texts([e.description for e in entries]),
        jsons([orjson.dumps(e.metadata) for e in entries]),
        times([e.created_at for e in entries]),
        nullable_uuids([e.related_id for e in entries]),
    )


def hold_columns(holds: Sequence[Hold]) -> Columns:
    """Of INSERT_HOLDS."""
    return (
        uuids([h.id for h in holds]),
        uuids([h.wallet_id for h in holds]),
        integers([h.amount_minor for h in holds]),
        integers([h.captured_minor for h in holds]),
        texts([h.status.value for h in holds]),
        texts([h.reference for h in holds]),
        texts([h.description for h in holds]),
        jsons([orjson.dumps(h.metadata) for h in holds]),
        times([h.expires_at for h in holds]),
        times([h.created_at for h in holds]),
        times([h.updated_at for h in holds]),
    )


def resolution_columns(holds: Sequence[Hold]) -> Columns:
    """Of UPDATE_HOLDS."""
    return (
        uuids([h.wallet_id for h in holds]),
        uuids([h.id for h in holds]),
        integers([h.captured_minor for h in holds]),
        texts([h.status.value for h in holds]),
        times([h.updated_at for h in holds]),
    )


def event_columns(events: Sequence[Event]) -> Columns:
    """Of INSERT_EVENTS."""
    return (
        uuids([e.id for e in events]),
        nullable_uuids([e.wallet_id for e in events]),
        nullable_integers([e.seq for e in events]),
        texts([e.type for e in events]),
        texts([e.user_id for e in events]),
        utf8([orjson.dumps(e.body) for e in events]),
        times([e.created_at for e in events]),
    )


def message_columns(messages: Sequence[Message]) -> Columns:
    """Of INSERT_MESSAGES."""
    return (
        uuids([m.id for m in messages]),
        texts([m.user_id for m in messages]),
        texts([m.description for m in messages]),
        texts([m.status for m in messages]),
        times([m.created_at for m in messages]),
        times([m.updated_at for m in messages]),
    )


def mark_columns(messages: Sequence[Message]) -> Columns:
    """Of MARK_MESSAGES."""
    return (
        uuids([m.id for m in messages]),
        texts([m.status for m in messages]),
        times([m.updated_at for m in messages]),
    )


def user_columns(users: Sequence[User]) -> Columns:
    """Of INSERT_USERS."""
    return (
        texts([u.username for u in users]),
        uuids([u.wallet_id for u in users]),
        texts([u.password_hash for u in users]),
        times([u.created_at for u in users]),
    )


def key_columns(remembered: Mapping[tuple[str, str], Remembered]) -> Columns:
    """Of INSERT_KEYS."""
    answers = remembered.values()
    return (
        texts([scope for scope, _ in remembered]),
        texts([key for _, key in remembered]),
        binaries([answer.request_hash for answer in answers]),
        integers([answer.status for answer in answers]),
        utf8([answer.body for answer in answers]),
    )
