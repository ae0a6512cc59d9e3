"""Arrays in their binary form say to PostgreSQL what they were made of."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.errors import CharacterNotInRepertoire, UntranslatableCharacter

from WalletCore.postgres import arrays
from WalletCore.postgres.connect import committer_connection

INTEGERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
TIMES = st.datetimes(
    datetime(1, 1, 2),  # noqa: DTZ001 - the zone is drawn as well
    datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-3))]),
)
JSONS = st.dictionaries(TEXTS, TEXTS | st.integers(-(2**53), 2**53) | st.none())


@pytest.fixture(scope="module")
def connection(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with committer_connection(postgres_url) as opened:
        yield opened


@pytest.mark.parametrize(
    ("make", "kind", "values"),
    [
        (arrays.uuids, "uuid[]", st.uuids()),
        (arrays.nullable_uuids, "uuid[]", st.uuids() | st.none()),
        (arrays.integers, "bigint[]", INTEGERS),
        (arrays.nullable_integers, "bigint[]", INTEGERS | st.none()),
        (arrays.texts, "text[]", TEXTS | st.none()),
        (arrays.times, "timestamp with time zone[]", TIMES),
        (arrays.binaries, "bytea[]", st.binary()),
    ],
    ids=["uuid", "uuid?", "bigint", "bigint?", "text?", "timestamptz", "bytea"],
)
@given(data=st.data())
def test_what_goes_in_comes_back(
    connection: psycopg.Connection[Any],
    make: Callable[[Sequence[Any]], arrays.Array],
    kind: str,
    values: st.SearchStrategy[Any],
    data: st.DataObject,
) -> None:
    wanted = data.draw(st.lists(values, max_size=20))
    assert came_back(connection, make(wanted)) == (kind, wanted)


@given(st.lists(TEXTS, max_size=20))
def test_encoded_text(connection: psycopg.Connection[Any], wanted: list[str]) -> None:
    assert came_back(connection, arrays.utf8([text.encode() for text in wanted]))[1] == wanted


@given(st.lists(JSONS, max_size=20))
def test_json(connection: psycopg.Connection[Any], wanted: list[dict[str, Any]]) -> None:
    sent = arrays.jsons([orjson.dumps(value) for value in wanted])
    assert came_back(connection, sent) == ("jsonb[]", wanted)


@pytest.mark.parametrize("wrong", [2**63, -(2**63) - 1])
def test_an_integer_too_large_is_not_sent(wrong: int) -> None:
    for make in (arrays.integers, arrays.nullable_integers):
        with pytest.raises(struct.error):
            make([wrong])


def test_what_is_no_text_is_not_kept(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(UnicodeEncodeError):
        arrays.texts(["\ud800"])
    with pytest.raises(CharacterNotInRepertoire):
        came_back(connection, arrays.texts(["a\x00b"]))
    with pytest.raises(UntranslatableCharacter):
        came_back(connection, arrays.jsons([rb'{"a": "\u0000"}']))


def came_back(connection: psycopg.Connection[Any], sent: arrays.Array) -> tuple[str, list[Any]]:
    """The type that the server gives to a parameter, and what it sends back of it."""
    row = connection.execute("SELECT pg_typeof(v)::text, v FROM (SELECT %s AS v) AS o", (sent,))
    kind, values = row.fetchall()[0]
    return kind, values
