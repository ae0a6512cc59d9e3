"""The examples of the document: there is one of everything, and each is as its schema says."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from http import HTTPStatus
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator

from RestAPI.app import create_app
from RestAPI.openapi import build_document
from RestAPI.openapi_errors import API_PREFIX
from RestAPI.tests.keyed import SETTINGS
from testkit.ledgers import memory_store

Document = dict[str, Any]

EMPTY_ANSWERS = {"send_coin 200", "buy 200"}
"""What is answered with nothing in it."""


class Place(NamedTuple):
    """A body of the document: what it belongs to, its type, its schema and its examples."""

    label: str
    media_type: str
    media: Document


@cache
def document() -> Document:
    with memory_store() as store:
        return build_document(create_app(SETTINGS, store), store.currencies)


def holders() -> Iterator[tuple[str, Document]]:
    """Every request body and every answer, by operation and status."""
    for methods in document()["paths"].values():
        for operation in methods.values():
            name = operation["operationId"]
            if "requestBody" in operation:
                yield f"{name} request", operation["requestBody"]
            for status, answer in operation["responses"].items():
                yield f"{name} {status}", answer


def places() -> Iterator[Place]:
    for label, holder in holders():
        for media_type, media in holder.get("content", {}).items():
            yield Place(label, media_type, media)


@pytest.mark.parametrize(
    "place", list(places()), ids=lambda place: f"{place.label} {place.media_type}"
)
def test_there_is_an_example_and_all_are_valid(place: Place) -> None:
    examples = place.media.get("examples")
    assert examples, "no example"
    schema = Draft202012Validator({**place.media["schema"], "components": document()["components"]})
    for example in examples.values():
        schema.validate(example["value"])


def test_nothing_but_an_empty_answer_has_no_content() -> None:
    assert {label for label, holder in holders() if "content" not in holder} == EMPTY_ANSWERS


def test_every_code_has_an_example_of_its_own() -> None:
    found = 0
    for place in places():
        if place.media_type != "application/problem+json":
            continue
        _, codes = place.media["schema"]["allOf"]
        status = int(place.label.rpartition(" ")[2])
        for code in codes["properties"]["code"]["enum"]:
            problem = place.media["examples"][code]["value"]
            assert (problem["code"], problem["status"]) == (code, status), place.label
            found += 1
    assert found > 400


def test_most_money_examples_come_from_cases() -> None:
    """A summary is the title of the case; what is made of the error itself has none."""
    for code in ("insufficient_funds", "wallet_frozen", "idempotency_key_reused"):
        (place,) = (
            place
            for place in places()
            if place.label.startswith("operate ") and code in place.media["examples"]
        )
        assert place.media["examples"][code]["summary"]


def test_a_path_s_example_is_as_its_schema_says() -> None:
    for path, methods in document()["paths"].items():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    schema = Draft202012Validator(
                        parameter["schema"], format_checker=Draft202012Validator.FORMAT_CHECKER
                    )
                    schema.validate(parameter["example"])
                elif "default" in parameter["schema"]:
                    Draft202012Validator(
                        {**parameter["schema"], "components": document()["components"]}
                    ).validate(parameter["schema"]["default"])
        assert path.startswith(API_PREFIX) or "{" not in path


def test_statuses_are_those_of_http() -> None:
    for label, _ in holders():
        status = label.rpartition(" ")[2]
        assert status == "request" or HTTPStatus(int(status))
