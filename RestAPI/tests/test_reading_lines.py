"""Reading a body line by line."""

from __future__ import annotations

import io
from typing import Any

import pytest

from RestAPI.problems import BadRequest, BodyTooLarge
from RestAPI.reading_lines import MAX_BLANK_LINES, MAX_LINE_BYTES, lines_of


def environ(body: bytes, length: int | None = None) -> Any:
    """A request with ``body``, of an announced length or in chunks."""
    stream = {"wsgi.input": io.BytesIO(body)}
    if length is None:
        return {**stream, "wsgi.input_terminated": True}
    return {**stream, "CONTENT_LENGTH": str(length)}


@pytest.mark.parametrize("announced", [True, False])
def test_lines_are_given_without_those_that_are_blank(announced: bool) -> None:
    body = b"one\n\n \t\r\ntwo\r\nthree"
    given = environ(body, len(body) if announced else None)
    assert list(lines_of(given)) == [b"one", b"two\r", b"three"]
    assert list(lines_of(environ(b"", 0))) == []
    assert list(lines_of({"wsgi.input": io.BytesIO(b"never")})) == []


def test_a_line_has_a_limit_and_what_came_before_is_given() -> None:
    longest = b"x" * MAX_LINE_BYTES
    assert list(lines_of(environ(longest + b"\n" + longest))) == [longest, longest]
    for ending in (b"", b"\n", b"\nmore"):
        lines = lines_of(environ(b"one\n" + longest + b"x" + ending))
        assert next(lines) == b"one"
        with pytest.raises(BodyTooLarge):
            list(lines)


def test_blank_lines_have_a_limit_in_a_row() -> None:
    blank = b"\n" * MAX_BLANK_LINES
    assert list(lines_of(environ(blank + b"one\n" + blank + b"two"))) == [b"one", b"two"]
    with pytest.raises(BadRequest):
        list(lines_of(environ(blank + b"\n")))


def test_a_body_that_ends_early_says_so() -> None:
    lines = lines_of(environ(b"one\ntwo", 100))
    assert next(lines) == b"one"
    with pytest.raises(BadRequest):
        list(lines)


def test_a_stream_that_breaks_is_the_requests_fault() -> None:
    class Broken:
        def read(self, _size: int) -> bytes:
            raise OSError("gone")

    with pytest.raises(BadRequest):
        list(lines_of({"wsgi.input": Broken(), "wsgi.input_terminated": True}))
