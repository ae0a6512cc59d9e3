"""Searching operations: both stores find the same, and what contains what is PostgreSQL's word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import combinations
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from uuid_utils.compat import uuid7

from testkit.ledgers import memory_store, new_wallet, postgres_store
from testkit.services import TestDatabases
from WalletCore import search
from WalletCore.cursor import encode_cursor
from WalletCore.domain.commands import Deposit, Withdraw
from WalletCore.domain.errors import CursorInvalid
from WalletCore.domain.model import OperationType
from WalletCore.memory import MemoryStore
from WalletCore.paging import PageRequest
from WalletCore.postgres import search_queries
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.store import PostgresStore
from WalletCore.search import FIRST_ID, LAST_PLACE, SearchFilter, contains, has_scalar

AnyStore = MemoryStore | PostgresStore

SCALARS: Final = (
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "b", "0", "true"])
)
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "0"]), inner, max_size=3)
    ),
    max_leaves=6,
)
OBJECTS: Final = st.dictionaries(st.sampled_from(["a", "b", "0"]), VALUES, max_size=3)


def part_of(value: Any, draw: Any) -> Any:
    """Something that ``value`` contains, if nothing is put in its place."""
    if draw(st.integers(0, 9)) == 0:
        return draw(VALUES)
    if isinstance(value, dict):
        return {name: part_of(item, draw) for name, item in value.items() if draw(st.booleans())}
    if isinstance(value, list):
        kept = [part_of(item, draw) for item in value if draw(st.booleans())]
        return draw(st.permutations([*kept, *kept]))
    return value


@st.composite
def pairs(draw: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    held = draw(OBJECTS)
    wanted = part_of(held, draw) if draw(st.booleans()) else draw(OBJECTS)
    return held, wanted if isinstance(wanted, dict) else {"a": wanted}


# -- What contains what ------------------------------------------------------------------------


@given(pair=pairs())
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(pair=({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}))
@example(pair=({"a": [1, 2, 2, 3]}, {"a": [3, 1, 1]}))
@example(pair=({"a": [[1, 2], 3]}, {"a": [[2]]}))
@example(pair=({"a": [1, 2]}, {"a": [[1]]}))
@example(pair=({"a": ["b"]}, {"a": "b"}))
@example(pair=({"a": "b"}, {"a": ["b"]}))
@example(pair=({"a": 1}, {"a": True}))
@example(pair=({"a": 0}, {"a": False}))
@example(pair=({"a": None}, {"a": None}))
@example(pair=({}, {"a": None}))
@example(pair=({"a": {"b": 1}}, {"a": {}}))
@example(pair=({"a": [1]}, {"a": []}))
@example(pair=({"a": {}}, {"a": []}))
@example(pair=({"a": 1}, {"a": {}}))
@example(pair=({"a": [{"b": 1, "c": 2}, {"b": 3}]}, {"a": [{"b": 3}, {"c": 2}]}))
@example(pair=({"a": 1}, {}))
def test_memory_has_the_words_of_postgresql(
    connection: psycopg.Connection[Any], pair: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    held, wanted = pair
    row = connection.execute(
        "SELECT %s::jsonb @> %s::jsonb", [orjson.dumps(value).decode() for value in pair]
    ).fetchone()
    assert row == (contains(held, wanted),)
    assert contains(held, held)


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(connection_info(postgres_url), autocommit=True) as connection:
        yield connection


def test_what_an_index_on_scalars_can_find() -> None:
    for value in ({"a": None}, {"a": [{"b": [[False]]}]}, {"a": {}, "b": 0}):
        assert has_scalar(value)
    assert not has_scalar({})
    assert not has_scalar({"a": {}})
    assert not has_scalar({"a": [[], {"b": {}}]})


# -- Both stores -------------------------------------------------------------------------------

METADATA: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"order": "A"},
    {"order": "A", "lines": [{"sku": 1}, {"sku": 2}], "gift": True},
    {"order": "B", "lines": [], "gift": 1},
)


@pytest.fixture(scope="module", params=["memory", "postgres", "postgres, short walks"])
def filled(
    request: pytest.FixtureRequest, test_databases: TestDatabases
) -> Iterator[tuple[AnyStore, str, list[dict[str, Any]]]]:
    """A store, the mark that its references begin with, and all operations, newest first."""
    with ExitStack() as stack:
        if request.param == "memory":
            store: AnyStore = stack.enter_context(memory_store())
        else:
            url = stack.enter_context(test_databases.migrated())
            store = stack.enter_context(postgres_store(url))
        if "short" in request.param:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            shorten(patch, walked=3, rare=4)
        mark = uuid7().hex
        wallets = [new_wallet(store, currency) for currency in ("USD", "USD", "JPY", "COIN")]
        made = []
        for number in range(48):
            kind = Withdraw if number % 7 == 6 else Deposit
            command = kind(
                wallets[number % 4],
                uuid7(),
                Decimal(1 if kind is Withdraw else 10 + number),
                reference=None if number % 3 == 0 else f"{mark}-{number % 3}",
                metadata=METADATA[number // 2 % len(METADATA)],
            )
            outcome = store.execute(command)
            assert outcome.status == 200, outcome.body
            made.append(orjson.loads(outcome.body))
        yield store, mark, made[::-1]


def shorten(patch: pytest.MonkeyPatch, *, walked: int, rare: int) -> None:
    """Let a page look at so few entries that everything takes many pages."""
    for name in ("WALK", "WALK_REFERENCE", "RARE"):
        statement = getattr(search_queries, name).text
        for old, new in (
            (f"{search_queries.WALKED_ENTRIES}", f"{walked}"),
            (f"LIMIT {search_queries.RARE_ENTRIES + 1}", f"LIMIT {rare + 1}"),
        ):
            statement = statement.replace(old, new)
        patch.setattr(search_queries, name, text(statement))
    patch.setattr(search_queries, "RARE_ENTRIES", rare)


def found(store: AnyStore, wanted: SearchFilter, limit: int = 7) -> list[dict[str, Any]]:
    """Everything, page by page."""
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(200):
        page = store.search(wanted, PageRequest(cursor, limit))
        assert len(page.items) <= limit
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items
    raise AssertionError("it has no end")


def test_conditions_alone_and_together(
    filled: tuple[AnyStore, str, list[dict[str, Any]]],
) -> None:
    store, mark, made = filled
    half = datetime.fromisoformat(made[24]["created_at"])
    conditions: dict[str, tuple[dict[str, Any], Any]] = {
        "reference": ({"reference": f"{mark}-1"}, lambda o: o["reference"] == f"{mark}-1"),
        "metadata": (
            {"metadata": {"lines": [{"sku": 2}]}},
            lambda o: contains(o["metadata"], {"lines": [{"sku": 2}]}),
        ),
        "order": ({"metadata": {"order": "A"}}, lambda o: o["metadata"].get("order") == "A"),
        "anything": ({"metadata": {}}, lambda o: True),
        "no scalar": ({"metadata": {"lines": []}}, lambda o: "lines" in o["metadata"]),
        "flag": ({"metadata": {"gift": True}}, lambda o: o["metadata"].get("gift") is True),
        "currency": ({"currency": "JPY"}, lambda o: o["currency"] == "JPY"),
        "amounts": (
            {"currency": "USD", "least_minor": 2500, "most_minor": 4200},
            lambda o: o["currency"] == "USD" and 25 <= Decimal(o["amount"]) <= 42,
        ),
        "type": (
            {"operation_type": OperationType.WITHDRAW},
            lambda o: o["operation_type"] == "WITHDRAW",
        ),
        "since": ({"since": half}, lambda o: datetime.fromisoformat(o["created_at"]) >= half),
        "until": ({"until": half}, lambda o: datetime.fromisoformat(o["created_at"]) < half),
    }
    for size in range(4):
        for names in combinations(conditions, size):
            merged: dict[str, Any] = {}
            for name in names:
                merged |= conditions[name][0]
            if any(merged[key] != value for n in names for key, value in conditions[n][0].items()):
                continue  # two conditions of one kind
            expected = [o for o in made if all(conditions[n][1](o) for n in names)]
            assert found(store, SearchFilter(**merged)) == expected, names


def test_metadata_that_takes_too_long_to_look_up_is_walked_for(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, walked=2, rare=0)
    limits = search_queries.RARE_LIMITS.text
    milliseconds = f"'{search_queries.RARE_TIMEOUT_MILLISECONDS}'"
    assert milliseconds in limits
    monkeypatch.setattr(search_queries, "RARE_LIMITS", text(limits.replace(milliseconds, "'50'")))
    monkeypatch.setattr(search_queries, "RARE", text("SELECT pg_sleep(30)"))
    with postgres_store(fresh_postgres_url) as store:
        wallet_id = new_wallet(store)
        for number in range(6):
            store.execute(
                Deposit(wallet_id, uuid7(), Decimal(1 + number), metadata={"rare": number == 1})
            )
        (item,) = found(store, SearchFilter(metadata={"rare": True}))
        assert item["amount"] == "2.00"
        # The connection's own limit is as before.
        assert store.wallet(wallet_id)


@pytest.mark.parametrize("limit", [1, 2, 47, 48, 49, 200])
def test_pages_of_any_size_are_the_whole(
    filled: tuple[AnyStore, str, list[dict[str, Any]]], limit: int
) -> None:
    store, _, made = filled
    assert found(store, SearchFilter(), limit) == made


def test_cursors_that_were_not_handed_out(
    filled: tuple[AnyStore, str, list[dict[str, Any]]],
) -> None:
    store, _, _ = filled
    id_ = str(uuid7())
    for cursor in (
        *("", "abc", encode_cursor("wallets", id_), encode_cursor("search", id_)),
        *(encode_cursor("search", id_, "x"), encode_cursor("search", 1, 2)),
        encode_cursor("operations", id_, id_),
    ):
        with pytest.raises(CursorInvalid):
            store.search(SearchFilter(), PageRequest(cursor))
    assert store.search(SearchFilter(), PageRequest(encode_cursor("search", id_, id_))).items


# -- Times as bounds of ids --------------------------------------------------------------------


def test_a_time_is_a_bound_of_the_id_with_some_slack() -> None:
    moment = datetime(2030, 1, 31, 12, tzinfo=UTC)
    milliseconds = int(moment.timestamp()) * 1000
    wanted = SearchFilter(since=moment, until=moment)
    slack = search.MAX_DONE_AFTER_ASKED_SECONDS * 1000
    assert wanted.first_id == UUID(int=(milliseconds - slack) << 80)
    slack = search.MAX_ASKED_AFTER_DONE_SECONDS * 1000
    assert wanted.end == (UUID(int=(milliseconds + slack) << 80), FIRST_ID)
    assert (SearchFilter().first_id, SearchFilter().end) == (FIRST_ID, LAST_PLACE)
    for edge in (datetime(1970, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        extreme = replace(wanted, since=edge, until=edge)
        assert FIRST_ID <= extreme.first_id < extreme.end[0] < LAST_PLACE[0]


def test_an_operation_that_waited_long_is_found_by_its_time(postgres_url: str) -> None:
    """Its id was made before it was done: up to what the slack allows for, it is found."""
    with postgres_store(postgres_url) as store:
        wallet_id, mark = new_wallet(store), uuid7().hex
        asked = datetime.now(UTC) - timedelta(seconds=search.MAX_DONE_AFTER_ASKED_SECONDS - 1)
        early = UUID(int=int(asked.timestamp() * 1000) << 80 | 7 << 76 | uuid7().int % 2**60)
        done = store.execute(Deposit(wallet_id, early, Decimal(1), metadata={"mark": mark}))
        at = datetime.fromisoformat(orjson.loads(done.body)["created_at"])
        wanted = SearchFilter(metadata={"mark": mark}, since=at, until=at + timedelta(seconds=1))
        assert [item["id"] for item in found(store, wanted)] == [str(early)]
        assert found(store, replace(wanted, until=at)) == []
