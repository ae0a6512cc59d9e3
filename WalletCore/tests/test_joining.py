"""Commands that come while a batch waits for a lock take part in it, if that needs no waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from testkit.ledgers import (
    Gate,
    audit,
    balance_of,
    capture,
    code_of,
    deposit,
    keyed,
    legs,
    new_wallet,
    place_hold,
    postgres_store,
    reverse,
    sizes_of,
    transfer,
    void,
    withdraw,
)
from testkit.waiting import eventually
from WalletCore import committer
from WalletCore.domain.commands import CreateWallet, Transfer
from WalletCore.domain.errors import NotStorable, Overloaded
from WalletCore.postgres import connect
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.locking import _key_hash
from WalletCore.postgres.store import PostgresStore

LOCK_TIMEOUT_SECONDS = 4
"""More than usual, so that a slow machine still lets go of the lock in time."""


@pytest.fixture
def store(fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresStore]:
    monkeypatch.setattr(connect, "LOCK_TIMEOUT_SECONDS", LOCK_TIMEOUT_SECONDS)
    with postgres_store(fresh_postgres_url) as store:
        yield store
    assert audit(fresh_postgres_url) == []


def waits(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'coffer-committer' AND wait_event_type = 'Lock'"
    ).fetchone()
    return bool(row and row[0])


@contextmanager
def batch_at_the_lock(url: str, gate: Gate, hot: UUID) -> Iterator[None]:
    """A batch of one deposit of 1 that waits for a wallet; it is freed at the end."""
    with (
        psycopg.connect(connection_info(url)) as other,
        psycopg.connect(connection_info(url), autocommit=True) as watcher,
    ):
        other.execute("SELECT FROM coffer.wallets WHERE id = %s FOR UPDATE", (hot,))
        # Not gate.submit, which looks for a place in the queue that is free again at once.
        gate._pool.submit(gate.committer.submit, deposit(hot), keyed("first"))
        eventually(lambda: waits(watcher), "the batch at the lock")
        yield


def test_commands_for_the_same_wallet_join(
    fresh_postgres_url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot = new_wallet(store)
    store.execute(deposit(hot, 100), keyed("earlier"))
    gate, sizes = Gate(store), sizes_of(store, monkeypatch)
    with batch_at_the_lock(fresh_postgres_url, gate, hot):
        joined = [
            gate.submit(deposit(hot, 10)),
            gate.submit(deposit(hot, 20), keyed("second")),
            gate.submit(deposit(hot, 20), keyed("second")),
            gate.submit(deposit(hot, 1), keyed("first")),
            gate.submit(deposit(hot, 100), keyed("earlier")),
            gate.submit(deposit(hot, 7), keyed("earlier", "another request")),
            gate.submit(withdraw(hot, 1000), keyed("refused")),
            gate.submit(CreateWallet(uuid7(), "USD")),
        ]
    outcomes = [future.result() for future in joined]
    assert sizes == [1 + len(joined)]
    assert [outcome.replayed for outcome in outcomes] == [
        *(False, False, True, True, True, False, False, False)
    ]
    assert [code_of(outcome) for outcome in outcomes] == [
        *("", "", "", "", "", "idempotency_key_reused", "insufficient_funds", "")
    ]
    assert balance_of(store, hot) == 100 + 1 + 10 + 20
    assert store.execute(withdraw(hot, 1000), keyed("refused")).replayed


def test_a_command_for_another_wallet_goes_into_the_next_batch(
    fresh_postgres_url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot, cold = new_wallet(store), new_wallet(store)
    gate, sizes = Gate(store), sizes_of(store, monkeypatch)
    with batch_at_the_lock(fresh_postgres_url, gate, hot):
        later = [gate.submit(deposit(cold)), gate.submit(deposit(uuid7()))]
        joined = gate.submit(deposit(hot))
    assert [code_of(future.result()) for future in later] == ["", "wallet_not_found"]
    assert joined.result().status == 200
    assert sizes == [2, 2]
    assert [balance_of(store, wallet) for wallet in (hot, cold)] == [2, 1]


def test_what_needs_more_than_the_batch_has_goes_into_the_next_one(
    fresh_postgres_url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hold or an operation: nothing of them is read yet. A further wallet can still be had."""
    hot, cold = new_wallet(store, balance=9), new_wallet(store)
    moved, placed = transfer(hot, cold, 2), place_hold(hot, 2)
    for command in (moved, placed):
        assert store.execute(command).status == 201
    gate, sizes = Gate(store), sizes_of(store, monkeypatch)
    with batch_at_the_lock(fresh_postgres_url, gate, hot):
        later = [
            gate.submit(capture(placed, 1, final=False)),
            gate.submit(reverse(store, moved.legs[0].operation_id)),
            gate.submit(void(placed)),
        ]
        joined = [
            gate.submit(transfer(hot, cold)),
            gate.submit(place_hold(hot)),
            gate.submit(withdraw(hot)),
        ]
    assert {code_of(future.result()) for future in (*joined, *later)} == {""}
    assert sizes == [4, 3]
    assert [balance_of(store, wallet) for wallet in (hot, cold)] == [9 + 1 - 1 - 1 - 1, 1]


