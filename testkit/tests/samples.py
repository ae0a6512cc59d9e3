"""Small cases and answers for the tests of the case runner."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testkit.case_clients import Answer, Client
from testkit.case_matching import dumps, loads
from testkit.cases import Case


def make_answer(
    document: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    """An answer that keeps to the house rules, but for what ``headers`` change."""
    problem = status >= 400
    return Answer(
        status=status,
        headers={
            "content-type": "application/problem+json" if problem else "application/json",
            "x-request-id": "r-1",
            **(headers or {}),
        },
        body=dumps(document).encode(),
    )


def make_case(*steps: dict[str, Any], **members: Any) -> Case:
    """A case of ``steps``, as if it were read from ``group/sample.json``."""
    document = {"name": "sample", "description": "A sample.", "steps": list(steps), **members}
    return Case(Path("group/sample.json"), loads(json.dumps(document)))


def get_step(expect: Mapping[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """A step that asks for the wallets."""
    return {
        "request": {"method": "GET", "path": "/api/v1/wallets"},
        "expect": {"status": 200, **(expect or {})},
        **members,
    }


def always(given: Answer) -> Client:
    """A client that is always given the same answer."""
    return lambda method, path, headers, body: given
