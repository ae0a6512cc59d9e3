"""The rule of reversals on plain values: the money goes back the way it came, never more of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pytest

from WalletCore.domain.commands import Reverse, UpdateWallet
from WalletCore.domain.errors import (
    AmountInvalid,
    AmountOutOfRange,
    AmountTooPrecise,
    CofferError,
    InsufficientFunds,
    LimitExceeded,
    NotReversible,
    OperationNotFound,
    ReversalExceeded,
    WalletClosed,
    WalletFrozen,
    WalletNotEmpty,
    WalletNotFound,
)
from WalletCore.domain.model import OperationType, Original, Wallet, WalletStatus
from WalletCore.domain.money import MAX_AMOUNT_MINOR
from WalletCore.tests.ledger_values import (
    COIN,
    HOLD,
    NOBODY,
    ONE,
    ORIGINAL,
    TWO,
    VOID,
    accepted,
    assert_refused,
    capture,
    deposit,
    make_hold,
    make_ledger,
    make_original,
    make_wallet,
    reverse,
    withdraw,
)

DEPOSITED: Final = ((ONE, OperationType.DEPOSIT, 4_000),)
WITHDRAWN: Final = ((ONE, OperationType.WITHDRAW, -4_000),)
CAPTURED: Final = ((ONE, OperationType.CAPTURE_OUT, -4_000),)
TRANSFERRED: Final = (
    (ONE, OperationType.TRANSFER_OUT, -4_000),
    (TWO, OperationType.TRANSFER_IN, 4_000),
)
CAPTURED_INTO: Final = (
    (ONE, OperationType.CAPTURE_OUT, -4_000),
    (TWO, OperationType.CAPTURE_IN, 4_000),
)
KINDS: Final = (DEPOSITED, WITHDRAWN, CAPTURED, TRANSFERRED, CAPTURED_INTO)
"""Every kind of operation that can be reversed, each of 40.00."""


def both(**fields: Any) -> tuple[Wallet, Wallet]:
    """The wallets of both sides; ``fields`` of the second one, which gives when a transfer is
    reversed.
    """
    return make_wallet(ONE), make_wallet(TWO, **fields)


# One side


@pytest.mark.parametrize(
    ("sides", "operation_type", "delta_minor"),
    [
        (DEPOSITED, OperationType.REVERSAL_OUT, -4_000),
        (WITHDRAWN, OperationType.REVERSAL_IN, 4_000),
        (CAPTURED, OperationType.REVERSAL_IN, 4_000),
    ],
)
def test_an_operation_with_the_outside_is_reversed(
    sides: Any, operation_type: OperationType, delta_minor: int
) -> None:
    wallet, original = make_wallet(), make_original(*sides)
    ledger = make_ledger(wallet, originals=[original])
    command = reverse(reference="mistake", description="sorry", metadata={"k": "v"})
    document = accepted(ledger, command, 201)
    balance_minor = 10_000 + delta_minor
    assert document == {
        "id": str(UUID(int=500)),
        "wallet_id": str(ONE),
        "operation_type": operation_type.value,
        "amount": "40.00",
        "currency": "USD",
        "previous_balance": "100.00",
        "new_balance": f"{Decimal(balance_minor) / 100:.2f}",
        "seq": 4,
        "status": "COMPLETED",
        "reference": "mistake",
        "description": "sorry",
        "metadata": {"k": "v"},
        "created_at": "2030-01-31T12:00:00.000000Z",
        "reversed_operation_id": str(ORIGINAL),
    }
    assert (wallet.balance_minor, wallet.version, wallet.entry_seq) == (balance_minor, 6, 4)
    [entry] = ledger.changes.entries
    assert (entry.operation_type, entry.delta_minor) == (operation_type, delta_minor)
    assert (entry.counterparty, entry.related_id) == ("external", ORIGINAL)
    [event] = ledger.changes.events
    assert (event.type, event.seq) == ("coffer.operation.reversed", 6)
    assert event.body["data"] == document


# Both sides


@pytest.mark.parametrize("sides", [TRANSFERRED, CAPTURED_INTO])
def test_a_movement_between_wallets_is_reversed_on_both_sides(sides: Any) -> None:
    one, two = both(owner="other")
    ledger = make_ledger(one, two, originals=[make_original(*sides)])
    document = accepted(ledger, reverse(), 201)
    # Of a movement between wallets the side that gives is told.
    assert (document["wallet_id"], document["operation_type"]) == (str(TWO), "REVERSAL_OUT")
    assert document["counterparty_wallet_id"] == str(ONE)
    assert (one.balance_minor, two.balance_minor) == (14_000, 6_000)
    out, into = ledger.changes.entries
    assert (out.wallet_id, out.operation_type, out.delta_minor, out.counterparty) == (
        *(TWO, OperationType.REVERSAL_OUT, -4_000, str(ONE)),
    )
    assert (into.wallet_id, into.operation_type, into.delta_minor, into.counterparty) == (
        *(ONE, OperationType.REVERSAL_IN, 4_000, str(TWO)),
    )
    assert out.operation_id == into.operation_id == UUID(int=500)
    assert out.related_id == into.related_id == ORIGINAL
    assert [(event.type, event.wallet_id, event.seq) for event in ledger.changes.events] == [
        *(("coffer.operation.reversed", TWO, 6), ("coffer.operation.reversed", ONE, 6)),
    ]
    assert [event.user_id for event in ledger.changes.events] == ["other", "someone"]


def test_a_reversed_capture_does_not_open_its_hold() -> None:
    """What is given back may be spent; who wants it held places a new hold."""
    wallet, hold = make_wallet(held_minor=3_000), make_hold()
    ledger = make_ledger(wallet, holds=[hold], originals=[make_original(*CAPTURED)])
    accepted(ledger, capture(number=600))
    accepted(ledger, reverse())
    assert (wallet.balance_minor, wallet.held_minor) == (11_000, 0)
    assert list(ledger.changes.held) == [HOLD]


# How much


@pytest.mark.parametrize("sides", KINDS)
def test_in_parts_until_nothing_is_left(sides: Any) -> None:
    wallets, original = both(), make_original(*sides)
    before = [wallet.balance_minor for wallet in wallets]
    ledger = make_ledger(*wallets, originals=[original])
    for number, (amount, reversed_minor) in enumerate([("10", 1_000), ("29.99", 3_999)]):
        assert Decimal(accepted(ledger, reverse(amount, 500 + number))["amount"]) == Decimal(amount)
        assert original.reversed_minor == reversed_minor
    refusal = ledger.decide(reverse("0.02", 502))
    assert isinstance(refusal, ReversalExceeded)
    assert refusal.extra == {"remaining": "0.01"}
    # All that is left.
    assert accepted(ledger, reverse(number=503))["amount"] == "0.01"
    assert isinstance(ledger.decide(reverse(number=504)), NotReversible)
    assert isinstance(ledger.decide(reverse("0.01", 505)), NotReversible)
    moved = {wallet_id: delta_minor for wallet_id, _, delta_minor in sides}
    for wallet, balance_minor in zip(wallets, before, strict=True):
        assert wallet.balance_minor == balance_minor - moved.get(wallet.id, 0)


@pytest.mark.parametrize("sides", KINDS)
@pytest.mark.parametrize(("reversed_minor", "remaining"), [(0, "40.00"), (2_500, "15.00")])
def test_never_more_than_was_moved(sides: Any, reversed_minor: int, remaining: str) -> None:
    refusal = assert_refused(
        reverse(f"{Decimal(remaining) + Decimal('0.01')}"),
        ReversalExceeded,
        *both(),
        originals=[make_original(*sides, reversed_minor=reversed_minor)],
    )
    assert (refusal.status, refusal.extra) == (400, {"remaining": remaining})


@pytest.mark.parametrize("command", [reverse(), reverse("0.01"), reverse(allow_negative=True)])
@pytest.mark.parametrize("sides", KINDS)
def test_not_twice(command: Reverse, sides: Any) -> None:
    original = make_original(*sides, reversed_minor=4_000)
    refusal = assert_refused(command, NotReversible, *both(), originals=[original])
    assert (refusal.status, refusal.code) == (409, "not_reversible")


@pytest.mark.parametrize("command", [reverse(), reverse("0.01"), reverse(allow_negative=True)])
@pytest.mark.parametrize(
    "sides",
    [
        ((ONE, OperationType.REVERSAL_OUT, -4_000),),
        ((ONE, OperationType.REVERSAL_IN, 4_000),),
        ((ONE, OperationType.REVERSAL_OUT, -4_000), (TWO, OperationType.REVERSAL_IN, 4_000)),
    ],
)
def test_not_of_a_reversal(command: Reverse, sides: Any) -> None:
    assert_refused(command, NotReversible, *both(), originals=[make_original(*sides)])


@pytest.mark.parametrize(
    ("amount", "error"),
    [
        ("0", AmountInvalid),
        ("-1", AmountInvalid),
        ("0.001", AmountTooPrecise),
        ("10000000000000000.01", AmountOutOfRange),
    ],
)
def test_amounts_that_undo_nothing(amount: str, error: type[CofferError]) -> None:
    assert_refused(reverse(amount), error, *both(), originals=[make_original(*TRANSFERRED)])


# What is refused


def test_an_operation_that_is_not_there() -> None:
    refusal = assert_refused(reverse(), OperationNotFound, *both())
    assert str(ORIGINAL) in refusal.detail
    elsewhere = Reverse(NOBODY, (ONE,), UUID(int=500))
    originals = [make_original(*DEPOSITED)]
    assert_refused(elsewhere, OperationNotFound, *both(), originals=originals)


def test_a_side_that_was_not_loaded() -> None:
    """Nothing is undone on one side alone, whatever wallets a caller thought of."""
    originals = [make_original(*TRANSFERRED)]
    assert_refused(reverse(), WalletNotFound, make_wallet(ONE), originals=originals)
    assert_refused(reverse(), WalletNotFound, make_wallet(TWO), originals=originals)


@pytest.mark.parametrize("still", [ONE, TWO])
@pytest.mark.parametrize("allow_negative", [False, True])
@pytest.mark.parametrize(
    ("status", "error"),
    [(WalletStatus.FROZEN, WalletFrozen), (WalletStatus.CLOSED, WalletClosed)],
)
def test_wallets_whose_money_stands_still(
    still: UUID, status: WalletStatus, error: type[CofferError], *, allow_negative: bool
) -> None:
    wallets = both()
    for wallet in wallets:
        if wallet.id == still:
            wallet.status = status
    refusal = assert_refused(
        reverse(allow_negative=allow_negative),
        error,
        *wallets,
        originals=[make_original(*TRANSFERRED)],
    )
    assert str(still) in refusal.detail


@pytest.mark.parametrize(
    ("fields", "available"),
    [
        ({"balance_minor": 3_999}, "39.99"),
        ({"held_minor": 6_001}, "39.99"),
        ({"balance_minor": -1, "min_balance_minor": -4_000}, "39.99"),
        ({"balance_minor": -300, "shortfall_minor": 300}, "-3.00"),
    ],
)
def test_money_that_is_gone_does_not_come_back(fields: dict[str, Any], available: str) -> None:
    refusal = assert_refused(
        reverse(), InsufficientFunds, *both(**fields), originals=[make_original(*TRANSFERRED)]
    )
    assert refusal.extra == {"available": available}


@pytest.mark.parametrize("allow_negative", [False, True])
@pytest.mark.parametrize("sides", [WITHDRAWN, CAPTURED, TRANSFERRED, CAPTURED_INTO])
@pytest.mark.parametrize(
    "fields", [{"max_balance_minor": 13_999}, {"balance_minor": MAX_AMOUNT_MINOR - 3_999}]
)
def test_no_more_comes_back_than_there_is_room_for(
    fields: dict[str, Any], sides: Any, *, allow_negative: bool
) -> None:
    wallets = make_wallet(ONE, **fields), make_wallet(TWO)
    refusal = assert_refused(
        reverse(allow_negative=allow_negative),
        LimitExceeded,
        *wallets,
        originals=[make_original(*sides)],
    )
    assert refusal.extra == {"limit": "max_balance"}
    accepted(make_ledger(*wallets, originals=[make_original(*sides)]), reverse("39.99"))


# Below the limit


@pytest.mark.parametrize("sides", [DEPOSITED, TRANSFERRED, CAPTURED_INTO])
@pytest.mark.parametrize(
    ("fields", "shortfall_minor"),
    [
        ({}, 0),
        ({"balance_minor": 4_000}, 0),
        ({"balance_minor": 3_999}, 1),
        ({"balance_minor": 0}, 4_000),
        ({"balance_minor": 0, "min_balance_minor": -1_500}, 2_500),
        ({"balance_minor": 5_000, "held_minor": 3_000}, 2_000),
        ({"balance_minor": -300, "shortfall_minor": 300}, 4_300),
    ],
)
def test_the_shortfall_says_how_far_below_its_limit_a_wallet_is(
    sides: Any, fields: dict[str, Any], shortfall_minor: int
) -> None:
    wallet = make_wallet(sides[-1][0], **fields)
    other = make_wallet(TWO if wallet.id == ONE else ONE)
    before = wallet.balance_minor
    ledger = make_ledger(wallet, other, originals=[make_original(*sides)])
    accepted(ledger, reverse(allow_negative=True), 201)
    assert wallet.balance_minor == before - 4_000
    assert wallet.shortfall_minor == shortfall_minor
    assert wallet.available_minor + wallet.shortfall_minor >= 0
    assert max(0, -wallet.available_minor) == shortfall_minor


def test_the_shortfall_falls_as_money_comes_in_and_none_goes_out_before() -> None:
    wallet = make_wallet(balance_minor=1_000)
    ledger = make_ledger(wallet, originals=[make_original(*DEPOSITED)])
    accepted(ledger, reverse(allow_negative=True))
    for number, (amount, shortfall_minor) in enumerate([("10", 2_000), ("19.99", 1), ("1", 0)]):
        assert isinstance(ledger.decide(withdraw("0.01", number=700)), InsufficientFunds)
        accepted(ledger, deposit(amount, number=600 + number))
        assert wallet.shortfall_minor == shortfall_minor
    assert wallet.available_minor == 99
    accepted(ledger, withdraw("0.99", number=701))
    assert isinstance(ledger.decide(withdraw("0.01", number=702)), InsufficientFunds)
    assert (wallet.balance_minor, wallet.shortfall_minor) == (0, 0)


def test_a_wallet_falls_further_below_by_parts() -> None:
    wallet = make_wallet(balance_minor=0)
    ledger = make_ledger(wallet, originals=[make_original(*DEPOSITED)])
    for number, shortfall_minor in enumerate((1_500, 3_000)):
        accepted(ledger, reverse("15", 500 + number, allow_negative=True))
        assert wallet.shortfall_minor == shortfall_minor
    # Once is no leave for ever.
    assert isinstance(ledger.decide(reverse("1", 502)), InsufficientFunds)


def test_what_is_held_goes_on_its_way_from_a_wallet_that_falls_short() -> None:
    """A capture takes what was kept back for it; a release makes up for the shortfall."""
    for resolve, balance_minor, shortfall_minor in (
        *((capture(number=600), -3_000, 3_000), (capture("10", 600), -1_000, 1_000)),
        *((capture("10", 600, final=False), -1_000, 3_000), (VOID, 0, 0)),
    ):
        wallet = make_wallet(balance_minor=4_000, held_minor=3_000)
        ledger = make_ledger(wallet, holds=[make_hold()], originals=[make_original(*DEPOSITED)])
        accepted(ledger, reverse(allow_negative=True))
        assert (wallet.balance_minor, wallet.shortfall_minor) == (0, 3_000)
        accepted(ledger, resolve)
        assert (wallet.balance_minor, wallet.shortfall_minor) == (balance_minor, shortfall_minor)


def test_a_wallet_that_falls_short_is_not_closed_and_its_limit_may_follow() -> None:
    wallet = make_wallet(balance_minor=0)
    ledger = make_ledger(wallet, originals=[make_original(*DEPOSITED)])
    accepted(ledger, reverse(allow_negative=True))
    close = UpdateWallet(ONE, status=WalletStatus.CLOSED)
    assert isinstance(ledger.decide(close), WalletNotEmpty)
    accepted(ledger, UpdateWallet(ONE, min_balance=Decimal(-40)))
    assert (wallet.shortfall_minor, wallet.available_minor) == (0, 0)


def test_a_balance_has_a_lower_bound_also_where_it_may_be_negative() -> None:
    def original() -> Original:
        return make_original((ONE, OperationType.DEPOSIT, 10))

    fields: dict[str, Any] = {
        "currency": COIN,
        "balance_minor": -MAX_AMOUNT_MINOR + 9,
        "min_balance_minor": -MAX_AMOUNT_MINOR,
    }
    refusal = assert_refused(
        reverse(allow_negative=True), LimitExceeded, make_wallet(**fields), originals=[original()]
    )
    assert refusal.extra == {"limit": "min_balance"}
    wallet = make_wallet(**fields)
    ledger = make_ledger(wallet, originals=[original()])
    accepted(ledger, reverse("9", allow_negative=True))
    assert (wallet.balance_minor, wallet.shortfall_minor) == (-MAX_AMOUNT_MINOR, 0)
