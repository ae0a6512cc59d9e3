"""The rules of a wallet's limits on plain values: both edges, and what holds have to do with it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from WalletCore.domain.commands import CreateWallet, UpdateWallet
from WalletCore.domain.errors import (
    AmountInvalid,
    AmountOutOfRange,
    AmountTooPrecise,
    CofferError,
    InsufficientFunds,
    LimitExceeded,
    WalletClosed,
    WalletNotEmpty,
)
from WalletCore.domain.ledger import decide
from WalletCore.domain.model import WalletStatus, wallet_document
from WalletCore.domain.money import MAX_AMOUNT_MINOR
from WalletCore.domain.working_set import Accepted, Changes
from WalletCore.tests.ledger_values import (
    COIN,
    ONE,
    accepted,
    assert_refused,
    deposit,
    make_hold,
    make_ledger,
    make_wallet,
    place,
    withdraw,
)


def limit(**amounts: str | None) -> UpdateWallet:
    """Other limits of the wallet ONE."""
    wanted: dict[str, Any] = {
        name: None if amount is None else Decimal(amount) for name, amount in amounts.items()
    }
    return UpdateWallet(ONE, **wanted)


# Setting them


@pytest.mark.parametrize(
    ("fields", "change", "floor_minor", "ceiling_minor"),
    [
        ({}, {"min_balance": "-5"}, -500, None),
        ({}, {"max_balance": "100"}, 0, 10_000),
        ({}, {"min_balance": "-5.01", "max_balance": "500.02"}, -501, 50_002),
        ({"max_balance_minor": 20_000}, {"max_balance": None}, 0, None),
        ({"min_balance_minor": -500, "max_balance_minor": 20_000}, {"min_balance": "0"}, 0, 20_000),
        ({"balance_minor": 0}, {"max_balance": "0"}, 0, 0),
        ({"status": WalletStatus.FROZEN}, {"min_balance": "-1"}, -100, None),
    ],
)
def test_other_limits(
    fields: dict[str, Any], change: dict[str, Any], floor_minor: int, ceiling_minor: int | None
) -> None:
    wallet = make_wallet(**fields)
    ledger = make_ledger(wallet)
    document = accepted(ledger, limit(**change), 200)
    assert (wallet.min_balance_minor, wallet.max_balance_minor) == (floor_minor, ceiling_minor)
    assert document == wallet_document(wallet)
    assert (wallet.version, wallet.entry_seq) == (6, 3)
    assert ledger.changes.changed == {ONE: wallet}
    assert ledger.changes.described == {ONE}
    [event] = ledger.changes.events
    assert (event.type, event.seq) == ("coffer.wallet.updated", 6)
    assert event.body["data"] == document


@pytest.mark.parametrize(
    "change",
    [
        {"min_balance": "-5"},
        {"max_balance": "200.0"},
        {"min_balance": "-5.00", "max_balance": "200"},
    ],
)
@pytest.mark.parametrize("status", list(WalletStatus))
def test_the_same_limits_are_no_change(change: dict[str, str], status: WalletStatus) -> None:
    wallet = make_wallet(status=status, min_balance_minor=-500, max_balance_minor=20_000)
    ledger = make_ledger(wallet)
    accepted(ledger, limit(**change), 200)
    assert ledger.changes == Changes()
    assert wallet.version == 5


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"min_balance": "0.01"}, AmountInvalid),
        ({"max_balance": "-0.01"}, AmountInvalid),
        ({"min_balance": "-0.001"}, AmountTooPrecise),
        ({"max_balance": "0.001"}, AmountTooPrecise),
        ({"min_balance": "-10000000000000000.01"}, AmountOutOfRange),
        ({"max_balance": "10000000000000000.01"}, AmountOutOfRange),
    ],
)
def test_limits_that_are_none(change: dict[str, str], error: type[CofferError]) -> None:
    assert_refused(limit(**change), error, make_wallet())
    wanted: dict[str, Any] = {name: Decimal(amount) for name, amount in change.items()}
    assert_refused(CreateWallet(ONE, "USD", **wanted), error)


@pytest.mark.parametrize("change", [{"min_balance": "-5"}, {"max_balance": "5"}])
def test_a_closed_wallet_keeps_its_limits(change: dict[str, str]) -> None:
    closed = make_wallet(status=WalletStatus.CLOSED, balance_minor=0)
    assert_refused(limit(**change), WalletClosed, closed)


def test_a_wallet_is_made_with_a_ceiling() -> None:
    ledger = make_ledger()
    document = accepted(ledger, CreateWallet(ONE, "USD", max_balance=Decimal("0.50")), 201)
    assert document["max_balance"] == "0.50"
    assert ledger.changes.created[ONE].max_balance_minor == 50
    refusal = ledger.decide(deposit("0.51"))
    assert isinstance(refusal, LimitExceeded)
    assert refusal.extra == {"limit": "max_balance"}
    accepted(ledger, deposit("0.50"))


# A new limit must hold already


@pytest.mark.parametrize(
    ("fields", "lowest_minor"),
    [
        ({"balance_minor": -200, "min_balance_minor": -500}, -200),
        ({"balance_minor": 0, "min_balance_minor": -500}, 0),
        # What is held counts as gone.
        ({"balance_minor": 100, "held_minor": 400, "min_balance_minor": -500}, -300),
        ({"balance_minor": 400, "held_minor": 400, "min_balance_minor": -500}, 0),
    ],
)
def test_a_min_balance_that_does_not_hold_is_refused(
    fields: dict[str, Any], lowest_minor: int
) -> None:
    if lowest_minor < 0:
        above = limit(min_balance=f"{Decimal(lowest_minor + 1) / 100}")
        refusal = assert_refused(above, LimitExceeded, make_wallet(**fields))
        assert refusal.extra == {"limit": "min_balance"}
    wallet = make_wallet(**fields)
    accepted(make_ledger(wallet), limit(min_balance=f"{Decimal(lowest_minor) / 100}"))
    assert (wallet.min_balance_minor, wallet.available_minor) == (lowest_minor, 0)
    assert wallet.shortfall_minor == 0


def test_a_max_balance_that_does_not_hold_is_refused() -> None:
    for held_minor in (0, 10_000):  # what is held is in the wallet yet
        refusal = assert_refused(
            limit(max_balance="99.99"), LimitExceeded, make_wallet(held_minor=held_minor)
        )
        assert refusal.extra == {"limit": "max_balance"}
    wallet = make_wallet()
    ledger = make_ledger(wallet)
    accepted(ledger, limit(max_balance="100"))
    assert isinstance(ledger.decide(deposit("0.01")), LimitExceeded)


def test_one_limit_that_does_not_hold_undoes_all() -> None:
    change = UpdateWallet(ONE, name="x", min_balance=Decimal(-5), max_balance=Decimal(1))
    assert_refused(change, LimitExceeded, make_wallet())
    low = make_wallet(balance_minor=-100, min_balance_minor=-500)
    change = UpdateWallet(ONE, name="x", min_balance=Decimal(0), max_balance=Decimal(1))
    assert_refused(change, LimitExceeded, low)


def test_a_wallet_that_falls_short_keeps_its_limit_and_its_shortfall() -> None:
    """Words about it may change all the same, and what it falls short of."""
    wallet = make_wallet(balance_minor=-300, shortfall_minor=300)
    ledger = make_ledger(wallet)
    accepted(ledger, UpdateWallet(ONE, name="x", min_balance=Decimal(0)))
    assert (wallet.name, wallet.min_balance_minor, wallet.shortfall_minor) == ("x", 0, 300)
    # A looser limit is taken though it is not loose enough; a stricter one is not.
    accepted(ledger, limit(min_balance="-2.99"))
    assert (wallet.shortfall_minor, wallet.available_minor) == (1, -1)
    assert isinstance(ledger.decide(limit(min_balance="-2.98")), LimitExceeded)
    accepted(ledger, limit(min_balance="-4"))
    assert (wallet.shortfall_minor, wallet.available_minor) == (0, 100)


def test_limits_do_not_keep_a_wallet_open() -> None:
    change = UpdateWallet(ONE, status=WalletStatus.CLOSED, max_balance=Decimal(1))
    assert_refused(change, WalletNotEmpty, make_wallet())
    wallet = make_wallet(balance_minor=0)
    ledger = make_ledger(wallet)
    accepted(ledger, change)
    assert (wallet.status, wallet.max_balance_minor) == (WalletStatus.CLOSED, 100)
    [event] = ledger.changes.events
    assert event.type == "coffer.wallet.closed"


# What they do


def test_both_edges() -> None:
    wallet = make_wallet(balance_minor=0, min_balance_minor=-500, max_balance_minor=1_000)
    ledger = make_ledger(wallet)
    answers = decide(
        [
            withdraw("5.01", number=501),
            withdraw("5", number=502),
            deposit("15.01", number=503),
            deposit("15", number=504),
            deposit("0.01", number=505),
        ],
        ledger,
    )
    assert [type(answer) for answer in answers] == [
        *(InsufficientFunds, Accepted, LimitExceeded, Accepted, LimitExceeded),
    ]
    assert wallet.balance_minor == 1_000


def test_what_is_held_takes_room_below_the_ceiling_and_of_the_credit() -> None:
    wallet = make_wallet(balance_minor=0, min_balance_minor=-500, max_balance_minor=100)
    ledger = make_ledger(wallet)
    accepted(ledger, place("5"))
    assert isinstance(ledger.decide(withdraw("0.01")), InsufficientFunds)
    accepted(ledger, deposit("1"))
    assert isinstance(ledger.decide(deposit("0.01", number=501)), LimitExceeded)
    assert isinstance(ledger.decide(limit(min_balance="-3.99")), LimitExceeded)
    accepted(ledger, limit(min_balance="-4"))
    assert (wallet.held_minor, wallet.available_minor) == (500, 0)


def test_the_least_and_the_most_that_can_be_counted() -> None:
    most = str(MAX_AMOUNT_MINOR)
    wallet = make_wallet(currency=COIN, balance_minor=0)
    ledger = make_ledger(wallet, holds=[make_hold()])
    accepted(ledger, limit(min_balance=f"-{most}", max_balance=most))
    accepted(ledger, withdraw(most))
    assert wallet.balance_minor == -MAX_AMOUNT_MINOR
    for number in (501, 502):
        accepted(ledger, deposit(most, number=number))
    assert wallet.balance_minor == MAX_AMOUNT_MINOR
    assert isinstance(ledger.decide(deposit("1", number=503)), LimitExceeded)
