"""A batch whose entries and events are written in parts, while the rest is decided: still one
transaction, all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
import pytest
from prometheus_client import REGISTRY
from uuid_utils.compat import uuid7

from testkit.ledgers import (
    Gate,
    audit,
    balance_of,
    code_of,
    deposit,
    done,
    keyed,
    legs,
    memory_store,
    new_wallet,
    place_hold,
    postgres_store,
    sizes_of,
    transfer,
    withdraw,
)
from testkit.proxy import Proxy, proxied_url, server_address
from testkit.waiting import eventually
from WalletCore import deciding
from WalletCore.committer import MAX_BATCH_COMMANDS
from WalletCore.deciding import LOG_PART_EVENTS
from WalletCore.domain.commands import Command, CreateWallet, Deposit, Group
from WalletCore.domain.errors import CofferError, NotStorable, Unavailable
from WalletCore.domain.model import Entry, Event
from WalletCore.memory import MemoryStore
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.store import PostgresStore
from WalletCore.store import IdempotencyKey, Transaction

COMMANDS: Final = 2 * LOG_PART_EVENTS + LOG_PART_EVENTS // 2
"""Two parts and a half."""

COMMIT_DONE: Final = b"C\0\0\0\x0bCOMMIT\0"
"""CommandComplete, https://www.postgresql.org/docs/current/protocol-message-formats.html"""

Given = tuple[Command, IdempotencyKey | None]
Store = MemoryStore | PostgresStore


@pytest.fixture
def store(fresh_postgres_url: str) -> Iterator[PostgresStore]:
    with postgres_store(fresh_postgres_url) as store:
        yield store
    assert audit(fresh_postgres_url) == []


@pytest.fixture(params=["postgres", "memory"])
def any_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        with memory_store() as store:
            yield store
    else:
        yield request.getfixturevalue("store")