def test_what_the_batch_has_of_holds_and_operations_can_be_used_by_all(
    fresh_postgres_url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot, cold = new_wallet(store, balance=9), new_wallet(store)
    moved, placed = transfer(hot, cold, 2), place_hold(hot, 2)
    for command in (moved, placed):
        assert store.execute(command).status == 201
    operation_id = moved.legs[0].operation_id
    gate, sizes = Gate(store), sizes_of(store, monkeypatch)
    with (
        psycopg.connect(connection_info(fresh_postgres_url)) as other,
        psycopg.connect(connection_info(fresh_postgres_url), autocommit=True) as watcher,
    ):
        gate.shut()
        first = [
            gate.submit(reverse(store, operation_id, 1)),
            gate.submit(capture(placed, 1, final=False, target_id=cold)),
        ]
        other.execute("SELECT FROM coffer.wallets WHERE id = %s FOR UPDATE", (hot,))
        gate.open()
        eventually(lambda: waits(watcher), "the batch at the lock")
        joined = [
            gate.submit(reverse(store, operation_id)),
            gate.submit(reverse(store, operation_id)),
            gate.submit(transfer(hot, cold, 4)),
            gate.submit(void(placed)),
            gate.submit(capture(placed)),
        ]
    assert {code_of(future.result()) for future in first} == {""}
    assert [code_of(future.result()) for future in joined] == [
        *("", "not_reversible", "", "", "hold_already_resolved")
    ]
    assert sizes == [1, 7]
    assert [balance_of(store, wallet) for wallet in (hot, cold)] == [4, 5]


def test_a_key_that_is_locked_elsewhere_is_left_for_the_next_batch(
    fresh_postgres_url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot = new_wallet(store)
    gate, sizes = Gate(store), sizes_of(store, monkeypatch)
    with psycopg.connect(connection_info(fresh_postgres_url)) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (_key_hash(("", "taken")),))
        with batch_at_the_lock(fresh_postgres_url, gate, hot):
            taken = gate.submit(deposit(hot, 10), keyed("taken"))
            joined = gate.submit(deposit(hot, 100), keyed("free"))
        assert joined.result().status == 200
        assert not taken.done()
        assert balance_of(store, hot) == 101
    assert taken.result().status == 200
    assert sizes == [2, 1]
    assert balance_of(store, hot) == 111


def test_a_command_that_gave_up_before_it_could_join_was_not_done(
    fresh_postgres_url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot, cold = new_wallet(store), new_wallet(store)
    gate = Gate(store)
    with batch_at_the_lock(fresh_postgres_url, gate, hot):
        monkeypatch.setattr(committer, "QUEUE_WAIT_SECONDS", 0.1)
        given_up = [gate.submit(deposit(wallet, 10), keyed(f"{wallet}")) for wallet in (hot, cold)]
        for future in given_up:
            with pytest.raises(Overloaded):
                future.result(10)
    monkeypatch.setattr(committer, "QUEUE_WAIT_SECONDS", 5.0)
    assert store.execute(deposit(hot), keyed("first")).replayed
    assert [balance_of(store, wallet) for wallet in (hot, cold)] == [1, 0]
    assert not store.execute(deposit(hot, 10), keyed(f"{hot}")).replayed


def test_a_batch_and_those_that_join_it_stay_within_the_limit(
    fresh_postgres_url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot = new_wallet(store)
    monkeypatch.setattr(committer, "MAX_BATCH_COMMANDS", 3)
    gate, sizes = Gate(store), sizes_of(store, monkeypatch)
    with batch_at_the_lock(fresh_postgres_url, gate, hot):
        sent = [gate.submit(deposit(hot)) for _ in range(6)]
    assert {future.result().status for future in sent} == {200}
    assert sizes == [3, 3, 1]
    assert balance_of(store, hot) == 7


def test_transfers_from_a_hot_wallet_join_with_their_targets(
    fresh_postgres_url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each target is locked if that needs no waiting; one that is locked by others waits its turn,
    and so does what has nothing to do with the hot wallet."""
    hot = new_wallet(store, balance=9)
    targets = [new_wallet(store) for _ in range(4)]
    gate, sizes = Gate(store), sizes_of(store, monkeypatch)
    with (
        psycopg.connect(connection_info(fresh_postgres_url)) as other,
        psycopg.connect(connection_info(fresh_postgres_url)) as another,
        psycopg.connect(connection_info(fresh_postgres_url), autocommit=True) as watcher,
    ):
        gate.shut()
        sent = [gate.submit(transfer(hot, targets[0], 1))]
        other.execute("SELECT FROM coffer.wallets WHERE id = %s FOR UPDATE", (hot,))
        another.execute("SELECT FROM coffer.wallets WHERE id = %s FOR UPDATE", (targets[3],))
        gate.open()
        eventually(lambda: waits(watcher), "the batch at the lock")
        sent += [gate.submit(transfer(hot, target, 1)) for target in targets[1:]]
        sent += [gate.submit(transfer(hot, uuid7(), 1)), gate.submit(deposit(uuid7()))]
        other.rollback()
        assert [future.result().status for future in sent[:3]] == [201] * 3
        assert not sent[3].done()
        another.rollback()
    assert [future.result().status for future in sent[3:]] == [201, 404, 404]
    # The blocker; the first with two that joined; the rest.
    assert sizes[:2] == [1, 3]
    assert balance_of(store, hot) == 5
    assert audit(fresh_postgres_url) == []


@pytest.mark.parametrize(("limit", "expected"), [(6, [1, 2, 2, 2]), (5, [1] * 7), (1, [1] * 7)])
def test_a_transfer_counts_by_its_legs(
    fresh_postgres_url: str,
    store: PostgresStore,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    expected: list[int],
) -> None:
    """Both in what is gathered and in what joins, so that no batch holds its locks for long."""
    one, two = new_wallet(store, balance=9), new_wallet(store)
    monkeypatch.setattr(committer, "MAX_BATCH_COMMANDS", limit)
    gate, sizes = Gate(store), sizes_of(store, monkeypatch)

    def there_and_back_and_there() -> Transfer:
        return legs((one, two, 1), (two, one, 1), (one, two, 1))

    with (
        psycopg.connect(connection_info(fresh_postgres_url)) as other,
        psycopg.connect(connection_info(fresh_postgres_url), autocommit=True) as watcher,
    ):
        gate.shut()
        sent = [gate.submit(there_and_back_and_there())]
        other.execute("SELECT FROM coffer.wallets WHERE id = %s FOR UPDATE", (one,))
        gate.open()
        eventually(lambda: waits(watcher), "the batch at the lock")
        sent += [gate.submit(there_and_back_and_there()) for _ in range(5)]
    assert {future.result().status for future in sent} == {201}
    assert sizes == expected
    assert [balance_of(store, wallet) for wallet in (one, two)] == [3, 6]


def test_one_that_joins_and_is_refused_by_the_database_fails_nobody_else(
    fresh_postgres_url: str, store: PostgresStore
) -> None:
    hot = new_wallet(store)
    gate = Gate(store)
    with psycopg.connect(connection_info(fresh_postgres_url)) as owner:
        owner.execute("ALTER TABLE coffer.entries ADD CONSTRAINT p CHECK (reference <> 'poison')")
    with batch_at_the_lock(fresh_postgres_url, gate, hot):
        sent = [gate.submit(deposit(hot, 10), keyed(f"{number}")) for number in range(3)]
        poison = gate.submit(deposit(hot, 100, "poison"), keyed("poison"))
    assert {future.result().status for future in sent} == {200}
    with pytest.raises(NotStorable):
        poison.result()
    assert store.execute(deposit(hot), keyed("first")).replayed
    assert balance_of(store, hot) == 31


def test_closing_while_a_batch_waits_finishes_what_joins_and_what_is_left_over(
    fresh_postgres_url: str, store: PostgresStore
) -> None:
    hot, cold = new_wallet(store), new_wallet(store)
    gate = Gate(store)
    with batch_at_the_lock(fresh_postgres_url, gate, hot):
        sent = [gate.submit(deposit(hot)), gate.submit(deposit(cold))]
        store._committer._closing = True
        store._committer._queue.put(None)
    assert [future.result().status for future in sent] == [200, 200]
    store._committer._thread.join(5)
    assert not store._committer._thread.is_alive()
