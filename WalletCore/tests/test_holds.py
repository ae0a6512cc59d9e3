"""The rules of holds on plain values: money that is kept back, and what becomes of it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from WalletCore.domain.commands import CaptureHold, Command, ExpireHold, UpdateWallet, VoidHold
from WalletCore.domain.errors import (
    AmountInvalid,
    AmountOutOfRange,
    AmountTooPrecise,
    CofferError,
    HoldAlreadyResolved,
    HoldNotFound,
    InsufficientFunds,
    LimitExceeded,
    WalletClosed,
    WalletFrozen,
    WalletNotEmpty,
    WalletNotFound,
)
from WalletCore.domain.ledger import decide
from WalletCore.domain.model import HoldStatus, WalletStatus
from WalletCore.domain.money import MAX_AMOUNT_MINOR
from WalletCore.domain.working_set import Accepted, Changes
from WalletCore.tests.ledger_values import (
    AN_HOUR,
    COIN,
    EXPIRE,
    HELD,
    HOLD,
    NOBODY,
    NOW,
    ONE,
    TWO,
    VOID,
    accepted,
    assert_refused,
    capture,
    deposit,
    make_hold,
    make_ledger,
    make_wallet,
    place,
    withdraw,
)

A_MOMENT = timedelta(microseconds=1)
RESOLVED = [status for status in HoldStatus if status is not HoldStatus.OPEN]

# Placing


def test_less_is_available_and_the_balance_stays() -> None:
    wallet = make_wallet()
    ledger = make_ledger(wallet)
    document = accepted(
        ledger, place("30", reference="order", description="shoes", metadata={"size": 43}), 201
    )
    assert document == {
        "id": str(HOLD),
        "wallet_id": str(ONE),
        "amount": "30.00",
        "captured": "0.00",
        "remaining": "30.00",
        "currency": "USD",
        "status": "open",
        "reference": "order",
        "description": "shoes",
        "metadata": {"size": 43},
        "expires_at": "2030-01-31T13:00:00.000000Z",
        "created_at": "2030-01-31T12:00:00.000000Z",
        "updated_at": "2030-01-31T12:00:00.000000Z",
    }
    assert (wallet.balance_minor, wallet.held_minor, wallet.available_minor) == (
        *(10_000, 3_000, 7_000),
    )
    assert (wallet.version, wallet.entry_seq) == (6, 3)
    changes = ledger.changes
    assert changes.changed == {ONE: wallet}
    assert changes.placed == {HOLD: ledger.holds[HOLD]}
    assert (changes.entries, changes.held, changes.described) == ([], {}, set())
    [event] = changes.events
    assert (event.type, event.seq, event.user_id) == ("coffer.hold.placed", 6, "someone")
    assert event.body["data"] == document


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, 10_000),
        ({"balance_minor": 0}, 0),
        ({"min_balance_minor": -500}, 10_500),
        ({"held_minor": 2_500}, 7_500),
        ({"held_minor": 10_000}, 0),
        ({"balance_minor": -300, "shortfall_minor": 300}, -300),
        ({"max_balance_minor": 10_000}, 10_000),
    ],
)
def test_what_is_available_can_be_held_and_no_more(fields: dict[str, Any], most: int) -> None:
    one_more = place(f"{Decimal(max(most, 0) + 1) / 100}")
    refusal = assert_refused(one_more, InsufficientFunds, make_wallet(**fields))
    assert Decimal(refusal.extra["available"]) == Decimal(most) / 100
    if most > 0:
        wallet = make_wallet(**fields)
        accepted(make_ledger(wallet), place(f"{Decimal(most) / 100}"))
        assert wallet.available_minor == 0


def test_what_is_held_has_an_upper_bound() -> None:
    """A limit below 0 and a full balance: more is available than can be counted as held."""
    fields: dict[str, Any] = {
        "currency": COIN,
        "balance_minor": MAX_AMOUNT_MINOR,
        "min_balance_minor": -MAX_AMOUNT_MINOR,
        "held_minor": MAX_AMOUNT_MINOR - 5,
    }
    refusal = assert_refused(place("6"), LimitExceeded, make_wallet(**fields))
    assert refusal.extra == {"limit": "held"}
    wallet = make_wallet(**fields)
    accepted(make_ledger(wallet), place("5"))
    assert wallet.held_minor == MAX_AMOUNT_MINOR


@pytest.mark.parametrize(
    ("amount", "error"),
    [
        ("0", AmountInvalid),
        ("-1", AmountInvalid),
        ("0.001", AmountTooPrecise),
        ("10000000000000000.01", AmountOutOfRange),
    ],
)
def test_amounts_that_hold_nothing(amount: str, error: type[CofferError]) -> None:
    assert_refused(place(amount), error, make_wallet())
    assert_refused(capture(amount), error, make_wallet(**HELD), holds=[make_hold()])


@pytest.mark.parametrize(
    ("status", "error"),
    [(WalletStatus.FROZEN, WalletFrozen), (WalletStatus.CLOSED, WalletClosed)],
)
def test_a_wallet_that_stands_still_holds_nothing_new(
    status: WalletStatus, error: type[CofferError]
) -> None:
    assert_refused(place("1"), error, make_wallet(status=status))


@pytest.mark.parametrize("command", [place("1"), capture(), VOID, EXPIRE])
def test_a_wallet_that_is_not_there(command: Command) -> None:
    assert_refused(command, WalletNotFound, make_wallet(TWO))


def test_what_is_held_is_not_there_for_anything_else() -> None:
    refusal = assert_refused(withdraw("70.01"), InsufficientFunds, make_wallet(**HELD))
    assert refusal.extra == {"available": "70.00"}
    wallet = make_wallet(**HELD)
    accepted(make_ledger(wallet), withdraw("70"))
    assert (wallet.balance_minor, wallet.available_minor) == (3_000, 0)


# Voiding and expiring


@pytest.mark.parametrize("status", [WalletStatus.ACTIVE, WalletStatus.FROZEN])
@pytest.mark.parametrize(
    ("command", "word", "now"),
    [(VOID, "voided", NOW), (EXPIRE, "expired", NOW + AN_HOUR)],
)
@pytest.mark.parametrize("captured_minor", [0, 1_000])
def test_what_is_released_is_available_again(
    command: Command, word: str, now: Any, status: WalletStatus, captured_minor: int
) -> None:
    """Also in a frozen wallet, whose money does not move by it."""
    held_minor = 3_000 - captured_minor
    wallet = make_wallet(status=status, held_minor=held_minor)
    hold = make_hold(captured_minor=captured_minor)
    ledger = make_ledger(wallet, holds=[hold], now=now)
    document = accepted(ledger, command, 200)
    assert (document["status"], document["remaining"]) == (word, "0.00")
    assert Decimal(document["captured"]) * 100 == captured_minor
    assert (wallet.balance_minor, wallet.held_minor, wallet.version) == (10_000, 0, 6)
    assert (wallet.entry_seq, wallet.status) == (3, status)
    assert hold.updated_at == now
    changes = ledger.changes
    assert (changes.changed, changes.held, changes.entries) == ({ONE: wallet}, {HOLD: hold}, [])
    [event] = changes.events
    assert (event.type, event.seq) == (f"coffer.hold.{word}", 6)
    assert event.body["data"] == document


def test_what_is_released_makes_up_for_a_shortfall() -> None:
    wallet = make_wallet(balance_minor=1_000, shortfall_minor=2_000, **HELD)
    accepted(make_ledger(wallet, holds=[make_hold()]), VOID)
    assert (wallet.held_minor, wallet.shortfall_minor) == (0, 0)
    assert wallet.available_minor == 1_000


@pytest.mark.parametrize(
    ("lasts", "released"), [(A_MOMENT, False), (timedelta(0), True), (-A_MOMENT, True)]
)
def test_a_hold_expires_when_its_time_is_over(lasts: timedelta, *, released: bool) -> None:
    wallet, hold = make_wallet(**HELD), make_hold(expires_at=NOW + lasts)
    ledger = make_ledger(wallet, holds=[hold])
    document = accepted(ledger, EXPIRE, 200)
    assert document["status"] == ("expired" if released else "open")
    assert wallet.held_minor == (0 if released else 3_000)
    assert (ledger.changes == Changes()) is not released


@pytest.mark.parametrize("status", RESOLVED)
def test_to_expire_what_is_resolved_changes_nothing(status: HoldStatus) -> None:
    """It was resolved between the look for what is due and the lock."""
    hold = make_hold(status=status, expires_at=NOW - AN_HOUR)
    ledger = make_ledger(make_wallet(), holds=[hold])
    assert accepted(ledger, EXPIRE, 200)["status"] == status.value
    assert ledger.changes == Changes()


@pytest.mark.parametrize("command", [capture(), capture("1", final=False), VOID])
@pytest.mark.parametrize("late", [timedelta(0), AN_HOUR])
def test_a_hold_whose_time_is_over_is_resolved_though_nobody_expired_it(
    command: Command, late: timedelta
) -> None:
    refusal = assert_refused(
        command,
        HoldAlreadyResolved,
        make_wallet(**HELD),
        now=NOW + AN_HOUR + late,
        holds=[make_hold()],
    )
    assert (refusal.status, refusal.extra) == (409, {"hold_status": "expired"})
    before = NOW + AN_HOUR - A_MOMENT
    accepted(make_ledger(make_wallet(**HELD), holds=[make_hold()], now=before), command)


# Once and for all


@pytest.mark.parametrize("command", [capture(), capture("1", final=False), VOID])
@pytest.mark.parametrize("status", RESOLVED)
def test_a_hold_is_resolved_once(command: Command, status: HoldStatus) -> None:
    refusal = assert_refused(
        command, HoldAlreadyResolved, make_wallet(), holds=[make_hold(status=status)]
    )
    assert refusal.extra == {"hold_status": status.value}
    assert refusal.code == "hold_already_resolved"


@pytest.mark.parametrize("make", [CaptureHold, VoidHold, ExpireHold])
def test_a_hold_that_is_not_there_or_another_wallets(make: Any) -> None:
    more = (UUID(int=500),) if make is CaptureHold else ()
    wallets = make_wallet(ONE, **HELD), make_wallet(TWO)
    for command in (make(ONE, NOBODY, *more), make(TWO, HOLD, *more)):
        refusal = assert_refused(command, HoldNotFound, *wallets, holds=[make_hold()])
        assert str(command.hold_id) in refusal.detail


@pytest.mark.parametrize(
    "fields", [HELD, {"balance_minor": 0, "min_balance_minor": -3_000, **HELD}]
)
def test_a_wallet_with_a_hold_cannot_be_closed(fields: dict[str, Any]) -> None:
    close = UpdateWallet(ONE, status=WalletStatus.CLOSED)
    refusal = assert_refused(close, WalletNotEmpty, make_wallet(**fields), holds=[make_hold()])
    assert "30.00 USD" in refusal.detail


def test_a_wallet_is_closed_once_its_hold_is_captured_or_released() -> None:
    close = UpdateWallet(ONE, status=WalletStatus.CLOSED)
    for resolve, balance_minor in ((capture(), 3_000), (VOID, 0)):
        fields: dict[str, Any] = {"balance_minor": balance_minor, "min_balance_minor": -3_000}
        ledger = make_ledger(make_wallet(**fields, **HELD), holds=[make_hold()])
        accepted(ledger, resolve)
        assert accepted(ledger, close)["status"] == "closed"


def test_a_hold_is_placed_and_resolved_in_one_batch() -> None:
    """It is written once, as it is at the end."""
    ledger = make_ledger(make_wallet(balance_minor=0))
    answers = decide([deposit("5"), place("5"), capture("2", 501, final=False), VOID], ledger)
    assert [type(answer) for answer in answers] == [Accepted] * 4
    assert not ledger.changes.held
    [hold] = ledger.changes.placed.values()
    assert (hold.status, hold.captured_minor) == (HoldStatus.VOIDED, 200)
    wallet = ledger.changes.changed[ONE]
    assert (wallet.balance_minor, wallet.held_minor, wallet.version) == (300, 0, 9)


def test_time_does_not_run_backwards_in_a_hold() -> None:
    later = NOW + timedelta(seconds=5)
    ledger = make_ledger(make_wallet(updated_at=later))
    document = accepted(ledger, place("1"))
    assert document["created_at"] == "2030-01-31T12:00:05.000000Z"
    assert document["expires_at"] == "2030-01-31T13:00:05.000000Z"
    hold = make_hold(updated_at=later)
    accepted(make_ledger(make_wallet(**HELD), holds=[hold]), VOID)
    assert hold.updated_at == later
