"""Plain values for the tests of the ledger: wallets, commands, and what a refusal must leave."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from WalletCore.domain.commands import (
    CaptureHold,
    Command,
    Deposit,
    ExpireHold,
    Leg,
    PlaceHold,
    Reverse,
    Transfer,
    VoidHold,
    Withdraw,
)
from WalletCore.domain.errors import CofferError
from WalletCore.domain.ledger import Ledger
from WalletCore.domain.model import (
    Document,
    Entry,
    Hold,
    HoldStatus,
    OperationType,
    Original,
    Wallet,
    WalletStatus,
)
from WalletCore.domain.money import Currencies, Currency
from WalletCore.domain.working_set import Accepted, Changes

USD = Currency("USD", 2)
COIN = Currency("COIN", 0)
KNOWN = Currencies([USD, COIN])
NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
ONE, TWO, THREE, NOBODY = (UUID(int=number) for number in (1, 2, 3, 99))
HOLD, ORIGINAL = UUID(int=300), UUID(int=400)
AN_HOUR = timedelta(hours=1)
HELD: dict[str, Any] = {"held_minor": 3_000}
"""Of the wallet that the hold of ``make_hold`` belongs to."""


def make_wallet(wallet_id: UUID = ONE, **fields: Any) -> Wallet:
    """A wallet as a store would have loaded it: active, 100.00 USD, version 5, entry 3."""
    values: dict[str, Any] = {
        "owner": "someone",
        "name": None,
        "currency": USD,
        "balance_minor": 10_000,
        "held_minor": 0,
        "shortfall_minor": 0,
        "min_balance_minor": 0,
        "version": 5,
        "entry_seq": 3,
        "status": WalletStatus.ACTIVE,
        "metadata": {},
        "created_at": NOW - timedelta(days=1),
        "updated_at": NOW - timedelta(hours=1),
    }
    return Wallet(id=wallet_id, **{**values, **fields})


def make_hold(**fields: Any) -> Hold:
    """A hold as a store would have loaded it: open, 30.00 of the wallet ONE, for an hour yet."""
    values: dict[str, Any] = {
        "id": HOLD,
        "wallet_id": ONE,
        "amount_minor": 3_000,
        "captured_minor": 0,
        "status": HoldStatus.OPEN,
        "reference": "order",
        "description": "shoes",
        "metadata": {"size": 43},
        "expires_at": NOW + AN_HOUR,
        "created_at": NOW - AN_HOUR,
        "updated_at": NOW - AN_HOUR,
    }
    return Hold(**{**values, **fields})


def make_original(*sides: tuple[UUID, OperationType, int], reversed_minor: int = 0) -> Original:
    """The operation ORIGINAL as a store would have loaded it: the side that gave comes first."""
    others = [str(side[0]) for side in reversed(sides)] if len(sides) == 2 else ["external"]
    related_id = UUID(int=401) if len(sides) == 2 else None
    entries = tuple(
        Entry(
            wallet_id=wallet_id,
            seq=3,
            operation_id=ORIGINAL,
            operation_type=operation_type,
            delta_minor=delta_minor,
            balance_after_minor=10_000,
            counterparty=other,
            reference="r",
            description=None,
            metadata={},
            created_at=NOW - AN_HOUR,
            related_id=related_id,
        )
        for (wallet_id, operation_type, delta_minor), other in zip(sides, others, strict=True)
    )
    return Original(entries, reversed_minor)


class Ids:
    """Ids of events, counted up from 1000."""

    def __init__(self) -> None:
        self.last = 1000

    def __call__(self) -> UUID:
        self.last += 1
        return UUID(int=self.last)


def make_ledger(
    *wallets: Wallet,
    now: datetime = NOW,
    holds: Sequence[Hold] = (),
    originals: Sequence[Original] = (),
) -> Ledger:
    return Ledger(
        {wallet.id: wallet for wallet in wallets},
        KNOWN,
        now,
        Ids(),
        holds={hold.id: hold for hold in holds},
        originals={original.entries[0].operation_id: original for original in originals},
    )


def deposit(amount: str, wallet_id: UUID = ONE, number: int = 500, **fields: Any) -> Deposit:
    return Deposit(wallet_id, UUID(int=number), Decimal(amount), **fields)


def withdraw(amount: str, wallet_id: UUID = ONE, number: int = 500, **fields: Any) -> Withdraw:
    return Withdraw(wallet_id, UUID(int=number), Decimal(amount), **fields)


def leg(source: UUID, target: UUID, amount: str, number: int = 500) -> Leg:
    return Leg(UUID(int=number), source, target, Decimal(amount))


def transfer(*legs: Leg, **fields: Any) -> Transfer:
    return Transfer(UUID(int=200), legs, **fields)


def move(amount: str, source: UUID = ONE, target: UUID = TWO) -> Transfer:
    """A transfer of one leg."""
    return transfer(leg(source, target, amount))


def place(amount: str, lasts: timedelta = AN_HOUR, **fields: Any) -> PlaceHold:
    return PlaceHold(ONE, HOLD, Decimal(amount), lasts, **fields)


def capture(amount: str | None = None, number: int = 500, **fields: Any) -> CaptureHold:
    wanted = None if amount is None else Decimal(amount)
    return CaptureHold(ONE, HOLD, UUID(int=number), wanted, **fields)


VOID = VoidHold(ONE, HOLD)
EXPIRE = ExpireHold(ONE, HOLD)


def reverse(amount: str | None = None, number: int = 500, **fields: Any) -> Reverse:
    """Of ORIGINAL."""
    wanted = None if amount is None else Decimal(amount)
    return Reverse(ORIGINAL, (ONE, TWO), UUID(int=number), wanted, **fields)


def accepted(ledger: Ledger, command: Command, status: int | None = None) -> Document:
    """The document that ``command`` is answered with; it is done."""
    answer = ledger.decide(command)
    assert isinstance(answer, Accepted), answer
    assert status in (None, answer.status)
    return answer.document


def assert_refused(
    command: Command,
    error: type[CofferError],
    *wallets: Wallet,
    now: datetime = NOW,
    holds: Sequence[Hold] = (),
    originals: Sequence[Original] = (),
) -> CofferError:
    """``command`` is answered with exactly ``error``, and leaves no trace at all."""
    before = copy.deepcopy((wallets, list(holds), list(originals)))
    ledger = make_ledger(*wallets, now=now, holds=holds, originals=originals)
    answer = ledger.decide(command)
    assert type(answer) is error
    assert answer.__traceback__ is None
    assert (wallets, list(holds), list(originals)) == before
    assert list(ledger.wallets.values()) == list(wallets)
    assert list(ledger.holds.values()) == list(holds)
    changes = ledger.changes
    assert changes == Changes()
    return answer
