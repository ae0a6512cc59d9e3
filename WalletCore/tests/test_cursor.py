"""Cursors: what goes in comes out, and nothing else does."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from WalletCore.cursor import MAX_CURSOR_CHARACTERS, MAX_POSITION, decode_cursor, encode_cursor
from WalletCore.domain.errors import CursorInvalid

PLACES = st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(0, MAX_POSITION))
URL_SAFE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def as_cursor(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@given(PLACES)
def test_a_place_comes_back_as_it_went_in(place: list[str | int]) -> None:
    cursor = encode_cursor("some", *place)
    assert set(cursor) <= URL_SAFE
    if len(cursor) <= MAX_CURSOR_CHARACTERS:
        assert decode_cursor("some", cursor, *map(type, place)) == place


@given(st.text(max_size=60))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with suppress(CursorInvalid):
        assert [type(value) for value in decode_cursor("some", text, str, int)] == [str, int]


@given(st.binary(max_size=40))
def test_any_bytes_in_a_cursor_are_refused_or_a_place(data: bytes) -> None:
    with suppress(CursorInvalid):
        decode_cursor("some", as_cursor(data), int)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"0": "some", "1": 1},
        "some",
        ["other", 1],
        ["some"],
        ["some", 1, 2],
        ["some", "1"],
        ["some", True],
        ["some", None],
        ["some", 1.0],
        ["some", [1]],
        ["some", -1],
        ["some", MAX_POSITION + 1],
        [["some"], 1],
        1,
        None,
    ],
    ids=repr,
)
def test_a_document_of_another_shape_is_refused(document: object) -> None:
    with pytest.raises(CursorInvalid):
        decode_cursor("some", as_cursor(orjson.dumps(document)), int)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "=",
        "====",
        "A",
        " ",
        "%00",
        "\0",
        "\ud800",
        "\u00e9",
        encode_cursor("some", 1) + "\n",
        encode_cursor("some", 1) + "====",
        encode_cursor("some", 1) + "A",
        encode_cursor("some", 1)[:-1],
        as_cursor(b"[" * 100_000),
        as_cursor(b'["some",NaN]'),
        as_cursor(b'["some",1e400]'),
        as_cursor(b'["some",' + b"9" * 4000 + b"]"),
        as_cursor(b'["some","\\ud800"]'),
    ],
    ids=lambda cursor: repr(cursor[:30]),
)
def test_a_broken_text_is_refused(cursor: str) -> None:
    with pytest.raises(CursorInvalid):
        decode_cursor("some", cursor, int)


def test_the_longest_cursor_still_works_and_a_longer_one_does_not() -> None:
    overhead = len(orjson.dumps(["some", ""]))
    longest = "x" * (MAX_CURSOR_CHARACTERS * 3 // 4 - overhead)
    cursor = encode_cursor("some", longest)
    assert len(cursor) == MAX_CURSOR_CHARACTERS
    assert decode_cursor("some", cursor, str) == [longest]
    with pytest.raises(CursorInvalid):
        decode_cursor("some", encode_cursor("some", longest + "x"), str)


def test_the_bounds_of_a_position() -> None:
    for position in (0, MAX_POSITION):
        assert decode_cursor("some", encode_cursor("some", position), int) == [position]
