"""The rules of money on plain values: no store, no clock, no thread."""

from __future__ import annotations

import copy
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from WalletCore.domain.commands import Command, CreateWallet, Deposit, UpdateWallet, Withdraw
from WalletCore.domain.errors import (
    AmountInvalid,
    AmountOutOfRange,
    AmountTooPrecise,
    CofferError,
    CurrencyUnknown,
    InsufficientFunds,
    LimitExceeded,
    WalletClosed,
    WalletFrozen,
    WalletNotFound,
)
from WalletCore.domain.ledger import Answer, decide
from WalletCore.domain.model import OperationType, WalletStatus, wallet_document
from WalletCore.domain.money import MAX_AMOUNT_MINOR
from WalletCore.domain.working_set import Accepted
from WalletCore.tests.ledger_values import (
    COIN,
    NOBODY,
    NOW,
    ONE,
    TWO,
    assert_refused,
    deposit,
    make_ledger,
    make_wallet,
    withdraw,
)

# Creating


def test_create() -> None:
    ledger = make_ledger()
    command = CreateWallet(ONE, "USD", "someone", "Savings", Decimal(-5), {"a": 1})
    answer = ledger.decide(command)
    wallet = ledger.changes.created[ONE]
    assert answer == Accepted(201, wallet_document(wallet))
    assert (wallet.version, wallet.entry_seq, wallet.balance_minor) == (1, 0, 0)
    assert (wallet.min_balance_minor, wallet.available_minor) == (-500, 500)
    assert wallet.status is WalletStatus.ACTIVE
    assert wallet.created_at == wallet.updated_at == NOW
    assert not ledger.changes.changed
    [event] = ledger.changes.events
    assert (event.type, event.seq, event.user_id) == ("coffer.wallet.created", 1, "someone")
    assert event.body["data"] == wallet_document(wallet)


@pytest.mark.parametrize(
    ("currency", "min_balance", "error"),
    [
        ("ZZZ", "0", CurrencyUnknown),
        ("USD", "0.01", AmountInvalid),
        ("USD", "-0.001", AmountTooPrecise),
        ("COIN", "-0.5", AmountTooPrecise),
        ("COIN", "-1000000000000000001", AmountOutOfRange),
    ],
)
def test_create_refused(currency: str, min_balance: str, error: type[CofferError]) -> None:
    assert_refused(CreateWallet(ONE, currency, min_balance=Decimal(min_balance)), error)


def test_a_wallet_can_be_used_in_the_batch_that_makes_it() -> None:
    ledger = make_ledger()
    answers = decide([CreateWallet(ONE, "USD"), deposit("5"), withdraw("2")], ledger)
    assert [type(answer) for answer in answers] == [Accepted] * 3
    wallet = ledger.changes.created[ONE]
    assert (wallet.balance_minor, wallet.version, wallet.entry_seq) == (300, 3, 2)
    assert not ledger.changes.changed, "a new wallet is written once, as it is at the end"


# Moving money


def test_deposit() -> None:
    wallet = make_wallet()
    ledger = make_ledger(wallet)
    answer = ledger.decide(deposit("10.50", reference="r", description="d", metadata={"k": "v"}))
    assert isinstance(answer, Accepted)
    assert answer.status == 200
    assert answer.document == {
        "id": str(UUID(int=500)),
        "wallet_id": str(ONE),
        "operation_type": "DEPOSIT",
        "amount": "10.50",
        "currency": "USD",
        "previous_balance": "100.00",
        "new_balance": "110.50",
        "seq": 4,
        "status": "COMPLETED",
        "reference": "r",
        "description": "d",
        "metadata": {"k": "v"},
        "created_at": "2030-01-31T12:00:00.000000Z",
    }
    assert (wallet.balance_minor, wallet.version, wallet.entry_seq) == (11_050, 6, 4)
    assert ledger.changes.changed == {ONE: wallet}
    [entry] = ledger.changes.entries
    assert (entry.delta_minor, entry.balance_after_minor, entry.seq) == (1050, 11_050, 4)
    assert entry.counterparty == "external"
    [event] = ledger.changes.events
    assert (event.type, event.seq) == ("coffer.operation.completed", 6)
    assert event.body["data"] == answer.document


