"""Statements over HTTP: JSON and CSV tell the same, in parts, and nobody takes a part for all."""

from __future__ import annotations

import csv
import http.client
import io
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from RestAPI import long_answers
from RestAPI.app import create_app
from RestAPI.long_answers import THREADS_PER_LONG_ANSWER, LongAnswers
from RestAPI.statement_formats import CSV_COLUMNS, csv_parts, json_parts, plain_cell
from RestAPI.tests.running import running
from testkit.ledgers import deposit, new_wallet
from testkit.proxy import Proxy, proxied_url, server_address
from WalletCore import statements
from WalletCore.domain.errors import Overloaded, Unavailable
from WalletCore.domain.model import Entry, OperationType
from WalletCore.domain.money import Currency
from WalletCore.open_store import open_store
from WalletCore.postgres.connect import connection_info
from WalletCore.settings import MEMORY_URL, Settings
from WalletCore.statements import STATEMENT_SLICE_ENTRIES, Statement
from WalletCore.store import Store

USD: Final = Currency("USD", 2)
WALLET_ID: Final = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
NOW: Final = datetime(2030, 1, 31, 12, tzinfo=UTC)
TEXT: Final = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20
) | st.text(st.sampled_from("=+-@'\"\t\r\n,; \uff1da1"), max_size=6)
ENTRIES: Final = st.lists(
    st.tuples(
        st.integers(-(10**18), 10**18).filter(bool),
        st.none() | TEXT,
        st.none() | TEXT,
        st.dictionaries(TEXT, TEXT | st.integers(-5, 5), max_size=2),
    ),
    max_size=7,
)


def made(moves: list[tuple[Any, ...]], opening_minor: int = 0) -> Statement:
    """A statement in which this has moved, from the eighth entry on."""
    entries: list[Entry] = []
    balance_minor = opening_minor
    for seq, (delta_minor, reference, description, metadata) in enumerate(moves, 8):
        balance_minor += delta_minor
        kind = OperationType.DEPOSIT if delta_minor > 0 else OperationType.WITHDRAW
        entries.append(
            Entry(
                *(WALLET_ID, seq, uuid7(), kind, delta_minor, balance_minor, "external"),
                *(reference, description, metadata, NOW),
            )
        )
    return Statement(
        *(WALLET_ID, USD, NOW, NOW + timedelta(hours=1), 7, 7 + len(moves)),
        *(opening_minor, balance_minor, lambda after, last: entries[after - 7 : last - 7]),
    )


# -- Both formats ------------------------------------------------------------------------------


@given(moves=ENTRIES, opening_minor=st.integers(-(10**18), 10**18), size=st.integers(1, 4))
def test_json_and_csv_tell_the_same(
    moves: list[tuple[Any, ...]], opening_minor: int, size: int
) -> None:
    statement = made(moves, opening_minor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statements, "STATEMENT_SLICE_ENTRIES", size)
        document = orjson.loads(b"".join(json_parts(statement)))
        text = b"".join(csv_parts(statement)).decode()
    header, opening, *rows, closing = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert tuple(header) == CSV_COLUMNS
    assert text.endswith("\r\n")
    totals = document["totals"]
    assert len(rows) == len(document["entries"]) == totals["count"] == len(moves)
    always = {"wallet_id": document["wallet_id"], "currency": document["currency"]}
    for row, kind, expected in (
        (opening, "opening", {"time": "from", "balance": "opening_balance"}),
        (closing, "closing", {"time": "to", "balance": "closing_balance"}),
    ):
        named = {name: value for name, value in zip(CSV_COLUMNS, row, strict=True) if value}
        sums = {"credit": "credits", "debit": "debits"} if kind == "closing" else {}
        assert named == {
            **always,
            "row": kind,
            **{name: document[member] for name, member in expected.items()},
            **{name: totals[member] for name, member in sums.items()},
        }
    for row, operation in zip(rows, document["entries"], strict=True):
        named = dict(zip(CSV_COLUMNS, row, strict=True))
        side, other = ("credit", "debit") if named["credit"] else ("debit", "credit")
        assert named == {
            **always,
            "row": "operation",
            "time": operation["created_at"],
            "seq": str(operation["seq"]),
            "id": operation["id"],
            "operation_type": operation["operation_type"],
            side: operation["amount"],
            other: "",
            "balance": operation["new_balance"],
            "reference": plain_cell(operation["reference"]),
            "description": plain_cell(operation["description"]),
            "metadata": named["metadata"],
        }
        assert orjson.loads(named["metadata"]) == operation["metadata"]
        assert (side == "credit") is (operation["operation_type"] == "DEPOSIT")


