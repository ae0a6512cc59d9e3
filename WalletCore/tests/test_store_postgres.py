"""The store on PostgreSQL where it meets others: locks, refusals, several processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from prometheus_client import REGISTRY
from psycopg import sql
from sqlalchemy import create_engine
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
    new_wallet,
    place_hold,
    postgres_store,
    reverse,
    transfer,
    void,
    withdraw,
)
from testkit.waiting import eventually
from WalletCore.domain.commands import CreateWallet
from WalletCore.domain.errors import NotStorable, Overloaded, Unavailable, WalletBusy
from WalletCore.paging import PageRequest
from WalletCore.postgres import connect, partitions
from WalletCore.postgres.connect import connection_info, parse_url
from WalletCore.postgres.locking import _key_hash
from WalletCore.postgres.partitions import PartitionKeeper
from WalletCore.postgres.store import PostgresStore
from WalletCore.store import OperationFilter

SHORT_LOCK_TIMEOUT_SECONDS: Final = 0.4
MAX_PROVOCATIONS: Final = 5


@pytest.fixture
def url(fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of its own, whose locks are waited for less long than usual."""
    monkeypatch.setattr(connect, "LOCK_TIMEOUT_SECONDS", SHORT_LOCK_TIMEOUT_SECONDS)
    return fresh_postgres_url


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    with postgres_store(url) as store:
        yield store
    assert audit(url) == []


