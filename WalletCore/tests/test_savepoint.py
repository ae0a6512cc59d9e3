"""Everything is put back, and what is tried out leaves no trace among its neighbours."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from testkit.ledgers import Gate, done, memory_store, new_wallet, withdraw
from WalletCore.domain.commands import (
    Command,
    CreateWallet,
    Group,
    Leg,
    Reverse,
    SendMessage,
    Transfer,
    UpdateWallet,
)
from WalletCore.domain.errors import CofferError
from WalletCore.domain.working_set import Accepted
from WalletCore.tests.ledger_values import (
    ONE,
    TWO,
    deposit,
    make_ledger,
    make_wallet,
)

COMMANDS: list[Command] = [
    deposit("5"),
    CreateWallet(uuid7(), "USD"),
    UpdateWallet(ONE, name="new", status=UpdateWallet(ONE).status),
    UpdateWallet(ONE, min_balance=Decimal(-5)),
    Transfer(uuid7(), (Leg(uuid7(), ONE, TWO, Decimal(1)),)),
    SendMessage(uuid7(), "alice", "hello"),
    Group((deposit("5"), deposit("1", TWO))),
]


def state(ledger: Any) -> Any:
    return copy.deepcopy((ledger.wallets, ledger.messages, ledger.holds, ledger.changes))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_what_is_tried_out_is_answered_and_leaves_no_trace(command: Command) -> None:
    ledger = make_ledger(make_wallet(), make_wallet(TWO))
    # Something has happened to the same wallets before, which stays.
    assert isinstance(ledger.decide(deposit("3")), Accepted)
    assert isinstance(ledger.decide(UpdateWallet(TWO, name="before")), Accepted)
    before = state(ledger)
    wallets = dict(ledger.wallets)
    answer = ledger.try_out(command, {ONE, TWO})
    assert isinstance(answer, Accepted)
    assert state(ledger) == before
    assert all(ledger.wallets[id_] is wallet for id_, wallet in wallets.items())
    # Done afterwards, it is answered in the same way but for ids and versions of events.
    again = ledger.decide(command)
    assert isinstance(again, Accepted)
    assert again.document == answer.document


def test_a_refused_group_leaves_no_trace() -> None:
    ledger = make_ledger(make_wallet(), make_wallet(TWO))
    ledger.decide(deposit("3"))
    before = state(ledger)
    group = Group((deposit("5"), deposit("1", TWO), deposit("1", UUID(int=77))))
    answer = ledger.decide(group)
    assert isinstance(answer, CofferError)
    assert answer.extra["index"] == 2
    assert state(ledger) == before


def test_a_group_that_is_not_atomic_does_what_can_be_done() -> None:
    ledger = make_ledger(make_wallet())
    answer = ledger.decide(Group((deposit("5"), deposit("1", TWO), deposit("1")), atomic=False))
    assert isinstance(answer, Accepted)
    assert (answer.document["done"], answer.document["refused"]) == (2, 1)
    assert [result["status"] for result in answer.document["results"]] == [200, 404, 200]
    assert ledger.wallets[ONE].balance_minor == 10_600


def test_a_dry_run_amid_a_batch_sees_what_came_before_and_is_not_seen() -> None:
    with memory_store() as store:
        wallet_id = new_wallet(store, balance=5)
        gate = Gate(store)
        gate.shut()
        first = gate.submit(withdraw(wallet_id, 5))
        tried = gate._pool.submit(gate.committer.submit, withdraw(wallet_id, 1), dry_run=True)
        last = gate.submit(Reverse(uuid7(), (wallet_id,), uuid7()))
        gate.open()
        outcomes = done([future.result() for future in (first, tried, last)])
        assert [outcome.status for outcome in outcomes] == [200, 400, 404]
        assert store.wallet(wallet_id)["version"] == 3
