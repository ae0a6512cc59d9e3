"""The committer's thread and its answers survive what has nothing to do with money."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from testkit.ledgers import (
    Gate,
    balance_of,
    deposit,
    keyed,
    memory_store,
    new_wallet,
    postgres_store,
)
from testkit.waiting import eventually
from WalletCore import deciding
from WalletCore.domain.errors import CofferError, Unavailable
from WalletCore.failures import StoreUnavailable
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.transactions import PostgresTransaction
from WalletCore.store import Loaded


class _BrokenLog:
    """A log whose disk is full."""

    def __getattr__(self, _name: str) -> Any:
        def write(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        return write


def test_a_log_that_cannot_be_written_costs_no_answer() -> None:
    with memory_store() as store:
        store._committer._log = _BrokenLog()
        wallet = new_wallet(store)
        assert store.execute(deposit(wallet, 3)).status == 200
        assert balance_of(store, wallet) == 3
        assert store._committer.alive()


def test_a_defect_in_one_command_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with memory_store() as store:
        good, bad = new_wallet(store), new_wallet(store)
        decide = deciding._decide_one

        def defective(submission: Any, *rest: Any) -> Any:
            if getattr(submission.command, "wallet_id", None) == bad:
                raise ZeroDivisionError
            return decide(submission, *rest)

        monkeypatch.setattr(deciding, "_decide_one", defective)
        gate = Gate(store)
        answers = gate.batch(
            [(deposit(good, 1), None), (deposit(bad, 1), None), (deposit(good, 1), None)]
        )
        assert isinstance(answers[1], CofferError)
        assert (answers[1].status, answers[1].code) == (500, "internal_error")
        assert balance_of(store, good) == 2
        assert balance_of(store, bad) == 0


def test_a_defect_after_the_decision_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with memory_store() as store:
        wallet = new_wallet(store)

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(store._ledger, "save", fail)
        with pytest.raises(Unavailable) as caught:
            store.execute(deposit(wallet, 1))
        assert caught.value.code == "outcome_unknown"
        monkeypatch.undo()
        assert store.execute(deposit(wallet, 1)).status == 200


def test_joiners_of_a_join_that_failed_are_done_by_the_next_batch(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres_store(fresh_postgres_url) as store:
        hot = new_wallet(store)
        reached, go_on = threading.Event(), threading.Event()
        load = PostgresTransaction.load

        def slow_load(self: Any, *arguments: Any, **options: Any) -> Loaded:
            loaded = load(self, *arguments, **options)
            if not reached.is_set():
                reached.set()
                assert go_on.wait(10)
            return loaded

        def lost(*_: object) -> Loaded:
            monkeypatch.undo()
            raise StoreUnavailable("the connection broke")

        monkeypatch.setattr(PostgresTransaction, "load", slow_load)
        monkeypatch.setattr(PostgresTransaction, "join", lost)
        answers: dict[str, str] = {}

        def run(key: str) -> None:
            try:
                answers[key] = str(store.execute(deposit(hot, 1), keyed(key)).status)
            except CofferError as error:
                answers[key] = error.code

        first = threading.Thread(target=run, args=("first",))
        first.start()
        assert reached.wait(10)
        second = threading.Thread(target=run, args=("second",))
        second.start()
        eventually(lambda: store._committer._queue.qsize() == 1, "the joiner in the queue")
        go_on.set()
        first.join(10)
        second.join(10)
        assert answers == {"first": "unavailable", "second": "200"}
        assert balance_of(store, hot) == 1


def test_a_session_that_became_read_only_is_left_behind(fresh_postgres_url: str) -> None:
    with (
        postgres_store(fresh_postgres_url) as store,
        psycopg.connect(connection_info(fresh_postgres_url), autocommit=True) as owner,
    ):
        wallet = new_wallet(store)
        row = owner.execute("SELECT current_database()").fetchone()
        assert row is not None
        owner.execute(f'ALTER DATABASE "{row[0]}" SET default_transaction_read_only = on')
        _end_committers(owner)
        with pytest.raises(Unavailable):
            store.execute(deposit(wallet, 1))
        eventually(lambda: store.missing() == ["database_writable"], "a read-only database seen")
        owner.execute("SET default_transaction_read_only = off")
        owner.execute(f'ALTER DATABASE "{row[0]}" RESET default_transaction_read_only')
        eventually(lambda: _works(store, wallet), "writing works again")


def test_readiness_names_a_dead_committer(fresh_postgres_url: str) -> None:
    with postgres_store(fresh_postgres_url) as store:
        eventually(lambda: store.missing() == [], "ready")
        store._committer.close()
        assert store.missing() == ["committer"]
        with pytest.raises(Unavailable):
            store.execute(deposit(uuid7(), 1))


def _works(store: Any, wallet: UUID) -> bool:
    try:
        return bool(store.execute(deposit(wallet, 1)).status == 200)
    except Unavailable:
        return False


def _end_committers(owner: psycopg.Connection[Any]) -> None:
    owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
