"""Bodies, queries and keys, read from the WSGI environment."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import pytest

from RestAPI import reading
from RestAPI.problems import BadRequest, BodyTooLarge, JsonInvalid, UnsupportedMediaType
from WalletCore.domain.errors import CofferError, Invalid


def environ(body: bytes = b"", **given: Any) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/x",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        **given,
    }


def parsed(body: bytes, **given: Any) -> object:
    return reading.parse_body(environ(body, **given), may_be_empty=False)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (b"90071992547409.93", Decimal("90071992547409.93")),
        (b"0.1", Decimal("0.1")),
        (b"1e400", Decimal("1e400")),
        (b"9007199254740993", 9007199254740993),
        (b"-0.0", Decimal("-0.0")),
    ],
)
def test_numbers_lose_nothing(number: bytes, value: object) -> None:
    found = parsed(b'{"n":' + number + b"}")
    assert found == {"n": value}
    assert isinstance(found, dict)
    assert type(found["n"]) is type(value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":01}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b'{"a":"\x00"}',
        b"[" * 1000,
        b'{"a":' + b"1" * 60_000 + b"}",
        b'{"a":1e99999999999999999999}',
    ],
)
def test_what_cannot_be_read_exactly_is_refused(body: bytes) -> None:
    with pytest.raises(JsonInvalid) as caught:
        parsed(body)
    assert len(caught.value.detail) < 300
    assert "Internal" not in caught.value.detail


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"CONTENT_TYPE": "text/plain"}, UnsupportedMediaType),
        ({"CONTENT_TYPE": "application/json2"}, UnsupportedMediaType),
        ({"CONTENT_TYPE": ""}, UnsupportedMediaType),
        ({"CONTENT_LENGTH": "3"}, BadRequest),
        ({"CONTENT_LENGTH": str(reading.MAX_BODY_BYTES + 1)}, BodyTooLarge),
        ({"CONTENT_LENGTH": "x"}, BadRequest),
    ],
)
def test_bodies_that_are_not_taken(given: dict[str, str], kind: type[CofferError]) -> None:
    with pytest.raises(kind):
        parsed(b"{}", **given)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_other_ways_to_say_json(content_type: str) -> None:
    assert parsed(b"{}", CONTENT_TYPE=content_type) == {}


def test_an_empty_body_needs_no_type_where_it_is_allowed() -> None:
    assert reading.parse_body(environ(CONTENT_TYPE=""), may_be_empty=True) == {}
    with pytest.raises(JsonInvalid):
        reading.parse_body(environ(CONTENT_TYPE=""), may_be_empty=False)


def test_a_body_without_a_length_is_read_to_its_end_and_no_further() -> None:
    given = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
    assert parsed(b'{"a": 1}', **given) == {"a": 1}
    stream = io.BytesIO(b" " * 10 * reading.MAX_BODY_BYTES)
    with pytest.raises(BodyTooLarge):
        parsed(b"", **given, **{"wsgi.input": stream})
    assert stream.tell() == reading.MAX_BODY_BYTES + 1


def test_a_stream_that_breaks_is_the_request_s_fault() -> None:
    class Broken(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise RuntimeError("a server's own class for a bad chunk")

    with pytest.raises(BadRequest) as caught:
        parsed(b"{}", **{"wsgi.input": Broken()})
    assert "chunk" not in caught.value.detail


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", {}),
        ("a=1&b=", {"a": "1", "b": ""}),
        ("a=%C3%BC+x%2By", {"a": "ü x+y"}),
        ("a", {"a": ""}),
        ("&&a=1&", {"a": "1"}),
    ],
)
def test_queries(query: str, fields: dict[str, str]) -> None:
    assert reading.parse_query({"QUERY_STRING": query}) == fields


@pytest.mark.parametrize(
    "query", ["a=1&a=2", "a=%ff", "%ff=1", "&".join(f"f{number}=1" for number in range(21))]
)
def test_queries_that_are_not_taken(query: str) -> None:
    with pytest.raises(Invalid):
        reading.parse_query({"QUERY_STRING": query})


def test_the_hash_of_a_request_looks_through_its_writing() -> None:
    def hashed(body: bytes, **given: str) -> bytes:
        prepared = environ(body, HTTP_IDEMPOTENCY_KEY="k", **given)
        body_read = reading.parse_body(prepared, may_be_empty=True)
        key = reading.parse_idempotency_key(prepared, body_read, "scope")
        assert key is not None
        return key.request_hash

    one = hashed(b'{"a": 1.50, "b": {"c": "x", "d": null}}')
    assert one == hashed(b'{"b":{"d":null,"c":"\\u0078"},"a":1.50}')
    assert one != hashed(b'{"a": 1.51, "b": {"c": "x", "d": null}}')
    assert one != hashed(b'{"a": 1.50, "b": {"c": "x", "d": null}}', PATH_INFO="/y")
    assert hashed(b"") == hashed(b"{}")


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "ü", "\x7f", "a\tb"])
def test_keys_that_are_not_taken(key: str) -> None:
    with pytest.raises(Invalid) as caught:
        reading.parse_idempotency_key(environ(HTTP_IDEMPOTENCY_KEY=key), {}, "")
    assert caught.value.extra["errors"][0]["where"] == "header.Idempotency-Key"
