"""What the ledger works on: wallets, entries and events, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias
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
    """The kinds of entries. Those that end with IN, and deposits, add money; the others take it."""

    DEPOSIT = "DEPOSIT"
    WITHDRAW = "WITHDRAW"
    TRANSFER_OUT = "TRANSFER_OUT"
    TRANSFER_IN = "TRANSFER_IN"
    CAPTURE_OUT = "CAPTURE_OUT"
    CAPTURE_IN = "CAPTURE_IN"
    REVERSAL_OUT = "REVERSAL_OUT"
    REVERSAL_IN = "REVERSAL_IN"
    PURCHASE_OUT = "PURCHASE_OUT"
    PURCHASE_IN = "PURCHASE_IN"


TRANSFERS = frozenset({OperationType.TRANSFER_OUT, OperationType.TRANSFER_IN})
REVERSALS = frozenset({OperationType.REVERSAL_OUT, OperationType.REVERSAL_IN})


class HoldStatus(StrEnum):
    """What became of a hold. Only an open one keeps money back."""

    OPEN = "open"
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"


class MessageStatus(StrEnum):
    """Whether the worker has recorded an event."""

    NOT_PROCESSED = "NotProcessed"
    PROCESSED = "Processed"


MAX_CACHED_TIMES = 256
"""Texts of times that are kept: all that a batch writes has the same few."""

MAX_CACHED_IDS = 1024
"""Texts of wallets' ids that are kept: each operation needs its wallet's several times."""

EXTERNAL = "external"
"""The counterparty of what comes from the world outside or goes there. It has no row (it would be
the hottest one); its total per currency is minus the sum of the deltas that name it."""

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
    max_balance_minor: int | None = None

    @property
    def available_minor(self) -> int:
        """What can be taken out now: balance - held - min_balance."""
        return self.balance_minor - self.held_minor - self.min_balance_minor


class Entry(NamedTuple):
    """One line of a wallet's history; append-only. ``delta_minor`` is signed.

    Both sides of a movement between wallets have one ``operation_id``; ``counterparty`` is the
    other wallet's id, or EXTERNAL. ``related_id`` is what the movement belongs to: a transfer, a
    hold that is captured, the operation that is reversed, or a purchase, by its type.

    Every operation makes one or two, and a tuple is made in a third of the time that a frozen
    dataclass takes: so it is with whatever is made for every operation under its wallet's lock.
    """

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
    related_id: UUID | None = None


@dataclass(slots=True)
class Hold:
    """Money of a wallet that is kept for somebody. Amounts in minor units of its currency.

    While it is open, ``amount_minor - captured_minor`` of the wallet's balance is held.
    """

    id: UUID
    wallet_id: UUID
    amount_minor: int
    captured_minor: int
    status: HoldStatus
    reference: str | None
    description: str | None
    metadata: Document
    expires_at: datetime
    created_at: datetime
    updated_at: datetime

    @property
    def remaining_minor(self) -> int:
        """What it still keeps back."""
        open_ = self.status is HoldStatus.OPEN
        return self.amount_minor - self.captured_minor if open_ else 0


@dataclass(slots=True)
class Original:
    """An operation that may be reversed: its one or two entries, and how much of it was before."""

    entries: tuple[Entry, ...]
    reversed_minor: int


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
class User:
    """Somebody who may log in to the shop, and the wallet that pays. ``password_hash``: see
    RestAPI.passwords.
    """

    username: str
    wallet_id: UUID
    password_hash: str = field(repr=False)
    created_at: datetime


class Event(NamedTuple):
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


def id_text(id_: UUID) -> str:
    """``str(id_)``, in two thirds of the time: every operation has two ids of its own."""
    digits = id_.int.to_bytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@lru_cache(maxsize=MAX_CACHED_IDS)
def wallet_id_text(wallet_id: UUID) -> str:
    """A wallet's id as text."""
    return str(wallet_id)


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
        "max_balance": optional_amount(wallet.max_balance_minor, currency),
        "version": wallet.version,
        "entry_seq": wallet.entry_seq,
        "status": wallet.status.value,
        "metadata": wallet.metadata,
        "created_at": rfc3339(wallet.created_at),
        "updated_at": rfc3339(wallet.updated_at),
    }


