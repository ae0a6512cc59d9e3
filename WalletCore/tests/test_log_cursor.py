"""The cursors of the event log: what a client may make of them, how long they are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

import psycopg
import pytest
from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from testkit.ledgers import new_wallet, postgres_store
from testkit.services import TestDatabases
from WalletCore.cursor import MAX_CURSOR_CHARACTERS, decode_cursor, encode_cursor
from WalletCore.domain.errors import CursorInvalid
from WalletCore.paging import PageRequest
from WalletCore.postgres import event_log
from WalletCore.postgres.connect import connection_info, read_engine
from WalletCore.postgres.event_log import LISTING, MAX_SNAPSHOT_CHARACTERS, Window
from WalletCore.postgres.store import PostgresStore
from WalletCore.tests.test_event_log import Reader, write, writer


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


def cursor_at(store: PostgresStore, *place: str | int) -> str:
    """A cursor of the store's own cluster at any place."""
    known = store.events(PageRequest(None, 1)).next_cursor or ""
    origin = decode_cursor(LISTING, known, str, str)[1]
    return encode_cursor(LISTING, encode_cursor("events", *place), origin)


BAD_PLACES: Final[tuple[tuple[str | int, ...], ...]] = (
    ("1:1:", "1:1:", -1, 5),
    ("1:1:", "1:1:", 0, 2**63),
    ("1:1:", "1:1:", "0", 5),
    ("1:1:", "1:1", 0, 5),
    ("1:1:", "", 0, 5),
    ("", "1:1:", 0, 5),
    ("1:1", "1:1:", 0, 5),
    ("1:1:", "1:1:,", 0, 5),
    ("1:1:", "x:1:", 0, 5),
    ("1:1:", "1:1:1;DROP TABLE coffer.events", 0, 5),
    ("1:1:", "5:3:", 0, 5),
    ("5:3:", "7:7:", 0, 5),
    ("1:1:", "10:20:15,12", 0, 5),
    ("1:1:", "10:20:5", 0, 5),
    ("1:1:", "0:0:", 0, 5),
    ("1:1:", "\u0661:\u0661:", 0, 5),
    ("1:1:", "1:1:\0", 0, 5),
    ("1:1:", "1:1:", 0),
    ("1:1:", "1:1:", 0, 5, 5),
)


@pytest.mark.parametrize("place", BAD_PLACES, ids=repr)
def test_a_place_that_no_snapshot_has_is_refused(
    filled_store: PostgresStore, place: tuple[str | int, ...]
) -> None:
    with pytest.raises(CursorInvalid):
        filled_store.events(PageRequest(cursor_at(filled_store, *place), 5))


@pytest.mark.parametrize("xid", ["1", "3", "9223372036854775807", "9999999999999999999"])
@pytest.mark.parametrize(("after", "top"), [(0, 0), (0, 2**63 - 1), (2**63 - 1, 0)])
def test_a_place_that_is_odd_but_possible_is_harmless(
    filled_store: PostgresStore, xid: str, after: int, top: int
) -> None:
    for since, until in (("1:1:", f"{xid}:{xid}:"), (f"{xid}:{xid}:", "1:1:")):
        page = PageRequest(cursor_at(filled_store, since, until, after, top), 5)
        found = filled_store.events(page)
        assert len(found.items) <= 5
        assert found.next_cursor is not None


def test_a_cursor_that_was_tampered_with_is_refused_or_harmless(
    filled_store: PostgresStore,
) -> None:
    """Whatever a client makes of a cursor: an answer or CursorInvalid, and never another error."""
    chance = random.Random(0)
    cursor = filled_store.events(PageRequest(None, 2)).next_cursor
    assert cursor is not None
    refused = 0
    for _ in range(150):
        text = list(cursor)
        for _ in range(chance.randint(1, 3)):
            text[chance.randrange(len(text))] = chance.choice("AZaz09-_=%\u00e9")
        try:
            found = filled_store.events(PageRequest("".join(text), 2))
        except CursorInvalid:
            refused += 1
        else:
            assert len(found.items) <= 2
            assert found.next_cursor is not None
    assert refused > 50
    with pytest.raises(CursorInvalid):
        filled_store.events(PageRequest(encode_cursor("wallets", str(uuid7()))))


def test_the_longest_snapshots_fit_into_a_cursor() -> None:
    longest = "9" * MAX_SNAPSHOT_CHARACTERS
    window = Window(longest, longest, 2**63 - 1, 2**63 - 1)
    assert len(encode_cursor(LISTING, window.encode(), "9" * 20)) <= MAX_CURSOR_CHARACTERS


def test_a_cursor_from_before_a_restore_elsewhere_is_refused(
    fresh_postgres_url: str, engine: Engine
) -> None:
    reader = Reader(engine)
    reader.page()
    with psycopg.connect(connection_info(fresh_postgres_url)) as connection:
        connection.execute("UPDATE coffer.log_origin SET system_identifier = 'another'")
    with pytest.raises(CursorInvalid, match="another cluster"):
        reader.page()
    reader.cursor = None
    assert reader.page() == []


def test_a_cursor_stays_short_whatever_runs(
    fresh_postgres_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "MAX_SNAPSHOT_CHARACTERS", 40)
    reader = Reader(engine)
    reader.page()
    open_ones = [psycopg.connect(connection_info(fresh_postgres_url)) for _ in range(20)]
    try:
        for connection in open_ones:
            connection.execute("SELECT pg_current_xact_id()")
            write(connection, "late")
        with writer(fresh_postgres_url) as quick:
            write(quick, "quick")
        # It may have to wait, because too many are under way to be named.
        assert reader.rest() in ([], ["quick"])
        assert reader.cursor is not None
        window = Window.decode(decode_cursor(LISTING, reader.cursor, str, str)[0])
        assert max(len(window.since), len(window.until)) <= 40
        for connection in open_ones:
            connection.commit()
    finally:
        for connection in open_ones:
            connection.close()
    reader.rest()
    assert sorted(reader.bodies) == ["late"] * len(open_ones) + ["quick"]
