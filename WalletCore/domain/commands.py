"""What can be asked of the ledger: commands, named in the imperative.

A command carries everything that deciding it needs but the state of its wallets. Ids are given
from outside, because the domain holds no randomness.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID

from WalletCore.domain.model import Document, MessageStatus, WalletStatus

MAX_LEGS = 100
"""Of one transfer: two entries and two events each."""

MAX_HOLD_SECONDS = 366 * 24 * 3600
"""The longest that money is held."""


@dataclass(frozen=True, slots=True)
class Unset:
    """The type of UNSET."""


UNSET = Unset()
"""Stands for a field that a change leaves as it is (``None`` would empty it)."""


@dataclass(frozen=True, slots=True)
class CreateWallet:
    """Make a wallet, active and empty. ``min_balance``, ``max_balance``: major units; the first at
    most 0, the other at least 0 or None for no ceiling of its own.
    """

    wallet_id: UUID
    currency: str
    owner: str | None = None
    name: str | None = None
    min_balance: Decimal = Decimal(0)
    metadata: Document = field(default_factory=dict)
    max_balance: Decimal | None = None


@dataclass(frozen=True, slots=True)
class UpdateWallet:
    """Change a wallet's name, metadata (as a whole), status or limits (major units)."""

    wallet_id: UUID
    name: str | Unset | None = UNSET
    metadata: Document | Unset = UNSET
    status: WalletStatus | Unset = UNSET
    min_balance: Decimal | Unset = UNSET
    max_balance: Decimal | Unset | None = UNSET


@dataclass(frozen=True, slots=True)
class Deposit:
    """Put ``amount`` (major units, positive) into a wallet, from outside."""

    wallet_id: UUID
    operation_id: UUID
    amount: Decimal
    reference: str | None = None
    description: str | None = None
    metadata: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take ``amount`` (major units, positive) out of a wallet, to the outside."""

    wallet_id: UUID
    operation_id: UUID
    amount: Decimal
    reference: str | None = None
    description: str | None = None
    metadata: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Leg:
    """One movement of a transfer: ``amount`` (major units, positive) from one wallet to another."""

    operation_id: UUID
    source_id: UUID
    target_id: UUID
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Transfer:
    """Do all ``legs``, in their order, or none. ``operation_id`` of each leg ascends."""

    transfer_id: UUID
    legs: tuple[Leg, ...]
    reference: str | None = None
    description: str | None = None
    metadata: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Keep ``amount`` (major units, positive) of a wallet back, for as long as ``lasts``."""

    wallet_id: UUID
    hold_id: UUID
    amount: Decimal
    lasts: timedelta
    reference: str | None = None
    description: str | None = None
    metadata: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CaptureHold:
    """Take ``amount`` (None: all that is left) of a hold, to the outside or into ``target_id``.

    ``final``: what is left after that is released; otherwise more can be captured later.
    """

    wallet_id: UUID
    hold_id: UUID
    operation_id: UUID
    amount: Decimal | None = None
    final: bool = True
    target_id: UUID | None = None
    reference: str | None = None
    description: str | None = None
    metadata: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VoidHold:
    """Release what a hold keeps back."""

    wallet_id: UUID
    hold_id: UUID


@dataclass(frozen=True, slots=True)
class ExpireHold:
    """Release what a hold keeps back because its time is over."""

    wallet_id: UUID
    hold_id: UUID


@dataclass(frozen=True, slots=True)
class Reverse:
    """Undo ``amount`` (None: all that is left) of the operation ``original_id``, on all its sides.

    ``wallet_ids``: of its sides. ``allow_negative``: also where the money is gone; the wallet then
    falls short of its limit until money comes in.
    """

    original_id: UUID
    wallet_ids: tuple[UUID, ...]
    operation_id: UUID
    amount: Decimal | None = None
    allow_negative: bool = False
    reference: str | None = None
    description: str | None = None
    metadata: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """Do ``commands`` in their order: all or none if ``atomic``, else each that can be done."""

    commands: tuple[Deposit | Withdraw | Transfer, ...]
    atomic: bool = True


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """Make a user of the shop, with a wallet that belongs to it and ``coins`` in there."""

    username: str
    password_hash: str = field(repr=False)
    wallet_id: UUID
    operation_id: UUID
    coins: Decimal


@dataclass(frozen=True, slots=True)
class Purchase:
    """Pay ``price`` (major units, positive) for one ``item`` out of a wallet to the merchant's."""

    wallet_id: UUID
    merchant_id: UUID
    operation_id: UUID
    purchase_id: UUID
    item: str
    price: Decimal


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Tell ``user_id`` something of one's own, on the same way as everything that happens."""

    event_id: UUID
    user_id: str
    description: str


@dataclass(frozen=True, slots=True)
class SetMessageStatus:
    """Set by hand what is read as the status of the message ``event_id``."""

    event_id: UUID
    status: MessageStatus


Command: TypeAlias = (
    CreateWallet
    | UpdateWallet
    | Deposit
    | Withdraw
    | Transfer
    | PlaceHold
    | CaptureHold
    | VoidHold
    | ExpireHold
    | Reverse
    | Group
    | OpenAccount
    | Purchase
    | SendMessage
    | SetMessageStatus
)
