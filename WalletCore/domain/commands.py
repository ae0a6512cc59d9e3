"""What can be asked of the ledger: commands, named in the imperative.

A command carries everything that deciding it needs but the state of its wallets. Ids are given
from outside, because the domain holds no randomness.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID

from WalletCore.domain.model import Document, MessageStatus, WalletStatus


@dataclass(frozen=True, slots=True)
class Unset:
    """The type of UNSET."""


UNSET = Unset()
"""Stands for a field that a change leaves as it is (``None`` would empty it)."""


@dataclass(frozen=True, slots=True)
class CreateWallet:
    """Make a wallet, active and empty. ``min_balance``: major units, at most 0."""

    wallet_id: UUID
    currency: str
    owner: str | None = None
    name: str | None = None
    min_balance: Decimal = Decimal(0)
    metadata: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UpdateWallet:
    """Change a wallet's name, metadata (as a whole) or status."""

    wallet_id: UUID
    name: str | Unset | None = UNSET
    metadata: Document | Unset = UNSET
    status: WalletStatus | Unset = UNSET


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
    CreateWallet | UpdateWallet | Deposit | Withdraw | SendMessage | SetMessageStatus
)
