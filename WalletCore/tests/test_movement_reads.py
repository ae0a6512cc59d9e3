"""Transfers, holds and reversals are read as they were answered, from either store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from uuid_utils.compat import uuid7

from testkit.ledgers import (
    capture,
    deposit,
    legs,
    memory_store,
    new_wallet,
    place_hold,
    postgres_store,
    reverse,
    transfer,
    void,
    withdraw,
)
from WalletCore.cache import BalanceCache
from WalletCore.domain.commands import Command, ExpireHold, Reverse, UpdateWallet
from WalletCore.domain.errors import (
    CursorInvalid,
    HoldNotFound,
    OperationNotFound,
    TransferNotFound,
    WalletNotFound,
)
from WalletCore.domain.model import Document, HoldStatus, OperationType
from WalletCore.paging import PageRequest
from WalletCore.store import OperationFilter, Store

NO_TIME = timedelta(0)
WORDS: dict[str, Any] = {
    "reference": 'a{b},"c\\ \n NULL',
    "description": "€",
    "metadata": {"tags": [1, None], "é": {"nested": True}},
}


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        with memory_store() as memory:
            yield memory
        return
    with postgres_store(request.getfixturevalue("fresh_postgres_url")) as postgres:
        yield postgres


def done(store: Store, command: Command) -> Document:
    """The document that ``command`` is answered with."""
    outcome = store.execute(command)
    assert outcome.status < 300, outcome.body
    document: Document = orjson.loads(outcome.body)
    return document


def test_a_transfer(store: Store) -> None:
    one, two, three = (new_wallet(store, balance=5) for _ in range(3))
    command = replace(legs((two, one, 5), (one, three, 4), (three, two, 6)), **WORDS)
    answer = done(store, command)
    assert [leg["source_wallet_id"] for leg in answer["legs"]] == [str(two), str(one), str(three)]
    assert store.transfer(command.transfer_id) == answer
    first = command.legs[0].operation_id
    # A reversal, which is related to one of its operations, is no part of it.
    done(store, reverse(store, first))
    assert store.transfer(command.transfer_id) == answer
    for other_id in (first, uuid7()):
        with pytest.raises(TransferNotFound):
            store.transfer(other_id)


def test_the_hold_of_a_capture_is_no_transfer(store: Store) -> None:
    placed = place_hold(new_wallet(store, balance=5))
    done(store, placed)
    done(store, capture(placed, target_id=new_wallet(store)))
    with pytest.raises(TransferNotFound):
        store.transfer(placed.hold_id)


def test_an_operation_between_wallets_is_read_from_the_side_that_gave(store: Store) -> None:
    one, two = new_wallet(store, balance=5), new_wallet(store)
    # Whichever of the two wallets is the older one.
    there, back = transfer(one, two, 5), transfer(two, one, 5)
    for command, source, target in ((there, one, two), (back, two, one)):
        done(store, command)
        (leg,) = command.legs
        assert store.wallets_of_operation(leg.operation_id) == (source, target)
        operation = store.operation(leg.operation_id)
        assert (operation["wallet_id"], operation["operation_type"]) == (
            *(str(source), "TRANSFER_OUT"),
        )
        assert operation["transfer_id"] == str(command.transfer_id)
        assert operation["counterparty_wallet_id"] == str(target)
    operation_id = back.legs[0].operation_id
    undo = reverse(store, operation_id, 2)
    answer = done(store, undo)
    assert store.wallets_of_operation(undo.operation_id) == (one, two)
    assert store.operation(undo.operation_id) == answer
    assert answer["reversed_operation_id"] == str(operation_id)


def test_an_operation_with_the_outside_has_one_wallet(store: Store) -> None:
    wallet_id = new_wallet(store)
    for command in (deposit(wallet_id, 5), withdraw(wallet_id, 2)):
        answer = done(store, command)
        assert store.wallets_of_operation(command.operation_id) == (wallet_id,)
        assert store.operation(command.operation_id) == answer
    with pytest.raises(OperationNotFound):
        store.wallets_of_operation(uuid7())


def test_each_side_is_in_the_history_of_its_wallet(store: Store) -> None:
    one, two = new_wallet(store, balance=9), new_wallet(store)
    moved, placed = replace(transfer(one, two, 4), **WORDS), place_hold(one, 3)
    done(store, moved)
    done(store, placed)
    taken = done(store, replace(capture(placed, 2, target_id=two), **WORDS))["operation"]
    undone = done(store, reverse(store, moved.legs[0].operation_id, 1))

    def history(wallet_id: Any, **wanted: Any) -> list[Document]:
        return store.operations(wallet_id, OperationFilter(**wanted), PageRequest(limit=9)).items

    assert [(item["operation_type"], item["amount"]) for item in history(one)] == [
        *(("REVERSAL_IN", "1.00"), ("CAPTURE_OUT", "2.00")),
        *(("TRANSFER_OUT", "4.00"), ("DEPOSIT", "9.00")),
    ]
    assert [(item["operation_type"], item["seq"]) for item in history(two)] == [
        *(("REVERSAL_OUT", 3), ("CAPTURE_IN", 2), ("TRANSFER_IN", 1)),
    ]
    assert history(one)[1] == taken
    assert history(two)[0] == undone
    assert [item["metadata"] for item in history(two, reference=WORDS["reference"])] == [
        *(WORDS["metadata"], WORDS["metadata"]),
    ]
    [into] = history(two, operation_type=OperationType.CAPTURE_IN)
    assert into["hold_id"] == str(placed.hold_id)
    assert store.trial_balance()["balanced"] is True


def test_a_hold_as_it_changes(store: Store) -> None:
    placed = replace(place_hold(new_wallet(store, balance=5), 4), **WORDS)
    answers = [done(store, placed)]
    assert store.hold(placed.hold_id) == answers[0]
    answers.append(done(store, capture(placed, 1, final=False)))
    del answers[-1]["operation"]
    assert store.hold(placed.hold_id) == answers[-1]
    answers.append(done(store, void(placed)))
    assert store.hold(placed.hold_id) == answers[-1]
    assert [(answer["status"], answer["remaining"]) for answer in answers] == [
        *(("open", "4.00"), ("open", "3.00"), ("voided", "0.00")),
    ]
    with pytest.raises(HoldNotFound):
        store.hold(uuid7())


def test_cached_balances_of_both_sides_are_forgotten(
    fresh_postgres_url: str, redis_url: str
) -> None:
    """Of two processes, one reads what the other one changes."""
    with (
        postgres_store(fresh_postgres_url, cache=BalanceCache(redis_url)) as writer,
        postgres_store(fresh_postgres_url, cache=BalanceCache(redis_url)) as reader,
    ):
        one, two = new_wallet(writer, balance=9), new_wallet(writer)
        moved, placed, due = transfer(one, two, 4), place_hold(one, 3), place_hold(one, 1, NO_TIME)
        commands: list[Command] = [
            *(moved, placed, due, ExpireHold(one, due.hold_id)),
            *(capture(placed, 1, final=False, target_id=two), void(placed)),
            Reverse(moved.legs[0].operation_id, (one, two), uuid7()),
            *(UpdateWallet(wallet, min_balance=Decimal(-1)) for wallet in (one, two)),
        ]
        for command in commands:
            for wallet_id in (one, two):
                reader.balance(wallet_id)
            done(writer, command)
            for wallet_id in (one, two):
                wallet, balance = reader.wallet(wallet_id), reader.balance(wallet_id)
                assert balance.pop("wallet_id") == str(wallet_id)
                assert balance == {name: wallet[name] for name in balance}
                assert balance.keys() >= {"balance", "held", "available", "version"}


def test_the_holds_of_a_wallet_are_listed_newest_first(store: Store) -> None:
    wallet_id = new_wallet(store, balance=9)
    holds = [place_hold(wallet_id) for _ in range(5)]
    for placed in (*holds, place_hold(new_wallet(store, balance=9))):
        done(store, placed)
    done(store, void(holds[1]))
    done(store, capture(holds[3]))

    def listed(status: HoldStatus | None = None, limit: int = 9) -> list[str]:
        found: list[str] = []
        page, balance = store.holds(wallet_id, status, PageRequest(limit=limit))
        assert balance == store.balance(wallet_id)
        while page.next_cursor is not None:
            assert len(page.items) == limit
            found += [item["id"] for item in page.items]
            page, _ = store.holds(
                wallet_id, status, PageRequest(limit=limit, cursor=page.next_cursor)
            )
        return found + [item["id"] for item in page.items]

    newest_first = [str(placed.hold_id) for placed in reversed(holds)]
    for limit in (1, 2, 5, 9):
        assert listed(limit=limit) == newest_first
        assert listed(HoldStatus.OPEN, limit) == newest_first[::2]
    assert listed(HoldStatus.VOIDED) == [newest_first[3]]
    assert listed(HoldStatus.CAPTURED) == [newest_first[1]]
    assert listed(HoldStatus.EXPIRED) == []
    with pytest.raises(WalletNotFound):
        store.holds(uuid7(), None, PageRequest(limit=1))
    with pytest.raises(CursorInvalid):
        store.holds(wallet_id, None, PageRequest(limit=1, cursor="x"))


def test_holds_whose_time_is_over_are_due_until_they_are_expired(store: Store) -> None:
    wallet_id = new_wallet(store, balance=9)
    late, later = (place_hold(wallet_id, 1, timedelta(seconds=-2 + n)) for n in range(2))
    open_yet, now = place_hold(wallet_id), place_hold(wallet_id, 1, NO_TIME)
    for placed in (later, late, open_yet, now):
        done(store, placed)
    due = [(wallet_id, placed.hold_id) for placed in (late, later, now)]
    assert store.due_holds(9) == due
    assert store.due_holds(2) == due[:2]
    for number, (_, hold_id) in enumerate(due, start=1):
        assert done(store, ExpireHold(wallet_id, hold_id))["status"] == "expired"
        assert store.due_holds(9) == due[number:]
    assert store.wallet(wallet_id)["held"] == "1.00"