@given(text=TEXT)
@example(text="=1+1")
@example(text=" \t=1")
@example(text="\n@x")
@example(text="'=1")
@example(text="")
def test_no_cell_is_a_formula_and_each_gives_its_text_again(text: str) -> None:
    cell = plain_cell(text)
    assert not cell.lstrip().startswith(
        ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
    )
    assert not cell.startswith(("\t", "\r", "\n"))
    assert (cell[1:] if cell.startswith("'") else cell) == text


def test_memory_stays_flat() -> None:
    """Any number of entries takes no more than a few slices do."""
    pattern, count = made([(1, "r" * 100, "d" * 100, {"m": "x" * 100})]), 20_000
    (entry,) = pattern.read_slice(7, 8)

    def read(after_seq: int, last_seq: int) -> list[Entry]:
        return [
            entry._replace(seq=seq, balance_after_minor=seq - 7)
            for seq in range(after_seq + 1, last_seq + 1)
        ]

    statement = replace(pattern, last_seq=7 + count, closing_minor=count, read_slice=read)
    for parts in (json_parts, csv_parts):
        tracemalloc.start()
        try:
            lengths = [len(part) for part in parts(statement)]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(lengths) == count // STATEMENT_SLICE_ENTRIES + 1
        assert sum(lengths) > 9_000_000
        assert peak < 3_000_000


# -- The endpoint ------------------------------------------------------------------------------


def wallet_of(store: Store, count: int) -> UUID:
    """A wallet with so many entries."""
    wallet_id = new_wallet(store)
    for _ in range(count):
        assert store.execute(deposit(wallet_id)).status == 200
    return wallet_id


def statement_path(wallet_id: str, query: str = "") -> str:
    return f"/api/v1/wallets/{wallet_id}/statement{query}"


def test_one_slice_has_a_length_and_more_has_none() -> None:
    given = Settings(database_url=SecretStr(MEMORY_URL))
    store = open_store(given)
    client = create_app(given, store).test_client()
    path = statement_path(str(wallet_of(store, STATEMENT_SLICE_ENTRIES + 1)))
    whole = client.get(path)
    assert "Content-Length" not in whole.headers
    entries = whole.get_json()["entries"]
    assert len(entries) == STATEMENT_SLICE_ENTRIES + 1
    part = client.get(f"{path}?to={entries[-1]['created_at']}")
    assert part.headers["Content-Length"] == str(len(part.data))
    assert part.get_json()["entries"] == entries[:-1]
    store.close()


def test_a_process_has_few_places_for_long_answers() -> None:
    given = Settings(database_url=SecretStr(MEMORY_URL), threads=THREADS_PER_LONG_ANSWER)
    store = open_store(given)
    client = create_app(given, store).test_client()
    path = statement_path(str(wallet_of(store, STATEMENT_SLICE_ENTRIES + 1)))
    for _ in range(2):
        with client.get(path) as first:
            assert first.status_code == 200
            refused = client.get(f"{path}?format=csv")
            assert (refused.status_code, refused.get_json()["code"]) == (503, "overloaded")
            # A short one needs no place.
            assert client.get(f"{path}?to=2020-01-01T00:00:00Z").status_code == 200
        # HEAD gives its place back at once.
        with client.head(path) as head:
            assert head.status_code == 200
    store.close()


def sending() -> float:
    """How many long answers are being sent, by the metric."""
    return REGISTRY.get_sample_value("coffer_long_answers") or 0.0


def parts_that_fail(after: int) -> Iterator[bytes]:
    for number in range(after):
        yield b"%d" % number
    raise Unavailable("The database cannot be read right now; retry.")


