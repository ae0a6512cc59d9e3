"""The store when PostgreSQL goes away: at once, or in the middle of a COMMIT.

A proxy cuts the connection at the byte that the test names, so that each of the moments at which a
commit can be interrupted is met every time.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from uuid import UUID

import psycopg
import pytest

from testkit.ledgers import (
    Gate,
    audit,
    balance_of,
    code_of,
    deposit,
    keyed,
    new_wallet,
    postgres_store,
    withdraw,
)
from testkit.proxy import Direction, Proxy, proxied_url, server_address
from testkit.services import PrivatePostgres
from testkit.waiting import eventually
from WalletCore import committer
from WalletCore.domain.errors import OutcomeUnknown, Overloaded, Unavailable
from WalletCore.postgres import migrate, transactions
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.store import PostgresStore
from WalletCore.store import Outcome

QUICKLY_SECONDS: Final = 3.0
SHORT_SECONDS: Final = 0.3

COMMIT_SENT: Final = b"COMMIT"
"""In a statement that is sent for the first time; later ones go by their prepared name."""
COMMIT_DONE: Final = b"C\0\0\0\x0bCOMMIT\0"
"""CommandComplete, https://www.postgresql.org/docs/current/protocol-message-formats.html"""


def fatal(code: bytes) -> bytes:
    """The ErrorResponse with which PostgreSQL ends a connection."""
    fields = b"SFATAL\0VFATAL\0C" + code + b"\0Mterminating connection\0\0"
    return b"E" + struct.pack(">i", len(fields) + 4) + fields


@pytest.fixture
def proxy(fresh_postgres_url: str) -> Iterator[Proxy]:
    with Proxy(server_address(fresh_postgres_url)) as proxy:
        yield proxy


@pytest.fixture
def store(fresh_postgres_url: str, proxy: Proxy) -> Iterator[PostgresStore]:
    """A store by way of the proxy."""
    with postgres_store(proxied_url(fresh_postgres_url, proxy)) as store:
        # Its COMMIT must not be the one that is cut.
        eventually(lambda: store._partitions._covered_until, "the keeper's first look")
        yield store
        proxy.restore()
    assert audit(fresh_postgres_url) == []


@pytest.fixture
def wallet_id(fresh_postgres_url: str) -> UUID:
    """A wallet that another process made, so that the store's first COMMIT is still to come."""
    with postgres_store(fresh_postgres_url) as store:
        return new_wallet(store, balance=10)


def once_it_works(store: PostgresStore, wallet_id: UUID) -> None:
    """Wait until the store moves money again; how often it had to be asked does not matter."""

    def works() -> bool:
        try:
            return store.execute(deposit(wallet_id, "0.01")).status == 200
        except Unavailable:
            return False

    eventually(works, "the store works again")


# -- The outcome of a COMMIT whose connection broke --------------------------------------------


@pytest.mark.parametrize("key", [None, keyed("k")], ids=["no key", "key"])
@pytest.mark.parametrize("instead", [b"", fatal(b"57P01"), fatal(b"57P02")], ids=["", "57P01", "2"])
def test_committed_but_the_answer_is_lost(
    store: PostgresStore, proxy: Proxy, wallet_id: UUID, key: object, instead: bytes
) -> None:
    proxy.cut_when(COMMIT_DONE, "to_client", instead=instead)
    outcome = store.execute(deposit(wallet_id, 5), key)  # type: ignore[arg-type]
    proxy.wait_for_cut()
    assert (outcome.status, outcome.replayed) == (200, False)
    assert balance_of(store, wallet_id) == 15
    if key is not None:
        again = store.execute(deposit(wallet_id, 5), key)  # type: ignore[arg-type]
        assert again == outcome._replace(replayed=True)