def optional_amount(amount_minor: int | None, currency: Currency) -> str | None:
    """``format_amount`` of what may be None."""
    return None if amount_minor is None else format_amount(amount_minor, currency)


def operation_document(entry: Entry, currency: Currency) -> Document:
    """An operation as it is answered and announced: ``amount`` is positive, as it was asked.

    What belongs to a transfer, a hold, a reversal or a purchase names it, and the other wallet if
    there is one.
    """
    delta_minor, after_minor = entry.delta_minor, entry.balance_after_minor
    document = {
        "id": id_text(entry.operation_id),
        "wallet_id": wallet_id_text(entry.wallet_id),
        "operation_type": str(entry.operation_type),
        "amount": format_amount(abs(delta_minor), currency),
        "currency": currency.code,
        "previous_balance": format_amount(after_minor - delta_minor, currency),
        "new_balance": format_amount(after_minor, currency),
        "seq": entry.seq,
        "status": COMPLETED,
        "reference": entry.reference,
        "description": entry.description,
        "metadata": entry.metadata,
        "created_at": rfc3339(entry.created_at),
    }
    if entry.counterparty != EXTERNAL:
        document["counterparty_wallet_id"] = entry.counterparty
    if entry.related_id is not None:
        document[_RELATION_OF[entry.operation_type]] = str(entry.related_id)
    return document


_RELATION_OF = {
    OperationType.TRANSFER_OUT: "transfer_id",
    OperationType.TRANSFER_IN: "transfer_id",
    OperationType.CAPTURE_OUT: "hold_id",
    OperationType.CAPTURE_IN: "hold_id",
    OperationType.REVERSAL_OUT: "reversed_operation_id",
    OperationType.REVERSAL_IN: "reversed_operation_id",
    OperationType.PURCHASE_OUT: "purchase_id",
    OperationType.PURCHASE_IN: "purchase_id",
}


def transfer_document(sides: Sequence[tuple[Entry, Currency]]) -> Document:
    """A transfer as it is answered, from all of its entries: for each leg both sides, in the order
    of the legs.
    """
    by_operation: dict[UUID, dict[bool, Entry]] = {}
    currencies: dict[UUID, Currency] = {}
    for entry, currency in sides:
        by_operation.setdefault(entry.operation_id, {})[entry.delta_minor > 0] = entry
        currencies[entry.operation_id] = currency
    first = sides[0][0]
    return {
        "id": str(first.related_id),
        "status": COMPLETED,
        "legs": [
            _leg_document(pair[False], pair[True], currencies[operation_id])
            for operation_id, pair in sorted(by_operation.items())
        ],
        "reference": first.reference,
        "description": first.description,
        "metadata": first.metadata,
        "created_at": rfc3339(max(entry.created_at for entry, _ in sides)),
    }


def _leg_document(source: Entry, target: Entry, currency: Currency) -> Document:
    return {
        "operation_id": str(source.operation_id),
        "source_wallet_id": str(source.wallet_id),
        "target_wallet_id": str(target.wallet_id),
        "amount": format_amount(target.delta_minor, currency),
        "currency": currency.code,
        "source_balance": format_amount(source.balance_after_minor, currency),
        "target_balance": format_amount(target.balance_after_minor, currency),
    }


def hold_document(hold: Hold, currency: Currency) -> Document:
    """A hold as it is answered and announced."""
    return {
        "id": str(hold.id),
        "wallet_id": str(hold.wallet_id),
        "amount": format_amount(hold.amount_minor, currency),
        "captured": format_amount(hold.captured_minor, currency),
        "remaining": format_amount(hold.remaining_minor, currency),
        "currency": currency.code,
        "status": hold.status.value,
        "reference": hold.reference,
        "description": hold.description,
        "metadata": hold.metadata,
        "expires_at": rfc3339(hold.expires_at),
        "created_at": rfc3339(hold.created_at),
        "updated_at": rfc3339(hold.updated_at),
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
