"""Transfers, holds, reversals and limits that meet in one batch, hence in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from testkit.ledgers import (
    Gate,
    audit,
    balance_of,
    capture,
    code_of,
    deposit,
    done,
    keyed,
    legs,
    memory_store,
    new_wallet,
    place_hold,
    postgres_store,
    reverse,
    sizes_of,
    transfer,
    void,
    withdraw,
)
from WalletCore.domain.commands import Command, Reverse, UpdateWallet
from WalletCore.domain.errors import NotStorable
from WalletCore.domain.model import WalletStatus
from WalletCore.memory import MemoryStore
from WalletCore.postgres.store import PostgresStore
from WalletCore.postgres.verify import verify


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[MemoryStore | PostgresStore]:
    if request.param == "memory":
        with memory_store() as memory:
            yield memory
        return
    url: str = request.getfixturevalue("fresh_postgres_url")
    with postgres_store(url) as postgres:
        yield postgres
    assert audit(url) == []
    assert list(verify(url))[-1].difference is None


@pytest.fixture
def batch(store: MemoryStore | PostgresStore, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Decides commands in one batch; gives the code of each answer."""
    gate, sizes = Gate(store), sizes_of(store, monkeypatch)

    def decide(*commands: Command) -> list[str]:
        sizes.clear()
        answers = done(gate.batch([(command, None) for command in commands]))
        # The first one is that behind the gate.
        assert sizes == [1, len(commands)], "one transaction, at the first try"
        return [code_of(answer) for answer in answers]

    return decide


def limits(wallet_id: Any, **amounts: int) -> UpdateWallet:
    wanted: dict[str, Any] = {name: Decimal(amount) for name, amount in amounts.items()}
    return UpdateWallet(wallet_id, **wanted)


# -- Limits and balances of one wallet ---------------------------------------------------------


def test_a_limit_is_lowered_and_used_at_once(store: MemoryStore, batch: Any) -> None:
    """Neither the balance nor the limit could be written before the other one."""
    wallet_id = new_wallet(store, balance=5)
    assert batch(limits(wallet_id, min_balance=-10), withdraw(wallet_id, 12)) == ["", ""]
    wallet = store.wallet(wallet_id)
    assert (wallet["balance"], wallet["min_balance"], wallet["available"]) == (
        *("-7.00", "-10.00", "3.00"),
    )
    assert (wallet["version"], wallet["entry_seq"]) == (4, 2)


def test_a_limit_is_raised_to_what_just_came_in(store: MemoryStore, batch: Any) -> None:
    wallet_id = new_wallet(store, limit=-10)
    assert batch(withdraw(wallet_id, 10)) == [""]
    assert batch(
        limits(wallet_id, min_balance=0),
        deposit(wallet_id, 10),
        limits(wallet_id, min_balance=0),
        withdraw(wallet_id, 1),
    ) == ["limit_exceeded", "", "", "insufficient_funds"]
    wallet = store.wallet(wallet_id)
    assert (wallet["balance"], wallet["min_balance"]) == ("0.00", "0.00")


def test_a_ceiling_moves_with_the_balance(store: MemoryStore, batch: Any) -> None:
    wallet_id = new_wallet(store, balance=5)
    assert batch(
        withdraw(wallet_id, 4), limits(wallet_id, max_balance=1), deposit(wallet_id, 1)
    ) == ["", "", "limit_exceeded"]
    assert batch(limits(wallet_id, max_balance=50), deposit(wallet_id, 49)) == ["", ""]
    wallet = store.wallet(wallet_id)
    assert wallet["balance"] == wallet["max_balance"] == "50.00"
    emptied = [withdraw(wallet_id, 50), UpdateWallet(wallet_id, status=WalletStatus.CLOSED)]
    assert batch(*emptied, deposit(wallet_id)) == ["", "", "wallet_closed"]


def test_a_new_wallet_is_limited_and_used_at_once(store: MemoryStore, batch: Any) -> None:
    new, other = new_wallet(store), new_wallet(store)
    placed = place_hold(new, 2)
    assert batch(
        limits(new, min_balance=-5, max_balance=5),
        placed,
        transfer(new, other, 3),
        withdraw(new),
        capture(placed, target_id=other),
        deposit(new, 10),
    ) == ["", "", "", "insufficient_funds", "", ""]
    wallet = store.wallet(new)
    assert (wallet["balance"], wallet["held"], wallet["version"]) == ("5.00", "0.00", 6)
    assert balance_of(store, other) == 5


# -- Holds -------------------------------------------------------------------------------------


def test_a_hold_is_placed_and_captured(store: MemoryStore, batch: Any) -> None:
    wallet_id = new_wallet(store, balance=5)
    placed = place_hold(wallet_id, 4)
    assert batch(placed, withdraw(wallet_id, 2), capture(placed, 3), void(placed)) == [
        *("", "insufficient_funds", "", "hold_already_resolved")
    ]
    hold = store.hold(placed.hold_id)
    assert (hold["status"], hold["captured"], hold["remaining"]) == ("captured", "3.00", "0.00")
    wallet = store.wallet(wallet_id)
    assert (wallet["balance"], wallet["held"], wallet["available"]) == ("2.00", "0.00", "2.00")


