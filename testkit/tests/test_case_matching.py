"""Matching: what a case expects against what came."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from testkit.case_matching import CaseError, at_pointer, dumps, loads, mismatches, shown, substitute

UUID = "0198c5d0-0000-7000-8000-000000000001"
NOON = "2026-01-01T12:00:00.000001Z"


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {}),
        ({"a": None}, {}),
        ({"a": 1}, {"a": True}),
        ({"a": True}, {"a": 1}),
        ({"a": 1}, {"a": Decimal("1.0")}),
        ({"a": "1"}, {"a": 1}),
        ({"a": None}, {"a": False}),
        ({"a": {}}, {"a": []}),
        ({"a": {}}, {"a": None}),
        ([1], [1, 2]),
        ([1, 2], [1]),
        ([1, 2], [2, 1]),
        ({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": 2}]}}),
        ({"a": {"$any": True}}, {}),
        ({"a": {"$type": "uuid"}}, {"a": UUID.upper()}),
        ({"a": {"$type": "uuid"}}, {"a": UUID + "\n"}),
        ({"a": {"$type": "time"}}, {"a": "2026-01-01T00:00:00Z"}),
        ({"a": {"$type": "amount"}}, {"a": 1}),
        ({"a": {"$type": "amount"}}, {"a": "1e2"}),
        ({"a": {"$type": "amount"}}, {"a": "01.00"}),
        ({"a": {"$type": "integer"}}, {"a": True}),
        ({"a": {"$type": "integer"}}, {"a": Decimal("1.5")}),
        ({"a": {"$type": "string"}}, {"a": None}),
        ({"a": {"$type": "boolean"}}, {"a": 0}),
        ({"a": {"$type": "array"}}, {"a": {}}),
        ({"a": {"$type": "object"}}, {"a": []}),
        ({"a": {"$regex": "b"}}, {"a": "abc"}),
        ({"a": {"$regex": "1"}}, {"a": 1}),
        ({"a": {"$len": 2}}, {"a": [1]}),
        ({"a": {"$len": 1}}, {"a": {"b": 1}}),
        ({"a": {"$each": {"b": 1}}}, {"a": [{"b": 1}, {"b": 2}]}),
        ({"a": {"$each": {"b": 1}}}, {"a": []}),
        ({"a": {"$contains": {"b": 3}}}, {"a": [{"b": 1}, {"b": 2}]}),
        ({"a": {"$contains": 1}}, {"a": "1"}),
        ({"a": {"$not": "x"}}, {"a": "x"}),
        ({"a": {"$not": "x"}}, {}),
        ({"a": {"$seconds_after": [NOON, 60]}}, {"a": "2026-01-01T12:01:00.000002Z"}),
        ({"a": {"$seconds_after": [NOON, 60]}}, {"a": "2026-01-01T11:59:00.000001Z"}),
        ({"a": {"$seconds_after": [NOON, 60]}}, {"a": "noon"}),
        ({"a": {"$seconds_after": [NOON, 60]}}, {"a": 60}),
        ({"a": {"$seconds_after": [NOON, 60]}}, {}),
        ({"a": {"$seconds_after": ["noon", 60]}}, {"a": "2026-01-01T12:01:00.000001Z"}),
        ({"a": {"$saved": "old"}}, {"a": {"b": 1, "c": 2}}),
        ({"a": {"$saved": "old"}}, {}),
    ],
)
def test_what_does_not_match(expected: Any, actual: Any) -> None:
    assert mismatches(expected, actual, {"old": {"b": 1}}, exact=False)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({}, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}]}),
        ({"a": {"$any": True}}, {"a": None}),
        ({"a": {"$type": "uuid"}}, {"a": UUID}),
        ({"a": {"$type": "time"}}, {"a": "2026-01-01T00:00:00.000001Z"}),
        ({"a": {"$type": "amount"}}, {"a": "-0.05"}),
        ({"a": {"$regex": "a.c"}}, {"a": "a\nc"}),
        ({"a": {"$len": 2}}, {"a": "ab"}),
        ({"a": {"$each": {"b": 1}}}, {"a": [{"b": 1}, {"b": 1, "c": 2}]}),
        ({"a": {"$contains": {"b": 2}}}, {"a": [{"b": 1}, {"b": 2, "c": 3}]}),
        ({"a": {"$not": {"b": 1}}}, {"a": {"b": 2}}),
        ({"a": {"$seconds_after": [NOON, 60]}}, {"a": "2026-01-01T12:01:00.000001Z"}),
        ({"a": {"$seconds_after": [NOON, -43200]}}, {"a": "2026-01-01T00:00:00.000001Z"}),
        ({"a": {"$saved": "old"}}, {"a": {"b": 1}}),
        (Decimal("1.50"), Decimal("1.5")),
    ],
)
def test_what_matches(expected: Any, actual: Any) -> None:
    assert mismatches(expected, actual, {"old": {"b": 1}}, exact=False) == []


def test_exact_allows_no_other_members() -> None:
    assert mismatches({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, {}, exact=True) == [
        "/a/c: expected nothing, got 2"
    ]
    assert mismatches({"a": {"$each": {"b": 1}}}, {"a": [{"b": 1, "c": 2}]}, {}, exact=True)


def test_every_difference_is_named_with_its_place() -> None:
    assert mismatches({"a": 1, "b": [2, 3]}, {"a": 9, "b": [2, 8]}, {}, exact=False) == [
        "/a: expected 1, got 9",
        "/b/1: expected 3, got 8",
    ]


def test_a_name_that_was_not_saved_is_an_error() -> None:
    with pytest.raises(CaseError, match="nothing was saved as x"):
        mismatches({"$saved": "x"}, 1, {}, exact=False)


def test_numbers_keep_every_digit_and_members_are_not_repeated() -> None:
    text = '{"a":90071992547409.93,"b":[1,1E+30,"\\u0000"]}'
    assert dumps(loads(text)) == text
    with pytest.raises(ValueError, match="twice"):
        loads('{"a":1,"a":1}')


def test_long_values_are_cut() -> None:
    assert len(shown("x" * 10_000)) < 400


def test_variables_are_put_in() -> None:
    variables = {"a": "x", "n": 3}
    assert substitute({"${a}": ["${a}-${n}", 1]}, variables) == {"x": ["x-3", 1]}
    with pytest.raises(CaseError, match=r"no variable \$\{b\}"):
        substitute("${b}", variables)


def test_json_pointers() -> None:
    document = {"a/b": [{"~": 1}]}
    assert at_pointer(document, "") == document
    assert at_pointer(document, "/a~1b/0/~0") == 1
    for pointer in ("/a", "/a~1b/1", "/a~1b/x", "/a~1b/0/~0/z"):
        with pytest.raises(KeyError):
            at_pointer(document, pointer)