def test_withdraw() -> None:
    wallet = make_wallet()
    ledger = make_ledger(wallet)
    answer = ledger.decide(withdraw("100"))
    assert isinstance(answer, Accepted)
    assert answer.document["amount"] == "100.00"
    assert answer.document["new_balance"] == "0.00"
    [entry] = ledger.changes.entries
    assert entry.operation_type is OperationType.WITHDRAW
    assert (entry.delta_minor, entry.balance_after_minor) == (-10_000, 0)
    assert wallet.balance_minor == 0


@pytest.mark.parametrize("make", [deposit, withdraw])
@pytest.mark.parametrize(
    ("amount", "error"),
    [
        ("0", AmountInvalid),
        ("-1", AmountInvalid),
        ("0.001", AmountTooPrecise),
        ("10000000000000000.01", AmountOutOfRange),
    ],
)
def test_amounts_that_move_nothing(make: Any, amount: str, error: type[CofferError]) -> None:
    assert_refused(make(amount), error, make_wallet())


@pytest.mark.parametrize("make", [deposit, withdraw])
@pytest.mark.parametrize(
    ("status", "error"),
    [(WalletStatus.FROZEN, WalletFrozen), (WalletStatus.CLOSED, WalletClosed)],
)
def test_wallets_whose_money_stands_still(
    make: Any, status: WalletStatus, error: type[CofferError]
) -> None:
    assert_refused(make("1"), error, make_wallet(status=status))


def test_a_wallet_that_is_not_there() -> None:
    for command in (deposit("1", NOBODY), withdraw("1", NOBODY), UpdateWallet(NOBODY, name="x")):
        refusal = assert_refused(command, WalletNotFound, make_wallet())
        assert str(NOBODY) in refusal.detail


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, 10_000),
        ({"balance_minor": 0}, 0),
        ({"min_balance_minor": -500}, 10_500),
        ({"balance_minor": -400, "min_balance_minor": -500}, 100),
        ({"held_minor": 2_500}, 7_500),
        ({"held_minor": 10_000}, 0),
        ({"balance_minor": -300, "shortfall_minor": 300}, -300),
    ],
)
def test_what_is_available_can_be_taken_and_no_more(fields: dict[str, Any], most: int) -> None:
    one_more = withdraw(f"{Decimal(max(most, 0) + 1) / 100}")
    refusal = assert_refused(one_more, InsufficientFunds, make_wallet(**fields))
    assert Decimal(refusal.extra["available"]) == Decimal(most) / 100
    if most > 0:
        wallet = make_wallet(**fields)
        assert isinstance(make_ledger(wallet).decide(withdraw(f"{Decimal(most) / 100}")), Accepted)
        assert wallet.available_minor == 0


def test_a_balance_has_an_upper_bound() -> None:
    nearly: dict[str, Any] = {"currency": COIN, "balance_minor": MAX_AMOUNT_MINOR - 1}
    refusal = assert_refused(deposit("2"), LimitExceeded, make_wallet(**nearly))
    assert refusal.extra["limit"] == "max_balance"
    wallet = make_wallet(**nearly)
    assert isinstance(make_ledger(wallet).decide(deposit("1")), Accepted)
    assert wallet.balance_minor == MAX_AMOUNT_MINOR


def test_a_balance_has_a_lower_bound() -> None:
    fields: dict[str, Any] = {"currency": COIN, "min_balance_minor": -MAX_AMOUNT_MINOR}
    wallet = make_wallet(balance_minor=0, **fields)
    assert isinstance(make_ledger(wallet).decide(withdraw(str(MAX_AMOUNT_MINOR))), Accepted)
    assert wallet.balance_minor == -MAX_AMOUNT_MINOR
    assert_refused(withdraw("1"), InsufficientFunds, wallet)


