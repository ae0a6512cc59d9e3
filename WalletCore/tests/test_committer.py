"""The committer: what it promises to the commands that wait, whatever stands behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import orjson
import pytest
from prometheus_client import REGISTRY
from uuid_utils.compat import uuid7

from testkit.ledgers import (
    CURRENCIES,
    Gate,
    audit,
    balance_of,
    code_of,
    deposit,
    done,
    keyed,
    memory_store,
    new_wallet,
    postgres_store,
    sizes_of,
    withdraw,
)
from testkit.waiting import eventually
from WalletCore import committer
from WalletCore.committer import MAX_BATCH_COMMANDS, Committer
from WalletCore.domain.commands import CreateWallet, UpdateWallet
from WalletCore.domain.errors import (
    CofferError,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
    WalletBusy,
)
from WalletCore.domain.model import WalletStatus
from WalletCore.failures import Conflict, LockNotHad, StoreUnavailable
from WalletCore.memory import MemoryStore
from WalletCore.memory_ledger import MemoryLedger
from WalletCore.store import Transaction

SHORT_SECONDS: Final = 0.2


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with memory_store() as store:
        yield store


class Failing:
    """A source whose transactions fail with ``errors``, one after the other, and then succeed."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors = errors
        self.begun = 0
        self.ledger = MemoryLedger()
        self.closed = threading.Event()

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        self.begun += 1
        if self.errors:
            raise self.errors.pop(0)
        with self.ledger.begin() as transaction:
            yield transaction

    def close(self) -> None:
        self.closed.set()


@contextmanager
def committing(source: Any, **options: Any) -> Iterator[Committer]:
    committer = Committer(source, CURRENCIES, waiting_limit=8, **options)
    try:
        yield committer
    finally:
        committer.close()


# -- The queue ---------------------------------------------------------------------------------


def test_as_many_commands_wait_as_the_limit_says_and_not_one_more() -> None:
    limit = 5
    with memory_store(waiting_limit=limit) as store:
        wallet_id = new_wallet(store)
        gate = Gate(store)
        gate.shut()  # one command of the limit is behind the gate
        waiting = [gate.submit(deposit(wallet_id)) for _ in range(limit - 1)]
        started = time.monotonic()
        with pytest.raises(Overloaded) as refused:
            store.execute(deposit(wallet_id, 100))
        assert time.monotonic() - started >= committer.SLOT_WAIT_SECONDS * 0.9
        assert (refused.value.status, refused.value.code) == (503, "overloaded")
        gate.open()
        assert [future.result().status for future in waiting] == [200] * (limit - 1)
        assert balance_of(store, wallet_id) == limit - 1
        # Every place is free again.
        for _ in range(limit + 1):
            store.execute(deposit(wallet_id))
        assert balance_of(store, wallet_id) == 2 * limit