@pytest.mark.parametrize("key", [None, keyed("k")], ids=["no key", "key"])
def test_the_commit_never_arrived(
    store: PostgresStore, proxy: Proxy, wallet_id: UUID, key: object
) -> None:
    proxy.cut_when(COMMIT_SENT, "to_server")
    with pytest.raises(Unavailable) as refused:
        store.execute(deposit(wallet_id, 5), key)  # type: ignore[arg-type]
    proxy.wait_for_cut()
    assert refused.value.code == "unavailable"
    assert balance_of(store, wallet_id) == 10
    outcome = store.execute(deposit(wallet_id, 5), key)  # type: ignore[arg-type]
    assert (outcome.status, outcome.replayed) == (200, False)


def test_a_whole_batch_finds_out(store: PostgresStore, proxy: Proxy, wallet_id: UUID) -> None:
    gate = Gate(store)
    gate.shut()
    sent = [gate.submit(deposit(wallet_id), keyed(f"k{number}")) for number in range(5)]
    sent.append(gate.submit(withdraw(wallet_id, 1000), keyed("refused")))
    # The harmless command behind the gate commits first.
    proxy.cut_when(COMMIT_DONE, "to_client", occurrences=2)
    gate.open()
    assert [code_of(future.result()) for future in sent] == [*[""] * 5, "insufficient_funds"]
    proxy.wait_for_cut()
    assert balance_of(store, wallet_id) == 15


@pytest.mark.parametrize(
    ("pattern", "direction", "kept"),
    [(COMMIT_DONE, "to_client", True), (COMMIT_SENT, "to_server", False)],
)
def test_a_remembered_refusal_is_all_there_was_to_commit(
    store: PostgresStore,
    proxy: Proxy,
    wallet_id: UUID,
    pattern: bytes,
    direction: Direction,
    kept: bool,
) -> None:
    """Without an event, the key tells whether the transaction was committed."""
    key = keyed("k")
    proxy.cut_when(pattern, direction)
    if kept:
        assert code_of(store.execute(withdraw(wallet_id, 1000), key)) == "insufficient_funds"
    else:
        with pytest.raises(Unavailable):
            store.execute(withdraw(wallet_id, 1000), key)
    proxy.wait_for_cut()
    assert store.execute(withdraw(wallet_id, 1000), key).replayed == kept


@pytest.mark.parametrize(
    ("pattern", "direction", "committed"),
    [(COMMIT_DONE, "to_client", True), (COMMIT_SENT, "to_server", False)],
)
def test_an_outcome_that_cannot_be_known_is_told_by_the_key_afterwards(
    store: PostgresStore,
    proxy: Proxy,
    wallet_id: UUID,
    monkeypatch: pytest.MonkeyPatch,
    pattern: bytes,
    direction: Direction,
    committed: bool,
) -> None:
    monkeypatch.setattr(transactions, "OUTCOME_WAIT_SECONDS", SHORT_SECONDS)
    proxy.cut_when(pattern, direction, refuse=True)
    with pytest.raises(OutcomeUnknown) as unknown:
        store.execute(deposit(wallet_id, 5), keyed("k"))
    assert (unknown.value.status, unknown.value.code) == (503, "outcome_unknown")
    assert "Idempotency-Key" in unknown.value.detail
    # As long as it is away, nothing claims to know.
    with pytest.raises(Unavailable):
        store.execute(deposit(wallet_id, 5), keyed("k"))
    proxy.restore()

    def retried() -> Outcome | None:
        try:
            return store.execute(deposit(wallet_id, 5), keyed("k"))
        except Unavailable:
            return None

    outcome = eventually(retried, "the truth")
    assert outcome is not None
    assert (outcome.status, outcome.replayed) == (200, committed)
    assert balance_of(store, wallet_id) == 15


def test_the_server_is_away_while_the_outcome_is_asked_and_comes_back(
    store: PostgresStore, proxy: Proxy, wallet_id: UUID
) -> None:
    proxy.cut_when(COMMIT_DONE, "to_client", refuse=True)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(store.execute, deposit(wallet_id, 5))
        proxy.wait_for_cut()
        proxy.restore()
        assert asked.result().status == 200
    assert balance_of(store, wallet_id) == 15


