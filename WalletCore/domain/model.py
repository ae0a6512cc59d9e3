"""What the ledger works on: wallets, entries and events, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeAlias
from uuid import UUID

from WalletCore.domain.money import Currency, format_amount

Document: TypeAlias = dict[str, Any]
"""Something ready for JSON: money as strings, times as RFC 3339 text."""


class WalletStatus(StrEnum):
    """``active`` moves money, ``frozen`` does not for now, ``closed`` never again."""

    ACTIVE = "active"
    FROZEN = "frozen"
    CLOSED = "closed"


class OperationType(StrEnum):
    """The kinds of entries."""

    DEPOSIT = "DEPOSIT"
    WITHDRAW = "WITHDRAW"


class MessageStatus(StrEnum):
    """Whether the worker has recorded an event."""

    NOT_PROCESSED = "NotProcessed"
    PROCESSED = "Processed"


MAX_CACHED_TIMES = 256
"""Texts of times that are kept: all that a batch writes has the same few."""

EXTERNAL = "external"
"""The counterparty of deposits and withdrawals: the world outside. It has no row (it would be the
hottest one); its total per currency is minus the sum of the deltas that name it."""

COMPLETED = "COMPLETED"
"""The status of every operation that has an entry."""


@dataclass(slots=True)
class Wallet:
    """A wallet. Amounts in minor units of ``currency``; times in UTC.

    ``version`` counts every change (creation is 1) and is the ``walletseq`` of its event;
    ``entry_seq`` is the ``seq`` of the newest entry, 0 before the first.
    """

    id: UUID
    owner: str | None
    name: str | None
    currency: Currency
    balance_minor: int
    held_minor: int
    shortfall_minor: int
    min_balance_minor: int
    version: int
    entry_seq: int
    status: WalletStatus
    metadata: Document
    created_at: datetime
    updated_at: datetime

    @property
    def available_minor(self) -> int:
        """What can be taken out now: balance - held - min_balance."""
        return self.balance_minor - self.held_minor - self.min_balance_minor


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a wallet's history; append-only. ``delta_minor`` is signed."""

    wallet_id: UUID
    seq: int
    operation_id: UUID
    operation_type: OperationType
    delta_minor: int
    balance_after_minor: int
    counterparty: str
    reference: str | None
    description: str | None
    metadata: Document
    created_at: datetime


@dataclass(slots=True)
class Message:
    """A message of a client's own; ``id`` is that of its event.

    ``status`` is what was set by hand; None: what the worker's record says.
    """

    id: UUID
    user_id: str
    description: str
    status: MessageStatus | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the event log. ``body`` is its CloudEvents form; ``seq`` its ``walletseq``."""

    id: UUID
    wallet_id: UUID | None
    seq: int | None
    type: str
    user_id: str | None
    body: Document
    created_at: datetime


@lru_cache(maxsize=MAX_CACHED_TIMES)
def rfc3339(moment: datetime) -> str:
    """A UTC time as RFC 3339 text with microseconds and ``Z``."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"


def wallet_document(wallet: Wallet) -> Document:
    """A wallet as it is answered and announced."""
    currency = wallet.currency
    return {
        "id": str(wallet.id),
        "owner": wallet.owner,
        "name": wallet.name,
        "currency": currency.code,
        "balance": format_amount(wallet.balance_minor, currency),
        "held": format_amount(wallet.held_minor, currency),
        "available": format_amount(wallet.available_minor, currency),
        "min_balance": format_amount(wallet.min_balance_minor, currency),
        "version": wallet.version,
        "entry_seq": wallet.entry_seq,
        "status": wallet.status.value,
        "metadata": wallet.metadata,
        "created_at": rfc3339(wallet.created_at),
        "updated_at": rfc3339(wallet.updated_at),
    }


def operation_document(entry: Entry, currency: Currency) -> Document:
    """An operation as it is answered and announced: ``amount`` is positive, as it was asked."""
    return {
        "id": str(entry.operation_id),
        "wallet_id": str(entry.wallet_id),
        "operation_type": entry.operation_type.value,
        "amount": format_amount(abs(entry.delta_minor), currency),
        "currency": currency.code,
        "previous_balance": format_amount(entry.balance_after_minor - entry.delta_minor, currency),
        "new_balance": format_amount(entry.balance_after_minor, currency),
        "seq": entry.seq,
        "status": COMPLETED,
        "reference": entry.reference,
        "description": entry.description,
        "metadata": entry.metadata,
        "created_at": rfc3339(entry.created_at),
    }


def message_document(message: Message) -> Document:
    """A message as it is answered. Nobody has recorded it before it is committed."""
    return {
        "event_id": str(message.id),
        "user_id": message.user_id,
        "description": message.description,
        "status": (message.status or MessageStatus.NOT_PROCESSED).value,
        "created_at": rfc3339(message.created_at),
        "updated_at": rfc3339(message.updated_at),
    }
