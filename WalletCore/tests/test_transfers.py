"""The rules of transfers on plain values: both sides move, or nothing does."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from WalletCore.domain.commands import UpdateWallet
from WalletCore.domain.errors import (
    AmountInvalid,
    AmountOutOfRange,
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
from WalletCore.domain.ledger import decide
from WalletCore.domain.model import OperationType, WalletStatus
from WalletCore.domain.money import MAX_AMOUNT_MINOR
from WalletCore.domain.working_set import Accepted
from WalletCore.tests.ledger_values import (
    COIN,
    NOBODY,
    ONE,
    THREE,
    TWO,
    accepted,
    assert_refused,
    deposit,
    leg,
    make_ledger,
    make_wallet,
    move,
    transfer,
)

TRANSFER_ID = str(UUID(int=200))
MANY_LEGS = 100


def test_both_balances_change() -> None:
    one, two = make_wallet(ONE), make_wallet(TWO, balance_minor=50)
    ledger = make_ledger(one, two)
    command = transfer(
        leg(ONE, TWO, "30.05"), reference="rent", description="May", metadata={"k": [1]}
    )
    assert accepted(ledger, command, 201) == {
        "id": TRANSFER_ID,
        "status": "COMPLETED",
        "legs": [
            {
                "operation_id": str(UUID(int=500)),
                "source_wallet_id": str(ONE),
                "target_wallet_id": str(TWO),
                "amount": "30.05",
                "currency": "USD",
                "source_balance": "69.95",
                "target_balance": "30.55",
            }
        ],
        "reference": "rent",
        "description": "May",
        "metadata": {"k": [1]},
        "created_at": "2030-01-31T12:00:00.000000Z",
    }
    assert (one.balance_minor, one.version, one.entry_seq) == (6_995, 6, 4)
    assert (two.balance_minor, two.version, two.entry_seq) == (3_055, 6, 4)
    assert ledger.changes.changed == {ONE: one, TWO: two}
    assert not ledger.changes.described


def test_each_side_has_an_entry_that_names_the_other() -> None:
    ledger = make_ledger(make_wallet(ONE), make_wallet(TWO))
    accepted(ledger, transfer(leg(ONE, TWO, "1"), reference="rent"))
    out, into = ledger.changes.entries
    assert (out.wallet_id, out.operation_type, out.delta_minor) == (
        *(ONE, OperationType.TRANSFER_OUT, -100),
    )
    assert (into.wallet_id, into.operation_type, into.delta_minor) == (
        *(TWO, OperationType.TRANSFER_IN, 100),
    )
    assert (out.counterparty, into.counterparty) == (str(TWO), str(ONE))
    for entry in (out, into):
        assert (entry.operation_id, entry.related_id) == (UUID(int=500), UUID(int=200))
        assert entry.reference == "rent"


def test_each_side_has_an_event() -> None:
    ledger = make_ledger(make_wallet(ONE), make_wallet(TWO, owner="other", balance_minor=0))
    accepted(ledger, move("1"))
    first, second = ledger.changes.events
    assert first.type == second.type == "coffer.transfer.completed"
    assert (first.wallet_id, first.seq, first.user_id) == (ONE, 6, "someone")
    assert (second.wallet_id, second.seq, second.user_id) == (TWO, 6, "other")
    common = {"transfer_id": TRANSFER_ID, "amount": "1.00", "id": str(UUID(int=500))}
    for event, expected in (
        (first, {"operation_type": "TRANSFER_OUT", "previous_balance": "100.00"}),
        (second, {"operation_type": "TRANSFER_IN", "previous_balance": "0.00"}),
    ):
        assert event.body["data"].items() >= (common | expected).items()
    assert first.body["data"]["counterparty_wallet_id"] == str(TWO)
    assert second.body["data"]["counterparty_wallet_id"] == str(ONE)


def test_no_rates_are_known() -> None:
    coins = make_wallet(TWO, currency=COIN)
    refusal = assert_refused(move("1"), CurrencyMismatch, make_wallet(), coins)
    assert (refusal.status, refusal.code) == (400, "currency_mismatch")
    assert "USD" in refusal.detail
    assert "COIN" in refusal.detail


def test_a_wallet_pays_nothing_to_itself() -> None:
    assert_refused(move("1", ONE, ONE), SameWallet, make_wallet())
    # Whoever is asked about a wallet that is not there need not know.
    assert_refused(move("1", NOBODY, NOBODY), SameWallet, make_wallet())


@pytest.mark.parametrize(
    ("amount", "error"),
    [
        ("0", AmountInvalid),
        ("-1", AmountInvalid),
        ("0.001", AmountTooPrecise),
        ("10000000000000000.01", AmountOutOfRange),
    ],
)
def test_amounts_that_move_nothing(amount: str, error: type[CofferError]) -> None:
    assert_refused(move(amount), error, make_wallet(ONE), make_wallet(TWO))


@pytest.mark.parametrize("still", [ONE, TWO])
@pytest.mark.parametrize(
    ("status", "error"),
    [(WalletStatus.FROZEN, WalletFrozen), (WalletStatus.CLOSED, WalletClosed)],
)
def test_money_moves_neither_into_nor_out_of_a_wallet_that_stands_still(
    still: UUID, status: WalletStatus, error: type[CofferError]
) -> None:
    fields: dict[UUID, Any] = {still: {"status": status}}
    wallets = [make_wallet(wallet_id, **fields.get(wallet_id, {})) for wallet_id in (ONE, TWO)]
    refusal = assert_refused(move("1"), error, *wallets)
    assert str(still) in refusal.detail


@pytest.mark.parametrize(("source", "target"), [(ONE, NOBODY), (NOBODY, ONE)])
def test_a_side_that_is_not_there(source: UUID, target: UUID) -> None:
    refusal = assert_refused(move("1", source, target), WalletNotFound, make_wallet())
    assert str(NOBODY) in refusal.detail


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, 10_000),
        ({"balance_minor": 0}, 0),
        ({"min_balance_minor": -500}, 10_500),
        ({"held_minor": 2_500}, 7_500),
        ({"balance_minor": -300, "shortfall_minor": 300}, -300),
    ],
)
def test_what_is_available_can_be_sent_and_no_more(fields: dict[str, Any], most: int) -> None:
    one_more = move(f"{Decimal(max(most, 0) + 1) / 100}")
    refusal = assert_refused(one_more, InsufficientFunds, make_wallet(**fields), make_wallet(TWO))
    assert Decimal(refusal.extra["available"]) == Decimal(most) / 100
    assert "leg" not in refusal.extra
    if most > 0:
        wallet = make_wallet(**fields)
        accepted(make_ledger(wallet, make_wallet(TWO)), move(f"{Decimal(most) / 100}"))
        assert wallet.available_minor == 0


@pytest.mark.parametrize(
    ("fields", "room"),
    [
        ({"max_balance_minor": 10_001}, 1),
        ({"max_balance_minor": 10_500, "held_minor": 10_000}, 500),
        ({"balance_minor": 0, "max_balance_minor": 100}, 100),
        ({"balance_minor": -200, "min_balance_minor": -200, "max_balance_minor": 0}, 200),
        ({"balance_minor": MAX_AMOUNT_MINOR - 7}, 7),
    ],
)
def test_no_more_comes_in_than_there_is_room_for(fields: dict[str, Any], room: int) -> None:
    one_more = move(f"{Decimal(room + 1) / 100}")
    refusal = assert_refused(one_more, LimitExceeded, make_wallet(), make_wallet(TWO, **fields))
    assert refusal.extra == {"limit": "max_balance"}
    target = make_wallet(TWO, **fields)
    before = target.balance_minor
    accepted(make_ledger(make_wallet(), target), move(f"{Decimal(room) / 100}"))
    assert target.balance_minor == before + room


def test_money_that_comes_in_makes_up_for_a_shortfall() -> None:
    short = make_wallet(TWO, balance_minor=-300, shortfall_minor=300)
    ledger = make_ledger(make_wallet(), short)
    for amount, shortfall_minor in (("1", 200), ("1.50", 50), ("5", 0)):
        accepted(ledger, move(amount))
        assert short.shortfall_minor == shortfall_minor
        assert short.available_minor + short.shortfall_minor >= 0


# Several legs


def test_a_leg_lives_on_what_those_before_it_brought() -> None:
    wallets = [
        make_wallet(wallet_id, balance_minor=balance)
        for wallet_id, balance in ((ONE, 10_000), (TWO, 0), (THREE, 0))
    ]
    ledger = make_ledger(*wallets)
    document = accepted(
        ledger,
        transfer(
            leg(ONE, TWO, "100", 500), leg(TWO, THREE, "100", 501), leg(THREE, ONE, "40", 502)
        ),
    )
    assert [wallet.balance_minor for wallet in wallets] == [4_000, 0, 6_000]
    assert [(entry["source_balance"], entry["target_balance"]) for entry in document["legs"]] == [
        *(("0.00", "100.00"), ("0.00", "100.00"), ("60.00", "40.00")),
    ]
    assert [(entry.wallet_id, entry.seq) for entry in ledger.changes.entries] == [
        *((ONE, 4), (TWO, 4), (TWO, 5), (THREE, 4), (THREE, 5), (ONE, 5)),
    ]
    assert [event.seq for event in ledger.changes.events] == [6, 6, 7, 6, 7, 7]


def test_what_is_brought_later_is_not_there_yet() -> None:
    wallets = [make_wallet(ONE, balance_minor=0), make_wallet(TWO)]
    refusal = assert_refused(
        transfer(leg(ONE, TWO, "1", 500), leg(TWO, ONE, "1", 501)), InsufficientFunds, *wallets
    )
    assert refusal.extra == {"available": "0.00", "leg": 0}


def test_a_wallet_may_pass_on_what_has_no_room_to_stay() -> None:
    """Room is looked at leg by leg as well: what went out before makes some."""
    full = make_wallet(TWO, max_balance_minor=10_000)
    both_ways = (leg(TWO, ONE, "5", 500), leg(ONE, TWO, "5", 501))
    accepted(make_ledger(make_wallet(ONE), full), transfer(*both_ways))
    assert full.balance_minor == 10_000
    refusal = assert_refused(transfer(*reversed(both_ways)), LimitExceeded, make_wallet(ONE), full)
    assert refusal.extra == {"limit": "max_balance", "leg": 0}


@pytest.mark.parametrize("bad", [0, 1, 2])
@pytest.mark.parametrize(
    ("make_bad", "error"),
    [
        (lambda number: leg(TWO, THREE, "1000", number), InsufficientFunds),
        (lambda number: leg(TWO, TWO, "1", number), SameWallet),
        (lambda number: leg(TWO, NOBODY, "1", number), WalletNotFound),
        (lambda number: leg(TWO, THREE, "0", number), AmountInvalid),
        (lambda number: leg(TWO, UUID(int=4), "1", number), CurrencyMismatch),
        (lambda number: leg(UUID(int=5), TWO, "1", number), WalletFrozen),
        (lambda number: leg(TWO, UUID(int=6), "1", number), LimitExceeded),
    ],
)
def test_one_leg_that_cannot_be_done_is_named_and_undoes_all(
    bad: int, make_bad: Any, error: type[CofferError]
) -> None:
    legs = [leg(ONE, TWO, "1", 500), leg(TWO, THREE, "0.50", 501)]
    legs.insert(bad, make_bad(502))
    refusal = assert_refused(
        transfer(*legs),
        error,
        *(make_wallet(wallet_id) for wallet_id in (ONE, TWO, THREE)),
        make_wallet(UUID(int=4), currency=COIN),
        make_wallet(UUID(int=5), status=WalletStatus.FROZEN),
        make_wallet(UUID(int=6), max_balance_minor=10_000),
    )
    assert refusal.extra["leg"] == bad
    assert refusal.problem()["leg"] == bad


def test_a_hundred_legs() -> None:
    """The same money goes round: each leg needs the one before it."""
    ids = [UUID(int=number) for number in range(10, 20)]
    wallets = [make_wallet(id_, balance_minor=0, version=1, entry_seq=0) for id_ in ids]
    wallets[0].balance_minor = 100
    legs = [leg(ids[n % 10], ids[(n + 1) % 10], "1", 500 + n) for n in range(MANY_LEGS)]
    ledger = make_ledger(*wallets)
    document = accepted(ledger, transfer(*legs))
    assert [entry["operation_id"] for entry in document["legs"]] == [
        str(UUID(int=500 + n)) for n in range(MANY_LEGS)
    ]
    assert [wallet.balance_minor for wallet in wallets] == [100, *([0] * 9)]
    assert {(wallet.entry_seq, wallet.version) for wallet in wallets} == {(20, 21)}
    assert len(ledger.changes.entries) == len(ledger.changes.events) == 2 * MANY_LEGS
    assert sum(entry.delta_minor for entry in ledger.changes.entries) == 0
    refusal = assert_refused(
        transfer(*legs, leg(ids[1], ids[2], "1", 600)), InsufficientFunds, *wallets
    )
    assert refusal.extra["leg"] == MANY_LEGS


def test_a_refused_transfer_does_not_disturb_its_neighbours() -> None:
    one, two = make_wallet(ONE, balance_minor=0), make_wallet(TWO, balance_minor=0)
    ledger = make_ledger(one, two)
    answers = decide(
        [
            deposit("5"),
            transfer(leg(ONE, TWO, "5", 501), leg(ONE, TWO, "1", 502)),
            move("4"),
            UpdateWallet(TWO, status=WalletStatus.FROZEN),
            move("1"),
        ],
        ledger,
    )
    assert [type(answer) for answer in answers] == [
        *(Accepted, InsufficientFunds, Accepted, Accepted, WalletFrozen),
    ]
    assert (one.balance_minor, two.balance_minor) == (100, 400)
