"""Statements on both stores: whatever the period, whoever writes meanwhile, they add up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from testkit.ledgers import Gate, balance_of, deposit, memory_store, new_wallet, postgres_store
from WalletCore import memory_reading, statements
from WalletCore.domain.commands import Deposit, Withdraw
from WalletCore.domain.errors import Invalid, WalletNotFound
from WalletCore.domain.model import Entry
from WalletCore.memory import MemoryStore
from WalletCore.postgres import statement_queries
from WalletCore.postgres.store import PostgresStore
from WalletCore.statements import (
    SHORTEST_MOMENT,
    STATEMENT_SLICE_ENTRIES,
    DoesNotAddUp,
    Statement,
    end_of_period,
)
from WalletCore.tests.ledger_values import NOW, make_wallet

STORES: Final = ("memory", "postgres")
AnyStore = MemoryStore | PostgresStore

MOVES: Final = st.lists(
    st.lists(st.decimals("-9.99", "9.99", places=2).filter(bool), min_size=1, max_size=4),
    max_size=4,
)
"""Batches of deposits and withdrawals, which have one time each."""
OFFSETS: Final = st.sampled_from([-SHORTEST_MOMENT, timedelta(), SHORTEST_MOMENT])


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[AnyStore]:
    if request.param == "memory":
        with memory_store() as memory:
            yield memory
    else:
        with postgres_store(request.getfixturevalue("postgres_url")) as postgres:
            yield postgres


def all_entries(statement: Statement) -> list[Entry]:
    return [entry for entries in statement.slices() for entry in entries]


@pytest.fixture
def gate(store: AnyStore) -> Gate:
    return Gate(store)


def moved(store: AnyStore, gate: Gate, batches: list[list[Any]]) -> UUID:
    """A wallet with a credit limit in which this has moved."""
    wallet_id = new_wallet(store, limit=-1000)
    for batch in batches:
        gate.batch(
            [
                ((Deposit if amount > 0 else Withdraw)(wallet_id, uuid7(), abs(amount)), None)
                for amount in batch
            ]
        )
    return wallet_id


@given(data=st.data(), batches=MOVES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_period_adds_up(
    store: AnyStore, gate: Gate, data: st.DataObject, batches: list[list[Any]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statements, "STATEMENT_SLICE_ENTRIES", data.draw(st.integers(1, 4)))
        wallet_id = moved(store, gate, batches)
        everything = all_entries(store.statement(wallet_id, None, None))
        assert [entry.seq for entry in everything] == list(range(1, sum(map(len, batches)) + 1))
        moments = [None, *sorted({entry.created_at for entry in everything})]
        since, until = (data.draw(st.sampled_from(moments)) for _ in range(2))
        since = since and since + data.draw(OFFSETS)
        until = until and until + data.draw(OFFSETS)
        if since is not None and until is not None and since >= until:
            with pytest.raises(Invalid, match="before `to`"):
                store.statement(wallet_id, since, until)
            return
        statement = store.statement(wallet_id, since, until)
        found = all_entries(statement)
    assert found == [
        entry
        for entry in everything
        if (since is None or entry.created_at >= since)
        and (until is None or entry.created_at < until)
    ]
    assert len(found) == statement.count
    total = sum(entry.delta_minor for entry in found)
    assert statement.opening_minor + total == statement.closing_minor
    before = [entry for entry in everything if since is not None and entry.created_at < since]
    assert statement.opening_minor == sum(entry.delta_minor for entry in before)


def test_a_statement_is_fixed_when_it_begins(
    store: AnyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under load: what is written while it is read is not in it."""
    monkeypatch.setattr(statements, "STATEMENT_SLICE_ENTRIES", 7)
    wallet_id, stop = new_wallet(store, balance=1), threading.Event()

    def move() -> None:
        while not stop.is_set():
            store.execute(deposit(wallet_id))

    threads = [threading.Thread(target=move) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        counts: list[int] = []
        while len(counts) < 20 or counts[-1] == counts[0]:
            balance_before = balance_of(store, wallet_id)
            statement = store.statement(wallet_id, None, datetime.now(UTC) + timedelta(days=1))
            total = sum(entry.delta_minor for entry in all_entries(statement))
            assert statement.opening_minor == 0
            assert statement.closing_minor == total
            # What was answered before it began is in it.
            assert statement.closing_minor >= balance_before * 100
            counts.append(statement.count)
        assert counts == sorted(counts)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_later_end_is_now(store: AnyStore) -> None:
    wallet_id = new_wallet(store, balance=5)
    before = datetime.now(UTC)
    for until in (None, before + timedelta(days=1), datetime.max.replace(tzinfo=UTC)):
        statement = store.statement(wallet_id, None, until)
        assert before <= statement.until <= datetime.now(UTC)
        assert statement.closing_minor == 500
    assert store.statement(wallet_id, None, before).until == before
    assert store.statement(wallet_id, before, None).opening_minor == 500
    with pytest.raises(Invalid):
        store.statement(wallet_id, before + timedelta(days=1), None)


def test_what_a_faster_clock_has_dated_is_not_missing(
    store: AnyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet_id = new_wallet(store, balance=5)

    class Slow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) - timedelta(hours=1)

    for module in (memory_reading, statement_queries):
        monkeypatch.setattr(module, "datetime", Slow)
    statement = store.statement(wallet_id, None, None)
    (entry,) = all_entries(statement)
    assert statement.until == entry.created_at + SHORTEST_MOMENT
    assert statement.closing_minor == 500
    assert store.statement(wallet_id, None, entry.created_at).count == 0


def test_the_end_of_a_period() -> None:
    wallet = make_wallet(updated_at=NOW)
    hour = timedelta(hours=1)
    assert end_of_period(wallet, None, NOW + hour) == NOW + hour
    assert end_of_period(wallet, NOW + hour, NOW + hour) == NOW + hour
    assert end_of_period(wallet, NOW + 2 * hour, NOW + hour) == NOW + hour
    assert end_of_period(wallet, NOW, NOW + hour) == NOW
    assert end_of_period(wallet, None, NOW - hour) == NOW + SHORTEST_MOMENT


def test_nobody_s_statement(store: AnyStore) -> None:
    with pytest.raises(WalletNotFound):
        store.statement(uuid7(), None, None)


@pytest.mark.parametrize(
    "count", [0, 1, STATEMENT_SLICE_ENTRIES, STATEMENT_SLICE_ENTRIES + 1, 1250]
)
def test_slices_have_a_limit(count: int) -> None:
    wanted: list[tuple[int, int]] = []
    statement = made(count, wanted)
    assert [entry.seq for entry in all_entries(statement)] == list(range(8, count + 8))
    assert all(0 < last - after <= STATEMENT_SLICE_ENTRIES for after, last in wanted)
    assert len(wanted) == -(-count // STATEMENT_SLICE_ENTRIES)


def entry_of(seq: int) -> Entry:
    with memory_store() as store:
        wallet_id = new_wallet(store, balance=1)
        (entry,) = all_entries(store.statement(wallet_id, None, None))
    return entry._replace(seq=seq, balance_after_minor=seq * 100)


def made(count: int, wanted: list[tuple[int, int]]) -> Statement:
    """A statement of so many deposits of 1.00 after the seventh."""
    pattern = entry_of(0)

    def read(after_seq: int, last_seq: int) -> list[Entry]:
        wanted.append((after_seq, last_seq))
        return [
            pattern._replace(seq=seq, balance_after_minor=seq * 100)
            for seq in range(after_seq + 1, last_seq + 1)
        ]

    currency = make_wallet().currency
    closing = (7 + count) * 100
    return Statement(uuid7(), currency, None, NOW, 7, 7 + count, 700, closing, read)


def test_a_statement_that_does_not_add_up_is_not_given() -> None:
    good = made(3, [])
    wrong_balance = entry_of(9)._replace(balance_after_minor=901)
    for broken in (
        replace(good, closing_minor=1001),
        replace(good, opening_minor=701),
        replace(good, read_slice=lambda _after, _last: []),
        replace(good, read_slice=lambda _after, _last: [entry_of(8), entry_of(10)]),
        replace(good, read_slice=lambda _after, _last: [entry_of(8), wrong_balance]),
    ):
        with pytest.raises(DoesNotAddUp, match=str(good.wallet_id)):
            all_entries(broken)