def test_a_command_that_was_given_up_in_the_queue_was_not_done(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet_id = new_wallet(store)
    gate = Gate(store)
    gate.shut()
    monkeypatch.setattr(committer, "QUEUE_WAIT_SECONDS", SHORT_SECONDS)
    given_up = [gate.submit(deposit(wallet_id, 100), keyed(f"k{number}")) for number in range(3)]
    for future in given_up:
        with pytest.raises(Overloaded):
            future.result(10)
    monkeypatch.undo()
    stays = gate.submit(deposit(wallet_id, 1))
    gate.open()
    assert stays.result().status == 200
    assert balance_of(store, wallet_id) == 1
    # Nor is anything remembered under its key.
    assert not store.execute(deposit(wallet_id, 100), keyed("k0")).replayed


def test_a_command_that_was_begun_is_never_given_up(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet_id = new_wallet(store)
    gate = Gate(store)
    monkeypatch.setattr(committer, "QUEUE_WAIT_SECONDS", SHORT_SECONDS)
    gate._open.clear()
    with ThreadPoolExecutor() as pool:
        begun = pool.submit(store.execute, deposit(wallet_id))
        with pytest.raises(TimeoutError):
            begun.result(SHORT_SECONDS * 3)
        gate.open()
        assert begun.result().status == 200
    assert balance_of(store, wallet_id) == 1


def test_a_command_whose_transaction_never_ends_is_answered_as_unknown(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet_id = new_wallet(store)
    gate = Gate(store)
    monkeypatch.setattr(committer, "QUEUE_WAIT_SECONDS", SHORT_SECONDS)
    monkeypatch.setattr(committer, "OUTCOME_WAIT_SECONDS", SHORT_SECONDS)
    gate._open.clear()
    key = keyed("k")
    with pytest.raises(OutcomeUnknown):
        store.execute(deposit(wallet_id), key)
    monkeypatch.undo()
    gate.open()
    # It was under way, and the key tells.
    assert store.execute(deposit(wallet_id), key).replayed
    assert balance_of(store, wallet_id) == 1


def test_what_gathered_meanwhile_becomes_one_batch(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet_id = new_wallet(store)
    gate, sizes = Gate(store), sizes_of(store, monkeypatch)
    answers = gate.batch([(deposit(wallet_id), None)] * 10)
    assert sizes == [1, 10]
    assert [orjson.loads(answer.body)["seq"] for answer in done(answers)] == list(range(1, 11))


def test_a_batch_never_grows_beyond_its_limit(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL, where a batch of that size is one pipeline of large arrays."""
    commands = MAX_BATCH_COMMANDS + 1
    with postgres_store(fresh_postgres_url, waiting_limit=commands + 1) as store:
        wallets = [new_wallet(store) for _ in range(3)]
        gate, sizes = Gate(store), sizes_of(store, monkeypatch)
        gate.shut()
        # The order does not matter here, so nobody waits for each one's place.
        futures = [
            gate._pool.submit(
                store.execute, deposit(wallets[number % 3], 1, "r"), keyed(f"{number}")
            )
            for number in range(commands)
        ]
        eventually(lambda: gate.waiting() == commands, "all commands in the queue", 60)
        gate.open()
        assert {future.result().status for future in futures} == {200}
        assert sizes == [1, MAX_BATCH_COMMANDS, 1]
        assert [balance_of(store, wallet) for wallet in wallets] == [167, 167, 167]
    assert audit(fresh_postgres_url) == []


# -- Closing -----------------------------------------------------------------------------------


def test_closing_finishes_what_waits_and_refuses_what_comes() -> None:
    with memory_store() as store:
        wallet_id = new_wallet(store)
        gate = Gate(store)
        gate.shut()
        waiting = [gate.submit(deposit(wallet_id)) for _ in range(5)]
        with ThreadPoolExecutor() as pool:
            closing = pool.submit(store.close)
            eventually(lambda: store._committer._closing, "closing")
            with pytest.raises(Unavailable, match="shutting down"):
                store.execute(deposit(wallet_id))
            assert not closing.done()
            gate.open()
            closing.result()
        assert [future.result().status for future in waiting] == [200] * 5
        assert balance_of(store, wallet_id) == 5
        assert not store._committer._thread.is_alive()


def test_commands_that_meet_the_closing_are_done_or_refused_and_never_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A command may enter the queue behind the committer's last look; it is then given up."""
    monkeypatch.setattr(committer, "QUEUE_WAIT_SECONDS", SHORT_SECONDS)
    for _ in range(20):
        with memory_store() as store, ThreadPoolExecutor(8) as pool:
            wallet_id = new_wallet(store)
            start = threading.Barrier(9)

            def send(store: MemoryStore = store, start: Any = start, to: UUID = wallet_id) -> int:
                start.wait()
                try:
                    return store.execute(deposit(to)).status
                except Unavailable:
                    return 503

            sent = [pool.submit(send) for _ in range(8)]
            start.wait()
            store.close()
            statuses = [future.result() for future in sent]
            assert set(statuses) <= {200, 503}
            assert balance_of(store, wallet_id) == statuses.count(200)


# -- Neighbours --------------------------------------------------------------------------------


def test_a_refused_command_does_not_disturb_its_neighbours(store: MemoryStore) -> None:
    wallet_id, frozen = new_wallet(store), new_wallet(store)
    store.execute(UpdateWallet(frozen, status=WalletStatus.FROZEN))
    answers = Gate(store).batch(
        [
            (deposit(wallet_id, 5), None),
            (withdraw(wallet_id, 6), keyed("k")),
            (deposit(uuid7()), None),
            (deposit(frozen), None),
            (withdraw(wallet_id, 5), None),
            (deposit(wallet_id, "0.001"), None),
        ]
    )
    assert [code_of(answer) for answer in done(answers)] == [
        *("", "insufficient_funds", "wallet_not_found", "wallet_frozen", "", "amount_too_precise")
    ]
    assert balance_of(store, wallet_id) == 0


def test_data_that_is_no_json_does_not_fail_its_neighbours(store: MemoryStore) -> None:
    wallet_id = new_wallet(store)
    defective = replace(deposit(wallet_id, 100), metadata={"not": object()})
    good = [(deposit(wallet_id), keyed(f"k{number}")) for number in range(6)]
    answers = Gate(store).batch([*good[:4], (defective, keyed("bad")), *good[4:]])
    failed = answers.pop(4)
    assert isinstance(failed, CofferError)
    assert (failed.status, failed.code) == (422, "not_storable")
    assert [answer.status for answer in done(answers)] == [200] * 6
    assert balance_of(store, wallet_id) == 6
    assert not store.execute(deposit(wallet_id), keyed("bad")).replayed


# -- Failures of the source --------------------------------------------------------------------


def test_conflicts_are_tried_again_and_the_tries_are_bounded() -> None:
    source = Failing([Conflict("deadlock")] * 3)
    with committing(source) as committer_:
        before = retries("conflict")
        assert code_of(committer_.submit(deposit(uuid7()))) == "wallet_not_found"
        assert source.begun == 4
        assert retries("conflict") - before == 3
        source.begun, source.errors = 0, [Conflict("deadlock")] * 100
        with pytest.raises(WalletBusy):
            committer_.submit(deposit(uuid7()))
        assert source.begun == committer.MAX_CONFLICT_RETRIES + 1
        source.errors.clear()
        assert code_of(committer_.submit(deposit(uuid7()))) == "wallet_not_found"


def test_a_lock_that_is_not_had_is_tried_once_more_without_waiting() -> None:
    source = Failing([LockNotHad("locked")])
    with committing(source) as committer_:
        assert code_of(committer_.submit(deposit(uuid7()))) == "wallet_not_found"
        assert source.begun == 2
        source.begun, source.errors = 0, [LockNotHad("locked")] * 100
        with pytest.raises(WalletBusy):
            committer_.submit(deposit(uuid7()))
        assert source.begun == 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StoreUnavailable("away"), Unavailable),
        (StoreUnavailable("away", outcome_unknown=True), OutcomeUnknown),
        (ZeroDivisionError("a defect"), OutcomeUnknown),
    ],
)
def test_the_committer_survives_a_lost_store(error: Exception, expected: type[CofferError]) -> None:
    source = Failing([error])
    with committing(source) as committer_:
        with pytest.raises(expected) as raised:
            committer_.submit(deposit(uuid7()))
        assert type(raised.value) is expected
        assert source.begun == 1
        assert code_of(committer_.submit(deposit(uuid7()))) == "wallet_not_found"
    assert source.closed.is_set()


# -- Between COMMIT and the answer -------------------------------------------------------------


def test_the_cache_is_told_what_changed_and_may_hold_the_answers_back() -> None:
    told: list[set[UUID]] = []
    ledger = MemoryLedger()
    held_back_seconds = [0.0]

    def after_commit(wallets: set[UUID]) -> float:
        told.append(wallets)
        return held_back_seconds[0]

    with committing(ledger, after_commit=after_commit) as committer_:
        wallet_id = uuid7()
        committer_.submit(CreateWallet(wallet_id, "USD"))
        key = keyed("k")
        assert committer_.submit(deposit(wallet_id), key).status == 200
        assert committer_.submit(deposit(wallet_id), key).replayed
        assert told == [{wallet_id}, {wallet_id}]
        committer_.submit(withdraw(wallet_id, 100))
        assert len(told) == 2
        held_back_seconds[0] = SHORT_SECONDS
        started = time.monotonic()
        waits = committer_.submit(deposit(wallet_id))
        assert waits.status == 200
        assert time.monotonic() - started >= SHORT_SECONDS


def retries(reason: str) -> float:
    return REGISTRY.get_sample_value("coffer_commit_retries_total", {"reason": reason}) or 0.0
