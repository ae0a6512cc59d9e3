"""Holds expire by themselves: in time, once, whoever is there to do it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from datetime import timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from testkit.ledgers import audit, memory_store, new_wallet, postgres_store
from testkit.services import TestDatabases
from testkit.waiting import eventually
from WalletCore import expirer
from WalletCore.domain.commands import ExpireHold, PlaceHold, VoidHold
from WalletCore.domain.errors import Unavailable
from WalletCore.expirer import HoldExpirer
from WalletCore.paging import PageRequest
from WalletCore.store import Outcome, Store

MANY_HOLDS: Final = 40
LIMIT_SECONDS: Final = 20.0


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest, test_databases: TestDatabases) -> Iterator[Store]:
    with ExitStack() as stack:
        if request.param == "memory":
            yield stack.enter_context(memory_store())
        else:
            yield stack.enter_context(
                postgres_store(stack.enter_context(test_databases.migrated()))
            )


def place(store: Store, wallet_id: UUID, seconds: float, amount: int = 1) -> UUID:
    hold_id = uuid7()
    command = PlaceHold(wallet_id, hold_id, Decimal(amount), timedelta(seconds=seconds))
    assert store.execute(command).status == 201
    return hold_id


def expiries(store: Store) -> list[str]:
    """The holds that the log says have expired."""
    events = store.events(PageRequest(None, 200)).items
    return [event["data"]["id"] for event in events if event["type"] == "coffer.hold.expired"]


def test_a_hold_expires_within_a_second_of_its_time(store: Store) -> None:
    wallet_id = new_wallet(store, balance=10)
    hold_id = place(store, wallet_id, 0.3, amount=4)
    later = place(store, wallet_id, 3600, amount=2)
    assert store.balance(wallet_id)["available"] == "4.00"
    placed_at = time.monotonic()
    eventually(lambda: store.hold(hold_id)["status"] == "expired", "the expiry", LIMIT_SECONDS)
    waited = time.monotonic() - placed_at
    assert store.balance(wallet_id)["available"] == "8.00"
    assert store.hold(later)["status"] == "open"
    assert expiries(store) == [str(hold_id)]
    # Its own time, one look, and what a busy machine takes.
    assert waited < 0.3 + expirer.POLL_SECONDS + LIMIT_SECONDS / 4


def test_what_was_voided_in_time_does_not_expire(store: Store) -> None:
    wallet_id = new_wallet(store, balance=10)
    voided, expired = place(store, wallet_id, 0.5), place(store, wallet_id, 0.5)
    assert store.execute(VoidHold(wallet_id, voided)).status == 200
    eventually(lambda: store.hold(expired)["status"] == "expired", "the expiry", LIMIT_SECONDS)
    assert store.hold(voided)["status"] == "voided"
    assert expiries(store) == [str(expired)]


def test_each_expires_once_whoever_looks(fresh_postgres_url: str) -> None:
    with postgres_store(fresh_postgres_url) as store, postgres_store(fresh_postgres_url):
        wallets = [new_wallet(store, balance=100) for _ in range(4)]
        holds = [place(store, wallets[number % 4], 0.5) for number in range(MANY_HOLDS)]
        eventually(lambda: len(expiries(store)) >= MANY_HOLDS, "all expiries", LIMIT_SECONDS)
        time.sleep(2 * expirer.POLL_SECONDS)
        assert sorted(expiries(store)) == sorted(map(str, holds))
        assert {store.balance(wallet)["held"] for wallet in wallets} == {"0.00"}
    assert audit(fresh_postgres_url) == []


def test_what_came_due_while_nobody_was_there_expires_later(fresh_postgres_url: str) -> None:
    with postgres_store(fresh_postgres_url) as store:
        wallet_id = new_wallet(store, balance=10)
        store._expirer.close()
        hold_id = place(store, wallet_id, 0.1)
        time.sleep(0.1 + 2 * expirer.POLL_SECONDS)
        assert store.hold(hold_id)["status"] == "open"
    with postgres_store(fresh_postgres_url) as store:
        eventually(lambda: store.hold(hold_id)["status"] == "expired", "the expiry", LIMIT_SECONDS)


def test_more_than_one_look_takes_are_taken_by_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expirer, "MAX_DUE_HOLDS", 3)
    monkeypatch.setattr(expirer, "POLL_SECONDS", 0.01)
    left = [(uuid7(), uuid7()) for _ in range(7)]
    looks: list[int] = []

    def due(limit: int, _without: Collection[UUID]) -> list[tuple[UUID, UUID]]:
        looks.append(limit)
        if len(looks) == 1:
            raise Unavailable("The database is away for a moment.")
        return left[:limit]

    def execute(command: ExpireHold) -> Outcome:
        left.remove((command.wallet_id, command.hold_id))
        return Outcome(200, b'{"status":"expired"}')

    one = HoldExpirer(due, execute)
    eventually(lambda: not left, "all of them", LIMIT_SECONDS)
    one.close()
    assert set(looks) == {3}