class Parts(Gate):
    """Tells how many entries and events each part of a batch has, and what is done after it."""

    def __init__(self, store: Store, after: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(store)
        self.sizes: list[tuple[int, int]] = []
        self._after = after

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        with super().begin() as transaction:
            append = transaction.append

            def counting(entries: Sequence[Entry], events: Sequence[Event]) -> None:
                append(entries, events)
                self.sizes.append((len(entries), len(events)))
                self._after(len(self.sizes))

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(transaction, "append", counting)
                yield transaction


def send(store: Store, gate: Gate, given: Sequence[Given]) -> list[Any]:
    """What became of each, all of them in one batch at first."""
    gate.shut()
    sent = gate._pool.submit(store.execute_each, given)
    eventually(lambda: gate.waiting() == len(given), "all of them in the queue")
    gate.open()
    return sent.result()


def deposits(wallet_id: UUID, count: int = COMMANDS) -> list[Given]:
    """Each of 1, with a key and a reference of its own."""
    return [(deposit(wallet_id, 1, f"r{number}"), keyed(f"k{number}")) for number in range(count)]


def seqs(results: Sequence[Any]) -> list[int]:
    return [orjson.loads(result.body)["seq"] for result in done(results)]


def retries(reason: str) -> float:
    return REGISTRY.get_sample_value("coffer_commit_retries_total", {"reason": reason}) or 0.0


# -- What becomes a part -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commands", "sizes"),
    [
        (1, []),
        (LOG_PART_EVENTS, []),
        (LOG_PART_EVENTS + 1, [LOG_PART_EVENTS]),
        (2 * LOG_PART_EVENTS, [LOG_PART_EVENTS]),
        (2 * LOG_PART_EVENTS + 1, [LOG_PART_EVENTS] * 2),
        (MAX_BATCH_COMMANDS, [LOG_PART_EVENTS] * ((MAX_BATCH_COMMANDS - 1) // LOG_PART_EVENTS)),
    ],
)
def test_full_parts_go_ahead_and_the_rest_goes_with_the_commit(
    any_store: Store, commands: int, sizes: list[int]
) -> None:
    wallet_id = new_wallet(any_store)
    parts = Parts(any_store)
    results = send(any_store, parts, deposits(wallet_id, commands))
    assert seqs(results) == list(range(1, commands + 1))
    assert parts.sizes == [(size, size) for size in sizes]
    assert balance_of(any_store, wallet_id) == commands
    assert send(any_store, parts, deposits(wallet_id, commands)) == [
        result._replace(replayed=True) for result in results
    ]


def test_refusals_are_no_part_of_anything(store: PostgresStore) -> None:
    wallet_id = new_wallet(store)
    parts = Parts(store)
    given: list[Given] = [(withdraw(wallet_id), None)] * LOG_PART_EVENTS
    results = send(store, parts, [*given, *deposits(wallet_id, LOG_PART_EVENTS)])
    assert [code_of(result) for result in results[:LOG_PART_EVENTS]] == [
        "insufficient_funds"
    ] * LOG_PART_EVENTS
    assert parts.sizes == []
    assert balance_of(store, wallet_id) == LOG_PART_EVENTS


def test_whatever_changes_money_may_be_parted_between_two_commands(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "LOG_PART_EVENTS", 1)
    one, other, new = new_wallet(store, balance=10), new_wallet(store, balance=10), uuid7()
    refused = Group((withdraw(one, 1), withdraw(other, 1), withdraw(one, 1000)))
    parts = Parts(store)
    commands: list[Command] = [
        transfer(one, other, 3),
        refused,
        place_hold(one, 2),
        CreateWallet(new, "USD"),
        legs((other, one, 1), (one, other, 2)),
        Group((withdraw(one, 1), deposit(other, 1))),
        deposit(new, 5),
    ]
    results = done(parts.batch([(command, None) for command in commands]))
    assert [code_of(result) for result in results] == [
        *("", "insufficient_funds", "", "", "", "", "")
    ]
    # Entries and events; the new wallet, which needs no lock, came in with the batch before.
    assert parts.sizes == [(2, 2), (0, 1), (4, 4), (2, 2)]
    assert [balance_of(store, wallet) for wallet in (one, other, new)] == [5, 15, 5]
    assert store.trial_balance()["balanced"]


# -- What fails in one of them -----------------------------------------------------------------


def not_json(command: Deposit) -> Deposit:
    """Found when it is decided."""
    return replace(command, metadata={"not": object()})


def no_text(command: Deposit) -> Deposit:
    """JSON knows it, PostgreSQL does not."""
    return replace(command, description="nul \0")


def poison(command: Deposit) -> Deposit:
    """Found by the database, some time after its part was sent."""
    return replace(command, reference="poison")


PLACES: Final = [0, LOG_PART_EVENTS - 1, LOG_PART_EVENTS, 2 * LOG_PART_EVENTS - 1, COMMANDS - 1]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("spoil", [not_json, no_text, poison])
def test_one_that_cannot_be_stored_fails_alone_wherever_it_stands(
    fresh_postgres_url: str,
    store: PostgresStore,
    place: int,
    spoil: Callable[[Deposit], Deposit],
) -> None:
    wallet_id = new_wallet(store)
    with psycopg.connect(connection_info(fresh_postgres_url)) as owner:
        owner.execute("ALTER TABLE coffer.entries ADD CONSTRAINT p CHECK (reference <> 'poison')")
    given = deposits(wallet_id)
    spoilt, key = given[place]
    assert isinstance(spoilt, Deposit)
    given[place] = (spoil(spoilt), key)
    before = retries("data")
    results = send(store, Gate(store), given)
    failed = results.pop(place)
    assert isinstance(failed, NotStorable)
    assert seqs(results) == list(range(1, COMMANDS))
    assert retries("data") > before
    assert balance_of(store, wallet_id) == COMMANDS - 1
    # Its key is free, those of all others are used.
    again = send(store, Gate(store), deposits(wallet_id))
    assert [result.replayed for result in again] == [number != place for number in range(COMMANDS)]


def test_in_memory_it_is_the_same() -> None:
    with memory_store() as store:
        wallet_id = new_wallet(store)
        given = deposits(wallet_id)
        bad, key = given[-1]
        assert isinstance(bad, Deposit)
        given[-1] = (not_json(bad), key)
        results = send(store, Gate(store), given)
        assert isinstance(results.pop(), NotStorable)
        assert seqs(results) == list(range(1, COMMANDS))
        assert balance_of(store, wallet_id) == COMMANDS - 1
        assert len(store._ledger.entries[wallet_id]) == COMMANDS - 1
        assert store.trial_balance()["balanced"]


def test_a_defect_in_a_later_part_takes_the_earlier_ones_back(store: PostgresStore) -> None:
    wallet_id = new_wallet(store)
    given = deposits(wallet_id)
    bad, key = given[COMMANDS - 1]
    assert isinstance(bad, Deposit)
    # What no rule expects: an error of ours.
    given[COMMANDS - 1] = (replace(bad, amount="ten"), key)  # type: ignore[arg-type]
    results = send(store, Gate(store), given)
    assert type(results.pop()) is CofferError
    assert seqs(results) == list(range(1, COMMANDS))
    assert balance_of(store, wallet_id) == COMMANDS - 1


# -- A connection that ends in between ---------------------------------------------------------


def end_connection(url: str) -> None:
    """That of the committer; it is gone when this returns."""
    with psycopg.connect(connection_info(url)) as owner:
        ended = owner.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'coffer-committer'"
        ).fetchall()
    assert ended == [(True,)]


def all_gone_ahead(wallet_id: UUID) -> list[Given]:
    """Without keys; nothing is left for the end but the wallet itself."""
    given: list[Given] = [(command, None) for command, _ in deposits(wallet_id, LOG_PART_EVENTS)]
    return [*given, (withdraw(wallet_id, 10**6), None)]


@pytest.mark.parametrize("ends_after", [1, 2])
def test_a_connection_that_ends_between_two_parts_leaves_nothing(
    fresh_postgres_url: str, store: PostgresStore, ends_after: int
) -> None:
    wallet_id = new_wallet(store)

    def end(part: int) -> None:
        if part == ends_after:
            end_connection(fresh_postgres_url)

    results = send(store, Parts(store, end), deposits(wallet_id))
    assert {type(result) for result in results} == {Unavailable}
    assert balance_of(store, wallet_id) == 0
    with psycopg.connect(connection_info(fresh_postgres_url)) as reader:
        for table in ("entries", "idempotency_keys"):
            query = psycopg.sql.SQL("SELECT count(*) FROM coffer.{}").format(
                psycopg.sql.Identifier(table)
            )
            assert reader.execute(query).fetchone() == (0,)
    eventually(lambda: store.missing() == [], "the committer's next connection")
    again = send(store, Gate(store), deposits(wallet_id))
    assert [result.replayed for result in done(again)] == [False] * COMMANDS
    assert balance_of(store, wallet_id) == COMMANDS


def test_a_connection_that_ends_after_the_last_event_is_not_taken_for_a_commit(
    fresh_postgres_url: str, store: PostgresStore
) -> None:
    wallet_id = new_wallet(store)
    parts = Parts(store, lambda _: end_connection(fresh_postgres_url))
    results = send(store, parts, all_gone_ahead(wallet_id))
    assert parts.sizes == [(LOG_PART_EVENTS, LOG_PART_EVENTS)]
    assert {type(result) for result in results} == {Unavailable}
    assert balance_of(store, wallet_id) == 0


def test_parts_whose_commit_is_not_answered_are_found_by_their_first_event(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(server_address(fresh_postgres_url)) as proxy:
        with postgres_store(fresh_postgres_url) as maker:
            wallet_id = new_wallet(maker)
        with postgres_store(proxied_url(fresh_postgres_url, proxy)) as store:
            eventually(lambda: store._partitions._covered_until, "the keeper's first look")
            sizes = sizes_of(store, monkeypatch)
            gate = Gate(store)
            gate.shut()
            sent = gate._pool.submit(store.execute_each, all_gone_ahead(wallet_id))
            eventually(lambda: gate.waiting() == LOG_PART_EVENTS + 1, "all of them in the queue")
            # The harmless command behind the gate commits first.
            proxy.cut_when(COMMIT_DONE, "to_client", occurrences=2)
            gate.open()
            results = sent.result()
            proxy.wait_for_cut()
            assert sizes[-1] == LOG_PART_EVENTS + 1
            assert code_of(done(results)[-1]) == "insufficient_funds"
            del results[-1]
            assert seqs(results) == list(range(1, LOG_PART_EVENTS + 1))
            proxy.restore()
            assert balance_of(store, wallet_id) == LOG_PART_EVENTS
    assert audit(fresh_postgres_url) == []
