"""The examples of the documentation: the file is what the cases give now."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from RestAPI.openapi_examples import EXAMPLES_PATH
from testkit.examples import Normal, written


@pytest.mark.timeout(480)
def test_the_file_is_what_the_cases_give() -> None:
    assert EXAMPLES_PATH.read_text(encoding="utf-8") == written(), "make examples writes it anew"


def test_what_differs_from_run_to_run_is_made_the_same() -> None:
    normal = Normal(datetime(2026, 3, 4, 5, 6, 7, 8, tzinfo=UTC))
    text = normal.text(
        '{"a": "01a21078-4cf9-74e8-8174-570954d65fc6", "b": "ffffffff-4cf9-74e8-8174-570954d65fc6",'
        ' "c": "01a21078-4cf9-74e8-8174-570954d65fc6", "at": "2026-03-04T05:06:09.123456Z",'
        ' "later": "2026-03-11T05:06:08.000009Z", "given": "2026-01-02T03:04:05.000000Z",'
        ' "owner": "ann-0123456789ab", "next_cursor": "abc", "last": {"next_cursor": null}}',
        "0123456789ab",
    )
    assert text == (
        '{"a": "01890a5d-ac96-774b-bcce-b302099a0001", "b": "01890a5d-ac96-774b-bcce-b302099a0002",'
        ' "c": "01890a5d-ac96-774b-bcce-b302099a0001", "at": "2030-01-31T12:00:00.000000Z",'
        ' "later": "2030-02-07T12:00:00.000000Z", "given": "2026-01-02T03:04:05.000000Z",'
        ' "owner": "ann", "next_cursor": "MDE4OTBhNWQtYWM5Ng", "last": {"next_cursor": null}}'
    )