def test_a_connection_that_says_nothing_any_more(
    store: PostgresStore, proxy: Proxy, wallet_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    once_it_works(store, wallet_id)
    before = balance_of(store, wallet_id)
    monkeypatch.setattr(committer, "QUEUE_WAIT_SECONDS", SHORT_SECONDS)
    monkeypatch.setattr(committer, "OUTCOME_WAIT_SECONDS", SHORT_SECONDS)
    proxy.black_hole()
    with pytest.raises(OutcomeUnknown):
        store.execute(deposit(wallet_id, 5), keyed("k"))
    with pytest.raises(Overloaded):
        store.execute(deposit(wallet_id, 5), keyed("given up"))
    monkeypatch.undo()
    proxy.restore()
    assert store.execute(deposit(wallet_id, 5), keyed("k")).replayed
    assert not store.execute(deposit(wallet_id, 7), keyed("given up")).replayed
    assert balance_of(store, wallet_id) == before + 12


def test_a_connection_that_was_ended_between_two_commands(
    fresh_postgres_url: str, store: PostgresStore, wallet_id: UUID
) -> None:
    once_it_works(store, wallet_id)
    with psycopg.connect(connection_info(fresh_postgres_url)) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    # Reads take another connection, commands say that they were not done.
    assert balance_of(store, wallet_id) >= 10
    once_it_works(store, wallet_id)


# -- A server that crashes ---------------------------------------------------------------------


def test_a_crashed_database_is_noticed_quickly_and_used_again_by_itself() -> None:
    with PrivatePostgres() as postgres:
        migrate.upgrade(postgres.url)
        with postgres_store(postgres.url) as store:
            wallet_id = new_wallet(store, balance=10)
            postgres.stop()
            for _ in range(3):
                started = time.monotonic()
                with pytest.raises(Unavailable) as refused:
                    store.execute(deposit(wallet_id), keyed("k"))
                assert refused.value.code == "unavailable"
                with pytest.raises(Unavailable):
                    store.wallet(wallet_id)
                assert store.missing() == ["database"]
                assert time.monotonic() - started < QUICKLY_SECONDS
            postgres.start()
            # A read finds a new connection at once.
            assert balance_of(store, wallet_id) == 10
            assert store.missing() == []
            once_it_works(store, wallet_id)
            assert not store.execute(deposit(wallet_id), keyed("k")).replayed
        assert audit(postgres.url) == []


def test_crashes_under_load_lose_and_repeat_nothing() -> None:
    """Whatever was acknowledged is there once, and a key tells about the rest."""
    threads, crashes = 8, 3
    with PrivatePostgres() as postgres:
        migrate.upgrade(postgres.url)
        with postgres_store(postgres.url) as store, ThreadPoolExecutor(threads) as pool:
            wallets = [new_wallet(store) for _ in range(3)]
            acknowledged: list[str] = []
            unknown: list[str] = []
            stop = False

            def load(thread: int) -> None:
                number = 0
                while not stop:
                    number += 1
                    key = f"{thread}.{number}"
                    try:
                        store.execute(deposit(wallets[number % 3], 1, key), keyed(key))
                    except Unavailable:
                        unknown.append(key)
                        time.sleep(0.01)
                    else:
                        acknowledged.append(key)

            loading = [pool.submit(load, thread) for thread in range(threads)]
            for _ in range(crashes):
                before = len(acknowledged)
                eventually(lambda n=before: len(acknowledged) > n + 50, "load")  # type: ignore[misc]
                postgres.stop()
                postgres.start()
            stop = True
            for future in loading:
                future.result()
            once_it_works(store, wallets[0])
            told = {
                key: store.execute(deposit(wallets[int(key.split(".")[1]) % 3], 1, key), keyed(key))
                for key in unknown
            }
            assert {outcome.status for outcome in told.values()} <= {200}
        with psycopg.connect(connection_info(postgres.url)) as connection:
            rows = connection.execute(
                "SELECT reference FROM coffer.entries WHERE reference IS NOT NULL"
            ).fetchall()
        assert sorted(row[0] for row in rows) == sorted(acknowledged + unknown)
        assert audit(postgres.url) == []
        assert unknown
