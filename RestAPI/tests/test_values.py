"""Single values of a request, at their edges."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from RestAPI.schemas import values


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2030-01-31T12:00:00Z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("2030-01-31t12:00:00.5z", datetime(2030, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2030-01-31T12:00:00+02:30", datetime(2030, 1, 31, 9, 30, tzinfo=UTC)),
        ("2030-01-31T12:00:00.123456789-00:00", datetime(2030, 1, 31, 12, 0, 0, 123_456, UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", values.EARLIEST),
        ("1969-12-31T23:59:59Z", values.EARLIEST),
        ("9999-12-31T23:59:59-14:00", values.LATEST),
    ],
)
def test_times_come_out_in_utc(text: str, moment: datetime) -> None:
    assert values.parse_time(text) == moment
    assert values.parse_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "2030-01-31",
        "2030-01-31T12:00:00",
        "2030-01-31 12:00:00Z",
        "2030-02-30T12:00:00Z",
        "2030-01-31T24:00:00Z",
        "2030-01-31T12:00:61Z",
        "2030-01-31T12:00:00+02:60",
        "2030-01-31T12:00:00+24:00",
        "0000-01-31T12:00:00Z",
        "٢٠٣٠-01-31T12:00:00Z",
        "1700000000",
        "2030-01-31T12:00:00Z\n",
        "",
        None,
        5,
    ],
)
def test_what_is_no_time(text: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        values.parse_time(text)


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1)))  # noqa: DTZ001
def test_every_time_survives_its_own_text(moment: datetime) -> None:
    assert values.parse_time(moment.isoformat()) == moment


@pytest.mark.parametrize(
    "text",
    [
        "01890a5dac96774bbcceb302099a8057",
        "{01890a5d-ac96-774b-bcce-b302099a8057}",
        "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
        "01890a5d-ac96-774b-bcce-b302099a805",
        "01890a5d-ac96-774b-bcce-b302099a8057\n",
        "01890a5d-ac96-774b-bcce-b302099a805\N{FULLWIDTH DIGIT SEVEN}",
        "",
    ],
)
def test_other_forms_of_a_uuid_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a UUID"):
        values.parse_uuid(text)


def nested(depth: int) -> Any:
    """An object with ``depth`` objects and arrays inside of each other, itself included."""
    value: Any = 1
    for level in range(depth - 1):
        value = [value] if level % 2 else {"a": value}
    return {"a": value}


def test_metadata_is_kept_as_it_came() -> None:
    whole = {"text": "ü", "yes": True, "none": None, "list": [1, -(2**53), {"deep": "x"}], "": 0}
    assert values.metadata(whole) == whole
    assert values.metadata({"n": Decimal("5.0"), "m": Decimal("1e3")}) == {"n": 5, "m": 1000}
    assert values.metadata(nested(8)) == nested(8)
    assert values.metadata({"a": "x" * (4096 - len('{"a":""}'))})


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "must be an object"),
        ([], "must be an object"),
        ({"a": Decimal("0.1")}, "as strings"),
        ({"a": Decimal("1e999999999")}, "as strings"),
        ({"a": Decimal("1e-999999999")}, "as strings"),
        ({"a": 2**53 + 1}, "as strings"),
        ({"a": [{"b": "\x00"}]}, "NUL"),
        ({"\x00": 1}, "NUL"),
        (nested(9), "8 deep"),
        ({"a": "x" * (4097 - len('{"a":""}'))}, "4096 bytes"),
        ({"a": "ü" * 2100}, "4096 bytes"),
    ],
)
def test_metadata_that_could_not_be_kept(metadata: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        values.metadata(metadata)


@pytest.mark.parametrize("given", ["1e9000000", "1e18", "NaN", "Infinity", "1.5", "-1e-9000000"])
def test_seconds_that_are_no_number_of_them_are_refused_at_once(given: str) -> None:
    """The first would take hours to become an integer."""
    with pytest.raises(ValueError, match="whole number"):
        values.whole_number(Decimal(given))
    assert values.whole_number(Decimal("6e1")) == values.whole_number(60) == 60
