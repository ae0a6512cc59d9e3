"""The event log under concurrency: nothing missed, nothing twice, each wallet in its order."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from testkit.ledgers import deposit, new_wallet, postgres_store
from testkit.services import TestDatabases
from WalletCore.paging import PageRequest
from WalletCore.postgres import event_log
from WalletCore.postgres.connect import connection_info, read_engine
from WalletCore.postgres.event_log import read_log
from WalletCore.postgres.store import PostgresStore

WRITERS: Final = 8
TRANSACTIONS_PER_WRITER: Final = 60
WALLETS: Final = 4
MAX_PAUSE_SECONDS: Final = 0.004
ROLLED_BACK: Final = 0.2
OTHER_TRANSACTIONS: Final = 600

INSERT: Final = (
    "INSERT INTO coffer.events (id, wallet_id, seq, type, body, created_at) "
    "VALUES (%s, %s, %s, 'test', %s, now())"
)


@pytest.fixture
def engine(fresh_postgres_url: str) -> Iterator[Engine]:
    engine = read_engine(fresh_postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def filled_store(test_databases: TestDatabases) -> Iterator[PostgresStore]:
    """A store with some events in its log, for reads alone."""
    with test_databases.migrated() as url, postgres_store(url) as store:
        for _ in range(3):
            new_wallet(store)
        yield store


class Reader:
    """Pages through the log from its beginning."""

    def __init__(self, engine: Engine, rows: int = 10) -> None:
        self._engine = engine
        self._rows = rows
        self.cursor: str | None = None
        self.bodies: list[str] = []

    def page(self) -> list[str]:
        with self._engine.connect() as connection:
            rows, self.cursor = read_log(connection, self.cursor, self._rows)
        bodies: list[str] = [row[1] for row in rows]
        assert len(bodies) <= self._rows
        self.bodies += bodies
        return bodies

    def rest(self) -> list[str]:
        """All that is there now."""
        found: list[str] = []
        while page := self.page():
            found += page
        return found


@contextmanager
def writer(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction that has its id, as the committer takes it, and has written nothing yet."""
    with psycopg.connect(connection_info(url)) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        yield connection


def write(connection: psycopg.Connection[Any], body: str) -> None:
    connection.execute(INSERT, (uuid7(), None, None, body))


def test_a_transaction_that_ran_during_the_snapshot_is_not_lost(
    fresh_postgres_url: str, engine: Engine
) -> None:
    """A snapshot's xmax follows the last transaction that has ended: what runs above it is in no
    list, and may hold a lower position than what is visible."""
    reader = Reader(engine)
    assert reader.page() == []
    with writer(fresh_postgres_url) as first, writer(fresh_postgres_url) as second:
        write(second, "late, lower position")
        write(first, "early, higher position")
        first.commit()
        assert reader.rest() == ["early, higher position"]
        second.commit()
    assert reader.rest() == ["late, lower position"]


def test_a_transaction_that_the_snapshot_names_as_running_is_not_lost(
    fresh_postgres_url: str, engine: Engine
) -> None:
    reader = Reader(engine)
    reader.page()
    with writer(fresh_postgres_url) as slow, writer(fresh_postgres_url) as quick:
        write(slow, "slow")
        write(quick, "quick")
        quick.commit()
        assert reader.rest() == ["quick"]
        for number in range(3):
            with writer(fresh_postgres_url) as other:
                write(other, f"other {number}")
        assert reader.rest() == ["other 0", "other 1", "other 2"]
        write(slow, "slow again")
        slow.commit()
    assert reader.rest() == ["slow", "slow again"]


def test_a_transaction_that_began_before_the_first_page_is_not_lost(
    fresh_postgres_url: str, engine: Engine
) -> None:
    reader = Reader(engine, rows=1)
    with writer(fresh_postgres_url) as slow, writer(fresh_postgres_url) as quick:
        for number in range(3):
            write(slow, f"slow {number}")
            write(quick, f"quick {number}")
        quick.commit()
        assert reader.page() == ["quick 0"]
        slow.commit()
    assert sorted(reader.rest()) == ["quick 1", "quick 2", "slow 0", "slow 1", "slow 2"]


def test_what_was_rolled_back_never_appears(fresh_postgres_url: str, engine: Engine) -> None:
    reader = Reader(engine)
    with writer(fresh_postgres_url) as connection:
        write(connection, "never")
        assert reader.page() == []
        connection.rollback()
    assert reader.rest() == []


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 200])
def test_a_page_that_ends_inside_a_window_goes_on_there(
    fresh_postgres_url: str, engine: Engine, rows: int
) -> None:
    reader = Reader(engine, rows)
    expected = []
    for number in range(5):
        with writer(fresh_postgres_url) as connection:
            for part in "ab":
                write(connection, f"{number}{part}")
                expected.append(f"{number}{part}")
        reader.page()
    reader.rest()
    assert reader.bodies == expected
    assert reader.rest() == []


