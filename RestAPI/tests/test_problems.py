"""The one table of problems."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug.exceptions import (
    BadRequest,
    ImATeapot,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from RestAPI import problems
from WalletCore.domain.errors import CofferError, Refused, WalletBusy
from WalletCore.domain.errors import NotFound as NothingFound

ABSTRACT = {NothingFound, Refused}
"""Branches of the tree that are never answered themselves."""


def below(kind: type[CofferError]) -> Iterator[type[CofferError]]:
    for child in kind.__subclasses__():
        yield child
        yield from below(child)


def test_every_error_is_in_the_table_once() -> None:
    ours = {kind for kind in below(CofferError) if "tests" not in kind.__module__}
    assert set(problems.PROBLEMS) == ours - ABSTRACT
    codes = [kind.code for kind in problems.PROBLEMS]
    assert len(codes) == len(set(codes))
    statuses = [kind.status for kind in problems.PROBLEMS]
    assert statuses == sorted(statuses)


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (NotFound(), 404, "not_found"),
        (MethodNotAllowed(), 405, "method_not_allowed"),
        (RequestEntityTooLarge(), 413, "body_too_large"),
        (UnsupportedMediaType(), 415, "unsupported_media_type"),
        (BadRequest(), 400, "bad_request"),
        (ImATeapot(), 400, "bad_request"),
        (WalletBusy("busy"), 503, "wallet_busy"),
        (RuntimeError("SELECT secret"), 500, "internal_error"),
    ],
)
def test_whatever_is_raised_becomes_a_problem(raised: Exception, status: int, code: str) -> None:
    error = problems.as_error(raised)
    response = problems.problem_response(error, raised)
    document = response.get_json()
    assert response.status_code == document["status"] == status
    assert response.mimetype == "application/problem+json"
    assert document["code"] == code
    assert document["type"] == f"urn:coffer:problem:{code}"
    assert document["title"]
    assert "secret" not in response.get_data(as_text=True)
    assert response.headers.get("Retry-After") == ("1" if status == 503 else None)


def test_allowed_methods_are_named() -> None:
    raised = MethodNotAllowed(["POST", "GET"])
    response = problems.problem_response(problems.as_error(raised), raised)
    assert response.headers["Allow"] == "GET, POST"


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")
    amount: int
    notes: list[str] = []


def test_faults_are_listed_by_place_and_bounded() -> None:
    data = {"notes": ["x", 1], **{f"unknown{number}": 0 for number in range(1000)}, "k" * 5000: 0}
    with pytest.raises(ValidationError) as caught:
        Order.model_validate(data)
    document = problems.as_error(caught.value).problem()
    listed = document["errors"]
    assert {"where": "body.amount", "what": "This field is required."} in listed
    assert {"where": "body.notes.1", "what": "This must be a string."} in listed
    assert {"where": "body.unknown0", "what": "There is no such field."} in listed
    assert len(listed) == problems.MAX_LISTED_ERRORS
    assert all(len(fault["where"]) <= problems.MAX_WHERE_CHARACTERS for fault in listed)
    assert document["detail"].startswith(listed[0]["where"])
