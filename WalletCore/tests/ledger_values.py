"""Plain values for the tests of the ledger: wallets, commands, and what a refusal must leave."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from WalletCore.domain.commands import Command, Deposit, Withdraw
from WalletCore.domain.errors import CofferError
from WalletCore.domain.ledger import Ledger
from WalletCore.domain.model import Wallet, WalletStatus
from WalletCore.domain.money import Currencies, Currency
from WalletCore.domain.working_set import Changes

USD = Currency("USD", 2)
COIN = Currency("COIN", 0)
KNOWN = Currencies([USD, COIN])
NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
ONE, TWO, NOBODY = (UUID(int=number) for number in (1, 2, 99))


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


class Ids:
    """Ids of events, counted up from 1000."""

    def __init__(self) -> None:
        self.last = 1000

    def __call__(self) -> UUID:
        self.last += 1
        return UUID(int=self.last)


def make_ledger(*wallets: Wallet, now: datetime = NOW) -> Ledger:
    return Ledger({wallet.id: wallet for wallet in wallets}, KNOWN, now, Ids())


def deposit(amount: str, wallet_id: UUID = ONE, number: int = 500, **fields: Any) -> Deposit:
    return Deposit(wallet_id, UUID(int=number), Decimal(amount), **fields)


def withdraw(amount: str, wallet_id: UUID = ONE, number: int = 500, **fields: Any) -> Withdraw:
    return Withdraw(wallet_id, UUID(int=number), Decimal(amount), **fields)


def assert_refused(command: Command, error: type[CofferError], *wallets: Wallet) -> CofferError:
    """``command`` is answered with exactly ``error``, and leaves no trace at all."""
    before = copy.deepcopy(wallets)
    ledger = make_ledger(*wallets)
    answer = ledger.decide(command)
    assert type(answer) is error
    assert answer.__traceback__ is None
    assert wallets == before
    changes = ledger.changes
    assert changes == Changes()
    return answer
