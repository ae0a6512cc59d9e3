"""The OpenAPI document, and whether the service is what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from RestAPI.app import Application, create_app
from RestAPI.openapi import build_document
from RestAPI.openapi_errors import API_PREFIX
from RestAPI.problems import PROBLEMS
from RestAPI.routes.keys import KEYS_PATH
from RestAPI.scopes import Guard
from RestAPI.tests.keyed import SETTINGS
from testkit.ledgers import memory_store
from WalletCore.keys import Scope

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document(app: Flask) -> Document:
    found: Document = app.test_client().get("/openapi.json").get_json()
    return found


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_the_document_is_valid(document: Document) -> None:
    OpenAPIV31SpecValidator(document).validate()
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_no_mark_is_left_and_every_reference_leads_somewhere(document: Document) -> None:
    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            assert "x-shared" not in value
            if "$ref" in value:
                yield value["$ref"]
            for item in value.values():
                yield from walk(item)
        elif isinstance(value, list):
            for item in value:
                yield from walk(item)

    for reference in walk(document):
        _, _, kind, name = reference.split("/")
        assert name in document["components"][kind]


def test_every_rule_of_the_api_is_described(app: Flask, document: Document) -> None:
    rules = {
        (rule.rule.replace("<", "{").replace(">", "}").replace("{string:", "{"), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(API_PREFIX)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {
        (path, method) for path, method, _ in operations(document) if path.startswith(API_PREFIX)
    }
    assert described == rules


def test_every_operation_says_what_it_does_and_how_it_can_fail(document: Document) -> None:
    seen = set()
    for path, method, operation in operations(document):
        assert operation["summary"]
        assert operation["operationId"] not in seen
        seen.add(operation["operationId"])
        responses = operation["responses"]
        assert "500" in responses
        if path.startswith(API_PREFIX):
            assert "503" in responses
        if is_shop(path):
            # Everything that is wrong with a request is 400 there, in a shape of its own.
            assert "422" not in responses
            for status in responses.keys() - {"200"}:
                (media,) = responses[status]["content"].items()
                assert media[0] == "application/json"
                assert media[1]["schema"] == {"$ref": "#/components/schemas/ShopError"}
            keyed = "Idempotency-Key" in {one["name"] for one in operation["parameters"]}
            assert keyed is ("409" in responses) is path.startswith(("/api/buy", "/api/send"))
        elif method in ("post", "put", "patch") and path != KEYS_PATH:  # its answer is not kept
            (key,) = (
                parameter
                for parameter in operation["parameters"]
                if parameter["name"] == "Idempotency-Key"
            )
            assert {"413", "415", "422"} <= responses.keys()
            # Where a key is not remembered, the document says so and promises no 409 and no replay.
            remembered = "not needed" not in key["description"].lower()
            assert remembered is ("409" in responses)
            assert remembered is ("Idempotency-Replayed" in responses["422"]["headers"])
            assert operation["requestBody"]["content"]["application/json"]["examples"]
        for response in responses.values():
            assert "X-Request-Id" in response["headers"]


def is_shop(path: str) -> bool:
    return path.startswith(API_PREFIX) and not path.startswith("/api/v1")


def test_the_table_of_problems_is_in_the_introduction(document: Document) -> None:
    for kind in PROBLEMS:
        assert f"| {kind.status} | `{kind.code}` |" in document["info"]["description"]


def test_objects_are_closed(document: Document) -> None:
    for name, schema in document["components"]["schemas"].items():
        if schema.get("type") == "object" and not name.startswith("Metadata"):
            assert schema["additionalProperties"] is False, name


def test_the_deployment_s_currencies_are_listed(document: Document) -> None:
    listed = document["components"]["schemas"]["CurrencyCode"]["enum"]
    assert {"USD", "JPY", "COIN"} <= set(listed)
    assert "XAU" not in listed


def test_the_stream_is_described_as_what_it_is(document: Document) -> None:
    stream = document["paths"]["/api/v1/notifications/stream"]["get"]
    assert list(stream["responses"]["200"]["content"]) == ["text/event-stream"]
    assert {("Last-Event-ID", "header"), ("last_event_id", "query")} <= {
        (parameter["name"], parameter["in"]) for parameter in stream["parameters"]
    }
    codes = stream["responses"]["503"]["content"]["application/problem+json"]["examples"]
    assert "too_many_streams" in codes


def test_every_operation_names_its_scope(app: Application, document: Document) -> None:
    for rule in app.url_map.iter_rules():
        needed = app.needed[rule.endpoint]
        path = rule.rule.replace("<", "{").replace(">", "}")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            described = document["paths"].get(path, {}).get(method.lower(), {})
            if isinstance(needed, Scope):
                # Here access is open, and a key may be left out.
                assert described["security"] == [{"ApiKey": [needed.value]}, {}]
                assert described["description"].endswith(f"Scope: `{needed}`")
                assert {"401", "403", "429"} <= described["responses"].keys()
            elif needed is Guard.KEY:
                assert described["security"] == [{"ApiKey": []}, {}]
                assert {"401", "429"} <= described["responses"].keys()
                assert "scope_missing" not in str(described["responses"])
            else:
                assert "ApiKey" not in str(described.get("security"))


def test_where_keys_are_asked_for_none_may_be_left_out() -> None:
    with memory_store() as store:
        document = build_document(create_app(SETTINGS, store), store.currencies)
    described = document["paths"]["/api/v1/wallets"]["get"]
    assert described["security"] == [{"ApiKey": ["wallets:read"]}]
