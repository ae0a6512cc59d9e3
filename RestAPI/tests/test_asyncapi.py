"""The AsyncAPI document: whole, and about exactly the events and the broker that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson
import pytest
import yaml
from flask.testing import FlaskClient
from jsonschema import Draft7Validator, FormatChecker

from RestAPI.routes.outside import STATIC_FOLDER
from WalletCore.domain.events import SOURCE, EventType
from WalletCore.domain.model import MessageStatus, OperationType, WalletStatus
from WalletCore.domain.notices import notice
from WalletCore.settings import Settings
from WalletCore.topology import APPLICATION, CONTENT_TYPE, REASON_HEADER, Topology

Document = dict[str, Any]

DOCUMENT: Final[Document] = yaml.safe_load((STATIC_FOLDER / "asyncapi.yaml").read_bytes())
MESSAGES: Final[Document] = DOCUMENT["components"]["messages"]
SCHEMAS: Final[Document] = DOCUMENT["components"]["schemas"]
ROOTS: Final = ("Headers", "AmqpProperties")
"""Schemas that no payload leads to."""


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            # In draft-07 whatever stands beside it would not count.
            assert value.keys() == {"$ref"}, value
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def resolve(reference: str) -> Any:
    assert reference.startswith("#/"), reference
    found: Any = DOCUMENT
    for step in reference[2:].split("/"):
        found = found[step]
    return found


def validator(schema: Document) -> Draft7Validator:
    """A validator for a schema whose references lead into the document."""
    return Draft7Validator(
        {**schema, "components": DOCUMENT["components"]}, format_checker=FormatChecker()
    )


def test_it_is_served_as_it_is(client: FlaskClient) -> None:
    answer = client.get("/asyncapi.yaml")
    assert answer.status_code == 200
    # https://www.rfc-editor.org/rfc/rfc9512 knows no charset.
    assert answer.headers["Content-Type"] == "application/yaml"
    assert answer.data == (STATIC_FOLDER / "asyncapi.yaml").read_bytes()
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Request-Id"]
    for page in ("/", "/openapi.json"):
        assert "/asyncapi.yaml" in client.get(page).get_data(as_text=True)


def test_it_is_plain_json_written_as_yaml() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    # No times, no keys but strings: whatever reads it finds the same.
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    (STATIC_FOLDER / "asyncapi.yaml").read_bytes().decode("ascii")


def test_every_reference_leads_somewhere_and_every_part_is_used() -> None:
    used = set(references(DOCUMENT))
    for reference in used:
        assert isinstance(resolve(reference), dict), reference
    for kind, parts in DOCUMENT["components"].items():
        for name in parts:
            assert f"#/components/{kind}/{name}" in used, name


def test_there_is_one_message_for_each_type_of_events() -> None:
    types = [kind.value for kind in EventType]
    assert sorted(message["name"] for message in MESSAGES.values()) == sorted(types)
    for name, message in MESSAGES.items():
        schema = resolve(message["payload"]["$ref"])
        assert schema["allOf"][1]["properties"]["type"] == {"const": message["name"]}, name
        assert message["bindings"]["amqp"]["messageType"] == message["name"]
        assert message["traits"] == [{"$ref": "#/components/messageTraits/announced"}]
        assert message["title"]
        assert message["summary"]
    assert DOCUMENT["channels"]["events"]["parameters"]["type"]["enum"] == types
    payloads = [message["payload"]["$ref"] for message in MESSAGES.values()]
    assert len(payloads) == len(set(payloads))


def test_every_channel_and_every_operation_has_all_messages() -> None:
    for name, channel in DOCUMENT["channels"].items():
        assert channel["messages"] == {
            key: {"$ref": f"#/components/messages/{key}"} for key in MESSAGES
        }, name
    for operation in DOCUMENT["operations"].values():
        channel = operation["channel"]["$ref"]
        assert operation["messages"] == [{"$ref": f"{channel}/messages/{key}"} for key in MESSAGES]


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_valid_and_closed(name: str) -> None:
    schema = SCHEMAS[name]
    Draft7Validator.check_schema(schema)
    assert schema["title"] == name
    for example in schema.get("examples", []):
        validator(schema).validate(example)
    if schema.get("type") == "object" and name not in {*ROOTS, "Metadata"}:
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) <= schema["properties"].keys()


@pytest.mark.parametrize("name", MESSAGES)
def test_examples_are_events_that_the_worker_can_read(name: str) -> None:
    message = MESSAGES[name]
    assert message["examples"]
    for example in message["examples"]:
        event = example["payload"]
        validator(message["payload"]).validate(event)
        validator(SCHEMAS["Headers"]).validate(example.get("headers", {}))
        assert example.get("headers", {}).get("traceparent") == event.get("traceparent")
        assert event["type"] == message["name"]
        assert event["source"] == SOURCE
        assert notice(event).type == message["name"]
        if "wallet" in event:
            assert event["subject"] == f"wallets/{event['wallet']}"
            assert event["data"].get("wallet_id", event["data"]["id"]) == event["wallet"]
            assert event["data"].get("version", event["walletseq"]) == event["walletseq"]


@pytest.mark.parametrize("name", MESSAGES)
def test_an_event_with_less_or_more_or_other_things_is_not_valid(name: str) -> None:
    checker = validator(MESSAGES[name]["payload"])
    good = MESSAGES[name]["examples"][0]["payload"]
    optional = {"actor", "actoraddress", "requestid", "traceparent"} | (
        {"userid"} if "wallet" in good else set()
    )
    for member in good.keys() - optional:
        assert not checker.is_valid({key: good[key] for key in good if key != member}), member
        assert not checker.is_valid({**good, member: None}), member
    for member in optional:
        assert checker.is_valid({key: good[key] for key in good if key != member}), member
        assert not checker.is_valid({**good, member: ""}), member
    assert not checker.is_valid({**good, "more": "1"})
    data = good["data"]
    assert not checker.is_valid({**good, "data": {**data, "more": "1"}})
    for member in data:
        less = {key: data[key] for key in data if key != member}
        assert not checker.is_valid({**good, "data": less}), member
    for other in EventType:
        assert checker.is_valid({**good, "type": other.value}) is (other == good["type"])


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ("Money", ["0", "0.00", "-0.05", "10.50", "1" + "0" * 18], ["", "-", "1.", ".5", "01"]),
        ("Money", [], [1, 1.5, "1e2", "+1", "1,00", "1.123456789", "1" + "0" * 19]),
        ("Amount", ["0.01", "10", "10.50"], ["0", "0.00", "-1", "", 1]),
        ("CurrencyCode", ["USD", "COIN", "X9A"], ["usd", "US", "A" * 13, "9AB"]),
        ("Instant", ["2030-01-31T12:00:00.000000Z"], ["2030-01-31T12:00:00Z", "2030-01-31", 1]),
        ("Metadata", [{}, {"a": [1, None, {"b": True}]}], [None, [], "a"]),
    ],
)
def test_values(schema: str, good: list[Any], bad: list[Any]) -> None:
    checker = validator({"$ref": f"#/components/schemas/{schema}"})
    assert [value for value in good if not checker.is_valid(value)] == []
    assert [value for value in bad if checker.is_valid(value)] == []


def test_enumerations_are_those_of_the_domain() -> None:
    def enumerated(schema: str, name: str) -> set[str]:
        return set(SCHEMAS[schema]["properties"][name]["enum"])

    assert enumerated("Operation", "operation_type") == {kind.value for kind in OperationType}
    assert enumerated("Wallet", "status") == {status.value for status in WalletStatus}
    assert enumerated("MessageStatusData", "status") == {status.value for status in MessageStatus}


def test_the_broker_has_what_the_document_says() -> None:
    topology = Topology.of(Settings())
    steps = topology.steps()
    events, notifications = DOCUMENT["channels"]["events"], DOCUMENT["channels"]["notifications"]
    exchange = events["bindings"]["amqp"]["exchange"]
    assert exchange["name"] == topology.exchange
    declared = {"exchange": topology.exchange, "exchange_type": exchange["type"], "durable": True}
    assert ("exchange_declare", declared) in steps
    binding = notifications["bindings"]["amqp"]
    assert binding["queue"]["name"] == notifications["address"] == topology.queue
    arguments = {"durable": True, "arguments": binding["x-queue-arguments"]}
    assert ("queue_declare", {"queue": topology.queue, **arguments}) in steps
    for name in (topology.dead_queue, REASON_HEADER):
        assert f"`{name}`" in notifications["description"]


def test_the_properties_of_messages_are_those_that_the_relay_sets() -> None:
    properties = SCHEMAS["AmqpProperties"]["properties"]
    assert properties["content_type"] == {"const": CONTENT_TYPE}
    assert properties["app_id"] == {"const": APPLICATION}
    assert DOCUMENT["defaultContentType"] == CONTENT_TYPE
    assert DOCUMENT["components"]["messageTraits"]["announced"]["contentType"] == CONTENT_TYPE


def test_settings_that_it_names_exist() -> None:
    text = orjson.dumps(DOCUMENT).decode()
    for name in set(re.findall(r"COFFER_([A-Z_]+)", text)):
        assert name.lower() in Settings.model_fields, name
