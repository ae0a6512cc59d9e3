"""Many commands in one call: in their order, each with the truth, and in nobody's way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import psycopg
import pytest
from uuid_utils.compat import uuid7

from testkit.ledgers import (
    Gate,
    audit,
    balance_of,
    code_of,
    deposit,
    memory_store,
    new_wallet,
    postgres_store,
    transfer,
)
from testkit.waiting import eventually
from WalletCore import committer
from WalletCore.domain.commands import Command, Group, PlaceHold
from WalletCore.domain.errors import Overloaded, Unavailable
from WalletCore.postgres import connect
from WalletCore.postgres.connect import connection_info
from WalletCore.store import Outcome, Transaction

COUNT: Final = 10


def test_what_was_done_before_a_stop_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that of a slice that was only begun."""
    monkeypatch.setattr(committer, "MAX_BATCH_COMMANDS", 3)
    with memory_store() as store:
        wallet_id = new_wallet(store)
        put = store._committer._put
        left = [5]

        def closing(submission: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Unavailable("This process is shutting down; nothing was done.")
            put(submission)

        monkeypatch.setattr(store._committer, "_put", closing)
        results = store.execute_each([(deposit(wallet_id), None) for _ in range(COUNT)])
        done = [isinstance(result, Outcome) for result in results]
        assert done == [True] * 5 + [False] * 5
        assert all(isinstance(result, Unavailable) for result in results[5:])
        assert balance_of(store, wallet_id) == 5


def test_a_later_one_never_overtakes_an_earlier_one_by_joining() -> None:
    """The second one's target is locked already, and nothing of the first one, which brings the
    money."""
    with memory_store() as store:
        source, middle, hot = new_wallet(store, balance=10), new_wallet(store), new_wallet(store)
        gate = Gate(store)
        inner = gate._source
        at_the_lock, go_on = threading.Event(), threading.Event()

        @contextmanager
        def begin() -> Iterator[Transaction]:
            at_the_lock.set()
            assert go_on.wait(10)
            with inner.begin() as transaction:
                yield transaction

        gate.shut()
        gate.begin = begin  # type: ignore[method-assign]
        first = gate.submit(deposit(hot, "0.01"))
        gate.open()
        assert at_the_lock.wait(10)
        results: list[Any] = []
        commands: list[tuple[Command, None]] = [
            (transfer(source, middle, 3), None),
            (transfer(middle, hot, 3), None),
        ]
        sender = threading.Thread(target=lambda: results.extend(store.execute_each(commands)))
        sender.start()
        eventually(lambda: gate.waiting() == len(commands), "both in the queue")
        go_on.set()
        sender.join(10)
        assert first.result().status == 200
        assert [code_of(result) for result in results] == ["", ""]


def test_all_of_a_slice_wait_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "QUEUE_WAIT_SECONDS", 0.3)
    with memory_store() as store:
        wallet_id = new_wallet(store)
        gate = Gate(store)
        gate.shut()
        results: list[Any] = []
        many = [(deposit(wallet_id), None) for _ in range(COUNT)]
        sender = threading.Thread(target=lambda: results.extend(store.execute_each(many)))
        sender.start()
        sender.join(0.3 * COUNT / 2)
        assert not sender.is_alive()
        gate.open()
        assert all(isinstance(result, Overloaded) for result in results)
        assert balance_of(store, wallet_id) == 0


def test_a_large_group_is_in_nobodys_way(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a lock here; others are done meanwhile, a second one of its kind is refused."""
    with postgres_store(fresh_postgres_url) as store:
        locked, other = new_wallet(store), new_wallet(store)
        large = Group(tuple(deposit(locked) for _ in range(committer.MAX_BATCH_COMMANDS + 1)))
        results: list[Outcome] = []
        with psycopg.connect(connection_info(fresh_postgres_url)) as holder:
            holder.execute("SELECT FROM coffer.wallets WHERE id = %s FOR UPDATE", (locked,))
            sender = threading.Thread(target=lambda: results.append(store.execute(large)))
            sender.start()
            lane = store._large_groups
            eventually(lambda: not lane._slots._value, "its place")
            assert store.execute(deposit(other)).status == 200
            with pytest.raises(Overloaded):
                store.execute(Group(large.commands))
            assert sender.is_alive()
        sender.join(20)
        assert [outcome.status for outcome in results] == [200]
        assert balance_of(store, locked) == len(large.commands)
    assert audit(fresh_postgres_url) == []


def test_holds_of_a_locked_wallet_keep_no_others_from_expiring(fresh_postgres_url: str) -> None:
    with postgres_store(fresh_postgres_url) as store:
        locked, other = new_wallet(store, balance=100), new_wallet(store, balance=9)
        for _ in range(50):
            hold = PlaceHold(locked, uuid7(), Decimal(1), timedelta(seconds=1))
            assert store.execute(hold).status == 201
        with psycopg.connect(connection_info(fresh_postgres_url)) as holder:
            holder.execute("SELECT FROM coffer.wallets WHERE id = %s FOR UPDATE", (locked,))
            late = PlaceHold(other, uuid7(), Decimal(1), timedelta(seconds=2))
            assert store.execute(late).status == 201
            eventually(lambda: store.balance(other)["held"] == "0.00", "the other's expiry", 30)
            assert store.balance(locked)["held"] == "50.00"
        eventually(lambda: store.balance(locked)["held"] == "0.00", "the expiry after it", 60)
    assert audit(fresh_postgres_url) == []


SLOW: Final = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.15); RETURN NEW; END $$;
    CREATE TRIGGER slow BEFORE INSERT ON coffer.entries FOR EACH ROW EXECUTE FUNCTION slow();
"""


def test_what_takes_too_long_to_write_is_written_in_parts(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten rows at 0.15 s are more than a statement's second here, five are not. A group cannot be
    taken apart."""
    monkeypatch.setattr(connect, "STATEMENT_TIMEOUT_SECONDS", 1)
    with psycopg.connect(connection_info(fresh_postgres_url)) as owner:
        owner.execute(SLOW)
    with postgres_store(fresh_postgres_url) as store:
        wallet_id = new_wallet(store)
        results = store.execute_each([(deposit(wallet_id), None) for _ in range(COUNT)])
        assert [code_of(result) for result in results if isinstance(result, Outcome)] == [""] * 10
        with pytest.raises(Overloaded) as refused:
            store.execute(Group(tuple(deposit(wallet_id) for _ in range(COUNT))))
        assert "smaller parts" in refused.value.detail
        assert balance_of(store, wallet_id) == COUNT
    assert audit(fresh_postgres_url) == []