def test_what_fails_at_once_is_an_error_and_later_it_is_a_cut() -> None:
    places = LongAnswers(threads=1)
    for _ in range(2):
        with pytest.raises(Unavailable):
            places.open(parts_that_fail(0), "r-1")
    answer = places.open(parts_that_fail(2), "r-1")
    with pytest.raises(Overloaded):
        places.open(parts_that_fail(2), "r-2")
    assert [next(answer), next(answer)] == [b"0", b"1"]
    with pytest.raises(Unavailable):
        next(answer)
    answer.close()
    answer.close()
    assert list(answer) == []
    again = places.open(iter([b"whole"]), "r-3")
    assert list(again) == [b"whole"]
    again.close()


@pytest.mark.parametrize(("threads", "limit"), [(2, 1), (7, 1), (8, 2), (64, 16)])
def test_a_quarter_of_the_threads_has_places(threads: int, limit: int) -> None:
    places, before = LongAnswers(threads), sending()
    answers = [places.open(iter([b""]), "r") for _ in range(limit)]
    assert sending() == before + limit
    with pytest.raises(Overloaded, match=f"All {limit} places"):
        places.open(iter([b""]), "r")
    for answer in answers:
        answer.close()
    assert sending() == before


def test_no_answer_lasts_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_answers, "MAX_LONG_ANSWER_SECONDS", 0.05)
    answer = LongAnswers(threads=1).open(iter([b"a", b"b"]), "r")
    assert next(answer) == b"a"
    time.sleep(0.06)
    with pytest.raises(Unavailable):
        next(answer)
    answer.close()


# -- Over the servers --------------------------------------------------------------------------

FILL: Final = """
    INSERT INTO coffer.entries (wallet_id, seq, operation_id, operation_type, delta, balance_after,
        counterparty, metadata, created_at)
    SELECT w.id, n, gen_random_uuid(), 'DEPOSIT', 1, n, 'external', '{}', w.created_at
    FROM coffer.wallets w, generate_series(1, %(count)s) n WHERE w.id = %(wallet_id)s"""
SERVED_ENTRIES: Final = 60_000
"""Some 25 MB: more than lies between a server and a client that does not read."""


@pytest.mark.parametrize("name", ["gunicorn", "granian"])
@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_statement_that_was_cut_is_not_taken_for_whole(
    tmp_path: Path, fresh_postgres_url: str, name: str, form: str
) -> None:
    with (
        Proxy(server_address(fresh_postgres_url)) as proxy,
        running(
            tmp_path,
            COFFER_DATABASE_URL=proxied_url(fresh_postgres_url, proxy),
            COFFER_WORKERS="1",
            COFFER_WEB_SERVER=name,
        ) as server,
        psycopg.connect(connection_info(fresh_postgres_url), autocommit=True) as connection,
    ):
        wallet_id = server.ask("POST", "/api/v1/wallets", {})[1]["id"]
        given = {"count": SERVED_ENTRIES, "wallet_id": wallet_id}
        connection.execute(FILL, given)
        path = statement_path(wallet_id, f"?format={form}")
        whole = read_whole(server.port, path)
        last = b'"closing_balance":"600.00"}' if form == "json" else b"600.00,0.00,600.00,,,\r\n"
        assert whole.endswith(last)
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        client.request("GET", path)
        answer = client.getresponse()
        assert answer.status == 200
        begun = answer.read(100_000)
        proxy.refuse()
        if name == "gunicorn":
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                answer.read()
        else:
            # Granian has no way to break off what an application has begun: its end tells.
            begun += answer.read()
            assert len(begun) < len(whole)
            assert b"closing" not in begun
        client.close()
        assert "answer_cut" in server.log.read_text()
        proxy.restore()
        assert len(read_whole(server.port, path)) == len(whole)


def read_whole(port: int, path: str) -> bytes:
    """The answer, asked for until there is a database again."""
    status, body = 0, b""
    for _ in range(100):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        client.request("GET", path)
        answer = client.getresponse()
        status, body = answer.status, answer.read()
        client.close()
        if status == 200:
            return body
        time.sleep(0.1)
    raise AssertionError(f"{status}: {body[:300]!r}")