def test_money_that_comes_in_makes_up_for_a_shortfall() -> None:
    wallet = make_wallet(balance_minor=-300, shortfall_minor=300)
    ledger = make_ledger(wallet)
    for amount, shortfall_minor in (("1", 200), ("1.50", 50), ("5", 0)):
        ledger.decide(deposit(amount))
        assert wallet.shortfall_minor == shortfall_minor
        assert wallet.available_minor + wallet.shortfall_minor >= 0
    ledger.decide(withdraw("4.50"))
    assert (wallet.balance_minor, wallet.shortfall_minor) == (0, 0)


def test_time_does_not_run_backwards_in_a_wallet() -> None:
    later = NOW + timedelta(seconds=5)
    wallet = make_wallet(updated_at=later)
    ledger = make_ledger(wallet)
    ledger.decide(deposit("1"))
    assert wallet.updated_at == later
    assert ledger.changes.entries[0].created_at == later
    assert ledger.changes.events[0].created_at == later


# Batches


def test_a_refusal_does_not_disturb_its_neighbours() -> None:
    one, two = make_wallet(ONE, balance_minor=0), make_wallet(TWO, balance_minor=0)
    ledger = make_ledger(one, two)
    answers = decide(
        [
            deposit("5", ONE),
            withdraw("9", ONE),
            deposit("7", TWO),
            deposit("1", NOBODY),
            withdraw("5", ONE),
        ],
        ledger,
    )
    assert [type(answer).__name__ for answer in answers] == [
        "Accepted",
        "InsufficientFunds",
        "Accepted",
        "WalletNotFound",
        "Accepted",
    ]
    assert (one.balance_minor, two.balance_minor) == (0, 700)
    assert [entry.seq for entry in ledger.changes.entries] == [4, 4, 5]


def test_answers_are_of_their_moment() -> None:
    ledger = make_ledger(make_wallet(balance_minor=0))
    first, second = decide([deposit("5"), deposit("6")], ledger)
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert first.document["new_balance"] == "5.00"
    assert second.document["previous_balance"] == "5.00"


amounts = st.decimals(-2, 10**18, allow_nan=False, places=3) | st.integers(1, 2000).map(
    lambda cents: Decimal(cents) / 100
)
moves = st.builds(
    lambda make, wallet_id, number, amount: make(wallet_id, UUID(int=number), amount),
    st.sampled_from([Deposit, Withdraw]),
    st.sampled_from([ONE, TWO, NOBODY]),
    st.integers(2000, 9000),
    amounts,
)
updates = st.builds(
    UpdateWallet,
    st.sampled_from([ONE, TWO, NOBODY]),
    name=st.sampled_from([None, "a", "b"]),
    status=st.sampled_from(list(WalletStatus)),
)


@given(st.lists(moves | moves | updates, max_size=40), st.integers(-5000, 0))
def test_invariants_hold_after_every_batch(commands: list[Command], min_balance: int) -> None:
    wallets = [
        make_wallet(ONE, min_balance_minor=min_balance),
        make_wallet(TWO, balance_minor=0, currency=COIN),
    ]
    start = {wallet.id: copy.deepcopy(wallet) for wallet in wallets}
    ledger = make_ledger(*wallets)
    answers: list[Answer] = decide(commands, ledger)
    assert len(answers) == len(commands)
    done = sum(isinstance(answer, Accepted) for answer in answers)
    assert len(ledger.changes.entries) <= len(ledger.changes.events) <= done
    for wallet in wallets:
        before = start[wallet.id]
        entries = [entry for entry in ledger.changes.entries if entry.wallet_id == wallet.id]
        events = [event for event in ledger.changes.events if event.wallet_id == wallet.id]
        balance = before.balance_minor
        for seq, entry in enumerate(entries, start=before.entry_seq + 1):
            balance += entry.delta_minor
            assert (entry.seq, entry.balance_after_minor) == (seq, balance)
        assert wallet.balance_minor == balance
        assert wallet.entry_seq == before.entry_seq + len(entries)
        assert [event.seq for event in events] == list(
            range(before.version + 1, wallet.version + 1)
        )
        assert wallet.available_minor >= 0
        assert abs(wallet.balance_minor) <= MAX_AMOUNT_MINOR
        assert (wallet.id in ledger.changes.changed) == (wallet.version > before.version)
        assert wallet.status is not WalletStatus.CLOSED or wallet.balance_minor == 0