@contextmanager
def somebody_else(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of another program."""
    with psycopg.connect(connection_info(url)) as connection:
        yield connection


def lock_wallet(connection: psycopg.Connection[Any], wallet_id: UUID) -> None:
    connection.execute("SELECT FROM coffer.wallets WHERE id = %s FOR UPDATE", (wallet_id,))


def committer_waits_for_a_lock(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'coffer-committer' AND wait_event_type = 'Lock'"
    ).fetchone()
    return bool(row and row[0])


def retries(reason: str) -> float:
    return REGISTRY.get_sample_value("coffer_commit_retries_total", {"reason": reason}) or 0.0


# -- Locks that somebody else holds ------------------------------------------------------------


def test_a_wallet_locked_by_somebody_else_is_busy_and_its_neighbours_are_done(
    url: str, store: PostgresStore
) -> None:
    locked, *free = sorted(new_wallet(store) for _ in range(3))
    with somebody_else(url) as other:
        lock_wallet(other, locked)
        answers = Gate(store).batch(
            [
                (deposit(free[0], 1), keyed("a")),
                (deposit(locked, 1), keyed("b")),
                (CreateWallet(uuid7(), "USD"), None),
                (deposit(free[1], 1), None),
                (withdraw(free[1], 2), keyed("c")),
                (deposit(uuid7(), 2), None),
            ]
        )
        assert isinstance(answers.pop(1), WalletBusy)
        assert [code_of(answer) for answer in done(answers)] == [
            *("", "", "", "insufficient_funds", "wallet_not_found")
        ]
        assert balance_of(store, locked) == 0
    # The key of the busy one is free, the others' are used.
    assert not store.execute(deposit(locked, 1), keyed("b")).replayed
    assert store.execute(deposit(free[0], 1), keyed("a")).replayed
    assert store.execute(withdraw(free[1], 2), keyed("c")).replayed


def test_what_needs_a_locked_wallet_on_either_side_is_busy(url: str, store: PostgresStore) -> None:
    locked, free, other_free = sorted(new_wallet(store, balance=9) for _ in range(3))
    moved, held, lost = transfer(free, locked, 2), place_hold(free, 2), place_hold(locked, 2)
    for command in (moved, held, lost):
        assert store.execute(command).status == 201
    with somebody_else(url) as other:
        lock_wallet(other, locked)
        answers = Gate(store).batch(
            [
                (transfer(free, locked), None),
                (legs((free, other_free, 1), (locked, free, 1)), None),
                (capture(held, 1, final=False, target_id=locked), None),
                (reverse(store, moved.legs[0].operation_id), None),
                (void(lost), None),
                (transfer(free, other_free), None),
                (capture(held, 1, final=False, target_id=other_free), None),
                (void(held), None),
            ]
        )
        assert [type(answer) for answer in answers[:5]] == [WalletBusy] * 5
        assert [code_of(answer) for answer in done(answers[5:])] == ["", "", ""]
    assert [balance_of(store, wallet) for wallet in (locked, free, other_free)] == [11, 5, 11]
    assert store.execute(void(lost)).status == 200
    assert store.execute(reverse(store, moved.legs[0].operation_id)).status == 201


def test_a_wallet_that_is_freed_in_time_is_only_waited_for(url: str, store: PostgresStore) -> None:
    wallet_id = new_wallet(store, balance=5)
    with somebody_else(url) as other, ThreadPoolExecutor() as pool:
        other.execute("UPDATE coffer.wallets SET min_balance = -7 WHERE id = %s", (wallet_id,))
        with somebody_else(url) as watcher:
            waiting = pool.submit(store.execute, withdraw(wallet_id, "5.07"))
            watcher.autocommit = True
            eventually(lambda: committer_waits_for_a_lock(watcher), "the committer at the lock")
        other.commit()
        # It saw what was committed while it waited.
        assert waiting.result().status == 200


def test_a_key_locked_by_somebody_else_is_busy_and_its_neighbours_are_done(
    url: str, store: PostgresStore
) -> None:
    wallet_id = new_wallet(store)
    with somebody_else(url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (_key_hash(("", "taken")),))
        answers = Gate(store).batch(
            [
                (deposit(wallet_id, 1), keyed("free")),
                (deposit(wallet_id, 10), keyed("taken")),
                (deposit(wallet_id, 1), None),
            ]
        )
        assert isinstance(answers.pop(1), WalletBusy)
        assert [answer.status for answer in done(answers)] == [200, 200]
    assert not store.execute(deposit(wallet_id, 10), keyed("taken")).replayed
    assert balance_of(store, wallet_id) == 12


def test_a_deadlock_is_tried_again(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "LOCK_TIMEOUT_SECONDS", 4)  # deadlock_timeout is 1 s
    with postgres_store(fresh_postgres_url) as store, ThreadPoolExecutor() as pool:
        low, high = sorted(new_wallet(store) for _ in range(2))
        before, rounds = retries("conflict"), 0
        # PostgreSQL picks the victim: the first whose wait reaches deadlock_timeout, ours if the
        # other one does not dawdle.
        while retries("conflict") == before and rounds < MAX_PROVOCATIONS:
            rounds += 1
            with (
                somebody_else(fresh_postgres_url) as other,
                somebody_else(fresh_postgres_url) as watcher,
            ):
                watcher.autocommit = True
                lock_wallet(other, high)
                gate = Gate(store)
                both = pool.submit(gate.batch, [(deposit(low), None), (deposit(high), None)])
                eventually(lambda w=watcher: committer_waits_for_a_lock(w), "the committer's wait")  # type: ignore[misc]
                try:
                    lock_wallet(other, low)
                except psycopg.errors.DeadlockDetected:
                    other.rollback()
            assert [answer.status for answer in done(both.result())] == [200, 200]
        assert retries("conflict") > before
        assert [balance_of(store, wallet) for wallet in (low, high)] == [rounds, rounds]
    assert audit(fresh_postgres_url) == []


# -- Commands that the database refuses --------------------------------------------------------


@pytest.mark.parametrize("place", [0, 3, 6])
def test_a_command_that_the_database_refuses_does_not_fail_its_neighbours(
    url: str, store: PostgresStore, place: int
) -> None:
    wallet_id = new_wallet(store)
    with somebody_else(url) as owner:
        owner.execute("ALTER TABLE coffer.entries ADD CONSTRAINT p CHECK (reference <> 'poison')")
    batch = [(deposit(wallet_id, 1), keyed(f"k{number}")) for number in range(6)]
    batch.insert(place, (deposit(wallet_id, 100, "poison"), keyed("poison")))
    answers = Gate(store).batch(batch)
    refused = answers.pop(place)
    assert isinstance(refused, NotStorable)
    assert refused.status == 422
    assert [answer.status for answer in done(answers)] == [200] * 6
    assert balance_of(store, wallet_id) == 6
    assert not store.execute(deposit(wallet_id, 1), keyed("poison")).replayed


def test_text_that_postgresql_cannot_hold_is_refused_alone(store: PostgresStore) -> None:
    """The HTTP service refuses it before; here is the net below."""
    wallet_id = new_wallet(store)
    answers = Gate(store).batch(
        [
            (deposit(wallet_id, 1), None),
            (deposit(wallet_id, 100, "nul \0"), None),
            (replace(deposit(wallet_id, 100), metadata={"nul": "\0"}), None),
            (replace(deposit(wallet_id, 100), description="\ud800"), None),
            (deposit(wallet_id, 1, 'a{b},"c\\ \n NULL \u20ac'), None),
        ]
    )
    assert [type(answer) for answer in answers[1:4]] == [NotStorable] * 3
    assert [answer.status for answer in done([answers[0], answers[4]])] == [200, 200]
    operation = store.operations(wallet_id, OperationFilter(), PageRequest(limit=1)).items[0]
    assert operation["reference"] == 'a{b},"c\\ \n NULL \u20ac'
    assert balance_of(store, wallet_id) == 2


def test_an_operation_id_that_was_used_before_is_refused_alone(store: PostgresStore) -> None:
    wallet_id = new_wallet(store)
    twice = deposit(wallet_id, 5)
    answers = Gate(store).batch([(twice, None), (deposit(wallet_id, 1), None), (twice, None)])
    assert sorted(type(answer).__name__ for answer in answers) == [
        *("NotStorable", "Outcome", "Outcome")
    ]
    assert balance_of(store, wallet_id) == 6


def test_a_missing_partition_makes_the_service_unavailable_and_blames_no_command(
    url: str, store: PostgresStore
) -> None:
    wallet_id = new_wallet(store)
    eventually(lambda: store._partitions._covered_until, "the keeper's first look")
    with somebody_else(url) as owner:
        names = owner.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits "
            "WHERE inhparent = 'coffer.events'::regclass"
        ).fetchall()
        for (name,) in names:
            owner.execute(
                sql.SQL("ALTER TABLE coffer.events DETACH PARTITION {}").format(
                    sql.Identifier(*name.split("."))
                )
            )
    before = retries("data")
    answers = Gate(store).batch([(deposit(wallet_id), keyed(f"k{n}")) for n in range(4)])
    assert [type(answer) for answer in answers] == [Unavailable] * 4
    assert retries("data") == before
    assert balance_of(store, wallet_id) == 0
    with somebody_else(url) as owner:
        for (name,) in names:
            owner.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(*name.split("."))))
        owner.execute("SELECT coffer.ensure_event_partitions(30)")
        # Its event went with the partition.
        owner.execute("UPDATE coffer.wallets SET version = 1 WHERE id = %s", (wallet_id,))
    assert store.execute(deposit(new_wallet(store)), keyed("k0")).status == 200
    with somebody_else(url) as owner:
        owner.execute("DELETE FROM coffer.wallets WHERE id = %s", (wallet_id,))


# -- Several processes -------------------------------------------------------------------------


def test_the_same_key_in_several_processes_at_once_is_done_once(url: str) -> None:
    """Stores share nothing but the database, so two of them are two processes to it."""
    rounds, processes = 25, 3
    with ExitStack() as stack, ThreadPoolExecutor(processes) as pool:
        stores = [stack.enter_context(postgres_store(url)) for _ in range(processes)]
        wallet_id = new_wallet(stores[0])
        for number in range(rounds):
            start = threading.Barrier(processes)

            def send(store: PostgresStore, key: str, start: threading.Barrier = start) -> Any:
                start.wait()
                return store.execute(deposit(wallet_id), keyed(key))

            sent = [pool.submit(send, store, f"k{number}") for store in stores]
            outcomes = [future.result() for future in sent]
            assert sorted(outcome.replayed for outcome in outcomes) == [False, True, True]
            assert len({(outcome.status, outcome.body) for outcome in outcomes}) == 1
        assert balance_of(stores[0], wallet_id) == rounds
    assert audit(url) == []


def test_processes_that_lock_the_same_wallets_and_keys_in_any_order_never_deadlock(
    url: str,
) -> None:
    rounds, commands = 12, 12
    with postgres_store(url) as first, postgres_store(url) as second, ThreadPoolExecutor(2) as pool:
        wallets = [new_wallet(first) for _ in range(commands)]
        gates = [Gate(first), Gate(second)]
        before = retries("conflict"), retries("lock")
        for number in range(rounds):
            batch = [(deposit(wallet), keyed(f"{number}.{wallet}")) for wallet in wallets]
            sent = [
                pool.submit(gate.batch, batch[::step])
                for gate, step in zip(gates, (1, -1), strict=True)
            ]
            for future in sent:
                assert {answer.status for answer in done(future.result())} == {200}
        assert (retries("conflict"), retries("lock")) == before
        assert [balance_of(first, wallet) for wallet in wallets] == [rounds] * commands
    assert audit(url) == []


# -- The partitions' keeper --------------------------------------------------------------------


def test_the_keeper_of_the_partitions_outlives_a_busy_pool(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "RETRY_INTERVAL_SECONDS", 0.05)
    engine = create_engine(
        parse_url(fresh_postgres_url), pool_size=1, max_overflow=0, pool_timeout=0.05
    )
    keeper, tries = None, []
    checkout = engine.pool.connect

    def counting() -> Any:
        tries.append(1)
        return checkout()

    monkeypatch.setattr(engine.pool, "connect", counting)
    try:
        with engine.connect():
            keeper = PartitionKeeper(engine)
            eventually(lambda: len(tries) > 2, "some tries")
            assert keeper._thread.is_alive()
            assert keeper._covered_until is None
        eventually(lambda: keeper._covered_until, "partitions after all")
    finally:
        if keeper is not None:
            keeper.close()
        engine.dispose()


def test_reads_that_find_no_connection_are_refused_and_do_not_hang(url: str) -> None:
    with postgres_store(url) as store:
        wallet_id = new_wallet(store)
        pool = connect.READ_POOL_CONNECTIONS
        with ExitStack() as stack:
            for _ in range(pool):
                stack.enter_context(store._engine.connect())
            with pytest.raises(Overloaded):
                store.wallet(wallet_id)
            # Money moves all the same: the committer has a connection of its own.
            assert store.execute(deposit(wallet_id)).status == 200
        assert balance_of(store, wallet_id) == 1
