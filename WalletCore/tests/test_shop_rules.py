"""The rules of the shop, on plain values."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from WalletCore.domain.commands import OpenAccount, Purchase
from WalletCore.domain.errors import (
    AmountInvalid,
    AmountTooPrecise,
    CofferError,
    CurrencyMismatch,
    InsufficientFunds,
    LimitExceeded,
    SameWallet,
    WalletClosed,
    WalletFrozen,
    WalletNotFound,
)
from WalletCore.domain.model import OperationType, User, Wallet, WalletStatus
from WalletCore.domain.money import MAX_AMOUNT_MINOR
from WalletCore.tests.ledger_values import (
    COIN,
    NOBODY,
    NOW,
    ONE,
    THREE,
    TWO,
    accepted,
    assert_refused,
    make_ledger,
    make_original,
    make_wallet,
    reverse,
)

OPEN = OpenAccount("alice", "a hash", THREE, UUID(int=500), Decimal(1000))


def buyer(**fields: Any) -> Wallet:
    return make_wallet(**{"currency": COIN, "balance_minor": 100, **fields})


def merchant(**fields: Any) -> Wallet:
    return make_wallet(TWO, **{"currency": COIN, "balance_minor": 7, "owner": "m", **fields})


def buy(price: str, wallet_id: UUID = ONE, merchant_id: UUID = TWO) -> Purchase:
    return Purchase(wallet_id, merchant_id, UUID(int=501), UUID(int=502), "cup", Decimal(price))


def test_an_account_is_a_wallet_with_coins_and_a_user() -> None:
    ledger = make_ledger()
    assert accepted(ledger, OPEN, 201) == {"username": "alice", "wallet_id": str(THREE)}
    wallet = ledger.wallets[THREE]
    assert (wallet.owner, wallet.name, wallet.currency) == ("alice", "Shop", COIN)
    assert (wallet.balance_minor, wallet.min_balance_minor, wallet.version) == (1000, 0, 2)
    changes = ledger.changes
    assert changes.created == {THREE: wallet}
    assert not changes.changed
    assert changes.users == [User("alice", THREE, "a hash", NOW)]
    [entry] = changes.entries
    assert (entry.operation_type, entry.delta_minor) == (OperationType.DEPOSIT, 1000)
    assert [(event.type, event.seq, event.user_id) for event in changes.events] == [
        ("coffer.wallet.created", 1, "alice"),
        ("coffer.operation.completed", 2, "alice"),
    ]


def test_nothing_that_is_kept_or_shown_tells_the_hash() -> None:
    ledger = make_ledger()
    document = accepted(ledger, OPEN)
    told = repr((OPEN, document, ledger.changes.users, [e.body for e in ledger.changes.events]))
    assert "a hash" not in told


@pytest.mark.parametrize(
    ("coins", "error"),
    [("0", AmountInvalid), ("-1", AmountInvalid), ("1.5", AmountTooPrecise)],
)
def test_an_account_that_cannot_be_leaves_no_trace(coins: str, error: type[CofferError]) -> None:
    assert_refused(OpenAccount("a", "h", THREE, UUID(int=5), Decimal(coins)), error)


def test_trying_an_account_out_leaves_no_trace() -> None:
    ledger = make_ledger()
    ledger.try_out(OPEN, ())
    assert not ledger.wallets
    assert not ledger.changes.users
    assert not ledger.changes.created


@pytest.mark.parametrize("price", ["1", "20", "100"])
def test_a_purchase_moves_its_price_to_the_merchant(price: str) -> None:
    ledger = make_ledger(buyer(), merchant())
    document = accepted(ledger, buy(price), 200)
    paid = int(price)
    assert document["operation_type"] == "PURCHASE_OUT"
    assert (document["amount"], document["new_balance"]) == (price, str(100 - paid))
    assert document["purchase_id"] == str(UUID(int=502))
    assert document["reference"] == "cup"
    assert document["counterparty_wallet_id"] == str(TWO)
    assert ledger.wallets[ONE].balance_minor == 100 - paid
    assert ledger.wallets[TWO].balance_minor == 7 + paid
    given, taken = ledger.changes.entries
    assert (given.operation_type, given.delta_minor) == (OperationType.PURCHASE_OUT, -paid)
    assert (taken.operation_type, taken.delta_minor) == (OperationType.PURCHASE_IN, paid)
    assert given.operation_id == taken.operation_id
    assert given.related_id == taken.related_id == UUID(int=502)
    assert given.reference == taken.reference == "cup"
    assert (given.counterparty, taken.counterparty) == (str(TWO), str(ONE))
    assert [(event.type, event.wallet_id) for event in ledger.changes.events] == [
        ("coffer.purchase.completed", ONE),
        ("coffer.purchase.completed", TWO),
    ]


@pytest.mark.parametrize(
    ("wallets", "command", "error"),
    [
        ([buyer(), merchant()], buy("101"), InsufficientFunds),
        ([buyer(held_minor=1), merchant()], buy("100"), InsufficientFunds),
        ([buyer(), merchant()], buy("0"), AmountInvalid),
        ([buyer(), merchant()], buy("-5"), AmountInvalid),
        ([buyer(), merchant()], buy("0.5"), AmountTooPrecise),
        ([buyer(), merchant(balance_minor=MAX_AMOUNT_MINOR)], buy("1"), LimitExceeded),
        ([buyer(), merchant(max_balance_minor=10)], buy("4"), LimitExceeded),
        ([buyer(), make_wallet(TWO)], buy("1"), CurrencyMismatch),
        ([buyer(status=WalletStatus.FROZEN), merchant()], buy("1"), WalletFrozen),
        ([buyer(), merchant(status=WalletStatus.FROZEN)], buy("1"), WalletFrozen),
        ([buyer(balance_minor=0, status=WalletStatus.CLOSED), merchant()], buy("1"), WalletClosed),
        ([merchant()], buy("1"), WalletNotFound),
        ([buyer()], buy("1"), WalletNotFound),
        ([], buy("1", NOBODY, NOBODY), SameWallet),
    ],
)
def test_a_purchase_that_cannot_be_leaves_no_trace(
    wallets: list[Wallet], command: Purchase, error: type[CofferError]
) -> None:
    assert_refused(command, error, *wallets)


@pytest.mark.parametrize("amount", [None, "5"])
def test_a_purchase_can_be_reversed(amount: str | None) -> None:
    sides = (
        (ONE, OperationType.PURCHASE_OUT, -20),
        (TWO, OperationType.PURCHASE_IN, 20),
    )
    ledger = make_ledger(buyer(), merchant(balance_minor=20), originals=[make_original(*sides)])
    accepted(ledger, reverse(amount), 201)
    back = int(amount or 20)
    assert ledger.wallets[ONE].balance_minor == 100 + back
    assert ledger.wallets[TWO].balance_minor == 20 - back
