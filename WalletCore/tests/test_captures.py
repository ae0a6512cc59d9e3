"""The rules of captures on plain values: what a hold keeps back is taken, in full or in part."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from WalletCore.domain.errors import (
    CofferError,
    CurrencyMismatch,
    HoldAlreadyResolved,
    HoldExceeded,
    LimitExceeded,
    SameWallet,
    WalletClosed,
    WalletFrozen,
    WalletNotFound,
)
from WalletCore.domain.model import HoldStatus, OperationType, WalletStatus, hold_document
from WalletCore.domain.money import MAX_AMOUNT_MINOR
from WalletCore.tests.ledger_values import (
    COIN,
    HELD,
    HOLD,
    NOBODY,
    NOW,
    ONE,
    TWO,
    USD,
    accepted,
    assert_refused,
    capture,
    make_hold,
    make_ledger,
    make_wallet,
)

# To the outside


def test_a_capture_in_full() -> None:
    wallet, hold = make_wallet(**HELD), make_hold()
    ledger = make_ledger(wallet, holds=[hold])
    command = capture(reference="invoice", description="paid", metadata={"n": 1})
    document = accepted(ledger, command, 200)
    assert document.pop("operation") == {
        "id": str(UUID(int=500)),
        "wallet_id": str(ONE),
        "operation_type": "CAPTURE_OUT",
        "amount": "30.00",
        "currency": "USD",
        "previous_balance": "100.00",
        "new_balance": "70.00",
        "seq": 4,
        "status": "COMPLETED",
        "reference": "invoice",
        "description": "paid",
        "metadata": {"n": 1},
        "created_at": "2030-01-31T12:00:00.000000Z",
        "hold_id": str(HOLD),
    }
    assert document == hold_document(hold, USD)
    assert (document["captured"], document["remaining"]) == ("30.00", "0.00")
    assert hold.status is HoldStatus.CAPTURED
    assert hold.updated_at == NOW
    # The hold keeps what was said when it was placed.
    assert (hold.reference, hold.metadata) == ("order", {"size": 43})
    assert (wallet.balance_minor, wallet.held_minor, wallet.version) == (7_000, 0, 6)
    [entry] = ledger.changes.entries
    assert (entry.operation_type, entry.delta_minor) == (OperationType.CAPTURE_OUT, -3_000)
    assert (entry.counterparty, entry.related_id) == ("external", HOLD)
    [event] = ledger.changes.events
    assert (event.type, event.seq) == ("coffer.hold.captured", 6)
    assert event.body["data"]["hold_id"] == str(HOLD)
    assert ledger.changes.held == {HOLD: hold}
    assert not ledger.changes.placed


def test_a_capture_in_part_releases_the_rest() -> None:
    wallet, hold = make_wallet(**HELD), make_hold()
    ledger = make_ledger(wallet, holds=[hold])
    document = accepted(ledger, capture("10"))
    assert (document["status"], document["captured"], document["remaining"]) == (
        *("captured", "10.00", "0.00"),
    )
    assert (wallet.balance_minor, wallet.held_minor, wallet.available_minor) == (9_000, 0, 9_000)
    assert len(ledger.changes.events) == 1, "one change of the wallet, hence one event"


def test_several_captures_until_nothing_is_left() -> None:
    wallet, hold = make_wallet(**HELD), make_hold()
    ledger = make_ledger(wallet, holds=[hold])
    for number, (amount, status, remaining, held_minor) in enumerate(
        [("10", "open", "20.00", 2_000), ("19.99", "open", "0.01", 1), ("0.01", "captured", "0", 0)]
    ):
        document = accepted(ledger, capture(amount, number=500 + number, final=False))
        assert document["status"] == status
        assert Decimal(document["remaining"]) == Decimal(remaining)
        assert wallet.held_minor == held_minor
        assert wallet.available_minor == 7_000
    assert [entry.delta_minor for entry in ledger.changes.entries] == [-1_000, -1_999, -1]
    assert wallet.balance_minor == 7_000
    assert isinstance(ledger.decide(capture("0.01", number=600)), HoldAlreadyResolved)


def test_the_rest_is_taken_or_released_after_some_captures() -> None:
    for last, balance_minor in ((capture(number=501), 7_000), (capture("5", 501), 8_500)):
        wallet, hold = make_wallet(**HELD), make_hold()
        ledger = make_ledger(wallet, holds=[hold])
        accepted(ledger, capture("10", final=False))
        accepted(ledger, last)
        assert hold.status is HoldStatus.CAPTURED
        assert (wallet.balance_minor, wallet.held_minor) == (balance_minor, 0)


def test_all_that_is_left_is_the_end_also_where_more_was_thought_of() -> None:
    hold = make_hold()
    accepted(make_ledger(make_wallet(**HELD), holds=[hold]), capture(final=False))
    assert hold.status is HoldStatus.CAPTURED


@pytest.mark.parametrize(("captured_minor", "remaining"), [(0, "30.00"), (1_000, "20.00")])
def test_never_more_than_the_hold_keeps(captured_minor: int, remaining: str) -> None:
    refusal = assert_refused(
        capture(f"{Decimal(remaining) + Decimal('0.01')}"),
        HoldExceeded,
        make_wallet(held_minor=3_000 - captured_minor),
        holds=[make_hold(captured_minor=captured_minor)],
    )
    assert refusal.extra == {"remaining": remaining}


def test_what_is_held_can_be_taken_though_nothing_is_available() -> None:
    wallet = make_wallet(balance_minor=3_000, **HELD)
    accepted(make_ledger(wallet, holds=[make_hold()]), capture())
    assert (wallet.balance_minor, wallet.held_minor) == (0, 0)


def test_a_hold_on_credit_is_captured_below_zero() -> None:
    wallet = make_wallet(balance_minor=0, min_balance_minor=-3_000, **HELD)
    accepted(make_ledger(wallet, holds=[make_hold()]), capture())
    assert (wallet.balance_minor, wallet.available_minor) == (-3_000, 0)


def test_a_balance_has_a_lower_bound() -> None:
    """Reachable where a reversal was allowed to take what a hold keeps."""
    fields: dict[str, Any] = {
        "balance_minor": -MAX_AMOUNT_MINOR + 2_999,
        "min_balance_minor": -MAX_AMOUNT_MINOR,
        "shortfall_minor": 1,
        **HELD,
    }
    refusal = assert_refused(capture(), LimitExceeded, make_wallet(**fields), holds=[make_hold()])
    assert refusal.extra == {"limit": "min_balance"}
    wallet = make_wallet(**fields)
    accepted(make_ledger(wallet, holds=[make_hold()]), capture("29.99"))
    assert (wallet.balance_minor, wallet.shortfall_minor) == (-MAX_AMOUNT_MINOR, 0)


@pytest.mark.parametrize(
    ("status", "error"),
    [(WalletStatus.FROZEN, WalletFrozen), (WalletStatus.CLOSED, WalletClosed)],
)
def test_nothing_is_captured_from_a_wallet_that_stands_still(
    status: WalletStatus, error: type[CofferError]
) -> None:
    assert_refused(capture(), error, make_wallet(status=status, **HELD), holds=[make_hold()])


# Into another wallet


def test_a_capture_into_another_wallet() -> None:
    wallet, target, hold = make_wallet(**HELD), make_wallet(TWO, balance_minor=5), make_hold()
    ledger = make_ledger(wallet, target, holds=[hold])
    document = accepted(ledger, capture("20", final=False, target_id=TWO, reference="r"))
    assert document["operation"]["counterparty_wallet_id"] == str(TWO)
    assert document["operation"]["operation_type"] == "CAPTURE_OUT"
    assert (wallet.balance_minor, wallet.held_minor, target.balance_minor) == (8_000, 1_000, 2_005)
    out, into = ledger.changes.entries
    assert (out.wallet_id, out.delta_minor, out.counterparty) == (ONE, -2_000, str(TWO))
    assert (into.wallet_id, into.delta_minor, into.counterparty) == (TWO, 2_000, str(ONE))
    assert into.operation_type is OperationType.CAPTURE_IN
    assert (out.operation_id, out.related_id) == (into.operation_id, into.related_id)
    assert [(event.type, event.wallet_id, event.seq) for event in ledger.changes.events] == [
        *(("coffer.hold.captured", ONE, 6), ("coffer.hold.captured", TWO, 6)),
    ]
    for event in ledger.changes.events:
        assert event.body["data"]["hold_id"] == str(HOLD)
    # The rest may go elsewhere.
    accepted(ledger, capture(number=501))
    assert (wallet.balance_minor, wallet.held_minor, target.balance_minor) == (7_000, 0, 2_005)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"status": WalletStatus.FROZEN}, WalletFrozen),
        ({"status": WalletStatus.CLOSED}, WalletClosed),
        ({"currency": COIN}, CurrencyMismatch),
        ({"max_balance_minor": 12_999}, LimitExceeded),
        ({"balance_minor": MAX_AMOUNT_MINOR - 2_999}, LimitExceeded),
    ],
)
def test_a_target_that_cannot_take_it(fields: dict[str, Any], error: type[CofferError]) -> None:
    both = make_wallet(**HELD), make_wallet(TWO, **fields)
    assert_refused(capture(target_id=TWO), error, *both, holds=[make_hold()])


def test_a_target_that_is_none() -> None:
    wallet, holds = make_wallet(**HELD), [make_hold()]
    assert_refused(capture(target_id=NOBODY), WalletNotFound, wallet, holds=holds)
    assert_refused(capture(target_id=ONE), SameWallet, wallet, holds=holds)


def test_a_target_is_filled_to_its_ceiling() -> None:
    target = make_wallet(TWO, max_balance_minor=13_000)
    ledger = make_ledger(make_wallet(**HELD), target, holds=[make_hold()])
    accepted(ledger, capture(target_id=TWO))
    assert target.balance_minor == 13_000