@pytest.mark.parametrize("rows", [1, 3, 200])
def test_a_reader_far_behind_keeps_the_order_of_a_wallet(
    fresh_postgres_url: str, engine: Engine, rows: int
) -> None:
    """A transaction takes its id before it waits for the wallet, so ids say nothing about the
    order: here the older transaction comes second, with hundreds of others in between."""
    reader = Reader(engine, rows)
    reader.page()
    with (
        psycopg.connect(connection_info(fresh_postgres_url), autocommit=True) as others,
        writer(fresh_postgres_url) as older,
    ):
        for number in range(OTHER_TRANSACTIONS):
            others.execute(INSERT, (uuid7(), None, None, f"other {number}"))
        with writer(fresh_postgres_url) as younger:
            write(younger, "wallet: 1")
        write(older, "wallet: 2")
        older.commit()
        for _ in range(OTHER_TRANSACTIONS):
            others.execute("SELECT pg_current_xact_id()")
    reader.rest()
    others_seen = [f"other {number}" for number in range(OTHER_TRANSACTIONS)]
    assert reader.bodies == [*others_seen, "wallet: 1", "wallet: 2"]


@dataclass
class Writers:
    """Raw writers as unfriendly as can be: random pauses, rollbacks, several wallets at once."""

    url: str
    wallets: list[UUID] = field(default_factory=lambda: [uuid7() for _ in range(WALLETS)])
    locks: list[threading.Lock] = field(
        default_factory=lambda: [threading.Lock() for _ in range(WALLETS)]
    )
    seqs: list[int] = field(default_factory=lambda: [0] * WALLETS)
    committed: list[str] = field(default_factory=list)

    def run(self, seed: int) -> None:
        chance = random.Random(seed)
        pause = threading.Event()
        with psycopg.connect(connection_info(self.url)) as connection:
            for _ in range(TRANSACTIONS_PER_WRITER):
                connection.execute("SELECT pg_current_xact_id()")
                pause.wait(chance.random() * MAX_PAUSE_SECONDS)
                # In the order of their ids, as the committer locks wallets.
                chosen = sorted(chance.sample(range(WALLETS), chance.randint(1, 2)))
                for index in chosen:
                    self.locks[index].acquire()
                try:
                    self._write(connection, chosen, chance, pause)
                finally:
                    for index in chosen:
                        self.locks[index].release()

    def _write(
        self,
        connection: psycopg.Connection[Any],
        chosen: list[int],
        chance: random.Random,
        pause: threading.Event,
    ) -> None:
        bodies = []
        for index in chosen:
            seq = self.seqs[index] + 1
            bodies.append(f"{index}:{seq}")
            connection.execute(INSERT, (uuid7(), self.wallets[index], seq, bodies[-1]))
            pause.wait(chance.random() * MAX_PAUSE_SECONDS)
        if chance.random() < ROLLED_BACK:
            connection.rollback()
            return
        connection.commit()
        for index in chosen:
            self.seqs[index] += 1
        self.committed += bodies


@pytest.mark.parametrize("characters", [event_log.MAX_SNAPSHOT_CHARACTERS, 24])
def test_a_reader_beside_many_writers_sees_every_row_once_and_each_wallet_in_order(
    fresh_postgres_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch, characters: int
) -> None:
    """Also where only two or three transactions fit into a snapshot."""
    monkeypatch.setattr(event_log, "MAX_SNAPSHOT_CHARACTERS", characters)
    writers = Writers(fresh_postgres_url)
    readers = [Reader(engine, rows) for rows in (1, 7, 50)]
    ended = threading.Event()

    def follow(reader: Reader) -> None:
        while not ended.is_set():
            reader.page()
        reader.rest()

    with ThreadPoolExecutor(WRITERS + len(readers)) as pool:
        following = [pool.submit(follow, reader) for reader in readers]
        writing = [pool.submit(writers.run, seed) for seed in range(WRITERS)]
        try:
            for future in writing:
                future.result()
        finally:
            ended.set()
        for future in following:
            future.result()
    assert sum(writers.seqs) == len(writers.committed) > WRITERS * TRANSACTIONS_PER_WRITER / 2
    for reader in readers:
        assert sorted(reader.bodies) == sorted(writers.committed)
        for index, last in enumerate(writers.seqs):
            mine = [body for body in reader.bodies if body.startswith(f"{index}:")]
            assert mine == [f"{index}:{seq}" for seq in range(1, last + 1)]


def test_the_store_pages_its_own_events_in_order(fresh_postgres_url: str) -> None:
    with postgres_store(fresh_postgres_url) as store:
        wallet_id = new_wallet(store)
        for _ in range(5):
            store.execute(deposit(wallet_id))
        seen: list[int] = []
        page = store.events(PageRequest(None, 4))
        while page.items:
            seen += [event["walletseq"] for event in page.items]
            for event in page.items:
                assert store.event(UUID(event["id"])) == event
            page = store.events(PageRequest(page.next_cursor, 4))
        assert seen == [1, 2, 3, 4, 5, 6]
        assert page.next_cursor is not None