def test_a_hold_is_captured_in_parts(store: MemoryStore, batch: Any) -> None:
    """Some of them in the batch that places it, the others in the next one."""
    source, target = new_wallet(store, balance=5), new_wallet(store)
    placed = place_hold(source, 4)

    def part() -> Command:
        return capture(placed, 1, final=False, target_id=target)

    assert batch(placed, part(), part()) == ["", "", ""]
    assert store.hold(placed.hold_id)["remaining"] == "2.00"
    assert batch(part(), part(), part()) == ["", "", "hold_already_resolved"]
    assert store.hold(placed.hold_id)["status"] == "captured"
    assert [balance_of(store, wallet) for wallet in (source, target)] == [1, 4]


def test_several_holds_of_several_wallets(store: MemoryStore, batch: Any) -> None:
    wallets = [new_wallet(store, balance=5) for _ in range(3)]
    placed = [place_hold(wallet_id, 5) for wallet_id in wallets]
    assert batch(*placed) == ["", "", ""]
    assert batch(
        void(placed[2]),
        capture(placed[0], target_id=wallets[1]),
        capture(placed[1], 2, target_id=wallets[2]),
    ) == ["", "", ""]
    assert [balance_of(store, wallet) for wallet in wallets] == [0, 8, 7]
    assert {store.wallet(wallet)["held"] for wallet in wallets} == {"0.00"}


# -- Transfers and reversals -------------------------------------------------------------------


def test_transfers_of_one_batch_live_on_each_other(store: MemoryStore, batch: Any) -> None:
    one, two, three = (new_wallet(store) for _ in range(3))
    assert batch(
        transfer(two, three, 5),
        deposit(one, 5),
        transfer(one, two, 5),
        legs((two, three, 5), (three, one, 2), (two, one, 1)),
        legs((two, three, 5), (three, one, 2)),
    ) == ["insufficient_funds", "", "", "insufficient_funds", ""]
    assert [balance_of(store, wallet) for wallet in (one, two, three)] == [2, 0, 3]


def test_an_operation_is_reversed_in_parts(store: MemoryStore, batch: Any) -> None:
    one, two = new_wallet(store, balance=10), new_wallet(store)
    moved = transfer(one, two, 10)
    assert batch(moved) == [""]
    operation_id = moved.legs[0].operation_id

    def part(amount: int | None) -> Reverse:
        return reverse(store, operation_id, amount)

    assert batch(part(4), withdraw(two, 6), part(3), deposit(two, 1), part(1)) == [
        *("", "", "insufficient_funds", "", "")
    ]
    assert batch(part(6), deposit(two, 5), part(None), part(None)) == [
        *("reversal_exceeded", "", "", "not_reversible")
    ]
    assert [balance_of(store, wallet) for wallet in (one, two)] == [10, 0]


def test_a_shortfall_is_stored_and_falls(store: MemoryStore, batch: Any) -> None:
    wallet_id = new_wallet(store)
    put = deposit(wallet_id, 5)
    assert batch(put, withdraw(wallet_id, 5)) == ["", ""]
    undo = Reverse(put.operation_id, (wallet_id,), uuid7(), allow_negative=True)
    assert batch(undo, withdraw(wallet_id), deposit(wallet_id, 2)) == ["", "insufficient_funds", ""]
    assert store.wallet(wallet_id)["available"] == "-3.00"
    assert batch(deposit(wallet_id, 2), limits(wallet_id, min_balance=-1)) == ["", ""]
    assert batch(deposit(wallet_id, 1), withdraw(wallet_id), withdraw(wallet_id)) == [
        *("", "", "insufficient_funds")
    ]
    assert balance_of(store, wallet_id) == -1


def test_one_that_cannot_be_stored_leaves_holds_and_operations_as_they_were(
    store: MemoryStore,
) -> None:
    """All of the batch is decided anew, from what is stored."""
    one, two = new_wallet(store, balance=10), new_wallet(store)
    moved, placed = transfer(one, two, 4), place_hold(one, 6)
    for command in (moved, placed):
        assert store.execute(command).status == 201
    operation_id = moved.legs[0].operation_id
    sent: list[Command] = [
        capture(placed, 2, final=False),
        reverse(store, operation_id, 3),
        replace(capture(placed, 1, final=False), description="\ud800"),
        replace(reverse(store, operation_id, 1), description="\ud800"),
        capture(placed, 4, final=False),
        reverse(store, operation_id, 1),
    ]
    answers = Gate(store).batch([(command, None) for command in sent])
    assert [type(answer) for answer in answers[2:4]] == [NotStorable, NotStorable]
    assert [code_of(answer) for answer in done(answers[:2] + answers[4:])] == [""] * 4
    assert store.hold(placed.hold_id)["status"] == "captured"
    assert [balance_of(store, wallet) for wallet in (one, two)] == [4, 0]


def test_each_is_remembered_under_its_key(store: MemoryStore) -> None:
    one, two = new_wallet(store, balance=10), new_wallet(store)
    moved, placed = transfer(one, two, 4), place_hold(one, 6)
    assert store.execute(moved).status == 201
    commands: Sequence[Command] = [
        reverse(store, moved.legs[0].operation_id, 1),
        placed,
        capture(placed, 5),
        void(placed),
        transfer(one, two, 100),
    ]
    sent = [(command, keyed(f"k{number}")) for number, command in enumerate(commands)]
    first = done(Gate(store).batch(sent))
    assert [code_of(answer) for answer in first] == [
        *("", "", "", "hold_already_resolved", "insufficient_funds")
    ]
    before = store.wallet(one)
    for (command, key), answer in zip(sent, first, strict=True):
        again = store.execute(command, key)
        assert again.replayed
        assert (again.status, again.body) == (answer.status, answer.body)
    assert store.wallet(one) == before
